"""The expected cost of schedules, and the least possible, for jobs with known distributions of queue and work."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import frozen

from akool_async.polling import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from akool_async.polling import Polling

    Floats = NDArray[np.float64]

STEP: Final = 0.1
"""Seconds between ages of the grid."""
RARE: Final = 4.3
"""The grid ends this many standard deviations above the median: one job in 100,000 takes longer."""
QUEUE_POLLS: Final = 70
"""Number of ages at which the optimum may poll a job that queues."""
NEGLIGIBLE: Final = 1e-4
"""A smaller share of the jobs is ignored."""


@frozen
class Hump:
    """A share of the jobs, whose durations are lognormal; the median is in seconds."""

    share: float
    median: float
    sigma: float

    @property
    def longest(self) -> float:
        """Seconds that hardly any job exceeds."""
        return self.median * math.exp(RARE * self.sigma)


def running(humps: Sequence[Hump], ages: Floats) -> Floats:
    """Return the share of jobs that take longer than each of these ages."""
    shares = sum(hump.share * _upper_tail(np.log(np.maximum(ages, 1e-9) / hump.median) / hump.sigma) for hump in humps)
    return np.where(ages <= 0, 1.0, shares)


def _upper_tail(z: Floats) -> Floats:
    return np.vectorize(lambda x: math.erfc(x / math.sqrt(2)) / 2)(z)


@frozen
class Truth:
    """The true distributions of one kind of job: its time in the queue, and AKOOL's time of work after that."""

    queue: tuple[Hump, ...]
    work: tuple[Hump, ...]

    @cached_property
    def ages(self) -> Floats:
        """The grid of ages, in seconds."""
        end = max(hump.longest for hump in self.queue) + max(hump.longest for hump in self.work)
        return np.arange(0.0, end + STEP, STEP)

    @cached_property
    def queueing(self) -> Floats:
        """The share of jobs that still queue at each age."""
        return running(self.queue, self.ages)

    @cached_property
    def begun(self) -> Floats:
        """The share of jobs whose work began before an age (row) and which have not ended at an age (column)."""
        shares = -np.diff(self.queueing)
        working = running(self.work, self.ages - STEP / 2)
        last = min(int(np.searchsorted(-self.queueing, -1e-5)), len(shares))
        rows = np.zeros((last + 1, len(self.ages)))
        for place in range(last):
            rows[place + 1] = rows[place]
            rows[place + 1, place + 1 :] += shares[place] * working[1 : len(self.ages) - place]
            rows[place + 1, : place + 1] += shares[place]
        return rows

    def sample(self, rng: np.random.Generator) -> tuple[float, float]:
        """Draw the queue and the work of one job, in seconds."""
        return _draw(self.queue, rng), _draw(self.work, rng)

    def work_begun(self, age: float) -> Floats:
        """Return the row of :attr:`begun` for any age, interpolated."""
        place = min(age / STEP, len(self.begun) - 1.0)
        low = int(place)
        high = min(low + 1, len(self.begun) - 1)
        return self.begun[low] + (place - low) * (self.begun[high] - self.begun[low])

    # --- the cost of a schedule ---

    def expected(self, policy: Polling, kind: str) -> tuple[float, float]:
        """Return the mean polls and seconds of detection delay per job, for one draw of the policy's jitter."""
        polls = delay = age = 0.0
        still_queueing, count, before = 1.0, 0, self.work_begun(0.0)
        while still_queueing > NEGLIGIBLE:
            last, status = age, 1 if count else None
            age += policy.next_delay(Progress(kind, age, count, status, None))
            count += 1
            begun = self.work_begun(age)
            group, before = begun - before, begun
            polls += still_queueing
            began = still_queueing - float(np.interp(age, self.ages, self.queueing))
            delay += began * (age - last) - self._time(group, last, age)
            more_polls, more_delay = self._expected_after(policy, kind, group, age, count)
            polls, delay = polls + more_polls, delay + more_delay
            still_queueing -= began
        return polls, delay

    def _expected_after(
        self, policy: Polling, kind: str, group: Floats, seen_at: float, count: int
    ) -> tuple[float, float]:
        """Return the same for the jobs that the poll at age ``seen_at`` was the first to see processing.

        ``group`` is the share of all jobs that belong to them and have not ended at each age of the grid.
        """
        share = float(np.interp(seen_at, self.ages, group))
        if share < NEGLIGIBLE / 10:
            return 0.0, 0.0
        ages = [seen_at]
        while np.interp(ages[-1], self.ages, group) > NEGLIGIBLE / 10 and ages[-1] < self.ages[-1]:
            progress = Progress(kind, ages[-1], count + len(ages) - 1, 2, seen_at)
            ages.append(ages[-1] + policy.next_delay(progress))
        polled = np.array(ages)
        runs = np.interp(polled[:-1], self.ages, group)
        total = self._time(group, seen_at, self.ages[-1])
        return float(runs.sum()), float(runs @ np.diff(polled)) - total

    def _time(self, group: Floats, start: float, end: float) -> float:
        """Return the seconds that the jobs of a group run between two ages."""
        sums = np.concatenate([[0.0], np.cumsum((group[1:] + group[:-1]) / 2 * STEP)])
        low, high = np.interp([start, end], self.ages, sums)
        return float(high - low)

    # --- the least possible ---

    def age_only_optimum(self, delay_cost: float) -> float:
        """Return the least cost of a schedule that knows the distributions and sees only the age of a job."""
        return float(_least(self.begun[-1:], delay_cost)[0, 0])

    def optimum(self, delay_cost: float) -> float:
        """Return the least cost of a schedule that also sees the status.

        While polls see a job queue, only its age matters. After the first poll that sees it processing, the age at the
        poll before matters too, because the work began between them.
        """
        last = len(self.begun) - 1
        places = np.unique(np.linspace(0, last, min(QUEUE_POLLS, last + 1)).round().astype(int))
        # costs from a poll that saw the job queue (row) to the next poll (column)
        paid = np.full((len(places), len(places)), np.inf)
        for nth, there in enumerate(places[1:], start=1):
            group = self.begun[there] - self.begun[places[:nth]]
            after = _least(group, delay_cost, until=there)
            paid[:nth, nth] = delay_cost * _delay(group, places[:nth])[:, there] + after[:, there]
            if there == last:  # no job queues at this age, so the next poll may also come later
                delays = delay_cost * _delay(group, places[:nth])[:, there:] + after[:, there:]
                paid[:nth, nth] = delays.min(axis=1)
        cost = np.zeros(len(places))
        for nth in range(len(places) - 2, -1, -1):
            cost[nth] = self.queueing[places[nth]] + (paid[nth] + cost)[nth + 1 :].min()
        return float(cost[0])


