"""How long jobs take, estimated from what is known of finished ones: pure mathematics, nothing waits here.

Durations are treated as logarithms. The jobs are taken to come from one bell curve, or from several side by side. Where
a curve lies and how wide it is is never certain: all possibilities count by their probability (Bayes), so that few jobs
give a broad estimate and many give a sharp one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_SECONDS: Final = 1e-3
EXACT: Final = 1e-3
"""Logarithms closer than this are the same."""
SPREADS: Final = (0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.55, 0.75, 1.0)
"""Standard deviations of log duration that are tried."""
TYPICAL_SPREAD: Final = 0.35
SPREAD_DOUBT: Final = 0.7
"""Standard deviation of the logarithm of the spread, before a job was seen."""
SPLIT_PRIOR: Final = 0.1
"""Probability that a group of jobs is in truth two."""
MAX_SPLITS: Final = 2
"""How often a group is split, one split within another."""
MIN_GROUP: Final = 2
GAPS_TRIED: Final = 8
UNSEEN_JOBS: Final = 1.5
"""What no job has shown yet: it counts as this divided by the square of the jobs and one."""
UNSEEN_SPREAD: Final = 0.8
ENDLESS: Final = 0.7
"""How far, as a logarithm, a job whose end nobody saw is taken to have gone on."""
ROUNDS: Final = 3
"""How often the places of jobs that are known roughly are estimated from all of them."""
UNREACHED: Final = 1e-9
NEGLIGIBLE: Final = 0.005
_ROOT: Final = math.sqrt(2 * math.pi)


@frozen
class Interval:
    """A duration lies between these two, in seconds; ``high`` is infinite if nobody saw the end."""

    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """True if it is known as well as matters."""
        return self.high <= max(self.low, MIN_SECONDS) * (1 + EXACT)


@frozen
class Bell:
    """A share of the jobs whose log durations are normally distributed."""

    share: float
    mean: float
    spread: float

    def below(self, place: float) -> float:
        """The share of all jobs whose log duration is less than ``place``."""
        return self.share * _normal((place - self.mean) / self.spread)

    def density(self, place: float) -> float:
        """The density of log duration at ``place``."""
        z = (place - self.mean) / self.spread
        return self.share * math.exp(-z * z / 2) / (self.spread * _ROOT)


@frozen
class Mixture:
    """A distribution of durations: bells whose shares add up to 1."""

    bells: tuple[Bell, ...]

    def below(self, seconds: float) -> float:
        """The share of jobs that take at most so long."""
        place = _log(seconds)
        return sum(bell.below(place) for bell in self.bells)

    def likelihood(self, seen: Interval) -> float:
        """The probability of what is known of a job; the density of its log duration if that is known exactly."""
        if seen.is_exact:
            place = _log(seen.low)
            return sum(bell.density(place) for bell in self.bells)
        high = 1.0 if math.isinf(seen.high) else self.below(seen.high)
        return high - (self.below(seen.low) if seen.low > MIN_SECONDS else 0.0)

    def density(self, seconds: float) -> float:
        """The density of durations, per second."""
        place = _log(seconds)
        return sum(bell.density(place) for bell in self.bells) / max(seconds, MIN_SECONDS)

    def quantile(self, share: float) -> float:
        """The seconds within which this share of the jobs has ended."""
        low = min(bell.mean - 6 * bell.spread for bell in self.bells)
        high = max(bell.mean + 6 * bell.spread for bell in self.bells)
        for _ in range(24):
            middle = (low + high) / 2
            low, high = (middle, high) if self.below(math.exp(middle)) < share else (low, middle)
        return math.exp(high)

    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of log duration."""
        mean = sum(bell.share * bell.mean for bell in self.bells)
        square = sum(bell.share * (bell.spread**2 + (bell.mean - mean) ** 2) for bell in self.bells)
        return mean, math.sqrt(square)


