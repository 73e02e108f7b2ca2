"""When a request may go out: under the session's rate, and not while AKOOL asked everyone to wait."""

from __future__ import annotations

import asyncio
from typing import Final

import backoff
from aiolimiter import AsyncLimiter

from akool_async.errors import SessionClosedError

SPREAD: Final = 0.2
"""What was held up comes back over this share of the time for which it was held, not all in one moment."""


class RateLimiter:
    """The gate of all requests of a session. Presses go before polls."""

    def __init__(self, max_requests_per_second: float | None) -> None:
        self.rate = max_requests_per_second
        self._one_poll = asyncio.Lock()
        self._no_press_waits = asyncio.Event()
        self._no_press_waits.set()
        self._presses = 0
        self._held_until = 0.0
        self._held_for = 0.0
        self._closed = asyncio.Event()

    @property
    def rate(self) -> float | None:
        """Requests in a second; None for no limit. A new one holds for those that wait already, too."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._rate = rate
        # A bucket for one request: no burst, so that no second ever sees more than the rate.
        self._limiter = None if rate is None else AsyncLimiter(1, 1 / rate)

    def hold(self, seconds: float) -> None:
        """Nothing goes out for ``seconds``."""
        until = asyncio.get_running_loop().time() + seconds
        if until > self._held_until:
            self._held_until, self._held_for = until, seconds

    def close(self) -> None:
        """Whoever is held up is told that the session is closed: nothing was sent."""
        self._closed.set()

    @property
    def is_open(self) -> bool:
        """True where nothing has to be waited for; most requests are spared a coroutine by this."""
        return self._limiter is None and not self._held_until

    @property
    def is_held(self) -> bool:
        """True while AKOOL asked everyone to wait."""
        return bool(self._held_until) and self._held_until > asyncio.get_running_loop().time()

    async def take(self, *, is_press: bool) -> None:
        """Wait for the right to send one request."""
        await self._wait_while_held()
        while (limiter := self._limiter) is not None:
            await (self._take_for_press if is_press else self._take_for_poll)(limiter)
            # While this one queued, AKOOL may have asked to wait, and the rate may have changed.
            if limiter is self._limiter and not self.is_held:
                return
            await self._wait_while_held()

    async def _wait_while_held(self) -> None:
        while (pause := self._held_until - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(pause + backoff.full_jitter(SPREAD * self._held_for)):
                    await self._closed.wait()
            except TimeoutError:
                continue
            raise SessionClosedError("the session was closed before this was sent")
        self._held_until = 0.0

    async def _take_for_press(self, limiter: AsyncLimiter) -> None:
        self._presses += 1
        self._no_press_waits.clear()
        try:
            await limiter.acquire()
        finally:
            self._presses -= 1
            if not self._presses:
                self._no_press_waits.set()

    async def _take_for_poll(self, limiter: AsyncLimiter) -> None:
        async with self._one_poll:  # one at the limiter: a press never finds a queue of polls before it
            await self._no_press_waits.wait()
            await limiter.acquire()
