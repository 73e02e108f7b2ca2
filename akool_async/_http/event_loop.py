"""The event loop that a session belongs to: its connections, timers and locks work in no other."""

from __future__ import annotations

import asyncio
from typing import Any

from akool_async.errors import ConfigurationError


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


def retrieve_exception(task: asyncio.Task[Any]) -> None:
    """Retrieve the exception of a task that nobody may wait for any more, so that asyncio does not log it."""
    if not task.cancelled():
        task.exception()
