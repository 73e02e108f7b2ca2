"""When to poll a job whose duration is known as a distribution: the cheapest plan there is, by dynamic programming.

A poll costs 1; a second between a job's end and the poll that sees it costs ``delay_cost``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from akool_async.polling.durations import Distribution

TAIL_GROWTH: Final = 0.1
"""Past the plan each interval is this share of the time since its end: it grows exponentially."""
MAX_TAIL_DELAY: Final = 60.0


@frozen
class Plan:
    """For each age of the grid the age of the best next poll, if no poll before saw the end."""

    ages: Sequence[float]
    next_polls: Sequence[float]

    def next_delay(self, age: float) -> float:
        """Seconds from ``age`` to the next poll."""
        place = bisect_right(self.ages, age) - 1
        if place < len(self.next_polls):
            return self.next_polls[place] - age
        last_interval = self.ages[-1] - self.ages[-2]
        return min(max(last_interval, TAIL_GROWTH * (age - self.ages[-1])), MAX_TAIL_DELAY)


def plan_polls(distribution: Distribution, delay_cost: float) -> Plan:
    """The plan of least expected cost, found from the last age back to the first.

    ``cost[i]`` is what is still to be paid by jobs that run on after a poll at age i, times their share:
    the least over j > i of one poll of each of them, the delay of those that end in between, and ``cost[j]``.
    """
    ages, ended = distribution.ages, distribution.ended
    ended_so_far = _integrate(ages, ended)
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
    return Plan(ages, [ages[there] for there in best[:-1]])


def _integrate(ages: Sequence[float], ended: Sequence[float]) -> list[float]:
    total = 0.0
    sums = [total]
    for (left, low), (right, high) in pairwise(zip(ages, ended, strict=True)):
        total += (right - left) * (low + high) / 2
        sums.append(total)
    return sums
