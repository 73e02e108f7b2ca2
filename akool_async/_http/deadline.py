"""The end of a request's time, for a process that may sleep through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

LONGEST_GRACE: Final = 1.0
"""Seconds: far more than reading a reply takes that has arrived."""


class Deadline:
    """As ``asyncio.timeout(seconds)``, but if its end is noticed late, what has arrived meanwhile is read first.

    A process that is stopped (Ctrl-Z, a paused container) or busy finds the reply in the socket and the time over in
    the same moment. So it gets as much time again as the end was noticed late, up to a second: at least one more round
    of the event loop.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + seconds
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._timer = self._loop.call_at(self._due, self._be_lenient)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        await self._timeout.__aexit__(exc_type, exc, traceback)

    def _be_lenient(self) -> None:
        late = self._loop.time() - self._due
        self._timer = self._loop.call_later(min(late, LONGEST_GRACE), self._end)

    def _end(self) -> None:
        self._timeout.reschedule(self._due)
