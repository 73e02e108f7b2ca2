"""Learn how long operations take, and poll when a poll is worth it. Nothing waits here."""

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
"""Seconds; no job of AKOOL's takes a day."""
_JSON_VERSION: Final = 2
_FIELDS: Final = {1: 2, 2: 5}
"""How many fields a job has in each version that can be read."""


@define(kw_only=True)
class AdaptivePolling:
    """Learn from the session's own operations how long each kind takes, and poll when a poll is worth it.

    The polls are placed so that their number plus ``delay_cost`` times the detection delay, the seconds between an
    operation's end and the poll that sees it, is as small as can be.

    It begins with what AKOOL's jobs usually take, and each operation that ends corrects that, for its own kind most.
    Queue and work are learned apart if polls see operations queue. Until a first operation has ended, and for
    operations of unknown age, it polls as ``fallback`` does. Once an operation takes longer than nearly all others, the
    intervals grow exponentially.

    One instance may serve several sessions. ``to_json`` keeps what was learned for another process.

    Args:
        delay_cost: How many polls one second of detection delay is worth. 8 suits an account whose cap is to be kept
            busy; 1 saves polls if nobody is in a hurry.
        fallback: The schedule before anything was learned: plain exponential back-off unless another is given.
        jitter: Each interval is moved at random by up to this share (0 to 1) of itself.

    Raises:
        ValueError: An argument is out of range, or ``fallback`` is no schedule.
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
        """Seconds to the next poll, by age and status of the operation."""
        kind = None if progress.kind is None else self._planned(progress.kind)
        if kind is None:
            return self.fallback.next_delay(progress)
        return max(jittered(kind.next_delay(progress, self.delay_cost), self.jitter), MIN_DELAY)

    def learn(self, finished: Finished) -> None:
        """Learn from one more operation that ended, or ran longer than anybody polled it."""
        self._learned += 1
        if finished.kind not in self._kinds:
            self._kinds[finished.kind] = Kind.named(finished.kind, self._scale)
        self._kinds[finished.kind].learn(finished)

    def _planned(self, name: str) -> Kind | None:
        """A kind with its plan, if there is one; a kind that is new is planned for from what is known of the others."""
        if not self._learned:
            return None
        if name not in self._kinds:
            self._kinds[name] = Kind.named(name, self._scale)
        kind = self._kinds[name]
        if kind.needs_plan(self._learned):
            kind.make_plan(self.delay_cost, self._shift(kind), self._learned)
        return kind

    def _shift(self, kind: Kind) -> float:
        """How much longer the other kinds take than was thought, as a logarithm."""
        shifts = [other.shift for other in self._kinds.values() if other is not kind and other.jobs]
        return sum(shifts) / len(shifts) if shifts else 0.0

    def scaled(self, share: float) -> AdaptivePolling:
        """The same for an emulator that works faster than AKOOL; what was learned there is kept as it is.

        Args:
            share: How many times longer than at AKOOL jobs take: 0.1 if the emulator is ten times as fast.

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
        """What was learned, as a text for :meth:`from_json`."""
        kinds = {name: [_fields(job) for job in kind.jobs] for name, kind in self._kinds.items() if kind.jobs}
        return orjson.dumps({"version": _JSON_VERSION, "kinds": kinds}).decode()

    @classmethod
    def from_json(
        cls, text: str, *, delay_cost: float = DELAY_COST, fallback: Polling | None = None, jitter: float = JITTER
    ) -> AdaptivePolling:
        """A schedule that has learned what another one had.

        Args:
            text: What :meth:`to_json` returned, in this process or another.
            delay_cost: As of the class.
            fallback: As of the class.
            jitter: As of the class.

        Raises:
            ValueError: ``text`` is nothing that :meth:`to_json` returns, or another argument is out of range.
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
            raise ValueError(f"text must be of version {_JSON_VERSION}, not {version!r}")
        return [_read_job(kind, job, _FIELDS[version]) for kind, jobs in state["kinds"].items() for job in jobs]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise ValueError("text must be what AdaptivePolling.to_json() returned") from None


def _read_job(kind: str, job: list[float | None], fields: int) -> Finished:
    if not isinstance(job, list) or len(job) != fields:
        raise TypeError
    ages = [None if age is None else _validate.number_between("an age in text", age, 0, MAX_AGE) for age in job]
    running_at, ended_at, queued_at, processing_at, duration = (*ages, 0.0, None, None)[:5]
    if running_at is None or queued_at is None or duration == 0:
        raise TypeError
    if ended_at is not None and (ended_at <= 0 or ended_at < running_at):
        raise ValueError(f"text must not hold a job that ended before it ran: {job!r}")
    return Finished(kind, running_at, ended_at, queued_at, processing_at, duration)
