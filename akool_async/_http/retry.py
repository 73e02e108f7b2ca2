"""Decides whether another try makes sense after an error, and reads how long a reply asks to wait.

The meaning of AKOOL's codes is in :data:`akool_async.errors.CODES`.
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
"""Seconds. A longer Retry-After is shortened to this. Presses fail much earlier."""

SERVER_ERROR: Final = 500
GATEWAY_TIMEOUTS: Final = (408, 499)
"""HTTP statuses of a gateway that did not wait for the service behind it."""
MIN_CODE: Final = 1000
"""AKOOL's own codes begin here. Others, such as 500, 0 and -1, come from a failing server or gateway."""

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
    """Return the seconds to wait by a reply's Retry-After; None if it has none.

    A date is compared with the reply's own Date, since this machine's clock may be wrong by hours. Only if the reply
    has no readable Date, this machine's clock is used.
    """
    header = headers.get("Retry-After")
    if header is None:
        return None
    return retry_after_seconds(header, read_date(headers.get("Date", "")) or datetime.now(UTC))


def retry_after_seconds(header: str, now: datetime) -> float | None:
    """Return the seconds of a Retry-After, which is a number of seconds or an HTTP date; None if it is neither."""
    if header.strip().isdecimal():
        return min(float(header), MAX_RETRY_AFTER)
    date = read_date(header)
    return None if date is None else min(max((date - now).total_seconds(), 0.0), MAX_RETRY_AFTER)


def read_date(header: str) -> datetime | None:
    """Read an HTTP date, such as a reply's Date; None if it is not one."""
    try:
        date = parsedate_to_datetime(header)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def is_permanent(error: AkoolError) -> bool:
    """Return True for an error that later tries cannot change."""
    return isinstance(error, _PERMANENT)


def is_transient(error: AkoolError) -> bool:
    """Return True for an error after which the same read may succeed."""
    return isinstance(error, _TRANSIENT)


def is_account_error(error: BaseException) -> bool:
    """Return True for a refusal that concerns the account, so that AKOOL would refuse all other presses as well."""
    return isinstance(error, APIError) and error.code in CODES and CODES[error.code].is_of_account


def is_ambiguous(error: AkoolError) -> bool:
    """Return True for an error after which AKOOL may or may not have carried out the request."""
    if isinstance(error, TransportError):
        return error.delivered is not False
    # AKOOL's own codes are refusals. Numbers from a failing gateway or server prove nothing.
    return isinstance(error, ResponseError) or (
        type(error) is APIError
        and (error.http_status >= SERVER_ERROR or error.http_status in GATEWAY_TIMEOUTS or error.code < MIN_CODE)
    )
