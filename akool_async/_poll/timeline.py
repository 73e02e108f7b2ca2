"""What the polls of one operation saw, and when."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from attrs import define

from akool_async.models import FINAL, ImageStatus

if TYPE_CHECKING:
    from akool_async.models import ImageResult

CLOCK_PRECISION: Final = 2.0
"""Seconds by which AKOOL's two clocks, of ``create_time`` and of the file's name, and the network may disagree."""


@define
class Timeline:
    """When what was seen of one operation, as ages: seconds since AKOOL accepted it, or since it was first polled."""

    began: float | None = None
    """On the event loop's clock; None until it was accepted or polled here."""
    polls: int = 0
    queued_at: float = 0.0
    """Age of the last poll that saw it queueing."""
    processing_at: float | None = None
    """Age of the first poll that saw it processing."""
    running_at: float = 0.0
    """Age of the last poll that saw it unfinished."""
    ended_at: float | None = None
    """Age of the first poll that saw it finished."""
    reports: int = 0
    """How often a webhook reported that it has ended."""
    reported_at: float | None = None
    """Age at the first such report."""

    def begin(self) -> None:
        """Count its age from now on, unless it has begun before."""
        if self.began is None:
            self.began = asyncio.get_running_loop().time()

    def age_at(self, now: float) -> float:
        """Its age at a time on the event loop's clock."""
        return 0.0 if self.began is None else now - self.began

    def add_status(self, status: ImageStatus | int | None, *, asked_at: float, age: float) -> None:
        """A poll that was sent at age ``asked_at`` and answered at ``age`` saw this status."""
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
        """A webhook reports that it has ended."""
        self.reports += 1
        if self.reported_at is None:
            self.reported_at = self.age_at(asyncio.get_running_loop().time())

    @property
    def true_report_at(self) -> float | None:
        """``reported_at``, unless a later poll saw it unfinished: then that report was false."""
        return self.reported_at if self.reported_at is not None and self.reported_at >= self.running_at else None

    def exact_duration(self, result: ImageResult, age: float) -> float | None:
        """Seconds that the operation took by AKOOL's clock; None unless that fits what the polls saw.

        ``age`` is that of the poll that saw the end.
        """
        if result.created_at is None or result.finished_at is None:
            return None
        seconds = (result.finished_at - result.created_at).total_seconds()
        fits = seconds > 0 and self.running_at - CLOCK_PRECISION <= seconds <= age + CLOCK_PRECISION
        return min(max(seconds, self.running_at), age) if fits else None

    def detection_delay(self, age: float, duration: float | None) -> float:
        """Seconds between the end and the poll that saw it, at ``age``, if the operation took ``duration`` by AKOOL."""
        if self.true_report_at is not None:
            return age - self.true_report_at
        return age - duration if duration is not None else (age - self.running_at) / 2
