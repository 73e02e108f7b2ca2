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

from akool_async.cli.output.terminal import is_terminal

if TYPE_CHECKING:
    from collections.abc import Sized

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


def count_presses(presses: Sized) -> str:
    """The number of presses, with the noun."""
    return f"{len(presses):,} press{'' if len(presses) == 1 else 'es'}"


def print_message(text: str) -> None:
    """Print a line on stderr. If nobody can read it there, the work that was paid for goes on."""
    with suppress(OSError, ValueError):
        click.echo(plain(text), err=True)


def stamped(text: str) -> str:
    """A line for a log: with the local time before it, unless stderr is a terminal, where somebody is watching."""
    if is_terminal(sys.stderr):
        return text
    return f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')} {text}"


def print_usage_error(error: click.UsageError) -> None:
    """Print what is wrong with the arguments, which may name files."""
    shown = io.StringIO()
    error.show(shown)
    reason = error.format_message()
    for line in shown.getvalue().replace(reason, plain(reason)).splitlines():
        print_message(line)


class LogLines(logging.Handler):
    """Prints what libraries log, made harmless as well."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, with its traceback, if it has one."""
        print_message(stamped(record.getMessage()))
        if record.exc_info is not None:
            for line in logging.Formatter().formatException(record.exc_info).splitlines():
                print_message(line)
