"""Words for people: errors with their remedy, amounts, and what goes to stderr."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Final

import click

from akool_async import (
    AuthenticationError,
    BudgetError,
    InsufficientCreditError,
    OutcomeUnknownError,
    TransportError,
    WaitTimeoutError,
)
from akool_async.cli._lines import reason_of

REMEDIES: Final = (
    (AuthenticationError, "Set AKOOL_API_KEY to a key of your account, or name a file that holds it with --key-file."),
    (InsufficientCreditError, "akool credit tells the balance."),
    (BudgetError, "Raise --max-credits, or lower --reserve."),
    (TransportError, "Nothing is wrong with the command: try again when AKOOL can be reached."),
    (WaitTimeoutError, "akool result ID --wait, with its id, takes it up."),
    (
        OutcomeUnknownError,
        "akool result on the source image tells whether its button is used; akool resolve settles it in a state.",
    ),
)


def plain(text: str) -> str:
    """A text of AKOOL's or of a file, without what would move a terminal's cursor."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", text)


def amount(credits: float) -> str:  # noqa: A002 - AKOOL's word
    """Credits, in full."""
    return f"{credits:,.2f}".rstrip("0").rstrip(".")


def tell(text: str) -> None:
    """A line on stderr. That nobody reads it there is no reason to end what was paid for."""
    with suppress(OSError, ValueError):
        click.echo(plain(text), err=True)


def explain(error: Exception) -> str:
    """What went wrong, and what to do."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, BrokenPipeError):
        return "nobody reads the results any more (broken pipe)"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, WaitTimeoutError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    told = reason_of(error) if isinstance(error, WaitTimeoutError) else str(error)
    remedy = next((remedy for kind, remedy in REMEDIES if isinstance(error, kind)), "")
    return f"{told}. {remedy}" if remedy else told
