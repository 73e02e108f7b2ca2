"""The timeline of one operation: what polls and webhooks showed, and when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from attrs import define

from akool_async.models import FINAL, ImageStatus

if TYPE_CHECKING:
    from akool_async.models import ImageResult

CLOCK_PRECISION: Final = 2.0
"""Seconds by which ``create_time``, the time in a file's name, and our polls may disagree."""


@define
class Timeline:
    """Ages at which things happened: seconds since AKOOL accepted the operation, or since it was first polled."""

    began: float | None = None
    """The start of its age, on the event loop's clock; None before AKOOL accepted it or it was polled."""
    polls: int = 0
    """Number of polls."""
    queued_at: float = 0.0
    """Age at the last poll that saw it queueing."""
    processing_at: float | None = None
    """Age at the first poll that saw it processing; None if no poll did."""
    running_at: float = 0.0
    """Age at the last poll that saw it unfinished."""
    ended_at: float | None = None
    """Age at the first poll that saw it finished; None if no poll did."""
    reports: int = 0
    """Number of webhooks that reported its end."""
    reported_at: float | None = None
    """Age at the first such webhook; None if there was none."""

    def begin(self) -> None:
        """Count the age from now on, unless this was called before."""
        if self.began is None:
            self.began = asyncio.get_running_loop().time()

    def age_at(self, now: float) -> float:
        """Return the age at a time on the event loop's clock."""
        return 0.0 if self.began is None else now - self.began

    def add_status(self, status: ImageStatus | int | None, *, asked_at: float, age: float) -> None:
        """Record the status that a poll saw.

        Args:
            status: The status.
            asked_at: Age at which the poll was sent.
            age: Age at which it was answered.
        """
        if status in FINAL:
            self.ended_at = age
            return
        self.running_at = asked_at
        if self.processing_at is None:
            if status == ImageStatus.PROCESSING:
                self.processing_at = age
            elif status == ImageStatus.QUEUEING:
                self.queued_at = asked_at

    def add_report(self) -> None:
        """Record that a webhook reports the end."""
        self.reports += 1
        if self.reported_at is None:
            self.reported_at = self.age_at(asyncio.get_running_loop().time())

    @property
    def true_report_at(self) -> float | None:
        """``reported_at``; None if a later poll saw the operation unfinished, so that the webhook was false."""
        return self.reported_at if self.reported_at is not None and self.reported_at >= self.running_at else None

    def exact_duration(self, result: ImageResult, age: float) -> float | None:
        """Return the seconds that the operation took by AKOOL's clock; None if unknown, or if the polls contradict.

        Args:
            result: The final result.
            age: Age at the poll that saw the end.
        """
        if result.created_at is None or result.finished_at is None:
            return None
        seconds = (result.finished_at - result.created_at).total_seconds()
        fits = seconds > 0 and self.running_at - CLOCK_PRECISION <= seconds <= age + CLOCK_PRECISION
        return min(max(seconds, self.running_at), age) if fits else None

    def detection_delay(self, age: float, duration: float | None) -> float:
        """Return the seconds between the end and the poll that saw it.

        Args:
            age: Age at that poll.
            duration: Seconds that the operation took by AKOOL's clock; None if unknown.
        """
        if self.true_report_at is not None:
            return age - self.true_report_at
        return age - duration if duration is not None else (age - self.running_at) / 2
