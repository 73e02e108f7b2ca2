"""Compare the polls and the detection delay of polling policies on the same jobs. See README.md."""

from __future__ import annotations

import argparse
import heapq
import math
import platform
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, cached_property
from itertools import cycle, product, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

import matplotlib as mpl
import numpy as np
from attrs import field, frozen

from akool_async import AdaptivePolling, ExponentialPolling
from akool_async import __version__ as our_version
from akool_async.polling import Progress
from akool_async.polling.estimate import Interval, estimate
from akool_async.polling.kinds import Kind
from akool_async.polling.plan import Distribution, plan_polls
from benchmarks._polling_lessons import (
    CHECKED_AFTER,
    KINDS,
    LEARNERS,
    WORLDS,
    Learning,
    frozen_copy,
    learn,
    lessons_checks,
    lessons_table,
    poll_once,
)

mpl.use("Agg")
import matplotlib.pyplot as plt  # the backend has to be chosen first

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CAP: Final = 4
"""Number of slots for the throughput."""
GRID_STEP: Final = 0.0125
"""Seconds between ages of the grid."""
RARE: Final = 4.3
"""The grid ends this many standard deviations above the median: one job in 100,000 takes longer."""
JITTER_DRAWS: Final = 4
"""Runs with different random numbers over which expected costs are averaged."""
TAUGHT: Final = 30
"""Jobs of each kind that our policies learn from before they are measured."""
WEBHOOK: Final = "webhook + 1 poll"
WEBHOOK_DELAY: Final = 0.005
OUR_WEIGHT: Final = AdaptivePolling().delay_cost
THRIFTY_WEIGHT: Final = 1.0
ADAPTIVE: Final = "AdaptivePolling()"
THRIFTY: Final = f"AdaptivePolling, w = {THRIFTY_WEIGHT:g}"
OPTIMUM_WEIGHTS: Final = sorted({0.3, 1.0, 3.0, OUR_WEIGHT, 30.0})
MIN_OF_IDEAL: Final = 0.965
MAX_POLLS: Final = 7.5
AGE_ONLY_DRAWN_FROM: Final = 1.05
"""The age-only optimum is drawn if it costs more than this many times the status-aware optimum."""
WEIGHT_RATIO: Final = 1.05
"""Ratio of two weights between which the slope of the cost is measured."""
QUEUEING: Final = next(world for world in WORLDS if world.name.startswith("queue"))
PLOTS: Final = Path(__file__).parent / "plots"
OURS, GREY, INK, SHADE = "#c8443c", "#6f7a86", "#20262c", "#f3f5f7"
POLLS_SHOWN: Final = (0.8, 400.0)
DELAY_SHOWN: Final = (0.003, 30.0)
STYLE: Final[dict[str, Any]] = {
    "axes.edgecolor": "#b8c0c8",
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "figure.constrained_layout.use": True,
    "font.size": 9.5,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.7,
    "savefig.dpi": 130,
    "svg.hashsalt": "akool",
    "xtick.color": INK,
    "ytick.color": INK,
}
LABELS: Final = {
    "fal 0.1 s": ("fal, 0.1 s", 0, 12),
    "replicate 0.5 s": ("replicate, 0.5 s", 9, 3),
    "openai 1 s": ("openai, 1 s", 9, 3),
    "the wild 2 s": ("the wild, 2 s", 9, 2),
    "AKOOL's demo 3 s": ("AKOOL's demo, 3 s", 9, 10),
    "elevenlabs 3 s +0-20%": ("elevenlabs, 3 s", -1, 12),
    "runway 6 s +-25%": ("runway, 6 s", 9, 6),
    "back-off x2, full jitter": ("back-off x2, full jitter", 9, 3),
    "back-off x2, cap 10 s": ("back-off x2, cap 10 s", 9, 3),
    "ExponentialPolling()": ("ExponentialPolling()", 9, 0),
    ADAPTIVE: (f"{ADAPTIVE}\nafter {TAUGHT} jobs", -9, -12),
    THRIFTY: (THRIFTY.replace(", ", "\n"), -9, -12),
    WEBHOOK: ("webhook, and\none poll to confirm", 9, 0),
}
"""The label of each policy in the plot, and its offset in points to the right and upwards."""


