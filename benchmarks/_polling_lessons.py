"""The cost of AdaptivePolling as it learns from more jobs, relative to the optimum that sees the status."""

from __future__ import annotations

import copy
import math
import random
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from attrs import evolve, frozen

from akool_async import AdaptivePolling, ExponentialPolling
from akool_async.polling import Finished, Progress
from benchmarks._polling_truth import Hump, Truth

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from numpy.typing import NDArray

    from akool_async.polling import Polling

    Floats = NDArray[np.float64]

KINDS: Final = {"upscale": 1.3, "variation": 0.75}
"""The kinds of job, equally frequent, and the factor by which the median of the work is multiplied for each."""
WEIGHT: Final = AdaptivePolling().delay_cost
LEARNERS: Final = 20
"""Number of schedules that learn from different jobs of the same distribution."""
CHECKED_AFTER: Final = (0, 1, 2, 3, 5, 8, 10, 15, 20, 30)
"""Numbers of jobs of each kind after which the cost is computed."""
STEP_AFTER: Final = 60
"""Jobs of each kind before durations double."""
DRAWS: Final = 2
"""Runs with different random numbers over which expected costs are averaged."""
SHORT_QUEUE: Final = (Hump(1.0, 0.5, 0.3),)


@frozen
class World:
    """The distributions of queue and work, and how much of them learners can see."""

    name: str
    work: tuple[Hump, ...]
    queue: tuple[Hump, ...] = SHORT_QUEUE
    abandoned: float = 0.0
    """The share of jobs whose polling stops before their end."""
    is_exact: bool = True
    """Whether AKOOL's results show how long the jobs took."""
    doubles: bool = False
    """Whether durations double before the first job that is counted."""

    def truth(self, kind: str, factor: float = 1.0) -> Truth:
        """Return the true distributions of one kind, with the work multiplied by ``factor``."""
        return _truth(self.queue, tuple(evolve(hump, median=hump.median * KINDS[kind] * factor) for hump in self.work))

    def teach(self, polling: AdaptivePolling, rng: np.random.Generator, factor: float) -> None:
        """Let a schedule poll one job of each kind and learn from it, as in a session."""
        random.seed(int(rng.integers(2**32)))
        for kind in KINDS:
            queue, work = self.truth(kind, factor).sample(rng)
            left_at = (queue + work) * rng.random() if rng.random() < self.abandoned else math.inf
            polling.learn(poll_once(polling, kind, queue, queue + work, left_at, is_exact=self.is_exact))

    def cost(self, polling: Polling, factor: float) -> float:
        """Return the expected cost of a schedule per job, in polls."""
        total = 0.0
        for kind, draw in product(KINDS, range(DRAWS)):
            random.seed(draw)  # the same random numbers for every policy
            polls, delay = self.truth(kind, factor).expected(polling, kind)
            total += (polls + WEIGHT * delay) / (len(KINDS) * DRAWS)
        return total

    def least(self, factor: float) -> tuple[float, float]:
        """Return the cost of the best schedule that sees the status, and of the best that sees the age alone."""
        truths = [self.truth(kind, factor) for kind in KINDS]
        aware, age_only = zip(
            *((truth.optimum(WEIGHT), truth.age_only_optimum(WEIGHT)) for truth in truths), strict=True
        )
        return sum(aware) / len(KINDS), sum(age_only) / len(KINDS)


@cache
def _truth(queue: tuple[Hump, ...], work: tuple[Hump, ...]) -> Truth:
    return Truth(queue, work)


def poll_once(polling: Polling, kind: str, began: float, ended: float, left_at: float, *, is_exact: bool) -> Finished:
    """Poll one job until a poll sees its end, or until polling stops.

    Args:
        polling: The schedule.
        kind: The kind of the job.
        began: Age at which AKOOL begins to work on the job; all ages are in seconds.
        ended: Age at which it ends.
        left_at: Age after which it is no longer polled.
        is_exact: Whether AKOOL's result shows the exact duration.
    """
    age = running_at = queued_at = 0.0
    processing_at: float | None = None
    count = 0
    while True:
        status = None if not count else 1 if processing_at is None else 2
        age += polling.next_delay(Progress(kind, age, count, status, processing_at))
        count += 1
        if age > left_at:
            return Finished(kind, running_at, None, queued_at, processing_at, None)
        if age >= ended:
            return Finished(kind, running_at, age, queued_at, processing_at, ended if is_exact else None)
        running_at = age
        if age < began:
            queued_at = age
        elif processing_at is None:
            processing_at = age


def frozen_copy(polling: AdaptivePolling) -> AdaptivePolling:
    """Return a copy that does not change while it is measured, not even because of late jobs."""
    for kind in KINDS:
        polling.next_delay(Progress(kind, 0.0, 0, None, None))  # makes a new plan if one is due
    frozen_polling = copy.deepcopy(polling)
    for known in frozen_polling._kinds.values():  # noqa: SLF001
        known._late_at = math.inf  # noqa: SLF001
    return frozen_polling


