"""The end of a request's time, for a process that may sleep through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

GRACE_LIMIT: Final = 1.0
"""Seconds: far more than it takes to read a reply that has arrived."""


class Deadlines:
    """Gives each request the same number of seconds.

    All are due in the order in which they began, so one timer serves them all: ``asyncio.timeout`` would cost 10 us a
    request, and a timer for each 4 us.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> Deadline:
        """The deadline of a request that begins now, to be used as a context manager around it."""
        return Deadline(self, asyncio.get_running_loop().time() + self._seconds)

    def add(self, deadline: Deadline) -> None:
        """A request has begun."""
        self._running[deadline] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(deadline.due, self._check)

    def remove(self, deadline: Deadline) -> None:
        """A request has ended."""
        self._running.pop(deadline, None)

    def _check(self) -> None:
        """End those that are due, and set the timer for the next one."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        for deadline in list(self._running):
            if deadline.due > now:
                self._timer = loop.call_at(deadline.due, self._check)
                return
            del self._running[deadline]
            loop.call_later(min(now - deadline.due, GRACE_LIMIT), deadline.end)


class Deadline:
    """Raises ``TimeoutError`` like ``asyncio.timeout``, but reads a reply that has arrived first.

    A process that is stopped (Ctrl-Z, a paused container) or busy finds the reply in the socket and its time over in
    the same moment. If the deadline is noticed late, the request therefore gets the same time again, up to a second: at
    least one more round of the event loop.
    """

    __slots__ = ("_cancel_requests", "_deadlines", "_is_over", "_task", "due")

    def __init__(self, deadlines: Deadlines, due: float) -> None:
        self.due = due
        """On the event loop's clock."""
        self._deadlines = deadlines
        self._is_over = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a request is awaited in a task
        self._task: asyncio.Task[object] | None = task
        self._cancel_requests = task.cancelling()
        self._deadlines.add(self)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._deadlines.remove(self)
        task, self._task = self._task, None
        # A cancellation that somebody else asked for as well stays one.
        if (
            self._is_over
            and task is not None
            and task.uncancel() <= self._cancel_requests
            and exc_type is asyncio.CancelledError
        ):
            raise TimeoutError from exc

    def end(self) -> None:
        """The time is over, unless the request has ended meanwhile."""
        if self._task is not None:
            self._is_over = True
            self._task.cancel()