class Policy(Protocol):
    """The part of a schedule that this benchmark uses."""

    def next_delay(self, progress: Progress) -> float:
        """Return the seconds until the next poll of an operation."""


# Durations


@frozen
class Hump:
    """A share of the jobs, whose durations are lognormal; the median is in seconds."""

    share: float
    median: float
    sigma: float


@frozen
class Durations:
    """A distribution of durations, also in exact form on a grid of ages."""

    name: str
    humps: tuple[Hump, ...]

    def sample(self, rng: np.random.Generator, size: int) -> Floats:
        """Draw durations, in seconds."""
        chosen = rng.choice(len(self.humps), size, p=[hump.share for hump in self.humps])
        medians, sigmas = np.array([(hump.median, hump.sigma) for hump in self.humps]).T
        drawn: Floats = medians[chosen] * np.exp(sigmas[chosen] * rng.standard_normal(size))
        return drawn

    @cached_property
    def grid(self) -> Floats:
        """Ages in seconds, from 0 to one that hardly any job reaches."""
        end = max(hump.median * math.exp(RARE * hump.sigma) for hump in self.humps)
        return np.arange(0.0, end + GRID_STEP, GRID_STEP)

    @cached_property
    def survival(self) -> Floats:
        """The share of jobs that still run at each age of the grid."""
        running = np.zeros(len(self.grid))
        for hump in self.humps:
            sigmas_past_median = np.log(self.grid[1:] / hump.median) / hump.sigma
            running[1:] += [hump.share * math.erfc(x / math.sqrt(2)) / 2 for x in sigmas_past_median]
        running[0] = 1.0
        return running

    @cached_property
    def time_run(self) -> Floats:
        """Mean seconds for which a job has run by each age of the grid: the integral of ``survival``."""
        steps = (self.survival[1:] + self.survival[:-1]) / 2 * GRID_STEP
        return np.concatenate([[0.0], np.cumsum(steps)])


MAIN: Final = Durations("sigma 0.35", (Hump(1.0, 20.0, 0.35),))
OTHERS: Final = (
    Durations("sigma 0.15", (Hump(1.0, 20.0, 0.15),)),
    Durations("sigma 0.6", (Hump(1.0, 20.0, 0.6),)),
    Durations("two humps", (Hump(0.6, 12.0, 0.12), Hump(0.4, 40.0, 0.12))),
)


@cache
def of_kind(durations: Durations, kind: str) -> Durations:
    """Return the durations of one kind of job."""
    humps = (Hump(hump.share, hump.median * KINDS[kind], hump.sigma) for hump in durations.humps)
    return Durations(durations.name, tuple(humps))


# Policies


@frozen
class Fixed:
    """A constant interval times a random factor from ``spread``; the first poll comes immediately or after it."""

    seconds: float
    spread: tuple[float, float] = (1.0, 1.0)
    immediately: bool = field(default=True, kw_only=True)

    def next_delay(self, progress: Progress) -> float:
        """Return the seconds until the next poll."""
        return 0.0 if self.immediately and progress.polls == 0 else self.seconds * random.uniform(*self.spread)


@frozen
class Doubling:
    """Doubling intervals: 0, 1, 2, 4... seconds up to ``longest``; with full jitter, anything from 0 to that."""

    longest: float = math.inf
    full_jitter: bool = field(default=False, kw_only=True)

    def next_delay(self, progress: Progress) -> float:
        """Return the seconds until the next poll."""
        if progress.polls == 0:
            return 0.0
        seconds = min(2.0 ** (progress.polls - 1), self.longest)
        return random.uniform(0.0, seconds) if self.full_jitter else seconds


