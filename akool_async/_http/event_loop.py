"""Helpers for the event loop: a session's own loop, shared waits, and exceptions that no task retrieves."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from akool_async.errors import ConfigurationError

T = TypeVar("T")


class HomeLoop:
    """The event loop in which a session was first used."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def require(self) -> None:
        """Check that this is the session's event loop. The first call decides which one that is.

        Raises:
            ConfigurationError: This is another event loop, or none is running.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if self._loop is None:
            self._loop = running
        if running is None or running is not self._loop:
            raise ConfigurationError(
                "a session belongs to the event loop in which it was first used: make one in each loop; from another "
                "thread, pass coroutines to asyncio.run_coroutine_threadsafe(coroutine, loop), and notify to "
                "loop.call_soon_threadsafe"
            )


class Waiters(list["asyncio.Future[T]"]):
    """The waiters for one value. Each awaits a separate future, so that cancelling one does not disturb the others.

    ``asyncio.shield`` around a shared future would take at least 0.6 KiB more for each waiter.
    """

    __slots__ = ()

    def add(self) -> asyncio.Future[T]:
        """Add a waiter and return the future to await. The caller removes it in the end."""
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.append(waiter)
        return waiter

    def notify(self, value: T) -> None:
        """Hand the value to all current waiters."""
        for waiter in self:
            if not waiter.done():
                waiter.set_result(value)


def retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a task, so that asyncio does not log it if nobody awaits the task."""
    if not task.cancelled():
        task.exception()
