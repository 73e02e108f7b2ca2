"""Messages on stderr: one line each, without characters that a terminal would obey."""

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
"""The name of the logger in records of messages that the command itself prints."""

MAX_PROMPT: Final = 40
"""Characters of a prompt that are shown in titles."""
LINE_BREAKS: Final = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
HARMFUL: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
SURROGATES: Final = re.compile(r"[\ud800-\udfff]")


def plain(text: str) -> str:
    """Return a text from AKOOL, a host or a file name as one line that is safe for a terminal.

    Control characters, invisible characters and characters that reverse the direction of writing are removed. Joiners
    stay, since emoji need them. Lone surrogates are replaced, since no encoding has them.
    """
    return SURROGATES.sub("\ufffd", HARMFUL.sub("", LINE_BREAKS.sub(" ", text)))


def shorten(prompt: str) -> str:
    """Return the beginning of a prompt, for a line in which the whole text would be too long."""
    return prompt if len(prompt) <= MAX_PROMPT else f"{prompt[:MAX_PROMPT].rstrip()}..."


def amount(credits: float) -> str:  # noqa: A002 - AKOOL's word
    """Return credits as text, with at most two decimals."""
    return f"{credits:,.2f}".rstrip("0").rstrip(".")


def count_presses(number: int) -> str:
    """Return a number of presses with its noun."""
    return f"{number:,} press{'' if number == 1 else 'es'}"


def count_jobs(number: int) -> str:
    """Return a number of prompts and presses with the nouns."""
    return f"{number:,} prompt{' or press' if number == 1 else 's and presses'}"


@define
class _Format:
    """The format of stderr, for all threads of the process."""

    formatter: logging.Formatter | None = None
    """Formats a message as a record; None for plain text."""


_format: Final = _Format()


def use_formatter(formatter: logging.Formatter | None) -> None:
    """Print messages as records in this format from now on, or as plain text (None)."""
    _format.formatter = formatter


def print_message(text: str, *, level: int = logging.INFO, fields: Mapping[str, object] | None = None) -> None:
    """Print a line on stderr. An error of stderr is ignored, so that paid work continues.

    Args:
        text: The message.
        level: The level of the record. Plain text does not show it.
        fields: Further fields of the record. Plain text does not show them.
    """
    if _format.formatter is None:
        _write(plain(text))
    else:
        _write(_format.formatter.format(_record(text, level, fields=dict(fields or {}))))


def print_progress(text: str, fields: Mapping[str, object] | None = None) -> None:
    """Print a line of a log. Plain text begins with the time, which a record has anyway."""
    print_message(stamped(text) if _format.formatter is None else text, fields=fields)


def print_command(text: str, command: str, *, level: int = logging.INFO) -> None:
    """Print a sentence and a colon, then a command on a separate line for pasting. A record has it as a field.

    Args:
        text: The sentence without the colon.
        command: The command.
        level: The level of the record.
    """
    if _format.formatter is None:
        print_message(f"{text}:")
        print_message(command)
    else:
        print_message(text, level=level, fields={"command": plain(command)})


def print_error(text: str, *, exc_info: ExcInfo | None = None) -> None:
    """Print the error that ends the command. Only a record has the traceback."""
    if _format.formatter is None:
        print_message(f"akool: {text}")
    else:
        _write(_format.formatter.format(_record(text, logging.ERROR, exc_info=exc_info)))


def stamped(text: str) -> str:
    """Return a line with the local time before it, unless stderr is a terminal."""
    if is_terminal(sys.stderr):
        return text
    return f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')} {text}"


def print_usage_error(error: click.UsageError) -> None:
    """Print what is wrong with the arguments. File names in it are made safe for a terminal."""
    reason = error.format_message()
    if _format.formatter is not None:
        print_error(reason)
        return
    shown = io.StringIO()
    error.show(shown)
    for line in shown.getvalue().replace(reason, plain(reason)).splitlines():
        print_message(line)


class LogLines(logging.Handler):
    """Prints what libraries log, made safe for a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one record, with its traceback if there is one."""
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