@frozen
class Optimal:
    """The policy of least cost, which has to know the true distribution of the durations."""

    ages: dict[str | None, Floats]

    @classmethod
    def knowing(cls, durations: Durations, delay_cost: float) -> Optimal:
        """Return the best policy if a second of detection delay is worth ``delay_cost`` polls."""
        return cls({kind: optimal_polls(of_kind(durations, kind), delay_cost) for kind in KINDS})

    def next_delay(self, progress: Progress) -> float:
        """Return the seconds until the next poll; past the end of the grid, the last interval."""
        ages, polls = self.ages[progress.kind], progress.polls
        return float(ages[polls] - progress.age if polls < len(ages) else ages[-1] - ages[-2])


def optimal_polls(durations: Durations, delay_cost: float) -> Floats:
    """Return the ages of the polls that minimise polls + w * detection delay, for w = ``delay_cost``.

    Dynamic programming from the end of the grid:
    W(i) = min over j > i of S(i) + w * delay collected between i and j + W(j),
    where the delay collected is (t(j) - t(i)) * S(i) less the time that the jobs run in between.
    """
    ages, running = durations.grid, durations.survival
    end = len(ages) - 1
    delay_already = delay_cost * durations.time_run
    ahead = np.zeros(end + 1)  # W(j) - w * time_run(j): the part of the cost that depends on j alone
    ahead[end] = -delay_already[end]
    best = np.zeros(end + 1, dtype=int)
    for i in range(end - 1, -1, -1):
        price = delay_cost * running[i]
        costs = price * ages[i + 1 :] + ahead[i + 1 :]
        nearest = int(costs.argmin())
        best[i] = i + 1 + nearest
        ahead[i] = costs[nearest] + running[i] - price * ages[i]
    polls = [int(best[0])]
    while polls[-1] < end:
        polls.append(int(best[polls[-1]]))
    return ages[polls]


# Polling jobs


def poll(policy: Policy, kind: str, duration: float) -> list[float]:
    """Return the ages of the polls of one job, up to the one that sees its end. A request takes no time."""
    age = 0.0
    polls: list[float] = []
    while age < duration or not polls:
        progress = Progress(kind=kind, age=age, polls=len(polls), status=None, processing_since=None)
        age += policy.next_delay(progress)
        polls.append(age)
    return polls


@frozen
class Jobs:
    """The jobs that every policy polls, in the order in which they start."""

    kinds: list[str]
    durations: Floats

    @classmethod
    def sample(cls, durations: Durations, how_many: int, seed: int) -> Jobs:
        """Draw jobs, equally many of each kind, in random order."""
        rng = np.random.default_rng(seed)
        kinds: list[str] = rng.permutation(np.resize(list(KINDS), how_many)).tolist()
        drawn = {kind: iter(of_kind(durations, kind).sample(rng, how_many)) for kind in KINDS}
        return cls(kinds, np.array([next(drawn[kind]) for kind in kinds]))

    @property
    def are_upscales(self) -> NDArray[np.bool_]:
        """A mask of the upscales."""
        return np.array([kind == "upscale" for kind in self.kinds])


@frozen
class Measured:
    """Results of a policy: polls per job, delays in seconds, and throughput as a share of the ideal."""

    name: str
    polls: float
    delay: float
    delay_p95: float
    of_ideal: float
    of_ideal_upscales: float


def measure(name: str, policies: Sequence[Policy], jobs: Jobs, seed: int) -> Measured:
    """Poll every job and return the results; several policies of one name take turns."""
    random.seed(seed)
    turns = zip(cycle(policies), jobs.kinds, jobs.durations.tolist())
    polled = [poll(policy, kind, duration) for policy, kind, duration in turns]
    delays = np.array([ages[-1] for ages in polled]) - jobs.durations
    return _measured(name, jobs, sum(map(len, polled)) / len(polled), delays)


