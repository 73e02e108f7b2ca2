"""The service's clock."""

from __future__ import annotations

import time


class Clock:
    """Tells the time in seconds since the epoch (UTC), and can be moved forward.

    Args:
        skew: Seconds by which it is ahead of this machine's clock; negative: behind it.
    """

    def __init__(self, skew: float) -> None:
        self._offset = time.time() - time.monotonic() + skew

    def now(self) -> float:
        """The time. It never runs backwards, even if this machine's clock is set."""
        return self._offset + time.monotonic()

    def advance(self, seconds: float) -> None:
        """Move forward."""
        self._offset += seconds
