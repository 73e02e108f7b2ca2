"""When to try again: pure schedules and judgements, built on backoff's generators and jitters. Nothing waits here."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import TYPE_CHECKING, Final

import backoff
from attrs import define, field

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
    from collections.abc import Iterator, Mapping

    from akool_async.timing import Timing

LONGEST_RETRY_AFTER: Final = 3600.0
"""Seconds; a Retry-After beyond this is not waited out in full by polls. Presses give up long before."""

SERVER_ERROR: Final = 500
GATEWAY_GAVE_UP: Final = (408, 499)
"""HTTP statuses of a gateway that did not wait for the reply of the service behind it."""
LOWEST_CODE: Final = 1000
"""AKOOL's own codes begin here; 500, 0 and -1 are some failing layer's."""

_HOPELESS: Final = (
    AuthenticationError,
    AccountBannedError,
    NotPermittedError,
    NotFoundError,
    InvalidParameterError,
    ConfigurationError,
    SessionClosedError,
)


def growing_waits(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each next try: doubling, capped, half of each at random."""
    plain = backoff.expo(base=2, factor=first, max_value=longest)
    next(plain)  # backoff's generators yield an empty value first
    for wait in plain:  # pragma: no branch - it never ends
        yield wait / 2 + backoff.full_jitter(wait / 2)


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


def is_hopeless(error: AkoolError) -> bool:
    """True for an error that no later try will mend."""
    return isinstance(error, _HOPELESS)


def is_pointless(error: BaseException) -> bool:
    """True for a refusal after which no other press of the account would fare better."""
    return isinstance(error, APIError) and error.code in CODES and CODES[error.code].is_of_account


def asked_pace(error: AkoolError) -> float:
    """The seconds that AKOOL asked to wait, 0 where it did not ask."""
    return error.retry_after or 0.0 if isinstance(error, APIError | ResponseError) else 0.0


def is_passing(error: AkoolError) -> bool:
    """True for an error that a read may survive by being asked again."""
    return isinstance(error, TransportError | ResponseError | RateLimitedError | GenerationError)


class Verdict(Enum):
    """What an error says about a POST that spends credits."""

    NOT_DELIVERED = "not delivered"
    PACED = "refused with a pace"
    REFUSED = "refused"
    UNKNOWN = "unknown"


def judge_spending_post(error: AkoolError) -> Verdict:
    """Sort the errors of a POST that spends credits; only the first two kinds may be sent again as they are."""
    if isinstance(error, TransportError) and error.delivered is False:
        return Verdict.NOT_DELIVERED
    if isinstance(error, RateLimitedError):
        return Verdict.PACED
    if isinstance(error, TransportError | ResponseError):
        return Verdict.UNKNOWN
    # AKOOL's own codes are refusals; a number that only a failing gateway or server gave says nothing.
    if type(error) is APIError and (says_nothing(error.http_status) or error.code < LOWEST_CODE):
        return Verdict.UNKNOWN
    return Verdict.REFUSED


def says_nothing(http_status: int) -> bool:
    """True for an HTTP status that does not tell whether the request was carried out."""
    return http_status >= SERVER_ERROR or http_status in GATEWAY_GAVE_UP


UNDELIVERED_TRIES: Final = 6
"""POSTs that never reach AKOOL before the caller is told; where they fail immediately, some 15 s with their waits."""


@define
class UndeliveredRetry:
    """When to send a POST again that never arrived."""

    _timing: Timing
    began: float
    """When the first POST was sent, on the event loop's clock."""
    _tries: int = 0
    _waits: Iterator[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waits = growing_waits(self._timing.retry_delay, self._timing.max_retry_delay)

    def pause(self, now: float) -> float | None:
        """Seconds to wait before the next try; None if there is to be none."""
        self._tries += 1
        is_over = self._tries >= UNDELIVERED_TRIES or now - self.began >= self._timing.delivery_timeout
        return None if is_over else next(self._waits)


@define
class PacedRetry:
    """When to send a POST again that AKOOL refused for its pace."""

    _timing: Timing
    _since: float | None = None
    _due: float = 0.0
    _waits: Iterator[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waits = self._new_waits()

    def pause_after(self, error: AkoolError, now: float) -> float | None:
        """Seconds to wait before the next try, None where there is to be none."""
        if self._since is None or now > self._due + self._timing.throttle_reset:
            self._since = now
            self._waits = self._new_waits()
        pause = max(next(self._waits), asked_pace(error))
        self._due = now + pause
        return pause if now + pause - self._since <= self._timing.throttle_timeout else None

    def _new_waits(self) -> Iterator[float]:
        return growing_waits(self._timing.throttle_delay, self._timing.max_retry_delay)


MAX_FAILED_POLLS: Final = 30


@define
class Streak:
    """Failed polls in a row."""

    _timeout: float
    failures: int = 0
    began: float = 0.0

    def add(self, now: float) -> bool:
        """Count one more; True if there were too many, or for too long."""
        if not self.failures:
            self.began = now
        self.failures += 1
        return self.failures >= MAX_FAILED_POLLS or now - self.began >= self._timeout

    @property
    def stretch(self) -> float:
        """How many times longer than usual to wait before the next poll: doubling, up to ten."""
        return float(min(2 ** (self.failures - 1), 10))
