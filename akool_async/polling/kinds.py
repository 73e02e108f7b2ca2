"""What is known of one kind of operation, and the plan made of it."""

from __future__ import annotations

import math
from collections import Counter, deque
from typing import TYPE_CHECKING, Final

from attrs import Factory, define, evolve, field

from akool_async.polling.estimate import MIN_SECONDS, Interval, Mixture, Prior, estimate, fresh_evidence
from akool_async.polling.phases import estimate_phases, queues
from akool_async.polling.plan import QUEUE_AGES, Distribution, PhasedPlan, Plan, plan_polls

if TYPE_CHECKING:
    from akool_async.polling.schedule import Finished, Progress

MEDIANS: Final = {"upscale": 36.0, "variation": 26.0}
"""Seconds that AKOOL's jobs are taken to need before one was seen."""
OTHER_MEDIAN: Final = 30.0
MAX_JOBS: Final = 64
"""The newest jobs of a kind are all that is used."""
MAX_NEWS: Final = 256
"""Jobs after which a new plan is always made."""
RARE: Final = 0.03
"""A job is surprising if so few are faster, or so few slower."""
SURPRISES: Final = 2.0
"""A new plan is made after so many surprises close together."""
CALM: Final = 0.25
"""An ordinary job takes back this much of a surprise."""
CHANGE_ODDS: Final = 4.0
"""Logarithm of the odds at which the newest jobs are taken for those of a changed service."""
MAX_CHANGED: Final = 10
MIN_BEFORE: Final = 8
"""A change can only be noticed if so many jobs were known before it."""
FEW_JOBS: Final = 3
"""Up to so many jobs of a kind, those of the others change its plan."""
AFTER_CHANGE: Final = ((1.0, 0.8),)
"""What is believed after a change: about what was known before it."""
LATE_JOBS: Final = 4
"""So many running jobs, each later than nearly all before them, change the plan before they end."""
_NO_PLAN: Final = Plan((0.0, 1.0), (1.0,))


@define
class Kind:
    """The newest jobs of a kind and the plan made of them."""

    prior: Prior
    jobs: deque[Finished] = field(factory=lambda: deque(maxlen=MAX_JOBS))
    mixture: Mixture = field(default=Factory(lambda self: estimate((), self.prior), takes_self=True))
    """The distribution of durations behind the plan."""
    plan: Plan | PhasedPlan = _NO_PLAN
    _late_at: float = math.inf
    _learned: int = 0
    _news: int = 0
    _surprise: float = 0.0
    _planned_at: int = 0
    _late: Counter[int] = field(factory=Counter)

    @classmethod
    def named(cls, name: str, scale: float = 1.0) -> Kind:
        """A kind of which nothing is known but what AKOOL's jobs usually need.

        Args:
            name: Of the kind.
            scale: How many times longer than at AKOOL jobs take.
        """
        return cls(Prior(math.log(MEDIANS.get(name, OTHER_MEDIAN) * scale)))

    @property
    def shift(self) -> float:
        """How much longer its jobs take than the prior has it, as a logarithm; careful after few jobs."""
        places = [math.log(max(seconds, MIN_SECONDS)) for job in self.jobs if (seconds := job.duration or job.ended_at)]
        return sum(place - self.prior.mean for place in places) / (len(places) + 2)

    def learn(self, finished: Finished) -> None:
        """Take in one more job."""
        self.jobs.append(finished)
        self._learned += 1
        self._news += 1
        seconds = finished.duration or finished.ended_at
        if seconds is not None:
            faster = self.mixture.below(seconds)
            self._surprise = max(self._surprise + (1.0 if not RARE < faster < 1 - RARE else -CALM), 0.0)
            if faster < 1 - RARE:
                self._late.clear()

    def needs_plan(self, learned: int) -> bool:
        """Whether a quarter more is known than when the plan was made.

        Args:
            learned: How many jobs of all kinds were learned from.
        """
        if self.plan is _NO_PLAN:
            return True
        others = learned - self._planned_at > self._planned_at // 8
        return (
            (others and len(self.jobs) <= FEW_JOBS)
            or self._news > min(self._learned // 4, MAX_NEWS)
            or self._surprise >= SURPRISES
        )

    def make_plan(self, delay_cost: float, shift: float, learned: int) -> None:
        """Estimate how long jobs take, and plan the polls.

        Args:
            delay_cost: What one second of detection delay costs, in polls.
            shift: How much longer other kinds take than was thought, as a logarithm.
            learned: How many jobs of all kinds were learned from.
        """
        self._planned_at = learned
        self._drop_outdated()
        self._news, self._surprise = 0, 0.0
        prior = evolve(self.prior, mean=self.prior.mean + shift)
        self.mixture = estimate([total(job) for job in self.jobs], prior)
        self._late_at = self.mixture.quantile(1 - RARE)
        self.plan = plan_polls(Distribution.of(self.mixture), delay_cost)
        if queues(self.jobs):
            queue, work = estimate_phases(self.jobs, prior)
            phased = PhasedPlan(Distribution.of(queue, QUEUE_AGES), Distribution.of(work), delay_cost)
            if phased.before.cost < self.plan.cost:
                self.plan = phased

    def next_delay(self, progress: Progress, delay_cost: float) -> float:
        """Seconds to the next poll."""
        if progress.age > self._late_at:
            self._late[progress.polls] += 1  # each running job comes to each number of polls once
            if self._late[progress.polls] >= LATE_JOBS:
                self._plan_for_late(progress.age, delay_cost)
        if isinstance(self.plan, PhasedPlan):
            return self.plan.next_delay(progress.age, progress.processing_since)
        return self.plan.next_delay(progress.age)

    def _plan_for_late(self, age: float, delay_cost: float) -> None:
        """Several jobs run longer than nearly all before: believe the next ones to do so too, until they end."""
        slower = estimate([Interval(age, math.inf)] * LATE_JOBS, Prior(self.mixture.moments()[0], AFTER_CHANGE))
        self.plan = plan_polls(Distribution.of(slower), delay_cost)
        self._late_at = slower.quantile(1 - RARE)
        self._late.clear()

    def _drop_outdated(self) -> None:
        """Forget the jobs before a change, if the newest ones are far more probable after one than without."""
        if self.plan is _NO_PLAN:
            return
        changed = Prior(self.mixture.moments()[0], AFTER_CHANGE)
        newest = [total(job) for job in self.jobs][-min(self._news, MAX_CHANGED) :]
        for count in range(2, min(len(newest), len(self.jobs) - MIN_BEFORE) + 1):
            news = newest[-count:]
            unchanged = sum(math.log(self.mixture.likelihood(job) + 1e-9) for job in news)
            if fresh_evidence(news, changed) - unchanged > CHANGE_ODDS:
                while len(self.jobs) > count:
                    self.jobs.popleft()
                self.prior = changed
                self._learned = count
                return


def total(job: Finished) -> Interval:
    """What is known of the seconds that a job took."""
    if job.duration is not None:
        return Interval(job.duration, job.duration)
    return Interval(job.running_at, math.inf if job.ended_at is None else job.ended_at)
