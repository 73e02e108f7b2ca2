"""Estimate the distribution of durations from what is known of finished jobs.

The model is a mixture of normal distributions ("bells") of the natural logarithm of the duration. The mean and the
standard deviation ("spread") of a bell are uncertain, so every possibility counts with its probability (Bayes). Few
jobs therefore give a broad estimate, and many a sharp one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Final

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_SECONDS: Final = 1e-3
EXACT: Final = 1e-3
"""An interval narrower than this, in log duration, counts as an exact duration."""
SPREADS: Final = (0.07, 0.1, 0.14, 0.2, 0.28, 0.4, 0.55, 0.75, 1.0)
"""Candidates for the standard deviation of log duration."""
TYPICAL_SPREAD: Final = 0.35
SPREAD_SIGMA: Final = 0.7
"""Standard deviation of the prior of the logarithm of the spread."""
SPLIT_PRIOR: Final = 0.1
"""Prior probability that a group of jobs consists of two groups."""
MAX_SPLITS: Final = 2
"""How deep splits are nested: both halves of a split group may be split once more."""
MIN_GROUP: Final = 2
"""Fewest jobs in either half of a split."""
GAPS_TRIED: Final = 8
"""Number of gaps between sorted jobs, the widest ones, at which a split is tried."""
UNSEEN_JOBS: Final = 1.5
"""The weight u of durations that no job has shown yet: after n jobs their share is u / (u + n ** 2.5)."""
UNSEEN_SPREAD: Final = 0.8
"""Standard deviation of log duration of that share."""
MAX_WIDTH: Final = 0.7
"""Widest interval in log duration that :func:`fresh_evidence` assumes, also if nobody saw the end."""
ROUNDS: Final = 3
"""How many times intervals are turned into points by the estimate, and the estimate is computed again."""
UNREACHED: Final = 1e-9
"""A smaller probability counts as zero."""
NEGLIGIBLE: Final = 0.005
"""A bell with a smaller share, or a split with a smaller probability, is dropped."""
_ROOT: Final = math.sqrt(2 * math.pi)


@frozen
class Interval:
    """Bounds of a duration, in seconds; ``high`` is infinite if nobody saw the end."""

    low: float
    high: float

    @property
    def is_exact(self) -> bool:
        """True if the bounds are so close that the duration counts as known."""
        return self.high <= max(self.low, MIN_SECONDS) * (1 + EXACT)


@frozen
class Bell:
    """A share of the jobs, whose log durations are normally distributed."""

    share: float
    mean: float
    spread: float

    def below(self, log_seconds: float) -> float:
        """Return the share of all jobs that belong to this bell and have a log duration below ``log_seconds``."""
        return self.share * _normal((log_seconds - self.mean) / self.spread)

    def density(self, log_seconds: float) -> float:
        """Return this bell's part of the density of log duration."""
        z = (log_seconds - self.mean) / self.spread
        return self.share * math.exp(-z * z / 2) / (self.spread * _ROOT)


@frozen
class Mixture:
    """A distribution of durations: bells whose shares add up to 1."""

    bells: tuple[Bell, ...]

    def below(self, seconds: float) -> float:
        """Return the share of jobs that take at most this long."""
        log_seconds = _log(seconds)
        return sum(bell.below(log_seconds) for bell in self.bells)

    def likelihood(self, seen: Interval) -> float:
        """Return the probability that a duration lies in an interval; for an exact one, the density of log duration."""
        if seen.is_exact:
            log_seconds = _log(seen.low)
            return sum(bell.density(log_seconds) for bell in self.bells)
        high = 1.0 if math.isinf(seen.high) else self.below(seen.high)
        return high - (self.below(seen.low) if seen.low > MIN_SECONDS else 0.0)

    def density(self, seconds: float) -> float:
        """Return the density of the duration, per second."""
        log_seconds = _log(seconds)
        return sum(bell.density(log_seconds) for bell in self.bells) / max(seconds, MIN_SECONDS)

    def quantile(self, share: float) -> float:
        """Return the seconds within which this share of the jobs ends."""
        low = min(bell.mean - 6 * bell.spread for bell in self.bells)
        high = max(bell.mean + 6 * bell.spread for bell in self.bells)
        for _ in range(24):
            middle = (low + high) / 2
            low, high = (middle, high) if self.below(math.exp(middle)) < share else (low, middle)
        return math.exp(high)

    def moments(self) -> tuple[float, float]:
        """Return the mean and the standard deviation of log duration."""
        mean = sum(bell.share * bell.mean for bell in self.bells)
        square = sum(bell.share * (bell.spread**2 + (bell.mean - mean) ** 2) for bell in self.bells)
        return mean, math.sqrt(square)