def measure_webhook(jobs: Jobs) -> Measured:
    """Return the results of a webhook that arrives immediately and one poll that confirms it."""
    return _measured(WEBHOOK, jobs, 1.0, np.full(len(jobs.kinds), WEBHOOK_DELAY))


def _measured(name: str, jobs: Jobs, polls: float, delays: Floats) -> Measured:
    upscales = jobs.are_upscales
    return Measured(
        name,
        polls,
        float(delays.mean()),
        float(np.quantile(delays, 0.95)),
        throughput_of_ideal(jobs.durations, delays),
        throughput_of_ideal(jobs.durations[upscales], delays[upscales]),
    )


def throughput_of_ideal(durations: Floats, delays: Floats) -> float:
    """Return the throughput of slots held until a poll sees the end, relative to slots freed at the end itself."""
    return seconds_to_finish(durations) / seconds_to_finish(durations + delays)


def seconds_to_finish(held: Floats) -> float:
    """Return the seconds until all jobs have left their slots; each job takes the first free slot."""
    free_at = [0.0] * CAP
    for seconds in held.tolist():
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


def expected(policy: Policy, durations: Durations) -> tuple[float, float]:
    """Return the expected polls and detection delay per job of an equal mix of the kinds.

    The expectation over the durations is exact; that over the jitter is a mean of a few draws.
    """
    totals = np.zeros(2)
    for kind, draw in product(KINDS, range(JITTER_DRAWS)):
        random.seed(draw)  # the same random numbers for every policy
        truth = of_kind(durations, kind)
        ages = np.array(poll(policy, kind, truth.grid[-1]))
        before = np.concatenate([[0.0], ages[:-1]])
        running = np.interp(before, truth.grid, truth.survival)
        totals += running.sum(), running @ (ages - before) - truth.time_run[-1]
    polls, delay = totals / (len(KINDS) * JITTER_DRAWS)
    return float(polls), float(delay)


def expected_cost(policy: Policy, durations: Durations) -> float:
    """Return the expected cost of a policy per job, in polls, at the default ``delay_cost``."""
    polls, delay = expected(policy, durations)
    return polls + OUR_WEIGHT * delay


# Learning


def taught(durations: Durations, delay_cost: float, seed: int) -> AdaptivePolling:
    """Return our policy after it has learned from jobs that do not queue, with exact durations from AKOOL."""
    polling, rng = AdaptivePolling(delay_cost=delay_cost), np.random.default_rng(seed)
    for _ in range(TAUGHT):
        random.seed(int(rng.integers(2**32)))
        for kind in KINDS:
            duration = float(of_kind(durations, kind).sample(rng, 1)[0])
            polling.learn(poll_once(polling, kind, 0.0, duration, math.inf, is_exact=True))
    return frozen_copy(polling)


# What is compared


def contenders(durations: Durations, seed: int) -> dict[str, list[Policy]]:
    """Return every policy by name; ours once for each of several learners that saw different jobs."""

    def ours(weight: float) -> list[Policy]:
        return [taught(durations, weight, lessons) for lessons in learner_seeds(seed)]

    return {
        "fal 0.1 s": [Fixed(0.1)],
        "replicate 0.5 s": [Fixed(0.5, immediately=False)],
        "openai 1 s": [Fixed(1.0)],
        "the wild 2 s": [Fixed(2.0)],
        "AKOOL's demo 3 s": [Fixed(3.0)],
        "elevenlabs 3 s +0-20%": [Fixed(3.0, (1.0, 1.2), immediately=False)],
        "runway 6 s +-25%": [Fixed(6.0, (0.75, 1.25), immediately=False)],
        "back-off x2, full jitter": [Doubling(full_jitter=True)],
        "back-off x2, cap 10 s": [Doubling(10.0)],
        "ExponentialPolling()": [ExponentialPolling()],
        ADAPTIVE: ours(OUR_WEIGHT),
        THRIFTY: ours(THRIFTY_WEIGHT),
        **{f"optimum, w = {weight:g}": [Optimal.knowing(durations, weight)] for weight in OPTIMUM_WEIGHTS},
    }


