"""When to poll a job whose duration is known as a distribution: the cheapest plan there is, by dynamic programming.

A poll costs 1; a second between a job's end and the poll that sees it costs ``delay_cost``.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from akool_async.polling.estimate import Mixture

TAIL_GROWTH: Final = 0.1
"""Past the plan each interval is this share of the time since its end: it grows exponentially."""
MAX_TAIL_DELAY: Final = 60.0
AGES: Final = 200
"""Ages at which a plan may poll, each some hundredths later than the one before."""
QUEUE_AGES: Final = 70
RARE: Final = 0.002
"""A plan leaves out the shortest and the longest of the jobs, this share of each."""
GAPS: Final = (0.0, 0.06, 0.125, 0.25, 0.5, 1.0)
"""Gaps between polls for which the cost after them is computed, as shares of the median of the work."""
PLACES: Final = 6
"""Moments in such a gap at which the work may have begun."""


@frozen
class Distribution:
    """The share of jobs that have ended at each of these ages, in seconds; the first age is 0."""

    ages: Sequence[float]
    ended: Sequence[float]
    time_ended: Sequence[float] = field(init=False)
    """The integral of ``ended``: mean seconds by which a job has ended before each age."""

    @time_ended.default
    def _integrate(self) -> list[float]:
        total, sums = 0.0, [0.0]
        for (left, low), (right, high) in pairwise(zip(self.ages, self.ended, strict=True)):
            total += (right - left) * (low + high) / 2
            sums.append(total)
        return sums

    @classmethod
    def of(cls, mixture: Mixture, points: int = AGES) -> Distribution:
        """A mixture on a grid of ages, without its rarest durations."""
        low, high = mixture.quantile(RARE), mixture.quantile(1 - RARE)
        step = math.pow(high / low, 1 / (points - 1))
        ages = [low * step**place for place in range(points)]
        return cls((0.0, *ages), (0.0, *map(mixture.below, ages)))

    def at(self, age: float) -> tuple[float, float]:
        """``ended`` and ``time_ended`` at any age."""
        after = bisect_right(self.ages, age)
        if after == len(self.ages):
            return self.ended[-1], self.time_ended[-1] + (age - self.ages[-1]) * self.ended[-1]
        left, low, right, high = self.ages[after - 1], self.ended[after - 1], self.ages[after], self.ended[after]
        here = low + (high - low) * (age - left) / (right - left)
        return here, self.time_ended[after - 1] + (age - left) * (low + here) / 2


@frozen
class Plan:
    """For each age of the grid the age of the best next poll, if no poll before saw the end."""

    ages: Sequence[float]
    next_polls: Sequence[float]
    cost: float = 0.0
    """What the polls and the delay of a job are expected to cost."""

    def next_delay(self, age: float) -> float:
        """Seconds from ``age`` to the next poll."""
        place = bisect_right(self.ages, age) - 1
        if place + 1 < len(self.next_polls):
            share = (age - self.ages[place]) / (self.ages[place + 1] - self.ages[place])
            return self.next_polls[place] * (1 - share) + self.next_polls[place + 1] * share - age
        if place < len(self.next_polls):
            return self.next_polls[place] - age
        late = len(self.next_polls) * 9 // 10  # later the end of the grid cuts the intervals short
        last_interval = self.next_polls[late] - self.ages[late]
        return min(max(last_interval, TAIL_GROWTH * (age - self.ages[-1])), MAX_TAIL_DELAY)


def plan_polls(distribution: Distribution, delay_cost: float) -> Plan:
    """The plan of least expected cost, found from the last age back to the first.

    ``cost[i]`` is what is still to be paid by jobs that run on after a poll at age i, times their share:
    the least over j > i of one poll of each of them, the delay of those that end in between, and ``cost[j]``.
    """
    ages, ended, ended_so_far = distribution.ages, distribution.ended, distribution.time_ended
    cost = [0.0] * len(ages)
    best = [len(ages) - 1] * len(ages)
    for here in range(len(ages) - 2, -1, -1):
        running = 1 - ended[here]
        least = math.inf
        for there in range(here + 1, len(ages)):
            delay = ended_so_far[there] - ended_so_far[here] - ended[here] * (ages[there] - ages[here])
            paid = running + delay_cost * delay
            if paid + cost[there] < least:
                least, best[here] = paid + cost[there], there
            elif paid > least:
                break  # the delay only grows from here
        cost[here] = least
    return Plan(ages, [ages[there] for there in best[:-1]], cost[0])


@define
class PhasedPlan:
    """A plan for jobs that queue first: one until a poll sees AKOOL work on them, another one from then on."""

    queue: Distribution
    work: Distribution
    delay_cost: float
    before: Plan = field(init=False)
    """Ages of the polls while the job queues."""
    _polls: list[float] = field(init=False, factory=list)
    _after: dict[int, Plan] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.before = self._plan_queue()
        age = 0.0
        while age < self.before.ages[-1]:
            age += self.before.next_delay(age)
            self._polls.append(age)

    def next_delay(self, age: float, processing_since: float | None) -> float:
        """Seconds from ``age`` to the next poll of a job first seen processing at age ``processing_since``, if ever."""
        if processing_since is None:
            return self.before.next_delay(age)
        return self._plan_after(processing_since).next_delay(age - processing_since)

    def _plan_after(self, seen_at: float) -> Plan:
        """The plan from the first poll that saw the work, by which of the planned polls that was."""
        place = min(bisect_left(self._polls, seen_at * 0.95), len(self._polls) - 1)
        if place not in self._after:
            last = self._polls[place - 1] if place else 0.0
            gap = (self._polls[place] - last) / PLACES
            starts = [last + gap * (part + 0.5) for part in range(PLACES)]
            shares = [self.queue.at(start + gap / 2)[0] - self.queue.at(start - gap / 2)[0] for start in starts]
            worked = [self._polls[place] - start for start in starts]
            self._after[place] = plan_polls(_remaining(self.work, worked, shares), self.delay_cost)
        return self._after[place]

    def _plan_queue(self) -> Plan:
        """As :func:`plan_polls`, but a poll may see the work, and then costs what the plan from there costs.

        That cost is taken to depend on the gap between the two polls alone, anywhere in which the work may have begun.
        """
        ages, begun = self.queue.ages, self.queue.ended
        cost = [0.0] * len(ages)
        best = [len(ages) - 1] * len(ages)
        delays, working = [0.0] * len(ages), [0.0] * len(ages)
        after = self._costs_after()
        for here in range(len(ages) - 2, -1, -1):
            share, start = begun[here + 1] - begun[here], (ages[here] + ages[here + 1]) / 2
            least = math.inf
            for there in range(here + 1, len(ages)):
                ended, time_ended = self.work.at(ages[there] - start)
                delays[there] += share * time_ended
                working[there] += share * (1 - ended)
                paid = 1 - begun[here] + self.delay_cost * delays[there]
                gap_cost = _interpolate(after, ages[there] - ages[here])
                total = paid + working[there] * gap_cost + cost[there]
                if total < least:
                    least, best[here] = total, there
            cost[here] = least
        return Plan(ages, [ages[there] for there in best[:-1]], cost[0])

    def _costs_after(self) -> list[tuple[float, float]]:
        median = self.work.ages[bisect_left(self.work.ended, 0.5)]
        costs = []
        for gap in (median * share for share in GAPS):
            worked = [gap * (part + 0.5) / PLACES for part in range(PLACES if gap else 1)]
            costs.append((gap, plan_polls(_remaining(self.work, worked, [1.0] * len(worked)), self.delay_cost).cost))
        return costs


def _remaining(work: Distribution, worked: Sequence[float], shares: Sequence[float]) -> Distribution:
    """How much longer jobs take that were worked on for so long, in these shares, and have not ended."""
    first = max(work.ages[1] - max(worked), 0.05 * work.ages[1])
    step = math.pow(work.ages[-1] / first, 1 / (AGES - 1))
    ages = [0.0, *(first * step**place for place in range(AGES))]
    ended = [
        sum(share * work.at(age + so_far)[0] for so_far, share in zip(worked, shares, strict=True)) for age in ages
    ]
    running = max(sum(shares) - ended[0], 1e-9)
    return Distribution(ages, [max(share - ended[0], 0.0) / running for share in ended])


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    for (left, low), (right, high) in pairwise(points):
        if x <= right:
            return low + (high - low) * (x - left) / (right - left)
    (left, low), (right, high) = points[-2:]
    return high + (high - low) * (x - right) / (right - left)
