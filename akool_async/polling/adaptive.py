"""Learn how long operations take, and place the polls by that. Nothing waits here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Self

import orjson
from attrs import Factory, define, field

from akool_async import _validate
from akool_async.polling.durations import Durations
from akool_async.polling.exponential import ExponentialPolling, jittered
from akool_async.polling.plan import Plan, plan_looks

if TYPE_CHECKING:
    from akool_async.polling.schedule import Polling

SHORTEST_INTERVAL: Final = 0.02
ENOUGH_JOBS: Final = 8
"""Jobs of a kind that must have been seen to end before what was learned of them is acted on."""
MOST_NEWS: Final = 256
"""Operations after which what was learned is always acted on."""
SURPRISE: Final = 8
"""How many operations one weighs as much as that had ended before the first look: the others seem to be faster now."""
LONGEST_AGE: Final = 86_400.0
"""Seconds; no job of AKOOL's takes a day."""
_STATE_VERSION: Final = 1


@define
class _Kind:
    """What is known of one kind of operation."""

    durations: Durations = Factory(Durations)
    plan: Plan | None = None
    _learned: int = 0
    _news: int = 0

    def learn(self, running_at: float, ended_at: float | None, polls_per_late_second: float) -> None:
        self.durations.add(running_at, ended_at)
        self._learned += 1
        self._news += 1 if running_at else SURPRISE
        # A plan costs as much as a hundred polls: it is made anew when a quarter more is known.
        if self.durations.ended >= ENOUGH_JOBS and self._news > min(self._learned // 4, MOST_NEWS):
            self.plan = plan_looks(self.durations.estimate(), polls_per_late_second)
            self._news = 0


@define(kw_only=True)
class AdaptivePolling:
    """Learn from the operations at hand how long each kind takes, and look when a look is worth it.

    The looks are placed so that their number plus ``polls_per_late_second`` times the seconds between an operation's
    end and the look that notices it is as small as can be: the parameter says how many polls one second of lateness
    is worth. 8 suits an account whose cap is to be kept busy; 1 saves polls where nobody is in a hurry.

    Until 8 operations of a kind were seen to end, and for operations of unknown age, it looks as ``start`` does, plain
    exponential back-off; once an operation takes longer than nearly all others, the intervals grow exponentially too.
    Each interval is moved at random by up to ``jitter`` (a share, 0 to 1) of itself.

    One instance may serve several sessions. ``to_json`` keeps what was learned for another process.
    """

    polls_per_late_second: float = field(default=8.0)
    start: Polling = field(factory=ExponentialPolling)
    jitter: float = field(default=0.05)
    _kinds: dict[str, _Kind] = field(init=False, repr=False, eq=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        _validate.number_between("polls_per_late_second", self.polls_per_late_second, 0.001, 1000)
        _validate.number_between("jitter", self.jitter, 0, 1)
        if not callable(getattr(self.start, "interval", None)):
            raise ValueError(f"start must be a schedule such as ExponentialPolling(), not {self.start!r}")  # noqa: TRY004 - bad input is ValueError

    def interval(self, kind: str | None, age: float, looks: int) -> float:
        """Seconds to the next look, by the age of the operation."""
        known = self._kinds.get(kind) if kind is not None else None
        if known is None or known.plan is None:
            return self.start.interval(kind, age, looks)
        return max(jittered(known.plan.interval(age), self.jitter), SHORTEST_INTERVAL)

    def learn(self, kind: str, *, running_at: float, ended_at: float | None) -> None:
        """One more operation of this kind was seen to end, or to run longer than anybody looked."""
        if kind not in self._kinds:
            self._kinds[kind] = _Kind()
        self._kinds[kind].learn(running_at, ended_at, self.polls_per_late_second)

    def to_json(self) -> str:
        """What was learned, as a text for :meth:`load`."""
        kinds = {name: list(kind.durations.seen) for name, kind in self._kinds.items()}
        return orjson.dumps({"version": _STATE_VERSION, "kinds": kinds}).decode()

    def load(self, text: str) -> Self:
        """Learn what another instance told by :meth:`to_json`; returns itself.

        Raises:
            ValueError: the text is not of that making; nothing was learned.
        """
        for kind, running_at, ended_at in _read_state(text):
            self.learn(kind, running_at=running_at, ended_at=ended_at)
        return self


def _read_state(text: str) -> list[tuple[str, float, float | None]]:
    try:
        state = orjson.loads(text)
        if state["version"] != _STATE_VERSION or state["version"] is True:
            raise ValueError(f"text must be of version {_STATE_VERSION}, not {state['version']!r}")
        return [(kind, *_read_job(job)) for kind, jobs in state["kinds"].items() for job in jobs]
    except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise ValueError("text must be what AdaptivePolling.to_json() returned") from None


def _read_job(job: list[float | None]) -> tuple[float, float | None]:
    if len(job) != 2:  # noqa: PLR2004 - when it was last seen running, and seen ended
        raise TypeError
    running_at = _validate.number_between("an age in text", job[0], 0, LONGEST_AGE)  # type: ignore[arg-type]
    if job[1] is None:
        return running_at, None
    ended_at = _validate.number_between("an age in text", job[1], 0, LONGEST_AGE)
    if ended_at <= 0 or ended_at < running_at:
        raise ValueError(f"text must not hold a job that ended before it ran: {job!r}")
    return running_at, ended_at