def learner_costs(world: World, seed: int) -> list[float]:
    """Return the expected cost of one learner after each number of jobs in ``CHECKED_AFTER``."""
    rng = np.random.default_rng(seed)
    polling, factor = AdaptivePolling(), 1.0
    if world.doubles:
        for _ in range(STEP_AFTER):
            world.teach(polling, rng, factor)
        factor = 2.0
    costs = []
    for lessons in range(CHECKED_AFTER[-1] + 1):
        if lessons in CHECKED_AFTER:
            costs.append(world.cost(frozen_copy(polling), factor))
        world.teach(polling, rng, factor)
    return costs


@frozen
class Learning:
    """The costs of the learners in one world, all divided by that of the status-aware optimum."""

    world: World
    to_optimum: Floats
    """The cost of each learner (row) after each number of jobs in ``CHECKED_AFTER`` (column)."""
    backoff: float
    """The cost of plain back-off."""
    age_only: float
    """The cost of the age-only optimum."""

    def mean(self, lessons: int) -> float:
        """Return the mean of all learners after this many jobs of each kind."""
        return float(self.to_optimum[:, CHECKED_AFTER.index(lessons)].mean())

    def worst(self, lessons: int) -> float:
        """Return the cost of the costliest learner after this many jobs of each kind."""
        return float(self.to_optimum[:, CHECKED_AFTER.index(lessons)].max())

    @property
    def mean_to_backoff(self) -> float:
        """The highest mean of the learners after any number of jobs but 0, relative to plain back-off."""
        return float(self.to_optimum[:, 1:].mean(axis=0).max() / self.backoff)

    @property
    def unluckiest_to_backoff(self) -> float:
        """The highest cost of any learner after any number of jobs but 0, relative to plain back-off."""
        return float(self.to_optimum[:, 1:].max() / self.backoff)


def learn(world: World, seeds: range, pool: Executor) -> Learning:
    """Measure several learners in one world."""
    factor = 2.0 if world.doubles else 1.0
    least = pool.submit(world.least, factor)
    costs = np.array(list(pool.map(learner_costs, [world] * len(seeds), seeds)))
    optimum, age_only = least.result()
    return Learning(world, costs / optimum, world.cost(ExponentialPolling(), factor) / optimum, age_only / optimum)


def _lognormal(median: float, sigma: float) -> tuple[Hump, ...]:
    return (Hump(1.0, median, sigma),)


WORLDS: Final = (
    World("sigma 0.35", _lognormal(20.0, 0.35)),
    World("sigma 0.15", _lognormal(20.0, 0.15)),
    World("sigma 0.6", _lognormal(20.0, 0.6)),
    World("two humps", (Hump(0.6, 12.0, 0.12), Hump(0.4, 40.0, 0.12))),
    World("queue 15 s, work 18 s", _lognormal(18.0, 0.2), _lognormal(15.0, 0.7)),
    World("the same, sigma 0.2 both", _lognormal(18.0, 0.2), _lognormal(15.0, 0.2)),
    World("20 % abandoned", _lognormal(20.0, 0.35), abandoned=0.2),
    World("without AKOOL's times", _lognormal(20.0, 0.35), is_exact=False),
    World("durations double", _lognormal(20.0, 0.35), doubles=True),
)
"""Jobs hardly queue and sigma is 0.35, unless the name differs. In "queue 15 s" it is 0.7 (queue) and 0.2 (work)."""


def lessons_table(lessons: list[Learning]) -> str:
    """Return the costs of all learners as a text table."""
    shown = (1, 3, 10, 15, 30)
    lines = [
        f"Cost (polls + {WEIGHT:g} x delay s) of AdaptivePolling(), {LEARNERS} learners, mean (worst)",
        f"{'x status-aware optimum':<26}"
        + "".join(f" {f'{count} jobs':^13}" for count in shown)
        + "  age-only  back-off   most x back-off",
    ]
    for row in lessons:
        cells = "".join(f" {row.mean(count):5.3f} ({row.worst(count):5.3f})" for count in shown)
        most = f"{row.mean_to_backoff:.3f} ({row.unluckiest_to_backoff:.3f})"
        lines.append(f"{row.world.name:<26}{cells} {row.age_only:9.3f} {row.backoff:9.3f}   {most}")
    return "\n".join(lines)


def lessons_checks(lessons: list[Learning]) -> list[tuple[bool, str]]:
    """Return whether each target was met, and a line about it."""
    by_name = {row.world.name: row for row in lessons}
    humps, queue, doubled = (by_name[name] for name in ("two humps", "queue 15 s, work 18 s", "durations double"))
    plain = [row for row in lessons if row is not humps and not row.world.doubles and not row.world.abandoned]
    checks = [
        (f"{row.world.name}, after {count} jobs", row.mean(count), most)
        for row in plain
        for count, most in ((3, 1.25), (10, 1.08), (30, 1.03))
    ]
    checks += [
        ("two humps, after 30 jobs", humps.mean(30), 1.06),
        ("durations double, after 15 jobs", doubled.mean(15), 1.10),
        ("queue 15 s, work 18 s, after 30 jobs, x the age-only optimum", queue.mean(30) / queue.age_only, 0.85),
    ]
    for row in lessons:
        if not row.world.doubles:
            checks.append((f"{row.world.name}, mean x back-off", row.mean_to_backoff, 1.0))
            checks.append((f"{row.world.name}, unluckiest x back-off", row.unluckiest_to_backoff, 1.15))
    return [(figure <= most, f"{text}: {figure:.3f}, at most {most:g}") for text, figure, most in checks]