@frozen
class Prior:
    """What is assumed before any job was seen: the logarithm of the median duration, and how uncertain it is."""

    mean: float
    """Logarithm of the median in seconds."""
    sigmas: tuple[tuple[float, float], ...] = ((0.85, 0.45), (0.15, 2.0))
    """Pairs of a probability and the standard deviation that ``mean`` has with this probability."""


@frozen
class Point:
    """The log duration of a job: its mean and its variance, which is 0 if the duration is exact."""

    mean: float
    variance: float = 0.0
    weight: float = 1.0
    """Weight relative to other points of the same job."""
    is_exact: ClassVar[bool] = True
    """A point is used as it is, unlike an :class:`Interval`, which :func:`estimate` first turns into a point."""


@frozen
class _Group:
    """The sufficient statistics of a group of jobs for a normal distribution of log duration."""

    jobs: int
    total: float
    squares: float

    @classmethod
    def of(cls, points: Sequence[Point]) -> _Group:
        squares = sum(point.mean**2 + point.variance for point in points)
        return cls(len(points), sum(point.mean for point in points), squares)

    def without(self, other: _Group) -> _Group:
        return _Group(self.jobs - other.jobs, self.total - other.total, self.squares - other.squares)


def estimate(seen: Sequence[Interval | Point], prior: Prior) -> Mixture:
    """Return the distribution of the next job's duration, estimated from finished jobs.

    Args:
        seen: The duration of each job, as far as it is known.
        prior: What is assumed about durations before any job was seen.
    """
    exact = [job if isinstance(job, Point) else Point(_log(job.low)) for job in seen if job.is_exact]
    rough = [job for job in seen if isinstance(job, Interval) and not job.is_exact]
    mixture = _fit(exact, prior)
    for _ in range(ROUNDS if rough else 0):
        mixture = _fit([*exact, *(_locate(job, mixture) for job in rough)], prior)
    return mixture


def fresh_evidence(seen: Sequence[Interval], prior: Prior) -> float:
    """Return the log probability of a few jobs under the prior alone, without any jobs before them.

    Args:
        seen: The duration of each job, as far as it is known.
        prior: What is assumed about durations before any job was seen.
    """
    points, widths = [], 0.0
    for job in seen:
        low = _log(job.low if job.low > MIN_SECONDS else job.high / 2)
        width = 0.0 if job.is_exact else min(math.log(max(job.high, MIN_SECONDS)) - low, MAX_WIDTH)
        points.append(Point(low + width / 2))
        widths += 0.0 if job.is_exact else math.log(max(width, EXACT))
    return _bells(_Group.of(points), prior)[0] + widths


def _locate(job: Interval, mixture: Mixture) -> Point:
    """Return mean and variance of a log duration that lies in an interval and follows a mixture."""
    low = _log(job.low) if job.low > MIN_SECONDS else -math.inf
    high = math.inf if math.isinf(job.high) else _log(job.high)
    parts = [_truncate(bell, low, high) for bell in mixture.bells]
    total = sum(part.weight for part in parts)
    if total < UNREACHED:
        return Point(_log(job.high / 2) if math.isinf(low) else low if math.isinf(high) else (low + high) / 2)
    mean = sum(part.weight * part.mean for part in parts) / total
    return Point(mean, sum(part.weight * (part.variance + (part.mean - mean) ** 2) for part in parts) / total)


