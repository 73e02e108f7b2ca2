"""Ctrl-C for a command: each one cancels it, and none is raised into what happens to run."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run(command: Coroutine[Any, Any, T]) -> T:
    """What the command returns.

    asyncio's own handling raises KeyboardInterrupt at the second Ctrl-C, wherever the program is: also between a reply
    and the writing of its id.

    Raises:
        asyncio.CancelledError, KeyboardInterrupt: it was interrupted.
    """
    return asyncio.run(_interruptible(command))


async def _interruptible(command: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    is_told = False

    def cancel() -> None:
        nonlocal is_told
        is_told = False
        if task is not None:
            task.cancel()

    def interrupt(*_: object) -> None:
        nonlocal is_told
        if is_told:  # the loop has not heard of the one before: it is stuck, as in a write that nobody reads
            raise KeyboardInterrupt
        is_told = True
        loop.call_soon_threadsafe(cancel)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        return await command
    finally:
        signal.signal(signal.SIGINT, before)
