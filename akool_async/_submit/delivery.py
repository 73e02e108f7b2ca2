"""Decides when to resend a paid POST that did not reach AKOOL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from akool_async._limits.backoff import growing_waits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from akool_async._limits.timing import Timing

MAX_UNDELIVERED: Final = 6
"""Maximum number of POSTs that do not reach AKOOL, before the caller gets the error: about 15 s with their waits."""


@define
class DeliveryRetry:
    """The waits of one submission."""

    _timing: Timing
    _began: float
    """The time at which the first undelivered POST was sent, on the event loop's clock."""
    _failures: int = 0
    _waits: Iterator[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waits = growing_waits(self._timing.retry_delay, self._timing.max_retry_delay)

    def next_wait(self, now: float) -> float | None:
        """Return the seconds to wait before the next try; None if there is no next try."""
        self._failures += 1
        is_over = self._failures >= MAX_UNDELIVERED or now - self._began >= self._timing.delivery_timeout
        return None if is_over else next(self._waits)
