"""Queue and work, estimated apart: how long jobs queue at AKOOL, and how long it then works on them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async.polling.estimate import MIN_SECONDS, Interval, Mixture, Point, Prior, estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from akool_async.polling.schedule import Finished

QUEUE_PRIOR: Final = Prior(math.log(10.0), ((1.0, 2.0),))
ENOUGH_QUEUED: Final = 0.15
"""The share of jobs that a poll must have seen queueing before the queue is planned for."""
ROUNDS: Final = 3
PLACES: Final = 9


def queues(jobs: Sequence[Finished]) -> bool:
    """Whether the polls can tell queue and work apart."""
    return sum(job.queued_at > 0 and job.processing_at is not None for job in jobs) > ENOUGH_QUEUED * len(jobs)


def estimate_phases(jobs: Iterable[Finished], prior: Prior) -> tuple[Mixture, Mixture]:
    """The distributions of queue and work.

    The polls show only roughly when the work on a job began. It is placed where both distributions make it probable.

    Args:
        jobs: The finished jobs of a kind.
        prior: What is believed of the work.
    """
    seen = [_Phases.of(job) for job in jobs]
    queue = estimate([job.queue for job in seen], QUEUE_PRIOR)
    work = estimate([job.work for job in seen if job.work is not None], prior)
    for _ in range(ROUNDS):
        placed = [job.place(queue, work) for job in seen]
        queue = estimate([queued for queued, _ in placed], QUEUE_PRIOR)
        work = estimate([worked for _, worked in placed if worked is not None], prior)
    return queue, work


@frozen
class _Phases:
    """What is known of the phases of one job."""

    queue: Interval
    work: Interval | None
    duration: float | None

    @classmethod
    def of(cls, job: Finished) -> _Phases:
        began = math.inf if job.ended_at is None else job.ended_at
        began = job.processing_at or job.duration or began
        queue = Interval(job.queued_at, max(began, job.queued_at))
        if job.processing_at is None and job.ended_at is None:
            return cls(queue, None, None)
        least = (job.duration or job.running_at) - queue.high
        most = math.inf if job.ended_at is None else (job.duration or job.ended_at) - queue.low
        return cls(queue, Interval(max(least, 0.0), max(most, 0.0)), job.duration)

    def place(self, queue: Mixture, work: Mixture) -> tuple[Interval | Point, Interval | Point | None]:
        """Both phases, as well as they can be known from each other."""
        if self.duration is None or self.queue.is_exact:
            return self.queue, self.work
        step = (min(self.queue.high, self.duration) - self.queue.low) / PLACES
        queued = [self.queue.low + step * (place + 0.5) for place in range(PLACES)]
        shares = [queue.density(seconds) * work.density(self.duration - seconds) + 1e-12 for seconds in queued]
        return _point(queued, shares), _point([self.duration - seconds for seconds in queued], shares)


def _point(seconds: Sequence[float], shares: Sequence[float]) -> Point:
    """A log duration by its mean and variance."""
    places = [math.log(max(each, MIN_SECONDS)) for each in seconds]
    mean = sum(place * share for place, share in zip(places, shares, strict=True)) / sum(shares)
    variance = sum(share * (place - mean) ** 2 for place, share in zip(places, shares, strict=True)) / sum(shares)
    return Point(mean, variance)
