"""Lines of JSON on stderr, for programs that collect logs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from akool_async.cli.output import stderr
from akool_async.cli.output.times import utc

if TYPE_CHECKING:
    from types import TracebackType


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object on one line.

    It has ``time`` (UTC), ``level``, ``logger`` and ``message``, the record's own ``fields``, and ``exception`` if
    there is a traceback. All characters are ASCII, so that no encoding of stderr can break the JSON.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON object, without a line end."""
        fields = {
            "time": utc(datetime.fromtimestamp(record.created, UTC), "milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": stderr.plain(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info is not None:
            lines = self.formatException(record.exc_info).splitlines()
            fields["exception"] = "\n".join(map(stderr.plain, lines))
        return json.dumps(fields)


def begin() -> None:
    """Print everything on stderr as JSON from now on, including the traceback of an uncaught error."""
    stderr.use_formatter(JsonFormatter())
    sys.excepthook = _print_uncaught


def _print_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    stderr.print_error(f"unexpected error: {kind.__name__}: {error}", exc_info=(kind, error, traceback))
