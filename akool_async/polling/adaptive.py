"""The default schedule: it learns how long operations take and polls when a poll is worth its cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from attrs import define, field

from akool_async import _validate
from akool_async.polling.exponential import ExponentialPolling, jittered
from akool_async.polling.kinds import Kind
from akool_async.polling.schedule import Finished

if TYPE_CHECKING:
    from akool_async.polling.schedule import Polling, Progress

DELAY_COST: Final = 8.0
MIN_DELAY_COST: Final = 0.001
MAX_DELAY_COST: Final = 1000.0
JITTER: Final = 0.02
MIN_DELAY: Final = 0.02
MAX_AGE: Final = 86_400.0
"""Largest age in the JSON, in seconds: no job takes AKOOL a day."""
_JSON_VERSION: Final = 2
_FIELDS: Final = {1: 2, 2: 5}
"""Number of fields of a job in each version of the JSON text that can be read."""


@define(kw_only=True)
class AdaptivePolling:
    """Learn from the session's operations how long each kind takes, and poll when a poll is worth its cost.

    The detection delay is the time between an operation's end and the poll that sees it. The schedule minimises the
    expected number of polls plus ``delay_cost`` times the expected detection delay in seconds.

    It starts from the usual durations of AKOOL's jobs. Each finished operation corrects the estimate for its kind, and
    to a lesser degree the estimates for other kinds. If polls often see operations queue, the schedule estimates the
    time in the queue and the time of processing separately. It polls as ``fallback`` does until it has learned from a
    first operation, and always for operations that the session did not start, because their age is unknown. Once an
    operation takes longer than nearly all others, the intervals grow exponentially, up to a minute.

    One instance may serve several sessions. ``to_json`` saves what it has learned for another process.

    Args:
        delay_cost: How many polls one second of detection delay is worth (0.001 to 1000). 8 suits an account whose
            slots should always be busy; 1 saves polls if nobody is in a hurry.
        fallback: The schedule to use before anything was learned. Default: ``ExponentialPolling()``.
        jitter: Each interval is shortened or lengthened at random by up to this share (0 to 1) of itself.

    Raises:
        ValueError: An argument is out of range, or ``fallback`` is not a schedule.
    """

    delay_cost: float = field(default=DELAY_COST)
    fallback: Polling = field(factory=ExponentialPolling)
    jitter: float = field(default=JITTER)
    _kinds: dict[str, Kind] = field(init=False, repr=False, eq=False, factory=dict)
    _learned: int = field(init=False, repr=False, eq=False, default=0)
    _scale: float = field(init=False, repr=False, eq=False, default=1.0)

    def __attrs_post_init__(self) -> None:
        _validate.number_between("delay_cost", self.delay_cost, MIN_DELAY_COST, MAX_DELAY_COST)
        _validate.number_between("jitter", self.jitter, 0, 1)
        if not callable(getattr(self.fallback, "next_delay", None)):
            raise ValueError(f"fallback must be a schedule such as ExponentialPolling(), not {self.fallback!r}")  # noqa: TRY004 - bad input is ValueError

    def next_delay(self, progress: Progress) -> float:
        """Return the seconds to the next poll, which depend on the age and status of the operation."""
        kind = None if progress.kind is None else self._planned(progress.kind)
        if kind is None:
            return self.fallback.next_delay(progress)
        return max(jittered(kind.next_delay(progress, self.delay_cost), self.jitter), MIN_DELAY)

    def learn(self, finished: Finished) -> None:
        """Learn from an operation that ended, or whose polling stopped before that."""
        self._learned += 1
        if finished.kind not in self._kinds:
            self._kinds[finished.kind] = Kind.named(finished.kind, self._scale)
        self._kinds[finished.kind].learn(finished)

    def _planned(self, name: str) -> Kind | None:
        """Return the kind with an up-to-date plan; None before anything was learned.

        The plan for a kind without finished jobs is based on its prior and on the other kinds.
        """
        if not self._learned:
            return None
        if name not in self._kinds:
            self._kinds[name] = Kind.named(name, self._scale)
        kind = self._kinds[name]
        if kind.needs_plan(self._learned):
            kind.make_plan(self.delay_cost, self._shift(kind), self._learned)
        return kind

    def _shift(self, kind: Kind) -> float:
        """Return the mean logarithm of how many times longer the other kinds take than their priors."""
        shifts = [other.shift for other in self._kinds.values() if other is not kind and other.jobs]
        return sum(shifts) / len(shifts) if shifts else 0.0

    def scaled(self, share: float) -> AdaptivePolling:
        """Return this schedule for an emulator that works faster than AKOOL.

        The prior durations, ``fallback`` and ``delay_cost`` are scaled; what was learned is copied unchanged.

        Args:
            share: The emulator's durations relative to AKOOL's: 0.1 if the emulator is ten times as fast.

        Raises:
            ValueError: ``share`` is not a number above 0.
        """
        _validate.seconds("share", share)
        cost = min(max(self.delay_cost / share, MIN_DELAY_COST), MAX_DELAY_COST)
        fallback = self.fallback.scaled(share) if isinstance(self.fallback, ExponentialPolling) else self.fallback
        other = AdaptivePolling(delay_cost=cost, fallback=fallback, jitter=self.jitter)
        other._scale = self._scale * share
        for kind in self._kinds.values():
            for job in kind.jobs:
                other.learn(job)
        return other

    def to_json(self) -> str:
        """Return what was learned, as JSON for :meth:`from_json`."""
        kinds = {name: [_fields(job) for job in kind.jobs] for name, kind in self._kinds.items() if kind.jobs}
        return orjson.dumps({"version": _JSON_VERSION, "kinds": kinds}).decode()

    @classmethod
    def from_json(
        cls, text: str, *, delay_cost: float = DELAY_COST, fallback: Polling | None = None, jitter: float = JITTER
    ) -> AdaptivePolling:
        """Return a schedule that knows what another one had learned.

        Args:
            text: The JSON that :meth:`to_json` returned, in this or another process.
            delay_cost: As for the class.
            fallback: As for the class.
            jitter: As for the class.

        Raises:
            ValueError: ``text`` is not from :meth:`to_json`, or another argument is out of range.
        """
        jobs = _read_jobs(text)
        polling = cls(delay_cost=delay_cost, fallback=fallback or ExponentialPolling(), jitter=jitter)
        for job in jobs:
            polling.learn(job)
        return polling


def _fields(job: Finished) -> list[float | None]:
    running_at = job.running_at if job.ended_at is None else min(job.running_at, job.ended_at)
    ages = (running_at, job.ended_at, job.queued_at, job.processing_at, job.duration)
    return [None if age is None else min(age, MAX_AGE) for age in ages]


def _read_jobs(text: str) -> list[Finished]:
    try:
        state = orjson.loads(text)
        version = state["version"]
        if isinstance(version, bool) or version not in _FIELDS:
            raise ValueError(
                f"text must have version 1 or {_JSON_VERSION}, not {version!r}: pass what to_json() returned"
            )
        return [_read_job(kind, job, _FIELDS[version]) for kind, jobs in state["kinds"].items() for job in jobs]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise ValueError("text is not valid: pass what AdaptivePolling.to_json() returned") from None


def _read_job(kind: str, job: list[float | None], fields: int) -> Finished:
    if not isinstance(job, list) or len(job) != fields:
        raise TypeError
    ages = [None if age is None else _validate.number_between("an age in text", age, 0, MAX_AGE) for age in job]
    running_at, ended_at, queued_at, processing_at, duration = (*ages, 0.0, None, None)[:5]
    if running_at is None or queued_at is None or duration == 0:
        raise TypeError
    if ended_at is not None and (ended_at <= 0 or ended_at < running_at):
        raise ValueError(
            f"text has a job that ended before it was last seen running, {job!r}: pass what to_json() returned"
        )
    return Finished(kind, running_at, ended_at, queued_at, processing_at, duration)
