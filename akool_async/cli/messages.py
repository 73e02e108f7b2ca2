"""Words for people: errors with their remedy, amounts, and what goes to stderr."""

from __future__ import annotations

import io
import logging
import re
import sys
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from akool_async import (
    AccountBannedError,
    AkoolError,
    APIError,
    AuthenticationError,
    BudgetError,
    InsufficientCreditError,
    OutcomeUnknownError,
    TransportError,
    WaitTimeoutError,
)
from akool_async._http.retry import is_account_error
from akool_async.cli.outcomes.line import reason_of
from akool_async.cli.output.terminal import is_terminal
from akool_async.errors import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REMEDIES: Final[dict[int | type[AkoolError], str]] = {
    1004: "Verify the account at AKOOL, then run the same again.",
    1103: "Pay what is due to AKOOL, then run the same again.",
    AuthenticationError: "Set AKOOL_API_KEY to a key of your account, or name a file that holds it with --key-file.",
    InsufficientCreditError: "akool credit tells the balance.",
    AccountBannedError: "Only AKOOL can lift that: write to its support.",
    BudgetError: "Raise --max-credits, or lower --reserve.",
    TransportError: "Nothing is wrong with the command: try again when AKOOL can be reached.",
    WaitTimeoutError: "akool result ID --wait, with its id, takes it up.",
    OutcomeUnknownError: (
        "akool result on the source image tells whether its button is used; akool resolve settles it in a state."
    ),
}
"""What to do about an error of AKOOL's code, or else of the class."""
LINE_BREAKS: Final = re.compile(r"[\t-\r\x1c-\x1e\x85\u2028\u2029]+")
HARMFUL: Final = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
)
HALVES: Final = re.compile(r"[\ud800-\udfff]")


def plain(text: str) -> str:
    """A text from elsewhere (AKOOL, a host, a file's name), harmless and on one line.

    Without control characters, invisible ones and those that reverse the direction of writing; joiners, which emoji
    need, stay. Halves of a character, which no encoding can carry, are replaced.
    """
    return HALVES.sub("\ufffd", HARMFUL.sub("", LINE_BREAKS.sub(" ", text)))


def amount(credits: float) -> str:  # noqa: A002 - AKOOL's word
    """Credits, in full."""
    return f"{credits:,.2f}".rstrip("0").rstrip(".")


def tell(text: str) -> None:
    """Print a line on stderr. If nobody can read it there, the work that was paid for goes on."""
    with suppress(OSError, ValueError):
        click.echo(plain(text), err=True)


def stamped(text: str) -> str:
    """A line for a log: with the local time before it, unless stderr is a terminal, where somebody is watching."""
    if is_terminal(sys.stderr):
        return text
    return f"{datetime.now().astimezone().isoformat(sep=' ', timespec='seconds')} {text}"


def tell_usage(error: click.UsageError) -> None:
    """What is wrong with the arguments, which may name files."""
    shown = io.StringIO()
    error.show(shown)
    reason = error.format_message()
    for line in shown.getvalue().replace(reason, plain(reason)).splitlines():
        tell(line)


class LogLines(logging.Handler):
    """Warnings of libraries, harmless as well."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one, with its traceback, if it has one."""
        tell(stamped(record.getMessage()))
        if record.exc_info is not None:
            for line in logging.Formatter().formatException(record.exc_info).splitlines():
                tell(line)


def explain(error: Exception) -> str:
    """What went wrong, and what to do."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, BrokenPipeError):
        return "nobody reads the results any more (broken pipe)"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, WaitTimeoutError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    told = reason_of(error) if isinstance(error, WaitTimeoutError) else str(error)
    return _with_remedy(told, error)


def account_trouble(errors: Iterable[Exception | None]) -> list[str]:
    """What kept the account, or the network, from pressing, and what to do: once, however many presses met it."""

    def explain_all() -> Iterator[str]:
        for error in errors:
            if isinstance(error, APIError) and is_account_error(error):
                yield _with_remedy(CODES[error.code].hint, error)
            elif isinstance(error, TransportError):
                yield _with_remedy(reason_of(error), error)

    return list(dict.fromkeys(f"akool: {text}" for text in explain_all()))


def _with_remedy(told: str, error: Exception) -> str:
    keys = (error.code if isinstance(error, APIError) else None, *type(error).__mro__)
    remedy = next((REMEDIES[key] for key in keys if key in REMEDIES), None)
    return told if remedy is None else f"{told}. {remedy}"
