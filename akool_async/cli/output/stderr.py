"""What people read on stderr: harmless text, one line at a time."""

from __future__ import annotations

import io
import logging
import re
import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click
from attrs import define

from akool_async.cli.output.terminal import is_terminal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

LOGGER: Final = "akool_async.cli"
"""The name of the logger in records of the command's own messages."""

LINE_BREAKS: Final = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
HARMFUL: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


def plain(text: str) -> str:
    """A text from elsewhere (AKOOL, a host, a file's name), harmless and on one line.

    Control characters, invisible characters and those that reverse the direction of writing are removed; joiners, which
    emoji need, stay. Lone surrogates, which no encoding can carry, are replaced.
    """
    return SURROGATES.sub("\ufffd", HARMFUL.sub("", LINE_BREAKS.sub(" ", text)))


def amount(credits: float) -> str:  # noqa: A002 - AKOOL's word
    """Credits, in full."""
    return f"{credits:,.2f}".rstrip("0").rstrip(".")


def count_presses(number: int) -> str:
    """A number of presses, with the noun."""
    return f"{number:,} press{'' if number == 1 else 'es'}"


@define
class _Format:
    """How everything on stderr is formatted, in all threads of the process."""

    formatter: logging.Formatter | None = None
    """Formats each message as a record; None for plain text."""


_format: Final = _Format()


def use_formatter(formatter: logging.Formatter | None) -> None:
    """Print each message on stderr as a record in this format from now on, or as plain text (None)."""
    _format.formatter = formatter


def print_message(text: str, *, level: int = logging.INFO, fields: Mapping[str, object] | None = None) -> None:
    """Print a line on stderr. If nobody can read it there, the work that was paid for goes on.

    ``level`` and ``fields`` are parts of a record; plain text does not show them.
    """
    if _format.formatter is None:
        _write(plain(text))
    else:
        _write(_format.formatter.format(_record(text, level, fields=dict(fields or {}))))


def print_progress(text: str, fields: Mapping[str, object] | None = None) -> None:
    """Print a line of a log: plain text begins with the time; a record has one anyway."""
    print_message(stamped(text) if _format.formatter is None else text, fields=fields)


def print_command(text: str, command: str, *, level: int = logging.INFO) -> None:
    """Print a sentence that ends before a colon, and the command that it is about, on a line of its own for pasting.

    A record has the command as a field.
    """
    if _format.formatter is None:
        print_message(f"{text}:")
        print_message(command)
    else:
        print_message(text, level=level, fields={"command": plain(command)})


def print_error(text: str, *, exc_info: ExcInfo | None = None) -> None:
    """Print the error that ends the command; a record has its traceback as well, if there is one."""
    if _format.formatter is None:
        print_message(f"akool: {text}")
    else:
        _write(_format.formatter.format(_record(text, logging.ERROR, exc_info=exc_info)))


def stamped(text: str) -> str:
    """A line for a log: with the local time before it, unless stderr is a terminal, where somebody is watching."""
    if is_terminal(sys.stderr):
        return text
    return f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')} {text}"


def print_usage_error(error: click.UsageError) -> None:
    """Print what is wrong with the arguments, which may name files."""
    reason = error.format_message()
    if _format.formatter is not None:
        print_error(reason)
        return
    shown = io.StringIO()
    error.show(shown)
    for line in shown.getvalue().replace(reason, plain(reason)).splitlines():
        print_message(line)


class LogLines(logging.Handler):
    """Prints what libraries log, made harmless as well."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, with its traceback, if it has one."""
        if _format.formatter is not None:
            _write(_format.formatter.format(record))
            return
        print_message(stamped(record.getMessage()))
        if record.exc_info is not None:
            for line in logging.Formatter().formatException(record.exc_info).splitlines():
                print_message(line)


def _record(text: str, level: int, **attributes: object) -> logging.LogRecord:
    return logging.makeLogRecord(
        {"name": LOGGER, "msg": text, "levelno": level, "levelname": logging.getLevelName(level), **attributes}
    )


def _write(line: str) -> None:
    with suppress(OSError, ValueError):
        click.echo(line, err=True)
