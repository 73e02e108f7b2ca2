"""The session of a worker: what it presses is known to the store before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from akool_async._limits.journal import MemoryJournal
from akool_async._submit.decision import after_finding_out
from akool_async._submit.reconcile import reconcile
from akool_async.session import AkoolSession

if TYPE_CHECKING:
    from akool_async._limits.journal import PaidItem
    from akool_async._submit.decision import Decision
    from akool_async.models import ButtonPress
    from akool_async.operations import Operation


@define(eq=False)
class WorkerJournal(MemoryJournal):
    """A journal whose correlation ids are the store's, so that a webhook is understood at every process."""

    recorded_ids: dict[ButtonPress, str] = field(factory=dict)

    def correlation_id(self, item: PaidItem) -> str:
        """The recorded id of a press."""
        recorded = None if item.press is None else self.recorded_ids.pop(item.press, None)
        return recorded or super().correlation_id(item)


class WorkerSession(AkoolSession):
    """A session for presses that a store has recorded."""

    _journal: WorkerJournal

    async def press(self, press: ButtonPress, correlation_id: str) -> Operation:
        """Press as ``create_by_button`` does, with the recorded correlation id."""
        self._journal.recorded_ids[press] = correlation_id
        try:
            return await self.create_by_button(press.image_id, press.button)
        finally:
            self._journal.recorded_ids.pop(press, None)

    async def find_out(self, press: ButtonPress) -> Decision:
        """What to do about an earlier press that may have been sent: press again, or it is charged or in doubt."""
        source = await reconcile(self._endpoints, press, self._settings.timing.reconcile_gap)
        return after_finding_out(source, lost_replies=1, can_retry=self._settings.resubmit_lost)

    def limit_requests(self, rate: float | None) -> None:
        """Send at most so many requests a second; None for no limit."""
        self._rate_limiter.rate = rate

    def _make_journal(self) -> WorkerJournal:
        return WorkerJournal(self._slots, self._settings.timing.price_timeout)