@frozen
class Prior:
    """What is believed before a job was seen: the logarithm of the median duration, and how far off it may be."""

    mean: float
    doubts: tuple[tuple[float, float], ...] = ((0.85, 0.45), (0.15, 2.0))
    """Probabilities, and the standard deviation of the mean with each."""


@frozen
class Point:
    """A job, or a share of one, at a log duration known with some variance."""

    place: float
    variance: float = 0.0
    jobs: float = 1.0
    is_exact: Final = True


@frozen
class _Group:
    """All that a bell has to know of the jobs that it is fitted to."""

    jobs: int
    places: float
    squares: float

    @classmethod
    def of(cls, points: Sequence[Point]) -> _Group:
        squares = sum(point.place**2 + point.variance for point in points)
        return cls(len(points), sum(point.place for point in points), squares)

    def without(self, other: _Group) -> _Group:
        return _Group(self.jobs - other.jobs, self.places - other.places, self.squares - other.squares)


def estimate(seen: Sequence[Interval | Point], prior: Prior) -> Mixture:
    """The distribution of the next job's duration, as these jobs suggest it.

    Args:
        seen: What is known of each job.
        prior: What is believed of them all.
    """
    exact = [job if isinstance(job, Point) else Point(_log(job.low)) for job in seen if job.is_exact]
    rough = [job for job in seen if isinstance(job, Interval) and not job.is_exact]
    mixture = _fit(exact, prior)
    for _ in range(ROUNDS if rough else 0):
        mixture = _fit([*exact, *(_locate(job, mixture) for job in rough)], prior)
    return mixture


def fresh_evidence(seen: Sequence[Interval], prior: Prior) -> float:
    """How probable these few jobs are if nothing but the prior was known before them: the logarithm."""
    points, widths = [], 0.0
    for job in seen:
        low = _log(job.low if job.low > MIN_SECONDS else job.high / 2)
        width = 0.0 if job.is_exact else min(math.log(max(job.high, MIN_SECONDS)) - low, ENDLESS)
        points.append(Point(low + width / 2))
        widths += 0.0 if job.is_exact else math.log(max(width, EXACT))
    return _bells(_Group.of(points), prior)[0] + widths


def _locate(job: Interval, mixture: Mixture) -> Point:
    """Where in its interval a job's duration lies, by a mixture."""
    low = _log(job.low) if job.low > MIN_SECONDS else -math.inf
    high = math.inf if math.isinf(job.high) else _log(job.high)
    parts = [_truncate(bell, low, high) for bell in mixture.bells]
    total = sum(part.jobs for part in parts)
    if total < UNREACHED:
        place = _log(job.high / 2) if math.isinf(low) else low if math.isinf(high) else (low + high) / 2
        return Point(place)
    mean = sum(part.jobs * part.place for part in parts) / total
    return Point(mean, sum(part.jobs * (part.variance + (part.place - mean) ** 2) for part in parts) / total)


def _truncate(bell: Bell, low: float, high: float) -> Point:
    """The part of a bell between two places."""
    a, b = (low - bell.mean) / bell.spread, (high - bell.mean) / bell.spread
    share = _normal(b) - _normal(a)
    if share < UNREACHED:
        return Point(0.0, 0.0, 0.0)
    at_a, at_b = (0.0 if math.isinf(z) else math.exp(-z * z / 2) / _ROOT for z in (a, b))
    shift = (at_a - at_b) / share
    squeeze = ((0.0 if math.isinf(a) else a * at_a) - (0.0 if math.isinf(b) else b * at_b)) / share
    variance = max(1 + squeeze - shift * shift, 1e-6)
    return Point(bell.mean + bell.spread * shift, bell.spread**2 * variance, bell.share * share)


