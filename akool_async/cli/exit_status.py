"""Exit statuses: which there are, and which one an error, several of them, or recorded presses lead to."""

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
    """Exit statuses; a script can distinguish a failed job from one that only took too long."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    TIMED_OUT = 4
    OUTCOME_UNKNOWN = 5
    INTERRUPTED = 130


CODES_OF_NO_CREDIT: Final = (1006, 1104)
"""Credit that runs out is an error of the account as well, but a run is planned with it: its other presses failed."""
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
    """The status for one error; ``otherwise`` if it has none of its own."""
    if isinstance(error, APIError) and is_account_error(error) and error.code not in CODES_OF_NO_CREDIT:
        return ExitStatus.ERROR
    return next((status for kind, status in _BY_ERROR if isinstance(error, kind)), otherwise)


def most_severe(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """The one of several that the command ends with."""
    found = set(statuses)
    return next((status for status in _MOST_SEVERE_FIRST if status in found), ExitStatus.DONE)


def status_of_jobs(counts: JobCounts, states: Collection[str]) -> ExitStatus:
    """The status for the recorded presses of an account, of which those in ``states`` are shown.

    An unknown press counts whether it is shown or not, since only a person can settle it. A failed one counts if it is
    shown. An open one is no failure.
    """
    if counts.unknown:
        return ExitStatus.OUTCOME_UNKNOWN
    return ExitStatus.SOME_FAILED if counts.failed and "failed" in states else ExitStatus.DONE


@contextmanager
def after_spending() -> Iterator[None]:
    """For what follows a paid request: a ``ValueError`` is no wrong usage (2) here, but an error (1)."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, AkoolError):
            raise
        raise AkoolError(str(error)) from error
