"""Watches whether webhooks arrive, so that polls may be rare.

After the first webhook, operations are polled every 60 seconds as a fallback. If a webhook fails to come, they are
polled by the schedule again, until 20 webhooks in a row have come.
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
"""Webhooks in a row that must arrive after one failed to. If half of them go to another process, 20 in a row almost
never arrive.
"""


class WebhookStatistics:
    """Counts hits (operations whose end a webhook reported) and misses (operations whose webhook did not come)."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._hits_needed = 1
        self._early: Recent[str, None] = Recent()

    @property
    def are_reliable(self) -> bool:
        """True if polls may be rare."""
        return not self._hits_needed

    def count(self, tracked: TrackedOperation) -> None:
        """Count an operation that has ended: a hit, or a miss if its webhook does not come within ``grace`` seconds."""
        if tracked.timeline.true_report_at is not None:
            self.on_hit()
        elif tracked.awaits_webhook:
            asyncio.get_running_loop().call_later(self._grace, self._count_miss, tracked)

    def on_hit(self) -> None:
        """Count an operation whose end its webhook reported."""
        self._hits_needed = max(self._hits_needed - 1, 0)

    def on_miss(self) -> None:
        """Count an operation whose webhook was lost, or went to another process."""
        if self.are_reliable:
            logger.warning("no webhook came for a finished operation: polling by the schedule again")
        self._hits_needed = HITS_AFTER_MISS

    def add_early(self, operation_id: str) -> None:
        """Record a webhook for an unknown operation: its POST may be under way, or it is another process's."""
        self._early[operation_id] = None

    def pop_early(self, operation_id: str) -> bool:
        """Return True if a webhook came before the operation was known, and forget it."""
        if operation_id not in self._early:
            return False
        del self._early[operation_id]
        return True

    def _count_miss(self, tracked: TrackedOperation) -> None:
        if tracked.awaits_webhook:
            self.on_miss()
