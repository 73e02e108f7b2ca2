"""Learn how long operations take, and poll when a poll is worth it. Nothing waits here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from attrs import Factory, define, field

from akool_async import _validate
from akool_async.polling.durations import Durations
from akool_async.polling.exponential import ExponentialPolling, jittered
from akool_async.polling.plan import Plan, plan_polls
from akool_async.polling.schedule import Finished

if TYPE_CHECKING:
    from akool_async.polling.schedule import Polling, Progress

DELAY_COST: Final = 8.0
JITTER: Final = 0.05
MIN_DELAY: Final = 0.02
MIN_JOBS: Final = 8
"""Jobs of a kind that must have been seen to end before what was learned of them is acted on."""
MAX_NEWS: Final = 256
"""Operations after which what was learned is always acted on."""
SURPRISE: Final = 8
"""How many operations one weighs as much as that had ended before the first poll: the others seem to be faster now."""
MAX_AGE: Final = 86_400.0
"""Seconds; no job of AKOOL's takes a day."""
_JSON_VERSION: Final = 1


@define
class _Kind:
    """What is known of one kind of operation."""

    durations: Durations = Factory(Durations)
    plan: Plan | None = None
    _learned: int = 0
    _news: int = 0

    def learn(self, finished: Finished, delay_cost: float) -> None:
        self.durations.add(finished.running_at, finished.ended_at)
        self._learned += 1
        self._news += 1 if finished.running_at else SURPRISE
        # A plan costs as much as a hundred polls: a new one is made when a quarter more is known.
        if self.durations.ended >= MIN_JOBS and self._news > min(self._learned // 4, MAX_NEWS):
            self.plan = plan_polls(self.durations.estimate(), delay_cost)
            self._news = 0


@define(kw_only=True)
class AdaptivePolling:
    """Learn from the session's own operations how long each kind takes, and poll when a poll is worth it.

    The polls are placed so that their number plus ``delay_cost`` times the detection delay, the seconds between an
    operation's end and the poll that sees it, is as small as can be.

    Until 8 operations of a kind were seen to end, and for operations of unknown age, it polls as ``fallback`` does.
    Once an operation takes longer than nearly all others, the intervals grow exponentially.

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
    _kinds: dict[str, _Kind] = field(init=False, repr=False, eq=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        _validate.number_between("delay_cost", self.delay_cost, 0.001, 1000)
        _validate.number_between("jitter", self.jitter, 0, 1)
        if not callable(getattr(self.fallback, "next_delay", None)):
            raise ValueError(f"fallback must be a schedule such as ExponentialPolling(), not {self.fallback!r}")  # noqa: TRY004 - bad input is ValueError

    def next_delay(self, progress: Progress) -> float:
        """Seconds to the next poll, by the age of the operation."""
        known = self._kinds.get(progress.kind) if progress.kind is not None else None
        if known is None or known.plan is None:
            return self.fallback.next_delay(progress)
        return max(jittered(known.plan.next_delay(progress.age), self.jitter), MIN_DELAY)

    def learn(self, finished: Finished) -> None:
        """Learn from one more operation that ended, or ran longer than anybody polled it."""
        if finished.kind not in self._kinds:
            self._kinds[finished.kind] = _Kind()
        self._kinds[finished.kind].learn(finished, self.delay_cost)

    def to_json(self) -> str:
        """What was learned, as a text for :meth:`from_json`."""
        kinds = {name: list(kind.durations.seen) for name, kind in self._kinds.items()}
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


def _read_jobs(text: str) -> list[Finished]:
    try:
        state = orjson.loads(text)
        if state["version"] != _JSON_VERSION or state["version"] is True:
            raise ValueError(f"text must be of version {_JSON_VERSION}, not {state['version']!r}")
        return [_read_job(kind, job) for kind, jobs in state["kinds"].items() for job in jobs]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise ValueError("text must be what AdaptivePolling.to_json() returned") from None


def _read_job(kind: str, job: list[float | None]) -> Finished:
    if len(job) != 2:  # noqa: PLR2004 - its age when it was last seen running, and when it was seen ended
        raise TypeError
    running_at = _validate.number_between("an age in text", job[0], 0, MAX_AGE)  # type: ignore[arg-type]
    if job[1] is None:
        return Finished(kind=kind, running_at=running_at, ended_at=None)
    ended_at = _validate.number_between("an age in text", job[1], 0, MAX_AGE)
    if ended_at <= 0 or ended_at < running_at:
        raise ValueError(f"text must not hold a job that ended before it ran: {job!r}")
    return Finished(kind=kind, running_at=running_at, ended_at=ended_at)
