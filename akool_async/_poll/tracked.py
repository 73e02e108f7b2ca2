"""The state of one operation in a session."""

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
"""Maximum number of polls that webhooks can cause for one operation. Then only the schedule decides."""


class TrackedOperation:
    """One operation: its newest snapshot, its slot, and its waiters."""

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
        """"upscale", "variation" or "prompt"; None if that is not known."""
        self.pressed_here = False
        """True if this session submitted it, so that its age is known."""
        self.expects_webhook = False
        """True if its POST carried this session's webhook address."""
        self.is_lesson = False
        """True if the schedule can learn from it, and has not done so yet."""
        self.latest: ImageResult | None = None
        """The newest snapshot; None before the first."""
        self.snapshot: Snapshot | None = None
        """The reply to the last poll; None before the first."""
        self.slot: Slot | None = None
        """Its slot; None if it holds none."""
        self.timeline = Timeline()
        self.waiters: Waiters[ImageResult | Exception] = Waiters()
        """The callers that wait for the end. They get the result, or the error that ended the polls."""
        self.is_settled = False
        """True if it is final and its URLs are complete or given up: it is never polled again."""
        self.is_due = False
        """True if a webhook has reported the end since the last poll began, so that the next poll is due now."""
        self.failures: ConsecutiveFailures | None = None
        """Failed polls since the last successful one; None if there is none."""
        self._changed: asyncio.Future[None] | None = None
        """Done at the next snapshot; None if nobody waits for that."""

    @property
    def status(self) -> ImageStatus | int | None:
        """The newest status; None if none was seen."""
        return None if self.latest is None else self.latest.status

    @property
    def is_final(self) -> bool:
        """True if status 3 or 4 was seen."""
        return self.latest is not None and self.latest.is_final

    @property
    def is_needed(self) -> bool:
        """True while a caller waits for it, or it holds a slot."""
        return bool(self.waiters) or self.slot is not None

    @property
    def awaits_webhook(self) -> bool:
        """True if a webhook is expected and has not come."""
        return self.expects_webhook and not self.timeline.reports

    # --- news ---

    def accept(self, button: Button | None, *, expects_webhook: bool, is_new: bool) -> None:
        """Record that AKOOL accepted it from this session: see :meth:`Poller.track`."""
        self.pressed_here = True
        self.kind = "prompt" if button is None else button.kind
        self.expects_webhook = expects_webhook
        self.is_lesson = is_new
        self.timeline = Timeline()
        self.timeline.begin()

    def update(self, image: ImageResult, *, asked_at: float, age: float) -> None:
        """Record a newer snapshot. If it takes back an end or a URL, it is dropped: a lagging replica sent it.

        Args:
            image: The snapshot.
            asked_at: Age at which the poll was sent.
            age: Age at which it was answered.
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
        """Record that a webhook reports the end, which makes the next poll due now."""
        self.timeline.add_report()
        if self.timeline.reports <= MAX_REPORTED_POLLS and not self.is_final:
            self.is_due = True

    def learned(self) -> None:
        """Record that the schedule has learned from it."""
        self.is_lesson = False

    # --- the slot ---

    def hold(self, slot: Slot) -> None:
        """Hold this slot until the end. If AKOOL gives an id twice, the earlier slot is released."""
        self.release_slot()
        self.slot = slot

    def release_slot(self) -> None:
        """Release the slot. A second call does nothing."""
        if self.slot is not None:
            self.slot.release()
            self.slot = None

    # --- the polls ---

    def next_change(self) -> asyncio.Future[None]:
        """Return a future that is done when there is a newer snapshot. All callers share it."""
        if self._changed is None:
            self._changed = asyncio.get_running_loop().create_future()
        return self._changed

    def begin_poll(self) -> None:
        """Record that a poll is about to be sent."""
        self.is_due = False
        self.timeline.polls += 1

    def settle(self, result: ImageResult) -> None:
        """End the polls for ever. All waiters, now and later, get this result."""
        self.is_settled = True
        self.stop()
        self.waiters.notify(result)

    def fail(self, error: Exception) -> None:
        """End the polls. All current waiters get this error; later ones begin new polls."""
        self.stop()
        self.waiters.notify(error)

    def stop(self) -> None:
        """End the polls, and release the slot. It may be polled again."""
        self.is_due = False
        self.failures = None
        self.snapshot = None
        self.release_slot()
