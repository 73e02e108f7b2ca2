"""Failed polls in a row."""

from __future__ import annotations

from typing import Final

from attrs import define

MAX_FAILED_POLLS: Final = 30


@define
class ConsecutiveFailures:
    """Counts failed polls since the last successful one."""

    _timeout: float
    count: int = 0
    _began: float = 0.0

    def add(self, now: float) -> bool:
        """Count one failure. Return True if there were too many, or they lasted too long."""
        if not self.count:
            self._began = now
        self.count += 1
        return self.count >= MAX_FAILED_POLLS or now - self._began >= self._timeout

    @property
    def stretch(self) -> float:
        """The factor for the wait before the next poll: doubles with each failure, at most ten."""
        return float(min(2 ** (self.count - 1), 10))
