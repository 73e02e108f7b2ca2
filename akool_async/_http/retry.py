"""What an error means for a further try, decided once for all rooms, and how long a reply asks to wait.

What depends on AKOOL's code alone stands in :data:`akool_async.errors.CODES`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

from akool_async.errors import (
    CODES,
    AccountBannedError,
    AkoolError,
    APIError,
    AuthenticationError,
    ConfigurationError,
    GenerationError,
    InvalidParameterError,
    NotFoundError,
    NotPermittedError,
    RateLimitedError,
    ResponseError,
    SessionClosedError,
    TransportError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_RETRY_AFTER: Final = 3600.0
"""Seconds; a longer Retry-After is cut to this. Presses give up long before."""

SERVER_ERROR: Final = 500
GATEWAY_TIMEOUTS: Final = (408, 499)
"""HTTP statuses of a gateway that did not wait for the reply of the service behind it."""
MIN_CODE: Final = 1000
"""AKOOL's own codes begin here; 500, 0 and -1 are some failing layer's."""

_PERMANENT: Final = (
    AuthenticationError,
    AccountBannedError,
    NotPermittedError,
    NotFoundError,
    InvalidParameterError,
    ConfigurationError,
    SessionClosedError,
)
_TRANSIENT: Final = (TransportError, ResponseError, RateLimitedError, GenerationError)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """The seconds that a reply asks to wait by its Retry-After; None if it does not ask.

    A date is read against the reply's own Date, since this machine's clock may be off by hours; without a Date that can
    be read, against this machine's clock.
    """
    header = headers.get("Retry-After")
    if header is None:
        return None
    return retry_after_seconds(header, read_date(headers.get("Date", "")) or datetime.now(UTC))


def retry_after_seconds(header: str, now: datetime) -> float | None:
    """Read Retry-After, which is seconds or an HTTP date; None if it is neither."""
    if header.strip().isdecimal():
        return min(float(header), MAX_RETRY_AFTER)
    moment = read_date(header)
    return None if moment is None else min(max((moment - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def read_date(header: str) -> datetime | None:
    """Read an HTTP date, such as a reply's Date; None if it is not one."""
    try:
        moment = parsedate_to_datetime(header)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def is_permanent(error: AkoolError) -> bool:
    """True for an error that no later try will mend."""
    return isinstance(error, _PERMANENT)


def is_transient(error: AkoolError) -> bool:
    """True for an error of a read that may succeed if it is tried again."""
    return isinstance(error, _TRANSIENT)


def is_account_error(error: BaseException) -> bool:
    """True for a refusal that concerns the account, so that AKOOL would refuse every other press as well."""
    return isinstance(error, APIError) and error.code in CODES and CODES[error.code].is_of_account


def is_ambiguous(error: AkoolError) -> bool:
    """True for an error that leaves open whether AKOOL carried out the request."""
    if isinstance(error, TransportError):
        return error.delivered is not False
    # AKOOL's own codes are refusals; a number that only a failing gateway or server gave proves nothing.
    return isinstance(error, ResponseError) or (
        type(error) is APIError
        and (error.http_status >= SERVER_ERROR or error.http_status in GATEWAY_TIMEOUTS or error.code < MIN_CODE)
    )
