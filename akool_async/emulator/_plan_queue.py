"""Jobs that wait at AKOOL until the account's plan has room for them."""

from __future__ import annotations

import heapq


class PlanQueue:
    """When the plan's places become free; without places (None), there is always room."""

    def __init__(self, places: int | None) -> None:
        self._places = places
        self._ends: list[float] = []

    def has_room_at(self) -> float:
        """When the next job can begin, in seconds since the epoch."""
        is_full = self._places is not None and len(self._ends) >= self._places
        return self._ends[0] if is_full else 0.0

    def add(self, finished_at: float) -> None:
        """A job took the next place, and keeps it until ``finished_at``."""
        if self._places is None:
            return
        if len(self._ends) < self._places:
            heapq.heappush(self._ends, finished_at)
        else:
            heapq.heapreplace(self._ends, finished_at)