def learner_seeds(seed: int) -> range:
    """Return the seeds of the learners."""
    return range(1000 * seed, 1000 * seed + LEARNERS)


def compare(durations: Durations, jobs_count: int, seed: int) -> list[Measured]:
    """Measure every policy on the same jobs."""
    jobs = Jobs.sample(durations, jobs_count, seed)
    measured = [measure(name, policies, jobs, seed) for name, policies in contenders(durations, seed).items()]
    return [*measured, measure_webhook(jobs)]


def frontier(durations: Durations) -> list[tuple[float, float]]:
    """Return polls and detection delay of the optimum, from the fewest polls to the most."""
    return [expected(Optimal.knowing(durations, weight), durations) for weight in np.geomspace(0.03, 14_000, 28)]


@frozen(kw_only=True)
class Report:
    """The results of the benchmark."""

    main: list[Measured]
    others: dict[str, list[Measured]]
    lessons: list[Learning]

    def checks(self) -> list[tuple[bool, str]]:
        """Return whether each target was met, and a line about it."""
        ours = next(row for row in self.main if row.name == ADAPTIVE)
        return [
            *lessons_checks(self.lessons),
            (ours.polls <= MAX_POLLS, f"sigma 0.35, polls a job: {ours.polls:.2f}, at most {MAX_POLLS:g}"),
            (
                ours.of_ideal_upscales >= MIN_OF_IDEAL,
                f"sigma 0.35, % of ideal, upscales only: {ours.of_ideal_upscales:.1%}, at least {MIN_OF_IDEAL:.1%}",
            ),
        ]

    def tables(self) -> str:
        """Return all results as text tables."""
        return f"{self._main_table()}\n\n{self._others_table()}\n\n{lessons_table(self.lessons)}"

    def _main_table(self) -> str:
        lines = [f"{MAIN.name + ' (median 20 s)':<26}   polls  delay s  p95 s   % of ideal: mix  upscales only"]
        lines += [
            f"{row.name:<26} {row.polls:7.2f}  {row.delay:7.3f} {row.delay_p95:6.2f} "
            f"{row.of_ideal:17.1%} {row.of_ideal_upscales:14.1%}"
            for row in self.main
        ]
        return "\n".join(lines)

    def _others_table(self) -> str:
        heads = f"{'polls, delay s, % of ideal':<26}" + "".join(f"   {name:^22}" for name in self.others)
        rows = [
            f"{same[0].name:<26}" + "".join(f"   {row.polls:6.2f} {row.delay:7.3f} {row.of_ideal:7.1%}" for row in same)
            for same in zip(*self.others.values(), strict=True)
        ]
        return "\n".join([heads, *rows])


# Pictures


def draw_frontier(report: Report, path: Path) -> None:
    """Draw detection delay against polls, one point per policy."""
    figure, axes = plt.subplots(figsize=(8.6, 5.8))
    polls, delays = zip(*frontier(MAIN), strict=True)
    axes.fill_between(polls, delays, DELAY_SHOWN[0], color=SHADE, linewidth=0)
    axes.plot(polls, delays, color=INK, linewidth=1.6)
    axes.annotate("optimum, durations known", (18.5, 0.33), color=INK, rotation=-36.5, ha="center", va="top")
    axes.annotate("no schedule of polls gets here", (4.5, 0.05), color=GREY, ha="center", style="italic")
    for row in report.main:
        if row.name in LABELS:
            _draw_policy(axes, row)
    axes.set(xscale="log", yscale="log", xlim=POLLS_SHOWN, ylim=DELAY_SHOWN)
    axes.set_xticks([1, 3, 10, 30, 100, 300], minor=False, labels=["1", "3", "10", "30", "100", "300"])
    axes.set_yticks([0.01, 0.1, 1, 10], minor=False, labels=["0.01", "0.1", "1", "10"])
    axes.set_xlabel("polls per job")
    axes.set_ylabel("seconds until the end is seen, mean")
    axes.set_title("What a poll buys: jobs of median 20 s, sigma 0.35", loc="left", pad=12)
    _save(figure, path)


