"""Whether webhooks arrive, so that polls may be rare.

Once a webhook has reported the end of an operation, the next ones are polled every 60 seconds as a fallback until one
fails to come; from then on they are polled by the schedule, until 20 in a row have come.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from akool_async._limits.recent import Recent

if TYPE_CHECKING:
    from akool_async._poll.tracked import TrackedOperation

logger = logging.getLogger("akool_async")

HITS_AFTER_MISS: Final = 20
"""Webhooks that must arrive in a row after one failed to. If every second one goes to another process, this many hardly
ever do.
"""


class WebhookStatistics:
    """Counts operations whose webhook reported their end (hits), and those whose webhook failed to come (misses)."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._hits_needed = 1
        self._early: Recent[str, None] = Recent()

    @property
    def are_reliable(self) -> bool:
        """True if polls may be rare."""
        return not self._hits_needed

    def count(self, tracked: TrackedOperation) -> None:
        """An operation has ended: a hit, or, unless its webhook comes within ``grace`` seconds, a miss."""
        if tracked.timeline.true_report_at is not None:
            self.on_hit()
        elif tracked.awaits_webhook:
            asyncio.get_running_loop().call_later(self._grace, self._count_miss, tracked)

    def on_hit(self) -> None:
        """An operation ended, and its webhook reported it."""
        self._hits_needed = max(self._hits_needed - 1, 0)

    def on_miss(self) -> None:
        """An operation ended, and no webhook reported it: it was lost, or went to another process."""
        if self.are_reliable:
            logger.warning("no webhook came for an operation that ended: polling takes over")
        self._hits_needed = HITS_AFTER_MISS

    def add_early(self, operation_id: str) -> None:
        """A webhook came for an unknown operation: its POST may be under way, or it is another process's."""
        self._early[operation_id] = None

    def pop_early(self, operation_id: str) -> bool:
        """True if a webhook came before the operation was known."""
        if operation_id not in self._early:
            return False
        del self._early[operation_id]
        return True

    def _count_miss(self, tracked: TrackedOperation) -> None:
        if tracked.awaits_webhook:
            self.on_miss()
