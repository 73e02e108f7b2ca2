"""The events that an observer receives, in the order in which they happen.

A press or a prompt begins with :class:`Queued`. Then comes :class:`Accepted` (for each image of a batch),
:class:`Refused` or :class:`OutcomeUnknown`. A prompt also has a :class:`Sending` before each POST, and a
:class:`Deferred` if AKOOL did not accept that POST and it is sent again later. A press that a fan-out refuses before it
queues has only a :class:`Refused`.
An accepted operation has one :class:`Finished` when a poll sees its end. It has none if its polls end earlier.

A coroutine function is started in this order, once for each event, each in a separate task. Tasks that await may
overtake each other.

``AkoolSession(observer=...)`` takes a function, or a coroutine function, of one event::

    def observer(event: events.Event) -> None:
        match event:
            case events.Finished(operation_id=id, seconds=seconds):
                print(id, "took", seconds)

.. include:: _limits/README.md
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import attrs
from attrs import frozen

from akool_async.models import ImageStatus

if TYPE_CHECKING:
    from akool_async.items import ButtonPress, Prompt, SourcePrompt


@frozen(kw_only=True)
class Queued:
    """A press or a prompt waits for its turn; nothing has been sent."""

    press: ButtonPress | None = None
    """None for a prompt."""
    prompt: Prompt | SourcePrompt | None = None
    """None for a press."""


@frozen(kw_only=True)
class Sending:
    """A prompt is about to be sent: from now on AKOOL may accept it."""

    prompt: Prompt | SourcePrompt


@frozen(kw_only=True)
class Deferred:
    """AKOOL did not accept a prompt that was sent, and charged nothing. It is sent again later."""

    prompt: Prompt | SourcePrompt


@frozen(kw_only=True)
class Accepted:
    """AKOOL accepted a press or one image of a prompt."""

    operation_id: str
    press: ButtonPress | None = None
    """None for a prompt."""
    prompt: Prompt | SourcePrompt | None = None
    """None for a press."""
    credits: float | None
    """Credits charged, as the reply reports them (``deduction_credit``); None if it does not."""


@frozen(kw_only=True)
class Refused:
    """A press or a prompt ended without being accepted. Nothing was charged."""

    press: ButtonPress | None = None
    """None for a prompt, and for a press whose source image was not made."""
    prompt: Prompt | SourcePrompt | None = None
    """None for a press."""
    error: Exception | None
    """The error that its callers get; None if all of them were cancelled before anything was sent."""


@frozen(kw_only=True)
class Polled:
    """Get Image Result answered a poll."""

    operation_id: str
    kind: str | None
    """"upscale", "variation" or "prompt"; None if only the id of the operation is known."""
    status: ImageStatus | int | None
    """AKOOL's ``image_status``; None if the reply has none."""
    age: float
    """Seconds since AKOOL accepted the operation; for one that this session did not submit, since it began to wait."""


@frozen(kw_only=True)
class Finished:
    """A poll saw status 3 or 4. Each operation has this event once in a session."""

    operation_id: str
    kind: str | None
    """"upscale", "variation" or "prompt"; None if only the id of the operation is known."""
    status: ImageStatus | int | None
    """3 completed, 4 failed."""
    seconds: float
    """Seconds until a poll saw the end, counted like :attr:`Polled.age`."""
    duration: float | None
    """Seconds that the job took by AKOOL's clock; None if the result does not show it, or if the polls contradict."""
    polls: int
    """Polls of this operation (requests of Get Image Result)."""
    detection_delay: float
    """Seconds between the end and the poll that saw it. The time of the end is taken from the webhook or from AKOOL's
    clock. If neither is known, this is half the time since the poll before. 0 if this session did not submit it.
    """


