"""What a schedule is."""

from __future__ import annotations

from typing import Protocol


class Polling(Protocol):
    """A way to place the looks at running operations."""

    def interval(self, kind: str | None, age: float, looks: int) -> float:
        """Seconds from now to the next look at an operation that runs since ``age`` seconds and was looked at
        ``looks`` times; its kind is "upscale", "variation", "prompt", or None where it is not known.
        """

    def learn(self, kind: str, *, running_at: float, ended_at: float | None) -> None:
        """An operation was last seen running at age ``running_at`` and first seen ended at age ``ended_at``, both in
        seconds; None where nobody looks at it any longer.
        """
