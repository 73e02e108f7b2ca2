"""What is built on the event loop: a session's home, waiting together, and exceptions that nobody retrieves."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from akool_async.errors import ConfigurationError

T = TypeVar("T")


class HomeLoop:
    """The loop in which a session was first used."""

    __slots__ = ("_loop",)

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def require(self) -> None:
        """Return in the session's own event loop, and make the first loop that calls this its own.

        Raises:
            ConfigurationError: this is another event loop, or none runs here.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if self._loop is None:
            self._loop = running
        if running is None or running is not self._loop:
            raise ConfigurationError(
                "a session belongs to the event loop that it was first used in: make one in each loop; from another "
                "thread, hand it coroutines with asyncio.run_coroutine_threadsafe(coroutine, loop), and notify() with "
                "loop.call_soon_threadsafe"
            )


class Waiters(list["asyncio.Future[T]"]):
    """Those who wait for one value: each awaits a future of its own, so that to cancel one disturbs no other.

    ``asyncio.shield`` around a shared future would take at least 0.6 KiB more for each of thousands who wait.
    """

    __slots__ = ()

    def add(self) -> asyncio.Future[T]:
        """One more waits. Returns what it awaits, and removes in the end."""
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.append(waiter)
        return waiter

    def notify(self, value: T) -> None:
        """Hand the value to all who wait now."""
        for waiter in self:
            if not waiter.done():
                waiter.set_result(value)


def retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a task that nobody may wait for any more, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
