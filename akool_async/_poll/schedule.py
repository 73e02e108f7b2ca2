"""Asks the session's ``polling`` when to poll next, and lets it learn from finished operations."""

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
"""Seconds. An operation ended at most this long before its webhook came."""


class Schedule:
    """Checks the answers of the session's ``polling``, and replaces them by a slow fallback while webhooks arrive."""

    def __init__(self, schedule: polling.Polling, timing: Timing, webhooks: WebhookStatistics) -> None:
        self._polling = schedule
        self._timing = timing
        self._webhooks = webhooks

    def first_delay(self, tracked: TrackedOperation, age: float) -> float:
        """Return the seconds to the first poll. It is 0 unless the operation has just begun: it may have ended."""
        if not tracked.pressed_here or tracked.is_final or tracked.timeline.polls:
            return 0.0
        return self.next_delay(tracked, 0.0) - age

    def next_delay(self, tracked: TrackedOperation, age: float, stretch: float = 1.0) -> float:
        """Return the seconds to the next poll.

        Args:
            tracked: The operation.
            age: Its age in seconds.
            stretch: A factor for the delay, above 1 after failed polls.

        Raises:
            ConfigurationError: The user's own ``polling`` returned something other than seconds.
        """
        progress = polling.Progress(
            tracked.kind if tracked.pressed_here else None,  # otherwise its age is not known
            age,
            tracked.timeline.polls,
            tracked.status,
            tracked.timeline.processing_at,
        )
        delay = self._polling.next_delay(progress)
        if not isinstance(delay, (int, float)) or not 0 <= delay <= MAX_DELAY:
            raise ConfigurationError(f"polling: {self._polling!r} returned {delay!r}, which is not a number of seconds")
        delay *= stretch
        if tracked.awaits_webhook and self._webhooks.are_reliable:
            return max(delay, self._timing.fallback_poll_interval)
        return max(delay, MIN_DELAY)

    def learn(self, tracked: TrackedOperation, *, ended_at: float | None = None, duration: float | None = None) -> None:
        """Let ``polling`` learn from an operation that this session submitted, once.

        Args:
            tracked: The operation.
            ended_at: Its age when a poll saw the end; None if its polls ended earlier.
            duration: Seconds that it took by AKOOL's clock; None if that is not known.
        """
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