def _draw_policy(axes: Axes, row: Measured) -> None:
    label, across, up = LABELS[row.name]
    ours = "Polling" in row.name
    colour = OURS if ours else INK if row.name == WEBHOOK else GREY
    axes.plot(row.polls, row.delay, "o", color=colour, markersize=8 if ours else 5.5, zorder=3)
    axes.annotate(
        label,
        (row.polls, row.delay),
        (across, up),
        textcoords="offset points",
        ha="left" if across > 0 else "right" if across < 0 else "center",
        va="center",
        color=colour,
        weight="bold" if ours else "normal",
    )


def draw_learning(lessons: Sequence[Learning], path: Path) -> None:
    """Draw the cost relative to the status-aware optimum as jobs are seen, one panel per world."""
    shown = [row for row in lessons if row.world.is_exact and not row.world.abandoned and "both" not in row.world.name]
    figure, grid = plt.subplots(2, 3, figsize=(10.6, 6.0), sharex=True, sharey=True)
    for axes, row in zip(grid.flat, shown, strict=True):
        _draw_course(axes, row)
    figure.supxlabel("jobs of each kind seen (bottom right: since durations doubled)", fontsize=10)
    figure.supylabel("cost, x the status-aware optimum", fontsize=10)
    title = f"AdaptivePolling() as it learns: mean of {LEARNERS} learners (shaded: all of them)"
    figure.suptitle(title, x=0.01, ha="left", weight="bold", fontsize=12)
    _save(figure, path)


def _draw_course(axes: Axes, row: Learning) -> None:
    last = CHECKED_AFTER[-1]
    axes.axhline(row.backoff, color=GREY, linestyle="--", linewidth=1.3)
    axes.annotate("back-off", (last, row.backoff), (0, 4), textcoords="offset points", color=GREY, ha="right")
    if row.age_only > AGE_ONLY_DRAWN_FROM:
        axes.axhline(row.age_only, color=INK, linestyle=":", linewidth=1.3)
        place = (last, row.age_only)
        axes.annotate("age-only optimum", place, (0, 4), textcoords="offset points", color=INK, ha="right")
    best, worst = row.to_optimum.min(axis=0), row.to_optimum.max(axis=0)
    axes.fill_between(CHECKED_AFTER, best, worst, color=OURS, alpha=0.18, linewidth=0)
    axes.plot(CHECKED_AFTER, row.to_optimum.mean(axis=0), color=OURS, linewidth=2)
    axes.set_title(row.world.name, loc="left", fontsize=10.5)
    axes.set(xlim=(0, last), ylim=(0.95, 2.35))


