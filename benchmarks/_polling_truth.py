"""Jobs that queue before AKOOL works on them, of known distributions: what a schedule costs, and the least possible."""

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
"""Standard deviations of log duration past which the grid ends: one job in 100,000."""
QUEUE_POLLS: Final = 70
"""Ages at which the optimum may poll a job that queues."""
UNLIKELY: Final = 1e-4


@frozen
class Hump:
    """A share of the jobs, lognormal."""

    share: float
    median: float
    sigma: float

    @property
    def longest(self) -> float:
        """Seconds that hardly any job passes."""
        return self.median * math.exp(RARE * self.sigma)


def running(humps: Sequence[Hump], ages: Floats) -> Floats:
    """Share of jobs that take longer than each of these ages."""
    sigmas = sum(hump.share * _upper_tail(np.log(np.maximum(ages, 1e-9) / hump.median) / hump.sigma) for hump in humps)
    return np.where(ages <= 0, 1.0, sigmas)


def _upper_tail(z: Floats) -> Floats:
    return np.vectorize(lambda x: math.erfc(x / math.sqrt(2)) / 2)(z)


@frozen
class Truth:
    """How long jobs of one kind queue, and how long AKOOL then works on them."""

    queue: tuple[Hump, ...]
    work: tuple[Hump, ...]

    @cached_property
    def ages(self) -> Floats:
        """The grid."""
        end = max(hump.longest for hump in self.queue) + max(hump.longest for hump in self.work)
        return np.arange(0.0, end + STEP, STEP)

    @cached_property
    def queueing(self) -> Floats:
        """Share of the jobs that still queue at each age."""
        return running(self.queue, self.ages)

    @cached_property
    def begun(self) -> Floats:
        """For each age (row) the share of jobs whose work began before it, and that still run at each age (column)."""
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
        """The row of :attr:`begun` for any age."""
        place = min(age / STEP, len(self.begun) - 1.0)
        low = int(place)
        high = min(low + 1, len(self.begun) - 1)
        return self.begun[low] + (place - low) * (self.begun[high] - self.begun[low])

    # --- what a schedule costs ---

    def expected(self, policy: Polling, kind: str) -> tuple[float, float]:
        """Polls and seconds of detection delay of a job: the mean over all jobs, but for the policy's jitter."""
        polls = delay = age = 0.0
        still, count, before = 1.0, 0, self.work_begun(0.0)
        while still > UNLIKELY:
            last, status = age, 1 if count else None
            age += policy.next_delay(Progress(kind, age, count, status, None))
            count += 1
            begun = self.work_begun(age)
            mine, before = begun - before, begun
            polls += still
            began = still - float(np.interp(age, self.ages, self.queueing))
            delay += began * (age - last) - self._time(mine, last, age)
            more_polls, more_delay = self._expected_after(policy, kind, mine, age, count)
            polls, delay, still = polls + more_polls, delay + more_delay, still - began
        return polls, delay

    def _expected_after(
        self, policy: Polling, kind: str, mine: Floats, seen_at: float, count: int
    ) -> tuple[float, float]:
        """The same of jobs that the poll at age ``seen_at`` was the first to see processing."""
        share = float(np.interp(seen_at, self.ages, mine))
        if share < UNLIKELY / 10:
            return 0.0, 0.0
        ages = [seen_at]
        while np.interp(ages[-1], self.ages, mine) > UNLIKELY / 10 and ages[-1] < self.ages[-1]:
            progress = Progress(kind, ages[-1], count + len(ages) - 1, 2, seen_at)
            ages.append(ages[-1] + policy.next_delay(progress))
        polled = np.array(ages)
        runs = np.interp(polled[:-1], self.ages, mine)
        total = self._time(mine, seen_at, self.ages[-1])
        return float(runs.sum()), float(runs @ np.diff(polled)) - total

    def _time(self, mine: Floats, start: float, end: float) -> float:
        sums = np.concatenate([[0.0], np.cumsum((mine[1:] + mine[:-1]) / 2 * STEP)])
        low, high = np.interp([start, end], self.ages, sums)
        return float(high - low)

    # --- the least possible ---

    def age_only_optimum(self, delay_cost: float) -> float:
        """The least cost of a schedule that knows the distribution, and sees only the age of a job."""
        return float(_least(self.begun[-1:], delay_cost)[0, 0])

    def optimum(self, delay_cost: float) -> float:
        """The same of one that sees the status too.

        As long as polls see a job queueing only its age counts. From the first that sees it processing, it counts also
        when the one before was: the work began between them.
        """
        last = len(self.begun) - 1
        places = np.unique(np.linspace(0, last, min(QUEUE_POLLS, last + 1)).round().astype(int))
        paid = np.full(
            (len(places), len(places)), np.inf
        )  # from a poll that saw it queueing (row) to the next (column)
        for nth, there in enumerate(places[1:], start=1):
            mine = self.begun[there] - self.begun[places[:nth]]
            after = _least(mine, delay_cost, until=there)
            paid[:nth, nth] = delay_cost * _delay(mine, places[:nth])[:, there] + after[:, there]
            if there == last:  # none queues any more, so the next poll may also be later
                delays = delay_cost * _delay(mine, places[:nth])[:, there:] + after[:, there:]
                paid[:nth, nth] = delays.min(axis=1)
        cost = np.zeros(len(places))
        for nth in range(len(places) - 2, -1, -1):
            cost[nth] = self.queueing[places[nth]] + (paid[nth] + cost)[nth + 1 :].min()
        return float(cost[0])


def _times(survival: Floats) -> Floats:
    """The integral of each row."""
    steps = (survival[:, 1:] + survival[:, :-1]) / 2 * STEP
    return np.concatenate([np.zeros((len(survival), 1)), np.cumsum(steps, axis=1)], axis=1)


def _delay(survival: Floats, starts: NDArray[np.int_]) -> Floats:
    """Seconds of delay of the jobs of each row, if polls come at its start and at each age."""
    times, rows = _times(survival), np.arange(len(survival))
    passed = (np.arange(survival.shape[1]) - starts[:, None]) * STEP
    return survival[:, :1] * passed - (times - times[rows, starts][:, None])


def _least(survival: Floats, delay_cost: float, until: int = 0) -> Floats:
    """The least cost of jobs that are polled at each age, from then on; a row for each group of jobs."""
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
