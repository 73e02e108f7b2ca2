"""One kind of operation: its newest jobs, the estimate of their durations, and the plan of polls."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, evolve, field

from akool_async.polling.estimate import MIN_SECONDS, Interval, Mixture, Prior, estimate, fresh_evidence
from akool_async.polling.phases import estimate_phases, show_queue
from akool_async.polling.plan import QUEUE_AGES, Distribution, PhasedPlan, Plan, plan_polls

if TYPE_CHECKING:
    from akool_async.polling.schedule import Finished, Progress

MEDIANS: Final = {"upscale": 36.0, "variation": 26.0}
"""Median seconds that AKOOL is assumed to need for a job before one was seen."""
OTHER_MEDIAN: Final = 30.0
"""The same for all other kinds."""
MAX_JOBS: Final = 64
"""Only this many jobs of a kind are used, the newest."""
MAX_NEW_JOBS: Final = 256
"""A new plan is made after more than this many new jobs at the latest."""
RARE: Final = 0.03
"""A duration is surprising if at most this share of jobs is expected to be faster, or slower."""
SURPRISE_LIMIT: Final = 2.0
"""A new plan is made after this many surprises close together."""
SURPRISE_DECAY: Final = 0.25
"""Each ordinary job lowers the count of surprises by this much."""
CHANGE_ODDS: Final = 4.0
"""Logarithm of the odds above which the service counts as changed: about 55 to 1."""
MAX_CHANGED_JOBS: Final = 10
"""At most this many of the newest jobs are tested for a change."""
MIN_OLD_JOBS: Final = 8
"""A change is only noticed if at least this many jobs were known before it."""
FEW_JOBS: Final = 3
"""While a kind has at most this many jobs, those of other kinds also lead to a new plan."""
AFTER_CHANGE: Final = ((1.0, 0.8),)
"""Uncertainty of the median after a change: the old median, give or take a factor of 2.2."""
LATE_JOBS: Final = 4
"""If this many running jobs are later than nearly all before them, the plan changes before they end."""
_NO_PLAN: Final = Plan((0.0, 1.0), (1.0,))


@define
class Kind:
    """The newest jobs of a kind and the plan made from them."""

    prior: Prior
    jobs: deque[Finished] = field(factory=lambda: deque(maxlen=MAX_JOBS))
    mixture: Mixture = field(default=Factory(lambda self: estimate((), self.prior), takes_self=True))
    """The estimated distribution of durations, on which the plan is based."""
    plan: Plan | PhasedPlan = _NO_PLAN
    _late_at: float = math.inf
    _learned: int = 0
    _new_jobs: int = 0
    _surprise: float = 0.0
    _learned_at_plan: int = 0
    _late: Counter[int] = field(factory=Counter)

    @classmethod
    def named(cls, name: str, scale: float = 1.0) -> Kind:
        """Return a kind that has only its prior: the usual duration of AKOOL's jobs.

        Args:
            name: "upscale", "variation", "prompt" or any other name.
            scale: The server's durations relative to AKOOL's: 0.1 for an emulator that is ten times as fast.
        """
        return cls(Prior(math.log(MEDIANS.get(name, OTHER_MEDIAN) * scale)))

    @property
    def shift(self) -> float:
        """Logarithm of how many times longer its jobs take than its prior says; close to 0 after few jobs."""
        logs = [math.log(max(seconds, MIN_SECONDS)) for job in self.jobs if (seconds := job.duration or job.ended_at)]
        return sum(log - self.prior.mean for log in logs) / (len(logs) + 2)

    def learn(self, finished: Finished) -> None:
        """Record a job that ended, or whose polling stopped before that."""
        self.jobs.append(finished)
        self._learned += 1
        self._new_jobs += 1
        seconds = finished.duration or finished.ended_at
        if seconds is not None:
            faster = self.mixture.below(seconds)
            self._surprise = max(self._surprise + (1.0 if not RARE < faster < 1 - RARE else -SURPRISE_DECAY), 0.0)
            if faster < 1 - RARE:
                self._late.clear()

    def needs_plan(self, learned: int) -> bool:
        """Return whether enough was learned since the plan was made to make a new one.

        That is a quarter more jobs, several surprises or, while this kind has few jobs, an eighth more of all kinds.

        Args:
            learned: Number of jobs of all kinds so far.
        """
        if self.plan is _NO_PLAN:
            return True
        others = learned - self._learned_at_plan > self._learned_at_plan // 8
        return (
            (others and len(self.jobs) <= FEW_JOBS)
            or self._new_jobs > min(self._learned // 4, MAX_NEW_JOBS)
            or self._surprise >= SURPRISE_LIMIT
        )

    def make_plan(self, delay_cost: float, shift: float, learned: int) -> None:
        """Estimate how long jobs take, and plan the polls.

        Args:
            delay_cost: How many polls one second of detection delay is worth.
            shift: Logarithm of how many times longer the other kinds take than their priors say.
            learned: Number of jobs of all kinds so far.
        """
        self._learned_at_plan = learned
        self._drop_outdated()
        self._new_jobs, self._surprise = 0, 0.0
        prior = evolve(self.prior, mean=self.prior.mean + shift)
        self.mixture = estimate([total(job) for job in self.jobs], prior)
        self._late_at = self.mixture.quantile(1 - RARE)
        self.plan = plan_polls(Distribution.of(self.mixture), delay_cost)
        if show_queue(self.jobs):
            queue, work = estimate_phases(self.jobs, prior)
            phased = PhasedPlan(Distribution.of(queue, QUEUE_AGES), Distribution.of(work), delay_cost)
            if phased.before.cost < self.plan.cost:
                self.plan = phased

    def next_delay(self, progress: Progress, delay_cost: float) -> float:
        """Return the seconds to the next poll.

        Args:
            progress: The progress of the operation.
            delay_cost: How many polls one second of detection delay is worth.
        """
        if progress.age > self._late_at:
            self._late[progress.polls] += 1  # each running job passes each number of polls once
            if self._late[progress.polls] >= LATE_JOBS:
                self._plan_for_late(progress.age, delay_cost)
        if isinstance(self.plan, PhasedPlan):
            return self.plan.next_delay(progress.age, progress.processing_since)
        return self.plan.next_delay(progress.age)

    def _plan_for_late(self, age: float, delay_cost: float) -> None:
        """Plan as if all jobs took longer than ``age``, as several running ones do, until their ends are known."""
        slower = estimate([Interval(age, math.inf)] * LATE_JOBS, Prior(self.mixture.moments()[0], AFTER_CHANGE))
        self.plan = plan_polls(Distribution.of(slower), delay_cost)
        self._late_at = slower.quantile(1 - RARE)
        self._late.clear()

    def _drop_outdated(self) -> None:
        """Forget all but the newest jobs if these are far more probable after a change of the service than without."""
        if self.plan is _NO_PLAN:
            return
        changed = Prior(self.mixture.moments()[0], AFTER_CHANGE)
        newest = [total(job) for job in self.jobs][-min(self._new_jobs, MAX_CHANGED_JOBS) :]
        for count in range(2, min(len(newest), len(self.jobs) - MIN_OLD_JOBS) + 1):
            news = newest[-count:]
            unchanged = sum(math.log(self.mixture.likelihood(job) + 1e-9) for job in news)
            if fresh_evidence(news, changed) - unchanged > CHANGE_ODDS:
                while len(self.jobs) > count:
                    self.jobs.popleft()
                self.prior = changed
                self._learned = count
                return


def total(job: Finished) -> Interval:
    """Return the bounds of a job's duration, as its polls and AKOOL's times show them."""
    if job.duration is not None:
        return Interval(job.duration, job.duration)
    return Interval(job.running_at, math.inf if job.ended_at is None else job.ended_at)
