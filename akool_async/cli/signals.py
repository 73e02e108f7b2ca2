"""Ctrl-C, SIGTERM and SIGHUP (a closed terminal) cancel the command, and raise no exception at an arbitrary line.

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
"""Signals of which only the first counts: a closed terminal sends SIGHUP more than once. Windows has no SIGHUP."""


def run(command: Coroutine[Any, Any, T]) -> T:
    """Run a command and return its result.

    asyncio's own handler is not used: at the second Ctrl-C it raises KeyboardInterrupt wherever the program is, even
    between a reply and the writing of its id.

    Raises:
        asyncio.CancelledError, KeyboardInterrupt: The command was interrupted.
    """
    before = {number: signal.getsignal(number) for number in ENDINGS}
    try:
        return asyncio.run(_interruptible(command))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def end_undisturbed() -> None:
    """Ignore SIGTERM and SIGHUP from now on, because the command is ending. Ctrl-C still ends it immediately."""
    _ignore(ENDINGS)


async def is_stopped_before(work: asyncio.Future[Any]) -> bool:
    """Wait for some work, and return whether the command was interrupted first. The work itself continues.

    After an interruption all signals are ignored.

    Raises:
        Exception: The error of the work.
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
    """Let a signal end the command immediately, for a question to the user before anything is spent.

    Python's own handler of Ctrl-C does not: a signal that comes just before the read is only handled after the answer.
    """
    handlers = {number: signal.getsignal(number) for number in (CTRL_C, *ENDINGS)}
    for number in filter(_is_caught, handlers):
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in handlers.items():
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
        if is_waiting and number == CTRL_C:  # the loop is blocked, as by a write to a pipe that nobody reads
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
