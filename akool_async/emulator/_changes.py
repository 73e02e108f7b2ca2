"""Something that threads change, and that event loops wait for."""

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
    """A lock for whoever changes it, and a wake-up for whoever waits, in whichever thread and event loop.

    A change costs no more than the lock while nobody waits.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._wake_ups: list[Callable[[], None]] = []

    def __reduce__(self) -> tuple[type[Changes], tuple[()]]:
        return type(self), ()  # what is copied or pickled has a lock of its own, and nobody waits for it yet

    @contextmanager
    def changing(self) -> Iterator[None]:
        """Hold the lock, and wake all that wait at the end of the block."""
        with self.lock:
            try:
                yield
            finally:
                for wake_up in self._wake_ups:
                    wake_up()

    async def until(self, condition: Callable[[], Answer]) -> Answer:
        """What ``condition`` returns once that is true; asked now, and after each change, with the lock held."""
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def wake_up() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
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
