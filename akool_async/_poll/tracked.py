"""What a session knows of one operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from akool_async._poll.listeners import Listeners
from akool_async._poll.webhook_statistics import MOST_PER_OPERATION

if TYPE_CHECKING:
    import asyncio

    from akool_async._http.endpoints import Snapshot
    from akool_async._limits.slots import Slot
    from akool_async.models import Button, ImageResult, ImageStatus

CLOCK_PRECISION: Final = 2.0
"""Seconds by which AKOOL's two clocks, of ``create_time`` and of the file's name, and the network may disagree."""


class TrackedOperation:
    """What is known of one operation, and who is to be told."""

    __slots__ = (
        "__weakref__",
        "alarm",
        "began",
        "button",
        "called_back",
        "changes",
        "end",
        "hinted",
        "hinted_at",
        "hints",
        "id",
        "kind",
        "last_look",
        "latest",
        "learned",
        "looks",
        "loop",
        "pressed_here",
        "relies_on_hint",
        "running_at",
        "settled",
        "slot",
        "waiters",
    )

    def __init__(self, image_id: str, button: Button | None) -> None:
        self.id = image_id
        self.button = button
        self.kind = None if button is None else button.kind
        self.pressed_here = False
        self.began: float | None = None  # on the event loop's clock; None until pressed or polled here
        self.looks = 0
        self.running_at = 0.0  # its age when it was last seen running
        self.last_look: Snapshot | None = None
        self.latest: ImageResult | None = None
        self.learned = False  # the schedule was told how long it took
        self.settled = False  # final, and its URLs are there: never to be asked for again
        self.slot: Slot | None = None
        self.waiters = 0
        self.called_back = False  # AKOOL was given this session's webhook_url
        self.hints = 0  # how often a webhook told that it ended
        self.hinted = False  # the next look is due now
        self.hinted_at = 0.0  # its age when a webhook first told that it ended
        self.relies_on_hint = False  # its next look is a fallback
        self.alarm: asyncio.Future[None] | None = None  # there while its loop rests
        self.loop: asyncio.Task[None] | None = None
        self.end: Listeners[BaseException | None] = Listeners()
        self.changes: Listeners[BaseException | None] | None = None

    @property
    def is_final(self) -> bool:
        """True once status 3 or 4 was seen."""
        return self.latest is not None and self.latest.is_final

    @property
    def status(self) -> ImageStatus | int | None:
        """The status last seen."""
        return None if self.latest is None else self.latest.status

    def see(self, result: ImageResult) -> None:
        """Take in a newer snapshot, unless it takes back an end or a URL: then a replica that lags behind answered."""
        known = self.latest
        if known is not None and known.is_final and (not result.is_final or len(result.urls) < len(known.urls)):
            return
        self.latest = result
        if result.is_final:
            self.release_slot()
        if self.changes is not None:
            self.changes.tell(None)

    def exact_duration(self, result: ImageResult, age: float) -> float | None:
        """Seconds that it took by AKOOL's clock; None unless that fits what the polls saw.

        ``age`` is that of the poll that saw the end. A press that was not made here has no age.
        """
        if not self.pressed_here or result.created_at is None or result.finished_at is None:
            return None
        seconds = (result.finished_at - result.created_at).total_seconds()
        fits = seconds > 0 and self.running_at - CLOCK_PRECISION <= seconds <= age + CLOCK_PRECISION
        return min(max(seconds, self.running_at), age) if fits else None

    def tell_end(self, error: BaseException | None) -> None:
        """Tell everyone that the loop is over, and what ended it."""
        self.loop = None
        self.end.tell(error)
        if self.changes is not None:
            self.changes.tell(error)

    def hint(self, now: float) -> None:
        """A webhook tells that it ended: look at once."""
        if self.hints < MOST_PER_OPERATION:
            self.hinted_at = self.hinted_at or now - (self.began or now)
            self.hints += 1
            self.hinted = True
            self.wake()

    def wake(self) -> None:
        """End the rest of its loop."""
        if self.alarm is not None and not self.alarm.done():
            self.alarm.set_result(None)

    def release_slot(self) -> None:
        """Give the slot back; a second call does nothing."""
        if self.slot is not None:
            self.slot.release()
            self.slot = None
