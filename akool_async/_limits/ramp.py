"""How many POSTs that spend credits may be under way at once.

A few at first, so that a bad key or an empty account costs a few refusals and not thousands; one more for each that
AKOOL accepts; one alone once AKOOL refuses for its pace (1005, 429), which then waits while all others queue behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Self

from attrs import define, field

from akool_async._limits.backoff import growing_waits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from akool_async._limits.timing import Timing
    from akool_async.errors import AkoolError

FIRST_WIDTH: Final = 4
LARGEST_WIDTH: Final = 32
"""So many POSTs at most are refused when the credit runs out, and so many are enough for a hundred presses a second."""


@define
class ThrottledRetry:
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
        pause = max(next(self._waits), error.retry_after or 0.0)
        self._due = now + pause
        return pause if now + pause - self._since <= self._timing.throttle_timeout else None

    def _new_waits(self) -> Iterator[float]:
        return growing_waits(self._timing.throttle_delay, self._timing.max_retry_delay)


class Ramp:
    """An async context manager around one POST."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._width = FIRST_WIDTH
        self._inside = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._retry: ThrottledRetry | None = None
        self._room = asyncio.Event()

    async def __aenter__(self) -> Self:
        if self._inside < self._width:
            self._inside += 1
            return self
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was this one's turn just now: on to the next
                self._leave()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    def accepted(self) -> None:
        """AKOOL took a POST."""
        self._width = min(self._width + 1, LARGEST_WIDTH)
        self._retry = None

    def refused(self, error: AkoolError) -> float | None:
        """AKOOL refused for its pace: seconds to wait, None where it has refused everything for too long."""
        self._width = 1
        self._room.clear()
        self._retry = self._retry or ThrottledRetry(self._timing)
        return self._retry.pause_after(error, asyncio.get_running_loop().time())

    def narrow(self) -> None:
        """AKOOL refused for a reason that holds for all: whoever queues is not let in as others leave."""
        self._width = 1

    def make_room(self) -> None:
        """An operation of this session ended: AKOOL may have room again."""
        self._room.set()

    async def rest(self, seconds: float, *, exactly: bool) -> None:
        """Wait, or, unless the time was asked for exactly, until there may be room again."""
        if exactly:
            await asyncio.sleep(seconds)
            return
        try:
            async with asyncio.timeout(seconds):
                await self._room.wait()
        except TimeoutError:
            pass

    def _leave(self) -> None:
        self._inside -= 1
        while self._queue and self._inside < self._width:
            turn = self._queue.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)
