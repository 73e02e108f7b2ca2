"""What an observer is told of a session: typed values, in the order in which things happen.

A coroutine function is begun in that order, each event in a task of its own; what it awaits may change the order.

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
    credits: float | None
    """Credits charged (``deduction_credit``), where AKOOL told them."""


@frozen(kw_only=True)
class Polled:
    """Get Image Result answered a poll."""

    operation_id: str
    kind: str | None
    """"upscale", "variation" or "prompt"; None for an operation that was taken up by its bare id."""
    status: ImageStatus | int | None
    age: float
    """Seconds since the press, or since this session began to wait for an operation that it did not press."""


@frozen(kw_only=True)
class Finished:
    """Status 3 or 4 was seen for the first time."""

    operation_id: str
    kind: str | None
    status: ImageStatus | int | None
    seconds: float
    """From the press, or from the beginning of the wait, until the end was noticed."""
    polls: int
    lateness: float
    """Seconds between the end and the look that noticed it: half the time since the look before, which is its mean."""


@frozen(kw_only=True)
class Unknown:
    """The reply to a POST that spends credits was lost, and what became of it could not be mended."""

    press: ButtonPress | None
    charged: bool | None


@frozen(kw_only=True)
class Throttled:
    """AKOOL asked for a slower pace: HTTP 429, which slows every request, or 1005, which slows presses and prompts."""

    code: int
    seconds: float
    """How long nothing of that sort is sent."""


Event = Queued | Pressed | Polled | Finished | Unknown | Throttled
Observer = Callable[[Event], Awaitable[None] | None]

__all__ = ["Event", "Finished", "Observer", "Polled", "Pressed", "Queued", "Throttled", "Unknown"]
