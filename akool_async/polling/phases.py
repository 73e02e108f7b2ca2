"""Estimate separately how long jobs queue at AKOOL and how long AKOOL then works on them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async.polling.estimate import MIN_SECONDS, Interval, Mixture, Point, Prior, estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from akool_async.polling.schedule import Finished

QUEUE_PRIOR: Final = Prior(math.log(10.0), ((1.0, 2.0),))
"""The queue is assumed to take 10 s, give or take a factor of 7."""
QUEUEING_SHARE: Final = 0.15
"""The queue is planned for if polls saw more than this share of the jobs queue and then saw them processed."""
ROUNDS: Final = 3
"""How many times the phases are divided by the estimates, and the estimates are computed again."""
STARTS: Final = 9
"""Number of times at which the work on a job may have begun."""


def show_queue(jobs: Sequence[Finished]) -> bool:
    """Return whether the polls of enough jobs show when the queue ended and the work began."""
    return sum(job.queued_at > 0 and job.processing_at is not None for job in jobs) > QUEUEING_SHARE * len(jobs)


def estimate_phases(jobs: Iterable[Finished], prior: Prior) -> tuple[Mixture, Mixture]:
    """Return the distributions of the time in the queue and of the time of processing, in this order.

    The polls give only bounds for the time when the work on a job began. Each possible time in between counts with its
    probability according to both distributions.

    Args:
        jobs: The finished jobs of a kind.
        prior: What is assumed about the work before any job was seen.
    """
    seen = [_Phases.of(job) for job in jobs]
    queue = estimate([job.queue for job in seen], QUEUE_PRIOR)
    work = estimate([job.work for job in seen if job.work is not None], prior)
    for _ in range(ROUNDS):
        placed = [job.divide(queue, work) for job in seen]
        queue = estimate([queued for queued, _ in placed], QUEUE_PRIOR)
        work = estimate([worked for _, worked in placed if worked is not None], prior)
    return queue, work


@frozen
class _Phases:
    """What is known about the phases of one job: the seconds that each took, and the seconds of both together."""

    queue: Interval
    work: Interval | None
    duration: float | None

    @classmethod
    def of(cls, job: Finished) -> _Phases:
        ended = math.inf if job.ended_at is None else job.ended_at
        began = job.processing_at or job.duration or ended
        queue = Interval(job.queued_at, max(began, job.queued_at))
        if job.processing_at is None and job.ended_at is None:
            return cls(queue, None, None)
        least = (job.duration or job.running_at) - queue.high
        most = math.inf if job.ended_at is None else (job.duration or job.ended_at) - queue.low
        return cls(queue, Interval(max(least, 0.0), max(most, 0.0)), job.duration)

    def divide(self, queue: Mixture, work: Mixture) -> tuple[Interval | Point, Interval | Point | None]:
        """Return both phases; if the total is exact, they are estimated from both distributions."""
        if self.duration is None or self.queue.is_exact:
            return self.queue, self.work
        step = (min(self.queue.high, self.duration) - self.queue.low) / STARTS
        queued = [self.queue.low + step * (nth + 0.5) for nth in range(STARTS)]
        shares = [queue.density(seconds) * work.density(self.duration - seconds) + 1e-12 for seconds in queued]
        return _point(queued, shares), _point([self.duration - seconds for seconds in queued], shares)


def _point(seconds: Sequence[float], shares: Sequence[float]) -> Point:
    """Return the mean and the variance of the log of these durations, which have these relative probabilities."""
    logs = [math.log(max(each, MIN_SECONDS)) for each in seconds]
    mean = sum(log * share for log, share in zip(logs, shares, strict=True)) / sum(shares)
    variance = sum(share * (log - mean) ** 2 for log, share in zip(logs, shares, strict=True)) / sum(shares)
    return Point(mean, variance)
