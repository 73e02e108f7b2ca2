"""Plan the polls of a job whose duration has a known distribution, at the least expected cost (dynamic programming).

A poll costs 1. Each second between a job's end and the poll that sees it costs ``delay_cost``.
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
"""After the last age of a plan each interval is this share of the time since then, so it grows exponentially."""
MAX_TAIL_DELAY: Final = 60.0
"""Longest interval after the last age of a plan, in seconds."""
AGES: Final = 200
"""Number of ages at which a plan may poll, in a geometric progression."""
QUEUE_AGES: Final = 70
"""The same for the polls while a job queues."""
RARE: Final = 0.002
"""The grid of ages leaves out this share of the shortest durations, and of the longest."""
GAPS: Final = (0.0, 0.06, 0.125, 0.25, 0.5, 1.0)
"""Gaps between polls, as shares of the median work, for which the cost after the gap is computed."""
STARTS: Final = 6
"""Number of times in such a gap at which the work may have begun."""


@frozen
class Distribution:
    """The distribution of durations on a grid of ages."""

    ages: Sequence[float]
    """Ages in seconds, ascending; the first is 0."""
    ended: Sequence[float]
    """Share of the jobs that have ended at each age."""
    time_ended: Sequence[float] = field(init=False)
    """The integral of ``ended``: mean seconds since a job's end at each age, 0 for a job that still runs."""

    @time_ended.default
    def _integrate(self) -> list[float]:
        total, sums = 0.0, [0.0]
        for (left, low), (right, high) in pairwise(zip(self.ages, self.ended, strict=True)):
            total += (right - left) * (low + high) / 2
            sums.append(total)
        return sums

    @classmethod
    def of(cls, mixture: Mixture, points: int = AGES) -> Distribution:
        """Return a mixture on a grid of ages that leaves out the rarest durations.

        Args:
            mixture: The distribution.
            points: Number of ages besides 0.
        """
        low, high = mixture.quantile(RARE), mixture.quantile(1 - RARE)
        step = math.pow(high / low, 1 / (points - 1))
        ages = [low * step**nth for nth in range(points)]
        return cls((0.0, *ages), (0.0, *map(mixture.below, ages)))

    def at(self, age: float) -> tuple[float, float]:
        """Return ``ended`` and ``time_ended`` at any age, interpolated."""
        after = bisect_right(self.ages, age)
        if after == len(self.ages):
            return self.ended[-1], self.time_ended[-1] + (age - self.ages[-1]) * self.ended[-1]
        left, low, right, high = self.ages[after - 1], self.ended[after - 1], self.ages[after], self.ended[after]
        here = low + (high - low) * (age - left) / (right - left)
        return here, self.time_ended[after - 1] + (age - left) * (low + here) / 2


@frozen
class Plan:
    """The best next poll from each age of a grid, for a job that the polls so far saw running."""

    ages: Sequence[float]
    """Ages in seconds, ascending; the first is 0."""
    next_polls: Sequence[float]
    """The age of the best next poll after a poll at each of ``ages`` but the last."""
    cost: float = 0.0
    """Expected cost of the polls and of the detection delay of a job."""

    def next_delay(self, age: float) -> float:
        """Return the seconds from ``age`` to the next poll."""
        place = bisect_right(self.ages, age) - 1
        if place + 1 < len(self.next_polls):
            share = (age - self.ages[place]) / (self.ages[place + 1] - self.ages[place])
            return self.next_polls[place] * (1 - share) + self.next_polls[place + 1] * share - age
        if place < len(self.next_polls):
            return self.next_polls[place] - age
        late = len(self.next_polls) * 9 // 10  # the end of the grid shortens the intervals after this one
        last_interval = self.next_polls[late] - self.ages[late]
        return min(max(last_interval, TAIL_GROWTH * (age - self.ages[-1])), MAX_TAIL_DELAY)


