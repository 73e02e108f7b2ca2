"""Limits the rate of a session's requests, and holds them back while AKOOL asks for a pause."""

from __future__ import annotations

import asyncio
from typing import Final

import backoff
from aiolimiter import AsyncLimiter

from akool_async.errors import SessionClosedError

SPREAD: Final = 0.2
"""After a pause, the waiting requests are spread over this share of its length."""


class RateLimiter:
    """Limits the requests of a session. Presses go before polls."""

    def __init__(self, max_requests_per_second: float | None) -> None:
        self.rate = max_requests_per_second
        self._one_poll = asyncio.Lock()
        self._no_press_waits = asyncio.Event()
        self._no_press_waits.set()
        self._presses = 0
        self._paused_until = 0.0
        self._paused_for = 0.0
        self._closed = asyncio.Event()

    @property
    def rate(self) -> float | None:
        """Maximum requests per second; None for no limit. A new rate also applies to requests that already wait."""
        return self._rate

    @rate.setter
    def rate(self, rate: float | None) -> None:
        self._rate = rate
        # A bucket of one request: no bursts, so that no second has more requests than the rate.
        self._limiter = None if rate is None else AsyncLimiter(1, 1 / rate)

    def pause(self, seconds: float) -> None:
        """Send nothing for ``seconds``."""
        until = asyncio.get_running_loop().time() + seconds
        if until > self._paused_until:
            self._paused_until, self._paused_for = until, seconds

    def close(self) -> None:
        """End every wait with :class:`SessionClosedError`; those requests are not sent."""
        self._closed.set()

    @property
    def must_acquire(self) -> bool:
        """True if a request has to await :meth:`acquire`. Most need not, which saves a coroutine."""
        return self._limiter is not None or self._paused_until > 0

    @property
    def is_paused(self) -> bool:
        """True during a pause."""
        return self._paused_until > 0 and self._paused_until > asyncio.get_running_loop().time()

    async def acquire(self, *, is_press: bool) -> None:
        """Wait until one request may be sent."""
        await self._wait_while_paused()
        while (limiter := self._limiter) is not None:
            await (self._acquire_for_press if is_press else self._acquire_for_poll)(limiter)
            # While this request queued, AKOOL may have asked for a pause, and the rate may have changed.
            if limiter is self._limiter and not self.is_paused:
                return
            await self._wait_while_paused()

    async def _wait_while_paused(self) -> None:
        while (seconds := self._paused_until - asyncio.get_running_loop().time()) > 0:
            try:
                async with asyncio.timeout(seconds + backoff.full_jitter(SPREAD * self._paused_for)):
                    await self._closed.wait()
            except TimeoutError:
                continue
            raise SessionClosedError("the session was closed before this was sent")
        self._paused_until = 0.0

    async def _acquire_for_press(self, limiter: AsyncLimiter) -> None:
        self._presses += 1
        self._no_press_waits.clear()
        try:
            await limiter.acquire()
        finally:
            self._presses -= 1
            if not self._presses:
                self._no_press_waits.set()

    async def _acquire_for_poll(self, limiter: AsyncLimiter) -> None:
        async with self._one_poll:  # a single poll queues at the limiter, so that a press overtakes the others
            await self._no_press_waits.wait()
            await limiter.acquire()