@frozen(kw_only=True)
class OutcomeUnknown:
    """The reply to a POST that spends credits was lost, and its id was not found."""

    press: ButtonPress | None = None
    """None for a prompt."""
    prompt: Prompt | SourcePrompt | None = None
    """None for a press."""
    charged: bool | None
    """True if AKOOL accepted it and charged for it, None if that is not known."""


@frozen(kw_only=True)
class Throttled:
    """AKOOL asked for a slower pace: HTTP 429, which slows every request, or 1005, which slows presses and prompts."""

    code: int
    """AKOOL's code, or 429."""
    seconds: float
    """Seconds during which these are not sent."""


Event = Queued | Sending | Deferred | Accepted | Refused | Polled | Finished | OutcomeUnknown | Throttled
"""Any event."""
Observer = Callable[[Event], Awaitable[None] | None]
"""A function, or a coroutine function, of one event."""

__all__ = [
    "Accepted",
    "Deferred",
    "Event",
    "Finished",
    "Observer",
    "OutcomeUnknown",
    "Polled",
    "Queued",
    "Refused",
    "Sending",
    "Throttled",
]

logger = logging.getLogger("akool_async")

MAX_PENDING: Final = 10_000
"""Maximum number of events that wait for a slow asynchronous observer. Later ones are dropped."""


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
    detection_delay: float = 0.0

    def add(self, event: Event) -> None:
        """Count one event."""
        match event:
            case Polled():
                self.polls += 1
            case Accepted():
                self.pressed += 1
            case Finished():
                self.finished += 1
                self.failed += event.status == ImageStatus.FAILED
                self.polls_of_finished += event.polls
                self.duration += event.seconds - event.detection_delay if event.duration is None else event.duration
                self.detection_delay += event.detection_delay
            case Refused():
                self.refused += 1
            case OutcomeUnknown():
                self.unknown += 1
            case Throttled():
                self.throttled += 1


class Reporter:
    """Counts and logs events, and calls the observer. A failing or slow observer does not disturb the session."""

    def __init__(self, observer: Observer | None) -> None:
        self._observer = observer
        self._pending: set[asyncio.Task[None]] = set()
        self._dropped = 0
        self.totals = Totals()

    def report(self, event: Event) -> None:
        """Count an event, log it, and call the observer."""
        self.totals.add(event)
        if logger.isEnabledFor(logging.DEBUG):
            fields = {f"akool_{name}": value for name, value in attrs.asdict(event, recurse=False).items()}
            logger.debug("%s", event, extra={"akool_event": type(event).__name__.lower(), **fields})
        if self._observer is not None:
            self._call(self._observer, event)

    def report_poll(self, operation_id: str, kind: str | None, status: ImageStatus | int | None, age: float) -> None:
        """Report a :class:`Polled`, the most frequent event by far. It is only made if somebody receives it."""
        if self._observer is not None or logger.isEnabledFor(logging.DEBUG):
            self.report(Polled(operation_id=operation_id, kind=kind, status=status, age=age))
        else:
            self.totals.polls += 1

    async def aclose(self, seconds: float) -> None:
        """Let an asynchronous observer finish within ``seconds``."""
        if self._pending:
            _, unfinished = await asyncio.wait(self._pending, timeout=seconds)
            for task in unfinished:
                task.cancel()

    def _call(self, observer: Observer, event: Event) -> None:
        if len(self._pending) >= MAX_PENDING:
            self._dropped += 1
            if self._dropped == 1:
                logger.warning("the observer is too slow: some events are dropped")
            return
        try:
            call = observer(event)
        except (Exception, asyncio.CancelledError):  # the observer itself raised it: nothing is awaited here
            logger.exception("the observer failed at %s", event)
            return
        if inspect.isawaitable(call):
            task = asyncio.ensure_future(_finish(call, event))
            self._pending.add(task)
            task.add_done_callback(self._pending.discard)


async def _finish(call: Awaitable[None], event: Event) -> None:
    try:
        await call
    except Exception:
        logger.exception("the observer failed at %s", event)
