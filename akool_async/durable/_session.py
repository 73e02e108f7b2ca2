"""The session of a worker: what it presses is known to the store before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from akool_async._limits.journal import MemoryJournal
from akool_async.session import AkoolSession

if TYPE_CHECKING:
    from akool_async._limits.journal import Item
    from akool_async.models import ButtonPress


@define(eq=False)
class WorkerJournal(MemoryJournal):
    """A journal whose correlation ids are the store's, so that a webhook is understood at every process."""

    recorded_ids: dict[ButtonPress, str] = field(factory=dict)

    def correlation_id(self, item: Item) -> str:
        """The recorded id of a press."""
        recorded = None if item.press is None else self.recorded_ids.pop(item.press, None)
        return recorded or super().correlation_id(item)


class WorkerSession(AkoolSession):
    """A session for presses that a store has recorded."""

    _journal: WorkerJournal

    def expect(self, press: ButtonPress, correlation_id: str) -> None:
        """The next POST of this press carries the recorded id."""
        self._journal.recorded_ids[press] = correlation_id

    def limit_requests(self, rate: float | None) -> None:
        """Send at most so many requests a second; None for no limit."""
        self._rate_limiter.rate = rate

    def _make_journal(self) -> WorkerJournal:
        return WorkerJournal(self._slots, self._settings.timing.price_timeout)
