"""Errors as sentences for people: what went wrong, and what to do about it."""

from __future__ import annotations

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
from akool_async.cli.output import broken_pipe
from akool_async.errors import CODES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

REMEDIES: Final[dict[int | type[AkoolError], str]] = {
    1004: "Verify the account at AKOOL, then run the same command again.",
    1103: "Pay what is due to AKOOL, then run the same command again.",
    AuthenticationError: "Set AKOOL_API_KEY to a key of your account, or name a file that holds it with --key-file.",
    InsufficientCreditError: "akool credit shows the balance.",
    AccountBannedError: "Only AKOOL can lift that: write to its support.",
    BudgetError: "Raise --max-credits, or lower --reserve.",
    TransportError: "Nothing is wrong with the command: try again when AKOOL can be reached.",
    WaitTimeoutError: "akool result ID --wait, with its id, continues to wait.",
    OutcomeUnknownError: (
        "akool result on the source image shows whether its button is used; akool resolve settles it in a store."
    ),
}
"""The remedy for an error, by AKOOL's code or by class. The code takes precedence."""


def explain(error: Exception) -> str:
    """Return what went wrong and what to do about it."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, BrokenPipeError):
        return broken_pipe.MESSAGE
    if isinstance(error, OSError) and error.strerror and not isinstance(error, WaitTimeoutError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    reason = reason_of(error) if isinstance(error, WaitTimeoutError) else str(error)
    return _with_remedy(reason, error)


def reason_of(error: Exception) -> str:
    """Return the reason without the ids, which commands show beside it."""
    if isinstance(error, WaitTimeoutError):  # its message is for programs
        return f"not finished within {error.timeout:g} s; it runs on at AKOOL and is paid for"
    return str(error.args[0]) if isinstance(error, AkoolError) and error.args else str(error) or type(error).__name__


def account_errors(errors: Iterable[Exception | None]) -> list[str]:
    """Return each error of the account or the network once, with its remedy, however many presses it stopped."""
    return list(dict.fromkeys(f"akool: {text}" for text in _explain_account_errors(errors)))


def _explain_account_errors(errors: Iterable[Exception | None]) -> Iterator[str]:
    for error in errors:
        if isinstance(error, APIError) and is_account_error(error):
            yield _with_remedy(CODES[error.code].hint, error)
        elif isinstance(error, TransportError):
            yield _with_remedy(reason_of(error), error)


def _with_remedy(reason: str, error: Exception) -> str:
    keys = (error.code if isinstance(error, APIError) else None, *type(error).__mro__)
    remedy = next((REMEDIES[key] for key in keys if key in REMEDIES), None)
    return reason if remedy is None else f"{reason}. {remedy}"
