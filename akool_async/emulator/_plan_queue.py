"""Jobs that queue at AKOOL until the account's plan has a free slot."""

from __future__ import annotations

import heapq


class PlanQueue:
    """Knows when the plan's slots become free.

    Args:
        slots: Jobs that may run concurrently; None for any number.
    """

    def __init__(self, slots: int | None) -> None:
        self._slots = slots
        self._ends: list[float] = []

    def next_start(self) -> float:
        """Return when the next job can begin, in seconds since the epoch; 0 if it can begin now."""
        is_full = self._slots is not None and len(self._ends) >= self._slots
        return self._ends[0] if is_full else 0.0

    def add(self, finished_at: float) -> None:
        """Give the next slot to a job, until ``finished_at``."""
        if self._slots is None:
            return
        if len(self._ends) < self._slots:
            heapq.heappush(self._ends, finished_at)
        else:
            heapq.heapreplace(self._ends, finished_at)