def queue_frontier(weight: float) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return polls and delay of both optima for upscales that queue.

    The cost is polls + weight * delay, so the delay is the slope of the cost over the weight.
    """
    truth = QUEUEING.truth("upscale")
    near = weight * WEIGHT_RATIO
    aware, age_only = (
        ((high - low) / (near - weight), low - weight * (high - low) / (near - weight))
        for low, high in (
            (truth.optimum(weight), truth.optimum(near)),
            (truth.age_only_optimum(weight), truth.age_only_optimum(near)),
        )
    )
    return aware, age_only


def draw_queue_frontier(pool: Executor, path: Path) -> None:
    """Draw how much the status helps if jobs queue."""
    figure, axes = plt.subplots(figsize=(8.6, 4.6))
    aware, age_only = zip(*pool.map(queue_frontier, np.geomspace(0.5, 60.0, 7)), strict=True)
    for name, points, style in (("sees the status", aware, "-"), ("sees the age alone", age_only, ":")):
        delays, polls = zip(*points, strict=True)
        axes.plot(polls, delays, style, color=INK, linewidth=1.6, label=f"optimum that {name}")
    rng, ours, backoff = np.random.default_rng(0), AdaptivePolling(), ExponentialPolling()
    for _ in range(TAUGHT):
        QUEUEING.teach(ours, rng, 1.0)
    for label, policy, colour in (
        (f"AdaptivePolling() after {TAUGHT} jobs", frozen_copy(ours), OURS),
        ("ExponentialPolling()", backoff, GREY),
    ):
        random.seed(0)
        axes.plot(*QUEUEING.truth("upscale").expected(policy, "upscale"), "o", color=colour, markersize=8, label=label)
    axes.set(xscale="log", yscale="log", xlabel="polls per job", ylabel="seconds until the end is seen, mean")
    axes.legend(frameon=False)
    axes.set_title(f"Where jobs queue: {QUEUEING.name}", loc="left")
    _save(figure, path)


def draw_plan(path: Path) -> None:
    """Draw the estimate after a few jobs, and the polls planned from it."""
    figure, axes = plt.subplots(figsize=(8.6, 3.6))
    durations = of_kind(MAIN, "upscale").sample(np.random.default_rng(4), TAUGHT).tolist()
    ages = np.linspace(0.5, 70.0, 400)
    axes.plot(
        ages, np.gradient(-of_kind(MAIN, "upscale").survival[(ages / GRID_STEP).astype(int)], ages), "--", color=GREY
    )
    for nth, jobs in enumerate((1, 3, TAUGHT)):
        seen = [Interval(seconds, seconds) for seconds in durations[:jobs]]
        mixture = estimate(seen, Kind.named("upscale").prior)
        shade = (0.3, 0.6, 1.0)[nth]
        label = f"after {jobs} job{'s' if jobs > 1 else ''}"
        axes.plot(ages, [mixture.density(age) for age in ages], color=OURS, alpha=shade, linewidth=1.8, label=label)
        plan, age, polls = plan_polls(Distribution.of(mixture), OUR_WEIGHT), 0.0, []
        while age < ages[-1]:
            age += plan.next_delay(age)
            polls.append(age)
        axes.plot(
            polls, [-0.005 * (nth + 1)] * len(polls), "|", color=OURS, alpha=shade, markersize=9, markeredgewidth=1.6
        )
    axes.set(xlim=(0, ages[-1]), ylim=(-0.02, None), xlabel="seconds since AKOOL accepted the upscale", yticks=[])
    axes.legend(frameon=False)
    axes.set_title("The estimated duration, and the planned polls (dashed: the truth)", loc="left")
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def main() -> int:
    """Run the benchmark; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--jobs", type=int, default=10_000, help="number of jobs that every policy polls (default: 10000)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")
    options = parser.parse_args()
    began = time.monotonic()
    print(
        f"akool_async {our_version}, numpy {np.__version__}, Python {platform.python_version()}: {options.jobs} jobs, "
        f"half of them upscales, seed {options.seed}; requests take no time\n"
    )
    with ProcessPoolExecutor() as pool:
        compared = list(pool.map(compare, (MAIN, *OTHERS), repeat(options.jobs), repeat(options.seed)))
        lessons = [learn(world, learner_seeds(options.seed), pool) for world in WORLDS]
    others = {durations.name: rows for durations, rows in zip(OTHERS, compared[1:], strict=True)}
    report = Report(main=compared[0], others=others, lessons=lessons)
    print(report.tables())
    with plt.style.context(STYLE):
        draw_frontier(report, PLOTS / "polling-frontier.png")
        draw_plan(PLOTS / "polling-plan.svg")
        with ProcessPoolExecutor() as pool:
            draw_queue_frontier(pool, PLOTS / "polling-queue.png")
        draw_learning(report.lessons, PLOTS / "polling-learning.png")
    print(f"\n{time.monotonic() - began:.0f} seconds")
    checks = report.checks()
    print("\n".join(f"{'PASS' if met else 'missed'}  {text}" for met, text in checks))
    return 0 if all(met for met, _ in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
