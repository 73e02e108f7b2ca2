"""A lock for state that threads change, whose changes event loops can wait for."""

from __future__ import annotations

import asyncio
import inspect
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Answer = TypeVar("Answer")


class Changes:
    """A lock for changes, and a way to wait for them, in any thread and event loop.

    While there are no waiters, a change takes no longer than the lock.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._wake_ups: list[Callable[[], None]] = []

    def __reduce__(self) -> tuple[type[Changes], tuple[()]]:
        return type(self), ()  # a copy has a new lock and no waiters

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock, and wake all waiters at the end of the block."""
        with self.lock:
            try:
                yield
            finally:
                for wake_up in self._wake_ups:
                    wake_up()

    async def until(self, condition: Callable[[], Answer]) -> Answer:
        """Wait until ``condition`` is true, and return its value. It is called now and after each change, locked."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake_up() -> None:
            with suppress(RuntimeError):  # the loop is closed, and so the wait is over
                loop.call_soon_threadsafe(changed.set)

        with self.lock:
            self._wake_ups.append(wake_up)
        try:
            while True:
                changed.clear()
                with self.lock:
                    answer = condition()
                if inspect.isawaitable(answer):
                    raise TypeError("condition must be a plain function: an awaitable is always true")
                if answer:
                    return answer
                await changed.wait()
        finally:
            with self.lock:
                self._wake_ups.remove(wake_up)
