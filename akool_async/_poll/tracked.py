"""What a session knows of one operation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async._poll.timeline import Timeline

if TYPE_CHECKING:
    from akool_async._limits.slots import Slot
    from akool_async.models import Button, ImageResult, ImageStatus

MAX_REPORTED_POLLS: Final = 3
"""Polls of one operation that webhooks can cause; the ordinary schedule goes on beyond them."""


class TrackedOperation:
    """One operation: its newest snapshot, its slot, and who waits for its end."""

    __slots__ = (
        "__weakref__",
        "_changed",
        "_waiters",
        "_wakeup",
        "expects_webhook",
        "id",
        "is_lesson",
        "kind",
        "latest",
        "outcome",
        "pressed_here",
        "slot",
        "timeline",
    )

    def __init__(self, operation_id: str, button: Button | None) -> None:
        self.id = operation_id
        self.kind = None if button is None else button.kind
        """What made it: "upscale", "variation" or "prompt"; None if that is not known."""
        self.pressed_here = False
        self.expects_webhook = False
        self.is_lesson = False
        """True until the schedule has learned from it."""
        self.latest: ImageResult | None = None
        self.slot: Slot | None = None
        self.timeline = Timeline()
        self.outcome: asyncio.Future[ImageResult | Exception] | None = None
        """What all who wait share: pending while it is polled, done once there is nothing more to be polled for."""
        self._waiters = 0
        self._wakeup: asyncio.Future[None] | None = None
        self._changed: asyncio.Future[None] | None = None

    @property
    def status(self) -> ImageStatus | int | None:
        """The status last seen."""
        return None if self.latest is None else self.latest.status

    @property
    def is_final(self) -> bool:
        """True once status 3 or 4 was seen."""
        return self.latest is not None and self.latest.is_final

    @property
    def is_settled(self) -> bool:
        """True once it is final and its URLs are there, or were waited for: it is never polled again."""
        return self.outcome is not None and self.outcome.done()

    @property
    def is_needed(self) -> bool:
        """True while somebody waits for it, or it holds a slot."""
        return self._waiters > 0 or self.slot is not None

    @property
    def has_waiters(self) -> bool:
        """True while somebody waits for it."""
        return self._waiters > 0

    @property
    def awaits_webhook(self) -> bool:
        """True if a webhook is to report its end and has not done so yet."""
        return self.expects_webhook and not self.timeline.reports

    # --- what becomes known of it ---

    def accept(self, button: Button | None, *, expects_webhook: bool, is_new: bool) -> None:
        """AKOOL accepted it from this session, just now or, if it is not new, some time ago."""
        self.pressed_here = True
        self.kind = "prompt" if button is None else button.kind
        self.expects_webhook = expects_webhook
        self.is_lesson = is_new
        self.timeline = Timeline()
        self.timeline.begin()

    def update(self, image: ImageResult, *, asked_at: float, age: float) -> None:
        """Take in a newer snapshot, unless it takes back an end or a URL: then a replica that lags behind answered.

        It was asked for at age ``asked_at`` and came at ``age``.
        """
        known = self.latest
        if known is None or not known.is_final:
            self.timeline.add_status(image.status, asked_at=asked_at, age=age)
        elif not image.is_final or len(image.urls) < len(known.urls):
            return
        if image is known:
            return
        self.latest = image
        if image.is_final:
            self.release_slot()
        if self._changed is not None:
            self._changed.set_result(None)
            self._changed = None

    def report_end(self) -> None:
        """A webhook reports that it has ended: the next poll is due now."""
        self.timeline.add_report()
        if self.timeline.reports <= MAX_REPORTED_POLLS and not self.is_final:
            self.wake()

    def learned(self) -> None:
        """The schedule has learned from it."""
        self.is_lesson = False

    # --- its slot ---

    def hold(self, slot: Slot) -> None:
        """Hold this slot until the end; one that it held before comes back, if AKOOL gives an id twice."""
        self.release_slot()
        self.slot = slot

    def release_slot(self) -> None:
        """Give the slot back; a second call does nothing."""
        if self.slot is not None:
            self.slot.release()
            self.slot = None

    # --- those who wait ---

    def join(self) -> None:
        """One more waits for it."""
        self._waiters += 1

    def leave(self) -> None:
        """One fewer waits for it."""
        self._waiters -= 1

    def next_change(self) -> asyncio.Future[None]:
        """Done when there is a newer snapshot; shared by all who want to know."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    # --- its poll loop ---

    def start(self) -> asyncio.Future[ImageResult | Exception]:
        """Its poll loop starts. Returns what those who wait share."""
        self.timeline.begin()
        self.outcome = asyncio.get_running_loop().create_future()
        return self.outcome

    def next_wakeup(self) -> asyncio.Future[None]:
        """Done when the next poll is due; done already if a webhook has reported the end since the last one began."""
        if self._wakeup is None:
            self._wakeup = asyncio.get_running_loop().create_future()
        return self._wakeup

    def wake(self) -> None:
        """The next poll is due now."""
        wakeup = self.next_wakeup()
        if not wakeup.done():
            wakeup.set_result(None)

    def begin_poll(self) -> None:
        """A poll is about to be sent."""
        self._wakeup = None
        self.timeline.polls += 1

    def finish(self, result: ImageResult) -> None:
        """There is nothing more to be polled for: all who wait, now or later, get this."""
        if self.outcome is not None:
            self.outcome.set_result(result)
        self._stop()

    def fail(self, error: Exception) -> None:
        """All who wait now get this; the poll loop may start again."""
        if self.outcome is not None:
            self.outcome.set_result(error)
        self.abandon()

    def abandon(self) -> None:
        """It is not polled any more; the poll loop may start again."""
        self.outcome = None
        self._stop()

    def _stop(self) -> None:
        self._wakeup = None
        self.release_slot()
