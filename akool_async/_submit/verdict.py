"""What an error says about a POST that spends credits, and when one that never arrived is sent again."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import define, field

from akool_async._http.retry import is_ambiguous
from akool_async._limits.backoff import growing_waits
from akool_async.errors import AkoolError, RateLimitedError, TransportError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from akool_async._limits.timing import Timing


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
    return Verdict.UNKNOWN if is_ambiguous(error) else Verdict.REFUSED


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
