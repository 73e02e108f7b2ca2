"""When to poll next: the session's ``polling`` is asked, and learns from what the polls saw."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from akool_async import polling
from akool_async.errors import ConfigurationError

if TYPE_CHECKING:
    from akool_async._limits.timing import Timing
    from akool_async._poll.tracked import TrackedOperation
    from akool_async._poll.webhook_statistics import WebhookStatistics

logger = logging.getLogger("akool_async")

MIN_DELAY: Final = 0.001
MAX_DELAY: Final = 1e9
WEBHOOK_DELAY: Final = 1.0
"""Seconds before its webhook in which an operation has ended."""


class Schedule:
    """The session's ``polling``, checked, and the slow fallback while webhooks arrive."""

    def __init__(self, schedule: polling.Polling, timing: Timing, webhooks: WebhookStatistics) -> None:
        self._polling = schedule
        self._timing = timing
        self._webhooks = webhooks

    def first_delay(self, tracked: TrackedOperation, age: float) -> float:
        """Seconds to the first poll of a loop: 0 unless the operation was just pressed, since its end may be past."""
        if not tracked.pressed_here or tracked.is_final or tracked.timeline.polls:
            return 0.0
        return self.next_delay(tracked, 0.0) - age

    def next_delay(self, tracked: TrackedOperation, age: float, stretch: float = 1.0) -> float:
        """Seconds to the next poll; after failed ones the schedule is stretched.

        Raises:
            ConfigurationError: The user's own ``polling`` returned no number of seconds.
        """
        progress = polling.Progress(
            tracked.kind if tracked.pressed_here else None,  # or else its age is not known
            age,
            tracked.timeline.polls,
            tracked.status,
            tracked.timeline.processing_at,
        )
        delay = self._polling.next_delay(progress)
        if not isinstance(delay, (int, float)) or not 0 <= delay <= MAX_DELAY:
            raise ConfigurationError(f"polling: {self._polling!r} gave the delay {delay!r}, not a number of seconds")
        delay *= stretch
        if tracked.awaits_webhook and self._webhooks.are_reliable:
            return max(delay, self._timing.fallback_poll_interval)
        return max(delay, MIN_DELAY)

    def learn(self, tracked: TrackedOperation, *, ended_at: float | None = None, duration: float | None = None) -> None:
        """Learn once from an operation that was pressed here; ``ended_at`` is None if it was abandoned."""
        timeline = tracked.timeline
        if tracked.kind is None or not tracked.is_lesson or not timeline.polls:
            return
        tracked.learned()
        running_at = timeline.running_at
        if ended_at is not None and timeline.true_report_at is not None:
            ended_at = max(timeline.true_report_at, MIN_DELAY)
            running_at = max(running_at, ended_at - WEBHOOK_DELAY)
        finished = polling.Finished(
            kind=tracked.kind,
            running_at=running_at,
            ended_at=ended_at,
            queued_at=timeline.queued_at,
            processing_at=timeline.processing_at,
            duration=duration,
        )
        try:
            self._polling.learn(finished)
        except Exception:
            logger.exception("the schedule failed to learn from operation %s", tracked.id)
