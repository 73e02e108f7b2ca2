"""Learners of AdaptivePolling: what they cost as they see more jobs, against the optimum that knows the status."""

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
"""The kinds of job, in equal parts, and how much longer than the median AKOOL works on them."""
WEIGHT: Final = AdaptivePolling().delay_cost
LEARNERS: Final = 20
CHECKED_AFTER: Final = (0, 1, 2, 3, 5, 8, 10, 15, 20, 30)
STEP_AFTER: Final = 60
"""Jobs of each kind before durations double."""
DRAWS: Final = 2
HARDLY: Final = (Hump(1.0, 0.5, 0.3),)


@frozen
class World:
    """How long jobs take, and what learners get to know of them."""

    name: str
    work: tuple[Hump, ...]
    queue: tuple[Hump, ...] = HARDLY
    abandoned: float = 0.0
    """The share of jobs that nobody polls to the end."""
    is_exact: bool = True
    """Whether AKOOL's times are known."""
    doubles: bool = False
    """Whether durations double before the first job that is counted."""

    def truth(self, kind: str, factor: float = 1.0) -> Truth:
        """The jobs of one kind."""
        return _truth(self.queue, tuple(evolve(hump, median=hump.median * KINDS[kind] * factor) for hump in self.work))

    def teach(self, polling: AdaptivePolling, rng: np.random.Generator, factor: float) -> None:
        """Have it poll one job of each kind, and learn of it what a session would."""
        random.seed(int(rng.integers(2**32)))
        for kind in KINDS:
            queue, work = self.truth(kind, factor).sample(rng)
            left_at = (queue + work) * rng.random() if rng.random() < self.abandoned else math.inf
            polling.learn(poll_once(polling, kind, queue, queue + work, left_at, is_exact=self.is_exact))

    def cost(self, polling: Polling, factor: float) -> float:
        """What it is expected to cost per job, in polls."""
        total = 0.0
        for kind, draw in product(KINDS, range(DRAWS)):
            random.seed(draw)  # the same luck for every policy
            polls, delay = self.truth(kind, factor).expected(polling, kind)
            total += (polls + WEIGHT * delay) / (len(KINDS) * DRAWS)
        return total

    def least(self, factor: float) -> tuple[float, float]:
        """The cost of the best schedule that sees the status, and of the best that sees the age alone."""
        truths = [self.truth(kind, factor) for kind in KINDS]
        aware, age_only = zip(
            *((truth.optimum(WEIGHT), truth.age_only_optimum(WEIGHT)) for truth in truths), strict=True
        )
        return sum(aware) / len(KINDS), sum(age_only) / len(KINDS)


@cache
def _truth(queue: tuple[Hump, ...], work: tuple[Hump, ...]) -> Truth:
    return Truth(queue, work)


def poll_once(polling: Polling, kind: str, began: float, ended: float, left_at: float, *, is_exact: bool) -> Finished:
    """Poll one job until its end is seen, or until nobody waits any more."""
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
    """One that learns nothing from the jobs that it is measured with, late ones included."""
    for kind in KINDS:
        polling.next_delay(Progress(kind, 0.0, 0, None, None))  # a new plan, if one is due
    still = copy.deepcopy(polling)
    for known in still._kinds.values():  # noqa: SLF001
        known._late_at = math.inf  # noqa: SLF001
    return still


def learner_costs(world: World, seed: int) -> list[float]:
    """Expected cost of one learner after each number of jobs in ``CHECKED_AFTER``."""
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
    """Cost of every learner (row) after each number of jobs (column), against the status-aware optimum."""

    world: World
    to_optimum: Floats
    backoff: float
    """Plain back-off's cost, against the same."""
    age_only: float
    """The age-only optimum's."""

    def mean(self, lessons: int) -> float:
        """The mean of all learners after so many jobs of each kind."""
        return float(self.to_optimum[:, CHECKED_AFTER.index(lessons)].mean())

    def worst(self, lessons: int) -> float:
        """The costliest learner's."""
        return float(self.to_optimum[:, CHECKED_AFTER.index(lessons)].max())

    @property
    def mean_to_backoff(self) -> float:
        """The highest mean after any number of jobs from the first on, against plain back-off."""
        return float(self.to_optimum[:, 1:].mean(axis=0).max() / self.backoff)

    @property
    def unluckiest_to_backoff(self) -> float:
        """The same of the costliest learner."""
        return float(self.to_optimum[:, 1:].max() / self.backoff)


def learn(world: World, seeds: range, pool: Executor) -> Learning:
    """Have several learners see the jobs of one world."""
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
"""Jobs hardly queue and sigma is 0.35, unless a name says otherwise; a queue of 15 s has 0.7, and 0.2 its work."""


def lessons_table(lessons: list[Learning]) -> str:
    """What learning costs, for people."""
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
    """Each target, and whether it was met."""
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
