"""How long jobs take, estimated from what polls can see of them: pure mathematics, nothing waits here.

Polls do not see when a job ended, only that it still ran at one poll and had ended at the next; of a job that nobody
polls any more it is only known that it took longer than that. Both count for what they show, and no more.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_JOBS: Final = 64
"""The newest jobs of a kind: their schedule costs about one hundredth more than one made of all, and keeps up."""
GRID_POINTS: Final = 200
"""Places of the grid on which durations are told apart, some two hundredths from each other."""
MIN_AGE: Final = 1e-3
TYPICAL_SPREAD: Final = 0.4
"""Standard deviation of the logarithm of a duration, believed as much as one job would be."""
UNSEEN_SPREAD: Final = 0.6
"""The same of what has not been seen yet."""
UNSEEN_JOBS: Final = 0.5
"""How many jobs what has not been seen yet weighs as much as, for ever."""
NARROWINGS: Final = 2
MIN_STEPS: Final = 4
MAX_DISTANCE: Final = math.log(6)
"""How far from the middle the grid goes: rarer jobs belong to the tail, which is not planned."""


@frozen
class Distribution:
    """The share of jobs that have ended at each of these ages, in seconds since their press; the first age is 0."""

    ages: Sequence[float]
    ended: Sequence[float]


@frozen
class _Box:
    """A job's end somewhere between two logarithms of its age, and how many jobs it stands for."""

    low: float
    high: float
    weight: float = 1.0

    @property
    def middle(self) -> float:
        return (self.low + self.high) / 2


@define
class Durations:
    """The newest jobs of one kind as (age when last seen running, age when seen ended or None)."""

    seen: deque[tuple[float, float | None]] = field(factory=lambda: deque(maxlen=MAX_JOBS))

    @property
    def ended(self) -> int:
        """How many of them were seen to end."""
        return sum(ended_at is not None for _, ended_at in self.seen)

    def add(self, running_at: float, ended_at: float | None) -> None:
        """One more job, which pushes out the oldest."""
        self.seen.append((running_at, ended_at))

    def estimate(self) -> Distribution:
        """The distribution they suggest, smooth, with some room for what was not seen yet. Needs one that ended."""
        boxes = _weigh(self.seen)
        curve = _smooth(boxes)
        for _ in range(NARROWINGS):
            curve = _smooth([_narrow(box, curve) for box in boxes])
        return Distribution((0.0, *map(math.exp, curve.places)), (0.0, *curve.ended))


@frozen
class _Curve:
    """A distribution over logarithms of ages."""

    places: list[float]
    ended: list[float]


def _smooth(boxes: list[_Box]) -> _Curve:
    jobs = sum(box.weight for box in boxes)
    middle = sum(box.weight * box.middle for box in boxes) / jobs
    width = _choose_smoothing(boxes, middle, jobs)
    low = max(min(box.low for box in boxes) - 2.5 * width, middle - MAX_DISTANCE)
    high = min(max(box.high for box in boxes) + 2.5 * width, middle + MAX_DISTANCE)
    low, high = min(low, middle - 2 * UNSEEN_SPREAD), max(high, middle + 2 * UNSEEN_SPREAD)
    places = [low + (high - low) * step / (GRID_POINTS - 1) for step in range(GRID_POINTS)]
    ended = [
        UNSEEN_JOBS * _normal((place - middle) / UNSEEN_SPREAD)
        + sum(box.weight * _share_below(place, box, width) for box in boxes)
        for place in places
    ]
    return _Curve(places, [jobs_ended / (UNSEEN_JOBS + jobs) for jobs_ended in ended])


def _narrow(box: _Box, curve: _Curve) -> _Box:
    """Where in its box a job ended is judged by what the curve of all jobs says of that stretch."""
    first = max(bisect_right(curve.places, box.low) - 1, 0)
    last = bisect_left(curve.places, box.high)
    stretch = list(zip(pairwise(curve.places[first : last + 1]), pairwise(curve.ended[first : last + 1]), strict=True))
    total = sum(high - low for _, (low, high) in stretch)
    if len(stretch) < MIN_STEPS or not total:
        return box
    shares = [((left + right) / 2, (high - low) / total) for (left, right), (low, high) in stretch]
    mean = sum(place * share for place, share in shares)
    spread = math.sqrt(sum(share * (place - mean) ** 2 for place, share in shares))
    return _Box(max(box.low, mean - spread), min(box.high, mean + spread), box.weight)


def _weigh(seen: Sequence[tuple[float, float | None]]) -> list[_Box]:
    """Jobs that ended, each standing also for its share of those that were abandoned before its age (Kaplan-Meier)."""
    boxes = sorted((_box(running_at, ended_at) for running_at, ended_at in seen if ended_at), key=lambda b: b.middle)
    weights = [1.0] * len(boxes)
    for abandoned_at in sorted(running_at for running_at, ended_at in seen if not ended_at):
        later = [i for i, box in enumerate(boxes) if box.middle > math.log(max(abandoned_at, MIN_AGE))]
        shared = sum(weights[i] for i in later)
        for i in later:
            weights[i] += weights[i] / shared
    return [_Box(box.low, box.high, weight) for box, weight in zip(boxes, weights, strict=True)]


def _box(running_at: float, ended_at: float) -> _Box:
    high = max(ended_at, 2 * MIN_AGE)
    # Between polls far apart the end is taken to lie within a factor of two: of the later poll if there was no other
    # (a schedule that polls too late creeps forward), else of the earlier (a process that slept says nothing).
    if running_at <= MIN_AGE:
        return _Box(math.log(high / 2), math.log(high))
    return _Box(math.log(running_at), math.log(min(max(high, running_at * 1.001), 2 * running_at)))


def _choose_smoothing(boxes: list[_Box], middle: float, jobs: float) -> float:
    """Silverman's width, or a half or a quarter of it where that foretells each job better from the others."""
    spread = math.sqrt((TYPICAL_SPREAD**2 + sum(box.weight * (box.middle - middle) ** 2 for box in boxes)) / jobs)
    widest = 0.9 * spread * math.pow(len(boxes), -0.2)
    middles = [box.middle for box in boxes]

    def foretold(width: float) -> float:
        likelihoods = (sum(math.exp(-(((one - other) / width) ** 2) / 2) for other in middles) - 1 for one in middles)
        return sum(math.log(max(likelihood, 0.0) / width + 1e-3) for likelihood in likelihoods)

    return max((widest, widest / 2, widest / 4), key=foretold)


def _share_below(place: float, box: _Box, width: float) -> float:
    """The share of a box that lies below a place once it is smoothed by a normal distribution."""
    low, high = (place - box.low) / width, (place - box.high) / width
    if low < -4:  # noqa: PLR2004 - four standard deviations: nothing to be seen from there
        return 0.0
    if high > 4:  # noqa: PLR2004
        return 1.0
    return (_integral(low) - _integral(high)) * width / (box.high - box.low)


def _integral(z: float) -> float:
    """Integral of the normal distribution function up to z."""
    return z * _normal(z) + math.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def _normal(z: float) -> float:
    """The normal distribution function."""
    return (1 + math.erf(z / math.sqrt(2))) / 2
