"""Ctrl-C, SIGTERM and SIGHUP (the terminal was closed): each cancels the command and is raised nowhere in it.

A signal that was ignored when the command began, as SIGHUP under nohup, stays ignored.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from types import FrameType

T = TypeVar("T")

CTRL_C: Final = signal.SIGINT
ENDINGS: Final = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a command once; a closed terminal sends SIGHUP more than once. Windows has no SIGHUP."""


def run(command: Coroutine[Any, Any, T]) -> T:
    """Run a command to its end.

    asyncio's own handling raises KeyboardInterrupt at the second Ctrl-C, wherever the program is, also between a reply
    and the writing of its id.

    Raises:
        asyncio.CancelledError, KeyboardInterrupt: it was interrupted.
    """
    before = {number: signal.getsignal(number) for number in ENDINGS}
    try:
        return asyncio.run(_interruptible(command))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_undisturbed() -> None:
    """From now on SIGTERM and SIGHUP change nothing, because the command is ending. Ctrl-C still does not wait."""
    _ignore(ENDINGS)


async def is_stopped_before(work: asyncio.Future[Any]) -> bool:
    """Wait for some work, and return whether the command was interrupted first. The work itself goes on.

    After an interruption no signal changes anything any more.

    Raises:
        Exception: the work's own error.
    """
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        _ignore((CTRL_C, *ENDINGS))
        _this_task().uncancel()
        return True
    return False


@contextmanager
def uncaught() -> Iterator[None]:
    """For a question to a person, before anything is spent: a signal ends the command immediately.

    Python's own handler of Ctrl-C would not: what comes just before the answer is read waits for the answer.
    """
    ours = {number: signal.getsignal(number) for number in (CTRL_C, *ENDINGS)}
    for number in filter(_is_caught, ours):
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)


async def _interruptible(command: Coroutine[Any, Any, T]) -> T:
    loop, task = asyncio.get_running_loop(), _this_task()
    is_waiting = False

    def cancel() -> None:
        nonlocal is_waiting
        is_waiting = False
        task.cancel()

    def interrupt(number: int, _: FrameType | None) -> None:
        nonlocal is_waiting
        if is_waiting and number == CTRL_C:  # the loop is stuck, as in a write that nobody reads
            raise KeyboardInterrupt
        is_waiting = True
        end_undisturbed()
        loop.call_soon_threadsafe(cancel)

    before = signal.getsignal(CTRL_C)
    for number in filter(_is_caught, (CTRL_C, *ENDINGS)):
        signal.signal(number, interrupt)
    try:
        return await command
    finally:
        end_undisturbed()
        signal.signal(CTRL_C, before)


def _this_task() -> asyncio.Task[Any]:
    return cast("asyncio.Task[Any]", asyncio.current_task())  # never None in a coroutine


def _is_caught(number: int) -> bool:
    return signal.getsignal(number) is not signal.SIG_IGN


def _ignore(numbers: tuple[int, ...]) -> None:
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)
