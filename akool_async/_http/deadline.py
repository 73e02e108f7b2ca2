"""Deadlines of requests, which also work in a process that was stopped meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

GRACE_LIMIT: Final = 1.0
"""Seconds. Reading a reply that has arrived takes far less."""


class Deadlines:
    """Gives each request the same number of seconds.

    All deadlines are due in the order in which they began, so that one timer serves all of them. ``asyncio.timeout``
    would take 10 us per request, and a timer for each 4 us.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._running: dict[Deadline, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> Deadline:
        """Return the deadline of a request that begins now: a context manager around the request."""
        return Deadline(self, asyncio.get_running_loop().time() + self._seconds)

    def add(self, deadline: Deadline) -> None:
        """Add the deadline of a request that has begun."""
        self._running[deadline] = None
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_at(deadline.due, self._check)

    def remove(self, deadline: Deadline) -> None:
        """Remove the deadline of a request that has ended."""
        self._running.pop(deadline, None)

    def _check(self) -> None:
        """End the requests that are due, and set the timer for the next one."""
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
    """Raises ``TimeoutError`` like ``asyncio.timeout``, but first reads a reply that has arrived.

    When a stopped process (Ctrl-Z, a paused container) continues, the reply may be in the socket although the deadline
    has passed. So if the deadline is noticed late, the request gets as much more time, up to a second, and at least one
    more round of the event loop.
    """

    __slots__ = ("_cancel_requests", "_deadlines", "_is_over", "_task", "due")

    def __init__(self, deadlines: Deadlines, due: float) -> None:
        self.due = due
        """The time of the deadline, on the event loop's clock."""
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
        # If somebody else has also cancelled the task, it stays cancelled.
        if (
            self._is_over
            and task is not None
            and task.uncancel() <= self._cancel_requests
            and exc_type is asyncio.CancelledError
        ):
            raise TimeoutError from exc

    def end(self) -> None:
        """End the request with a ``TimeoutError``, unless it has ended meanwhile."""
        if self._task is not None:
            self._is_over = True
            self._task.cancel()
