"""Failed polls in a row."""

from __future__ import annotations

from typing import Final

from attrs import define

MAX_FAILED_POLLS: Final = 30


@define
class Streak:
    """Failed polls in a row."""

    _timeout: float
    failures: int = 0
    began: float = 0.0

    def add(self, now: float) -> bool:
        """Count one more; True if there were too many, or for too long."""
        if not self.failures:
            self.began = now
        self.failures += 1
        return self.failures >= MAX_FAILED_POLLS or now - self.began >= self._timeout

    @property
    def stretch(self) -> float:
        """How many times longer than usual to wait before the next poll: doubling, up to ten."""
        return float(min(2 ** (self.failures - 1), 10))