def _times(survival: Floats) -> Floats:
    """Return the integral of each row."""
    steps = (survival[:, 1:] + survival[:, :-1]) / 2 * STEP
    return np.concatenate([np.zeros((len(survival), 1)), np.cumsum(steps, axis=1)], axis=1)


def _delay(survival: Floats, starts: NDArray[np.int_]) -> Floats:
    """Return the delay of the jobs of each row (seconds), from a poll at its start to a poll at each age."""
    times, rows = _times(survival), np.arange(len(survival))
    passed = (np.arange(survival.shape[1]) - starts[:, None]) * STEP
    return survival[:, :1] * passed - (times - times[rows, starts][:, None])


def _least(survival: Floats, delay_cost: float, until: int = 0) -> Floats:
    """Return the least cost after a poll at each age; one row for each group of jobs."""
    size = survival.shape[1]
    times = delay_cost * _times(survival)
    cost, ahead = np.zeros_like(survival), -times
    ages = delay_cost * STEP * np.arange(size)
    for here in range(size - 2, until - 1, -1):
        price = survival[:, here : here + 1]
        best = (price * (ages[here + 1 :] - ages[here]) + ahead[:, here + 1 :]).min(axis=1)
        cost[:, here] = survival[:, here] + times[:, here] + best
        ahead[:, here] = cost[:, here] - times[:, here]
    return cost


def _draw(humps: Sequence[Hump], rng: np.random.Generator) -> float:
    hump = humps[rng.choice(len(humps), p=[hump.share for hump in humps])]
    return hump.median * math.exp(hump.sigma * rng.standard_normal())
