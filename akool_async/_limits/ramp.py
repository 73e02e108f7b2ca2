"""How many POSTs that spend credits may be under way.

A few at first, so that a bad key or an empty account costs a few refusals and not thousands. One more for each that
AKOOL accepts. If AKOOL refuses with 1005 or 429, nothing is sent for a while, and then one alone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from akool_async._limits.backoff import growing_waits

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from akool_async._limits.timing import Timing
    from akool_async.errors import AkoolError

FIRST_WIDTH: Final = 4
MAX_WIDTH: Final = 32
"""So many POSTs at most are refused when the credit runs out; so many suffice for a hundred presses a second."""


@define
class ThrottledRetry:
    """When to send a POST again that AKOOL refused with 1005 or 429."""

    _timing: Timing
    _since: float | None = None
    _due: float = 0.0
    _waits: Iterator[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waits = self._new_waits()

    def pause_after(self, error: AkoolError, now: float) -> float | None:
        """Seconds to wait before the next try; None if AKOOL has refused everything for too long."""
        if self._since is None or now > self._due + self._timing.throttle_reset:
            self._since = now
            self._waits = self._new_waits()
        pause = max(next(self._waits), error.retry_after or 0.0)
        self._due = now + pause
        return pause if now + pause - self._since <= self._timing.throttle_timeout else None

    def _new_waits(self) -> Iterator[float]:
        return growing_waits(self._timing.throttle_delay, self._timing.max_retry_delay)


class Ramp:
    """The turns of POSTs. It widens as AKOOL accepts, and closes while AKOOL refuses for its rate."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._width = FIRST_WIDTH
        self._inside = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._retry: ThrottledRetry | None = None
        self._opening: asyncio.TimerHandle | None = None  # there while it is closed
        self._opens_early = False

    def turn(self, *, is_retry: bool = False) -> Turn:
        """Wait for a turn, and keep it for the block. A retry goes before those that were not sent yet."""
        return Turn(self, is_retry=is_retry)

    def on_success(self) -> None:
        """AKOOL accepted a POST."""
        self._width = min(self._width + 1, MAX_WIDTH)
        self._retry = None

    def on_throttled(self, error: AkoolError) -> float | None:
        """AKOOL refused with 1005 or 429: close. Returns the seconds; None if it has refused everything for too long.

        Without a Retry-After it opens earlier if an operation of this session ends.
        """
        self._width = 1
        self._retry = self._retry or ThrottledRetry(self._timing)
        loop = asyncio.get_running_loop()
        pause = self._retry.pause_after(error, loop.time())
        if pause is not None:
            self._close(loop.time() + pause, opens_early=error.retry_after is None)
        return pause

    def on_account_error(self) -> None:
        """AKOOL refused for a reason that holds for all presses: those that queue are let in one by one."""
        self._width = 1

    def on_capacity(self) -> None:
        """An operation of this session ended: AKOOL may have room again."""
        if self._opening is not None and self._opens_early:
            self._opening.cancel()
            self._open()

    async def enter(self, *, is_retry: bool) -> None:
        """Wait for a turn."""
        if self._has_room:
            self._inside += 1
            return
        turn = asyncio.get_running_loop().create_future()
        if is_retry:
            self._queue.appendleft(turn)
        else:
            self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was this one's turn just now
                self.leave()
            raise

    def leave(self) -> None:
        """Pass the turn on."""
        self._inside -= 1
        self._let_in()

    def _close(self, until: float, *, opens_early: bool) -> None:
        if self._opening is not None:  # of two refusals the longer wait counts, and one that was asked for
            until, opens_early = max(until, self._opening.when()), opens_early and self._opens_early
            self._opening.cancel()
        self._opens_early = opens_early
        self._opening = asyncio.get_running_loop().call_at(until, self._open)

    def _open(self) -> None:
        self._opening = None
        self._let_in()

    def _let_in(self) -> None:
        while self._queue and self._has_room:
            turn = self._queue.popleft()
            if not turn.done():
                self._inside += 1
                turn.set_result(None)

    @property
    def _has_room(self) -> bool:
        return self._inside < self._width and self._opening is None


class Turn:
    """An async context manager around one POST."""

    __slots__ = ("_is_retry", "_ramp")

    def __init__(self, ramp: Ramp, *, is_retry: bool) -> None:
        self._ramp = ramp
        self._is_retry = is_retry

    async def __aenter__(self) -> None:
        await self._ramp.enter(is_retry=self._is_retry)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ramp.leave()
