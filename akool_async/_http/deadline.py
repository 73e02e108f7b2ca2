"""The end of a request's time, for a process that may sleep through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

GRACE_LIMIT: Final = 1.0
"""Seconds: far more than it takes to read a reply that has arrived."""


class Deadline:
    """Raises ``TimeoutError`` like ``asyncio.timeout(seconds)``, but reads a reply that has arrived first.

    A process that is stopped (Ctrl-Z, a paused container) or busy finds the reply in the socket and its time over in
    the same moment. If the deadline is noticed late, the request therefore gets the same time again, up to a second: at
    least one more round of the event loop.
    """

    # Not built on asyncio.timeout: its two coroutines and its second timer handle cost 6 us a request.
    __slots__ = ("_cancel_requests", "_due", "_is_over", "_loop", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._due = self._loop.time() + seconds
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a request is awaited in a task
        self._task = task
        self._cancel_requests = task.cancelling()
        self._timer = self._loop.call_at(self._due, self._grant_grace)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # A cancellation that somebody else asked for as well stays one.
        if self._is_over and self._task.uncancel() <= self._cancel_requests and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def _grant_grace(self) -> None:
        seconds_late = self._loop.time() - self._due
        self._timer = self._loop.call_later(min(seconds_late, GRACE_LIMIT), self._end)

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()