def _fit(points: list[Point], prior: Prior) -> Mixture:
    points = sorted(points, key=lambda point: point.place)
    bells = [bell for bell in _split(points, prior, MAX_SPLITS) if bell.share > NEGLIGIBLE]
    unseen = UNSEEN_JOBS / (UNSEEN_JOBS + len(points) ** 2.5)
    scale = (1 - unseen) / sum(bell.share for bell in bells)
    return Mixture(
        (*(evolve(bell, share=bell.share * scale) for bell in bells), Bell(unseen, prior.mean, UNSEEN_SPREAD))
    )


def _split(points: list[Point], prior: Prior, splits: int) -> list[Bell]:
    """Bells for these jobs as one group and as two, by the probabilities of both; points are sorted by place."""
    group = _Group.of(points)
    odds_of_one, bells = _bells(group, prior)
    ways: list[tuple[float, int]] = []
    for place in _widest_gaps(points) if splits else ():
        left = _Group.of(points[:place])
        right = group.without(left)
        orders = math.lgamma(left.jobs + 1) + math.lgamma(right.jobs + 1) - math.lgamma(group.jobs + 2)
        ways.append((orders + _bells(left, prior)[0] + _bells(right, prior)[0], place))
    if not ways:
        return bells
    best, place = max(ways)
    odds_of_two = best + math.log(sum(math.exp(odds - best) for odds, _ in ways))
    in_two = 1 / (1 + (1 - SPLIT_PRIOR) / SPLIT_PRIOR * math.exp(min(odds_of_one - odds_of_two, 100)))
    if in_two < NEGLIGIBLE:
        return bells
    result = [evolve(bell, share=bell.share * (1 - in_two)) for bell in bells]
    for part in (points[:place], points[place:]):
        share = in_two * (len(part) + 1) / (len(points) + 2)
        result += [evolve(bell, share=bell.share * share) for bell in _split(part, prior, splits - 1)]
    return result


def _widest_gaps(points: list[Point]) -> list[int]:
    """Where sorted jobs may fall into two groups."""
    places = range(MIN_GROUP, len(points) - MIN_GROUP + 1)
    return sorted(places, key=lambda place: points[place - 1].place - points[place].place)[:GAPS_TRIED]


def _bells(group: _Group, prior: Prior) -> tuple[float, list[Bell]]:
    """Log probability of a group's jobs, and a bell for each spread and each doubt about the mean."""
    n = group.jobs
    average = group.places / n if n else prior.mean
    scatter = max(group.squares - n * average**2, 0.0)
    tried: list[tuple[float, float, float]] = []
    for spread, spread_odds in _SPREAD_ODDS:
        for share, doubt in prior.doubts:
            wide = doubt**2 + spread**2 / n if n else 1.0
            log_odds = spread_odds + math.log(share)
            mean, variance = prior.mean, doubt**2
            if n:
                variance = 1 / (1 / doubt**2 + n / spread**2)
                mean = variance * (prior.mean / doubt**2 + group.places / spread**2)
                log_odds += (
                    -n * math.log(spread * _ROOT)
                    - scatter / (2 * spread**2)
                    + math.log(variance / doubt**2) / 2
                    - (average - prior.mean) ** 2 / (2 * wide)
                )
            tried.append((log_odds, mean, math.sqrt(spread**2 + variance)))
    most = max(odds for odds, _, _ in tried)
    total = sum(math.exp(odds - most) for odds, _, _ in tried)
    return most + math.log(total), [Bell(math.exp(odds - most) / total, mean, spread) for odds, mean, spread in tried]


def _spread_odds() -> list[tuple[float, float]]:
    odds = [math.exp(-((math.log(spread / TYPICAL_SPREAD) / SPREAD_DOUBT) ** 2) / 2) for spread in SPREADS]
    return [(spread, math.log(chance / sum(odds))) for spread, chance in zip(SPREADS, odds, strict=True)]


def _log(seconds: float) -> float:
    return math.log(max(seconds, MIN_SECONDS))


def _normal(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


_SPREAD_ODDS: Final = _spread_odds()
