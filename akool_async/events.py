"""What an observer receives: typed values, in the order in which things happen.

A press or a prompt begins with :class:`Queued`. It goes on with :class:`Pressed` (for each image of a batch), or ends
with :class:`Refused` or :class:`Unknown`. A press that a fan-out refuses before it queues has a :class:`Refused` alone.
An operation that was pressed ends with one :class:`Finished`, unless nobody polls for it any more.

A coroutine function is started in that order, each event in a task of its own; what it awaits may change the order.

``AkoolSession(observer=...)`` takes a function, or a coroutine function, of one event::

    def observer(event: events.Event) -> None:
        match event:
            case events.Finished(operation_id=id, seconds=seconds):
                print(id, "took", seconds)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen

from akool_async.models import ButtonPress, ImageStatus  # noqa: TC001 - the annotations are public values


@frozen(kw_only=True)
class Queued:
    """A press or a prompt waits for its turn; nothing was sent yet."""

    press: ButtonPress | None
    """None for a prompt."""


@frozen(kw_only=True)
class Pressed:
    """AKOOL accepted a press or one image of a prompt."""

    operation_id: str
    press: ButtonPress | None
    """None for a prompt."""
    credits: float | None
    """Credits charged, as the reply reports them (``deduction_credit``); None if it does not."""


@frozen(kw_only=True)
class Refused:
    """A press or a prompt ended without being accepted. Nothing was charged."""

    press: ButtonPress | None
    """None for a prompt."""
    error: Exception | None
    """What its callers get; None if all of them were cancelled before anything was sent."""


@frozen(kw_only=True)
class Polled:
    """Get Image Result answered a poll."""

    operation_id: str
    kind: str | None
    """"upscale", "variation" or "prompt"; None for an operation that was taken up by its bare id."""
    status: ImageStatus | int | None
    """``image_status``."""
    age: float
    """Seconds since AKOOL accepted the press, or since this session began to wait for one that it did not press."""


@frozen(kw_only=True)
class Finished:
    """Status 3 or 4 was seen. Each operation has this event once in a session."""

    operation_id: str
    kind: str | None
    """As for :class:`Polled`."""
    status: ImageStatus | int | None
    """3 completed, 4 failed."""
    seconds: float
    """Seconds from AKOOL's reply to the press, or from the beginning of the wait, until the end was noticed."""
    duration: float | None
    """Seconds that the job took by AKOOL's clock; None if its result does not tell, or the polls saw otherwise."""
    polls: int
    """Requests of Get Image Result for this operation."""
    lateness: float
    """Seconds between the end and the poll that noticed it: by AKOOL's clock or its webhook, otherwise half the time
    since the poll before, which is its mean.
    """


@frozen(kw_only=True)
class Unknown:
    """The reply to a POST that spends credits was lost, and nothing showed what became of it."""

    press: ButtonPress | None
    """None for a prompt."""
    charged: bool | None
    """True if AKOOL was found to have accepted it, None if that is not known."""


@frozen(kw_only=True)
class Throttled:
    """AKOOL asked for a slower pace: HTTP 429, which slows every request, or 1005, which slows presses and prompts."""

    code: int
    """AKOOL's code, or 429."""
    seconds: float
    """Seconds for which nothing of that sort is sent."""


Event = Queued | Pressed | Refused | Polled | Finished | Unknown | Throttled
Observer = Callable[[Event], Awaitable[None] | None]

__all__ = ["Event", "Finished", "Observer", "Polled", "Pressed", "Queued", "Refused", "Throttled", "Unknown"]
