"""What a session knows of one operation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async._http.event_loop import Waiters
from akool_async._poll.timeline import Timeline

if TYPE_CHECKING:
    from akool_async._http.endpoints import Snapshot
    from akool_async._limits.slots import Slot
    from akool_async._poll.consecutive_failures import ConsecutiveFailures
    from akool_async.items import Button
    from akool_async.models import ImageResult, ImageStatus

MAX_REPORTED_POLLS: Final = 3
"""Polls of one operation that webhooks can cause; the ordinary schedule goes on beyond them."""


class TrackedOperation:
    """One operation: its newest snapshot, its slot, and who waits for its end."""

    __slots__ = (
        "__weakref__",
        "_changed",
        "expects_webhook",
        "failures",
        "id",
        "is_due",
        "is_lesson",
        "is_settled",
        "kind",
        "latest",
        "pressed_here",
        "slot",
        "snapshot",
        "timeline",
        "waiters",
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
        self.snapshot: Snapshot | None = None
        """What the last poll saw; None before the first."""
        self.slot: Slot | None = None
        self.timeline = Timeline()
        self.waiters: Waiters[ImageResult | Exception] = Waiters()
        """Those who wait for its end: they get the result, or the error that ended its polls."""
        self.is_settled = False
        """True once it is final and its URLs are there, or were waited for: it is never polled again."""
        self.is_due = False
        """True if a webhook has reported the end since the last poll began: the next one is due now."""
        self.failures: ConsecutiveFailures | None = None
        """Failed polls since the last good one."""
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
    def is_needed(self) -> bool:
        """True while somebody waits for it, or it holds a slot."""
        return bool(self.waiters) or self.slot is not None

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
            self.is_due = True

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

    # --- its polls ---

    def next_change(self) -> asyncio.Future[None]:
        """Done when there is a newer snapshot; shared by all who want to know."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def begin_poll(self) -> None:
        """A poll is about to be sent."""
        self.is_due = False
        self.timeline.polls += 1

    def settle(self, result: ImageResult) -> None:
        """There is nothing more to be polled for: all who wait, now or later, get this."""
        self.is_settled = True
        self.stop()
        self.waiters.notify(result)

    def fail(self, error: Exception) -> None:
        """All who wait now get this; it may be polled again."""
        self.stop()
        self.waiters.notify(error)

    def stop(self) -> None:
        """It is not polled any more; it may be polled again."""
        self.is_due = False
        self.failures = None
        self.snapshot = None
        self.release_slot()
