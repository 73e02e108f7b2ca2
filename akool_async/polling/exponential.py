"""Plain exponential back-off, on backoff's generators and jitters. Nothing waits here."""

from __future__ import annotations

from itertools import islice
from typing import Final

import backoff
from attrs import evolve, field, frozen

from akool_async import _validate

MOST_STEPS: Final = 1000


@frozen(kw_only=True)
class ExponentialPolling:
    """Snapshot after ``initial`` seconds, then ``factor`` times longer each time, up to ``max_interval`` seconds.

    Each interval is moved at random by up to ``jitter`` (a share, 0 to 1) of itself, never past ``max_interval``, so
    that operations started together do not ask together.
    """

    initial: float = field(default=1.0)
    factor: float = field(default=1.5)
    max_interval: float = field(default=3.0)
    jitter: float = field(default=0.1)
    _steps: tuple[float, ...] = field(init=False, eq=False, repr=False, default=())

    def __attrs_post_init__(self) -> None:
        _validate.seconds("initial", self.initial)
        _validate.seconds("max_interval", self.max_interval)
        _validate.number_between("factor", self.factor, 1, 1000)
        _validate.number_between("jitter", self.jitter, 0, 1)
        if self.max_interval < self.initial:
            raise ValueError(
                f"initial must not pass max_interval, as {self.initial:g} s passes {self.max_interval:g} s: raise both"
            )
        plain = backoff.expo(base=self.factor, factor=self.initial, max_value=self.max_interval)
        steps = list(islice(plain, 1, MOST_STEPS))  # backoff's generators yield an empty value first
        object.__setattr__(self, "_steps", tuple(step for step in steps if step < self.max_interval))

    def interval(self, kind: str | None, age: float, looks: int) -> float:  # noqa: ARG002 - all operations are equal
        """Seconds to the next look, by the number of looks so far."""
        plain = self._steps[looks] if looks < len(self._steps) else self._last_step
        return min(jittered(plain, self.jitter), self.max_interval)

    def learn(self, kind: str, *, running_at: float, ended_at: float | None) -> None:
        """Nothing: this schedule stays as it is."""

    def scaled(self, share: float) -> ExponentialPolling:
        """The same with all intervals multiplied by ``share``, for an emulator that works faster than AKOOL."""
        _validate.seconds("share", share)
        return evolve(self, initial=self.initial * share, max_interval=self.max_interval * share)

    @property
    def _last_step(self) -> float:
        # A factor of 1, or hardly more, never reaches the longest interval.
        return self._steps[-1] if len(self._steps) == MOST_STEPS - 1 else self.max_interval


def jittered(interval: float, share: float) -> float:
    """The interval, moved at random by up to ``share`` of itself."""
    spread = interval * share
    return interval - spread + backoff.full_jitter(2 * spread)
