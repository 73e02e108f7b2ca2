"""What happens in a session, told to its observer and its log, and counted."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, Final

import attrs

from akool_async.events import Finished, Polled, Pressed, Refused, Throttled, Unknown
from akool_async.models import ImageStatus

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from akool_async.events import Event, Observer

logger = logging.getLogger("akool_async")

MOST_PENDING: Final = 10_000
"""Events that a slow asynchronous observer may have before it; what comes then it is not told."""


@attrs.define
class Totals:
    """Counts since the session was made."""

    pressed: int = 0
    finished: int = 0
    failed: int = 0
    refused: int = 0
    unknown: int = 0
    throttled: int = 0
    polls: int = 0
    polls_of_finished: int = 0
    duration: float = 0.0
    lateness: float = 0.0

    def add(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Polled():
                self.polls += 1
            case Pressed():
                self.pressed += 1
            case Finished():
                self.finished += 1
                self.failed += event.status == ImageStatus.FAILED
                self.polls_of_finished += event.polls
                self.duration += event.seconds - event.lateness if event.duration is None else event.duration
                self.lateness += event.lateness
            case Refused():
                self.refused += 1
            case Unknown():
                self.unknown += 1
            case Throttled():
                self.throttled += 1


class Reporter:
    """Takes what happens; an observer that fails, or is slow, harms nobody."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._pending: set[asyncio.Task[None]] = set()
        self._dropped = 0
        self.totals = Totals()

    def report(self, event: Event) -> None:
        """Count it, log it, and tell the observer."""
        self.totals.add(event)
        if logger.isEnabledFor(logging.DEBUG):
            fields = {f"akool_{name}": value for name, value in attrs.asdict(event, recurse=False).items()}
            logger.debug("%s", event, extra={"akool_event": type(event).__name__.lower(), **fields})
        if self._observer is not None:
            self._tell(self._observer, event)

    def report_poll(self, operation_id: str, kind: str | None, status: ImageStatus | int | None, age: float) -> None:
        """A :class:`Polled`, by far the most frequent event, which is only made where somebody takes it."""
        if self._observer is not None or logger.isEnabledFor(logging.DEBUG):
            self.report(Polled(operation_id=operation_id, kind=kind, status=status, age=age))
        else:
            self.totals.polls += 1

    async def aclose(self, patience: float) -> None:
        """Let an asynchronous observer take in what it was told, within ``patience`` seconds."""
        if self._pending:
            _, late = await asyncio.wait(self._pending, timeout=patience)
            for task in late:
                task.cancel()

    def _tell(self, observer: Observer, event: Event) -> None:
        if len(self._pending) >= MOST_PENDING:
            self._dropped += 1
            if self._dropped == 1:
                logger.warning("the observer is too slow: it is not told of everything any more")
            return
        try:
            told = observer(event)
        except (Exception, asyncio.CancelledError):  # of a future of the observer's own: nobody cancels here
            logger.exception("the observer failed at %s", event)
            return
        if inspect.isawaitable(told):
            task = asyncio.ensure_future(_finish_telling(told, event))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)


async def _finish_telling(told: Awaitable[None], event: Event) -> None:
    try:
        await told
    except Exception:
        logger.exception("the observer failed at %s", event)
