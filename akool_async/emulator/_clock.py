"""The service's clock."""

from __future__ import annotations

import time


class Clock:
    """A clock in seconds since the epoch (UTC), which can be moved forward.

    Args:
        skew: Seconds by which it is ahead of this machine's clock; negative if it is behind.
    """

    def __init__(self, skew: float) -> None:
        self._offset = time.time() - time.monotonic() + skew

    def now(self) -> float:
        """Return the time. It never runs backwards, even if this machine's clock is set."""
        return self._offset + time.monotonic()

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self._offset += seconds