def plan_polls(distribution: Distribution, delay_cost: float) -> Plan:
    """Return the plan of least expected cost, found from the last age back to the first.

    ``cost[i]`` is the least cost after a poll at age i, expected per job of all jobs, whether they still run or not. It
    is the minimum over j > i of three terms: one poll at age j for each job that runs at age i, the detection delay of
    the jobs that end between i and j, and ``cost[j]``.

    Args:
        distribution: The distribution of durations.
        delay_cost: How many polls one second of detection delay is worth.
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
                break  # the delay grows with every later poll
        cost[here] = least
    return Plan(ages, [ages[there] for there in best[:-1]], cost[0])


@define
class PhasedPlan:
    """A plan for jobs that queue first: one part until a poll sees AKOOL work on the job, another from then on."""

    queue: Distribution
    """Distribution of the seconds in the queue."""
    work: Distribution
    """Distribution of the seconds from the start of the work to the end of the job."""
    delay_cost: float
    """How many polls one second of detection delay is worth."""
    before: Plan = field(init=False)
    """The plan while polls see the job queue."""
    _polls: list[float] = field(init=False, factory=list)
    _after: dict[int, Plan] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.before = self._plan_queue()
        age = 0.0
        while age < self.before.ages[-1]:
            age += self.before.next_delay(age)
            self._polls.append(age)

    def next_delay(self, age: float, processing_since: float | None) -> float:
        """Return the seconds from ``age`` to the next poll.

        Args:
            age: Seconds since AKOOL accepted the job.
            processing_since: Age at the first poll that saw status 2; None until then.
        """
        if processing_since is None:
            return self.before.next_delay(age)
        return self._plan_after(processing_since).next_delay(age - processing_since)

    def _plan_after(self, seen_at: float) -> Plan:
        """Return the plan from the first poll that saw the work; there is one for each planned poll of the queue."""
        nth = min(bisect_left(self._polls, seen_at * 0.95), len(self._polls) - 1)
        if nth not in self._after:
            last = self._polls[nth - 1] if nth else 0.0
            gap = (self._polls[nth] - last) / STARTS
            starts = [last + gap * (part + 0.5) for part in range(STARTS)]
            shares = [self.queue.at(start + gap / 2)[0] - self.queue.at(start - gap / 2)[0] for start in starts]
            worked = [self._polls[nth] - start for start in starts]
            self._after[nth] = plan_polls(_remaining(self.work, worked, shares), self.delay_cost)
        return self._after[nth]

    def _plan_queue(self) -> Plan:
        """Plan as :func:`plan_polls` does, and add the cost of the plan that follows the first poll that sees the work.

        That cost is assumed to depend only on the gap between this poll and the one before. Within the gap every start
        of the work is assumed to be equally likely.
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
        """Return gaps, in seconds, and the cost of the plan after each."""
        median = self.work.ages[bisect_left(self.work.ended, 0.5)]
        costs = []
        for gap in (median * share for share in GAPS):
            worked = [gap * (part + 0.5) / STARTS for part in range(STARTS if gap else 1)]
            costs.append((gap, plan_polls(_remaining(self.work, worked, [1.0] * len(worked)), self.delay_cost).cost))
        return costs


def _remaining(work: Distribution, worked: Sequence[float], shares: Sequence[float]) -> Distribution:
    """Return the distribution of the remaining work of jobs that have not ended.

    Args:
        work: The distribution of the whole work.
        worked: Seconds that AKOOL has worked on the jobs of each group.
        shares: The share of each group.
    """
    first = max(work.ages[1] - max(worked), 0.05 * work.ages[1])
    step = math.pow(work.ages[-1] / first, 1 / (AGES - 1))
    ages = [0.0, *(first * step**nth for nth in range(AGES))]
    ended = [
        sum(share * work.at(age + so_far)[0] for so_far, share in zip(worked, shares, strict=True)) for age in ages
    ]
    running = max(sum(shares) - ended[0], 1e-9)
    return Distribution(ages, [max(share - ended[0], 0.0) / running for share in ended])


def _interpolate(points: Sequence[tuple[float, float]], x: float) -> float:
    """Return y at x on the lines through these points, the last line extended."""
    for (left, low), (right, high) in pairwise(points):
        if x <= right:
            return low + (high - low) * (x - left) / (right - left)
    (left, low), (right, high) = points[-2:]
    return high + (high - low) * (x - right) / (right - left)