def _truncate(bell: Bell, low: float, high: float) -> Point:
    """Return the part of a bell between two log durations, weighted by its share of all jobs."""
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
    points = sorted(points, key=lambda point: point.mean)
    bells = [bell for bell in _split(points, prior, MAX_SPLITS) if bell.share > NEGLIGIBLE]
    unseen = UNSEEN_JOBS / (UNSEEN_JOBS + len(points) ** 2.5)
    scale = (1 - unseen) / sum(bell.share for bell in bells)
    return Mixture(
        (*(evolve(bell, share=bell.share * scale) for bell in bells), Bell(unseen, prior.mean, UNSEEN_SPREAD))
    )


def _split(points: list[Point], prior: Prior, splits: int) -> list[Bell]:
    """Return bells for sorted points, as one group and as two, weighted by the probabilities of both."""
    group = _Group.of(points)
    odds_of_one, bells = _bells(group, prior)
    ways: list[tuple[float, int]] = []
    for cut in _widest_gaps(points) if splits else ():
        left = _Group.of(points[:cut])
        right = group.without(left)
        orders = math.lgamma(left.jobs + 1) + math.lgamma(right.jobs + 1) - math.lgamma(group.jobs + 2)
        ways.append((orders + _bells(left, prior)[0] + _bells(right, prior)[0], cut))
    if not ways:
        return bells
    best, cut = max(ways)
    odds_of_two = best + math.log(sum(math.exp(odds - best) for odds, _ in ways))
    in_two = 1 / (1 + (1 - SPLIT_PRIOR) / SPLIT_PRIOR * math.exp(min(odds_of_one - odds_of_two, 100)))
    if in_two < NEGLIGIBLE:
        return bells
    result = [evolve(bell, share=bell.share * (1 - in_two)) for bell in bells]
    for part in (points[:cut], points[cut:]):
        share = in_two * (len(part) + 1) / (len(points) + 2)
        result += [evolve(bell, share=bell.share * share) for bell in _split(part, prior, splits - 1)]
    return result


def _widest_gaps(points: list[Point]) -> list[int]:
    """Return the indices at which sorted points may be cut into two groups, the widest gap first."""
    cuts = range(MIN_GROUP, len(points) - MIN_GROUP + 1)
    return sorted(cuts, key=lambda cut: points[cut - 1].mean - points[cut].mean)[:GAPS_TRIED]


def _bells(group: _Group, prior: Prior) -> tuple[float, list[Bell]]:
    """Return the log probability of a group's jobs, and a bell for each spread and each sigma of the prior."""
    n = group.jobs
    average = group.total / n if n else prior.mean
    scatter = max(group.squares - n * average**2, 0.0)
    tried: list[tuple[float, float, float]] = []
    for spread, spread_odds in _SPREAD_ODDS:
        for share, sigma in prior.sigmas:
            wide = sigma**2 + spread**2 / n if n else 1.0
            log_odds = spread_odds + math.log(share)
            mean, variance = prior.mean, sigma**2
            if n:
                variance = 1 / (1 / sigma**2 + n / spread**2)
                mean = variance * (prior.mean / sigma**2 + group.total / spread**2)
                log_odds += (
                    -n * math.log(spread * _ROOT)
                    - scatter / (2 * spread**2)
                    + math.log(variance / sigma**2) / 2
                    - (average - prior.mean) ** 2 / (2 * wide)
                )
            tried.append((log_odds, mean, math.sqrt(spread**2 + variance)))
    most = max(odds for odds, _, _ in tried)
    total = sum(math.exp(odds - most) for odds, _, _ in tried)
    return most + math.log(total), [Bell(math.exp(odds - most) / total, mean, spread) for odds, mean, spread in tried]


def _spread_odds() -> list[tuple[float, float]]:
    odds = [math.exp(-((math.log(spread / TYPICAL_SPREAD) / SPREAD_SIGMA) ** 2) / 2) for spread in SPREADS]
    return [(spread, math.log(chance / sum(odds))) for spread, chance in zip(SPREADS, odds, strict=True)]


def _log(seconds: float) -> float:
    return math.log(max(seconds, MIN_SECONDS))


def _normal(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


_SPREAD_ODDS: Final = _spread_odds()
