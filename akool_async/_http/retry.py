"""When to try again: pure schedules and judgements, built on backoff's generators and jitters. Nothing waits here."""

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


LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds; a Retry-After beyond this is not waited out in full by polls. Presses give up long before."""

SERVER_ERROR: Final = 500
GATEWAY_GAVE_UP: Final = (408, 499)
"""HTTP statuses of a gateway that did not wait for the reply of the service behind it."""
LOWEST_CODE: Final = 1000
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
        return min(float(header), LONGEST_RETRY_AFTER)
    moment = read_date(header)
    return None if moment is None else min(max((moment - now).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


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


def is_account_error(error: BaseException) -> bool:
    """True for a refusal after which no other press of the account would fare better."""
    return isinstance(error, APIError) and error.code in CODES and CODES[error.code].is_of_account


def is_transient(error: AkoolError) -> bool:
    """True for an error that a read may survive by being asked again."""
    return isinstance(error, TransportError | ResponseError | RateLimitedError | GenerationError)


def is_ambiguous(http_status: int) -> bool:
    """True for an HTTP status that does not tell whether the request was carried out."""
    return http_status >= SERVER_ERROR or http_status in GATEWAY_GAVE_UP
