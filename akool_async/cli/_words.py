"""Errors in a person's words, with the remedy."""

from __future__ import annotations

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

REMEDIES: Final = (
    (AuthenticationError, "Set AKOOL_API_KEY to a key of your account, or name a file that holds it with --key-file."),
    (InsufficientCreditError, "akool credit tells the balance."),
    (BudgetError, "Raise --max-credits, or lower --reserve."),
    (TransportError, "Nothing is wrong with the command: try again when AKOOL can be reached."),
    (WaitTimeoutError, "It runs on, paid for: akool result ID --wait."),
    (OutcomeUnknownError, "akool result on the source image tells whether its button is used."),
)


def explain(error: Exception) -> str:
    """What went wrong, and what to do."""
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, BrokenPipeError):
        return "nobody reads the results any more (broken pipe)"
    if isinstance(error, OSError) and error.strerror and not isinstance(error, WaitTimeoutError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    remedy = next((remedy for kind, remedy in REMEDIES if isinstance(error, kind)), "")
    return f"{error}. {remedy}" if remedy else str(error)
