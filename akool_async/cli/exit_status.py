"""The exit statuses, and which of them follows from an error, from several errors, or from recorded presses."""

from __future__ import annotations

from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from akool_async import (
    AkoolError,
    APIError,
    OperationFailedError,
    OutcomeUnknownError,
    PollingError,
    TransportError,
    WaitTimeoutError,
)
from akool_async._http.retry import is_account_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from akool_async.durable import JobCounts


class ExitStatus(IntEnum):
    """The exit status of a command. A script can distinguish a failed job from one that only took too long."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    TIMED_OUT = 4
    OUTCOME_UNKNOWN = 5
    INTERRUPTED = 130


CODES_OF_NO_CREDIT: Final = (1006, 1104)
"""AKOOL's codes for too little credit. A run may plan to end that way, so these presses have failed (3), while any
other error of the account is an error (1)."""
_BY_ERROR: Final = (
    (OutcomeUnknownError, ExitStatus.OUTCOME_UNKNOWN),
    (OperationFailedError, ExitStatus.SOME_FAILED),
    (WaitTimeoutError, ExitStatus.TIMED_OUT),
    (PollingError, ExitStatus.TIMED_OUT),
    (TransportError, ExitStatus.ERROR),
)
_MOST_SEVERE_FIRST: Final = (
    ExitStatus.ERROR,
    ExitStatus.OUTCOME_UNKNOWN,
    ExitStatus.SOME_FAILED,
    ExitStatus.TIMED_OUT,
)


def status_of(error: Exception, otherwise: ExitStatus = ExitStatus.SOME_FAILED) -> ExitStatus:
    """Return the status for one error, or ``otherwise`` for an error without a status."""
    if isinstance(error, APIError) and is_account_error(error) and error.code not in CODES_OF_NO_CREDIT:
        return ExitStatus.ERROR
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), otherwise)


def most_severe(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """Return the status with which a command ends after several outcomes."""
    found = set(statuses)
    return next((status for status in _MOST_SEVERE_FIRST if status in found), ExitStatus.DONE)


def status_of_jobs(counts: JobCounts, states: Collection[str]) -> ExitStatus:
    """Return the status for the recorded presses of an account, of which those in ``states`` are listed.

    An unknown press counts whether it is listed or not, since only a person can settle it. A failed press counts if it
    is listed. An open press is no failure.
    """
    if counts.unknown:
        return ExitStatus.OUTCOME_UNKNOWN
    return ExitStatus.SOME_FAILED if counts.failed and "failed" in states else ExitStatus.DONE


@contextmanager
def after_spending() -> Iterator[None]:
    """Make a ``ValueError`` an error (1): after a paid request it is no longer wrong usage (2)."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, AkoolError):
            raise
        raise AkoolError(str(error)) from error
