"""What the command tells the shell."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

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


class ExitStatus(IntEnum):
    """Exit statuses; a script can tell a failed job from one that only took too long."""

    DONE = 0
    ERROR = 1
    USAGE = 2
    SOME_FAILED = 3
    TIMED_OUT = 4
    OUTCOME_UNKNOWN = 5
    INTERRUPTED = 130


CODES_OF_NO_CREDIT: Final = (1006, 1104)
"""Credit that runs out is the account's trouble as well, but an end that a run is planned with: its rest has failed."""
_OF_ERRORS = (
    (OutcomeUnknownError, ExitStatus.OUTCOME_UNKNOWN),
    (OperationFailedError, ExitStatus.SOME_FAILED),
    (WaitTimeoutError, ExitStatus.TIMED_OUT),
    (PollingError, ExitStatus.TIMED_OUT),
    (TransportError, ExitStatus.ERROR),
)
_GRAVEST_FIRST = (ExitStatus.ERROR, ExitStatus.OUTCOME_UNKNOWN, ExitStatus.SOME_FAILED, ExitStatus.TIMED_OUT)


def status_of(error: Exception, otherwise: ExitStatus = ExitStatus.SOME_FAILED) -> ExitStatus:
    """The status for one error; ``otherwise`` where it has none of its own."""
    if isinstance(error, APIError) and is_account_error(error) and error.code not in CODES_OF_NO_CREDIT:
        return ExitStatus.ERROR
    return next((status for kind, status in _OF_ERRORS if isinstance(error, kind)), otherwise)


def gravest(statuses: Iterable[ExitStatus]) -> ExitStatus:
    """Of several, the one that the shell is told."""
    found = set(statuses)
    return next((status for status in _GRAVEST_FIRST if status in found), ExitStatus.DONE)


@contextmanager
def after_spending() -> Iterator[None]:
    """For what follows a paid request: a ``ValueError`` is no wrong usage (2) here, but an error (1)."""
    try:
        yield
    except ValueError as error:
        if isinstance(error, AkoolError):
            raise
        raise AkoolError(str(error)) from error
