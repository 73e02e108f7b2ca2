"""Limits how many POSTs that spend credits are under way.

At first a few are, so that a bad key or an empty account costs a few refusals and not thousands. Each POST that AKOOL
accepts allows one more. If AKOOL refuses with 1005 or 429, nothing is sent for a while, and then one POST at a time.
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
"""Enough for a hundred presses per second. At most this many POSTs are refused when the credit runs out."""


@define
class ThrottledRetry:
    """Decides when to resend a POST that AKOOL refused with 1005 or 429."""

    _timing: Timing
    _since: float | None = None
    _due: float = 0.0
    _waits: Iterator[float] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._waits = self._new_waits()

    def pause_after(self, error: AkoolError, now: float) -> float | None:
        """Return the seconds to wait before the next try; None if AKOOL has refused everything for too long."""
        if self._since is None or now > self._due + self._timing.throttle_reset:
            self._since = now
            self._waits = self._new_waits()
        pause = max(next(self._waits), error.retry_after or 0.0)
        self._due = now + pause
        return pause if now + pause - self._since <= self._timing.throttle_timeout else None

    def _new_waits(self) -> Iterator[float]:
        return growing_waits(self._timing.throttle_delay, self._timing.max_retry_delay)


class Ramp:
    """Gives turns to POSTs. It widens when AKOOL accepts, and closes for a pause when AKOOL answers 1005 or 429."""

    def __init__(self, timing: Timing) -> None:
        self._timing = timing
        self._width = FIRST_WIDTH
        self._inside = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._retry: ThrottledRetry | None = None
        self._opening: asyncio.TimerHandle | None = None  # None while it is open
        self._opens_early = False

    def turn(self, *, is_retry: bool = False) -> Turn:
        """Return a context manager that waits for a turn and keeps it. Retries go before POSTs that were not sent."""
        return Turn(self, is_retry=is_retry)

    def on_success(self) -> None:
        """Widen: AKOOL accepted a POST."""
        self._width = min(self._width + 1, MAX_WIDTH)
        self._retry = None

    def on_throttled(self, error: AkoolError) -> float | None:
        """Close for a pause, since AKOOL answered 1005 or 429.

        Without a Retry-After, the end of an operation of this session ends the pause.

        Returns:
            The seconds of the pause; None if AKOOL has refused everything for too long.
        """
        self._width = 1
        self._retry = self._retry or ThrottledRetry(self._timing)
        loop = asyncio.get_running_loop()
        pause = self._retry.pause_after(error, loop.time())
        if pause is not None:
            self._close(loop.time() + pause, opens_early=error.retry_after is None)
        return pause

    def on_account_error(self) -> None:
        """Let the queue in one by one: AKOOL refused for a reason that concerns the whole account."""
        self._width = 1

    def on_capacity(self) -> None:
        """End a pause without Retry-After: an operation of this session ended, so AKOOL may have room again."""
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
            if turn.done() and not turn.cancelled():  # the turn came just before the cancellation
                self.leave()
            raise

    def leave(self) -> None:
        """Pass the turn on."""
        self._inside -= 1
        self._let_in()

    def _close(self, until: float, *, opens_early: bool) -> None:
        if self._opening is not None:  # after several refusals, the longest wait counts, and any Retry-After
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
