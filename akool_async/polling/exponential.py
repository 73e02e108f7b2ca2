"""Plain exponential back-off, built on the generators and jitter of the ``backoff`` library."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import backoff
from attrs import evolve, field, frozen

from akool_async import _validate

if TYPE_CHECKING:
    from akool_async.polling.schedule import Finished, Progress

MAX_STEPS: Final = 1000


@frozen(kw_only=True)
class ExponentialPolling:
    """Poll after ``initial`` seconds, then after ``factor`` times longer each time, up to ``max_interval`` seconds.

    Args:
        initial: Seconds to the first poll.
        factor: How many times longer each interval is than the one before: 1 to 1000.
        max_interval: The longest interval, in seconds.
        jitter: Each interval is shortened or lengthened at random by up to this share (0 to 1) of itself, so that
            operations started together are not polled together. It never exceeds ``max_interval``.

    Raises:
        ValueError: An argument is out of range.
    """

    initial: float = field(default=1.0)
    factor: float = field(default=1.5)
    max_interval: float = field(default=3.0)
    jitter: float = field(default=0.1)
    _steps: tuple[float, ...] = field(init=False, eq=False, repr=False, default=())
    _last_step: float = field(init=False, eq=False, repr=False, default=0.0)

    def __attrs_post_init__(self) -> None:
        _validate.seconds("initial", self.initial)
        _validate.seconds("max_interval", self.max_interval)
        _validate.number_between("factor", self.factor, 1, 1000)
        _validate.number_between("jitter", self.jitter, 0, 1)
        if self.max_interval < self.initial:
            raise ValueError(
                f"max_interval ({self.max_interval:g} s) must be at least initial ({self.initial:g} s): raise it"
            )
        plain = backoff.expo(base=self.factor, factor=self.initial, max_value=self.max_interval)
        steps = list(islice(plain, 1, MAX_STEPS))  # the generators of backoff yield an empty value first
        object.__setattr__(self, "_steps", tuple(step for step in steps if step < self.max_interval))
        # With a factor of 1, or hardly more, the steps never reach the longest interval.
        never_reached = len(self._steps) == MAX_STEPS - 1
        object.__setattr__(self, "_last_step", self._steps[-1] if never_reached else self.max_interval)

    def next_delay(self, progress: Progress) -> float:
        """Return the seconds to the next poll, which depend only on the number of polls so far."""
        polls = progress.polls
        plain = self._steps[polls] if polls < len(self._steps) else self._last_step
        return min(jittered(plain, self.jitter), self.max_interval)

    def learn(self, finished: Finished) -> None:
        """Do nothing: this schedule does not learn."""

    def scaled(self, share: float) -> ExponentialPolling:
        """Return this schedule with all intervals multiplied, for an emulator that works faster than AKOOL.

        Args:
            share: The factor, above 0: 0.1 if the emulator is ten times as fast.

        Raises:
            ValueError: ``share`` is not a number above 0.
        """
        _validate.seconds("share", share)
        return evolve(self, initial=self.initial * share, max_interval=self.max_interval * share)


def jittered(seconds: float, share: float) -> float:
    """Return ``seconds``, shortened or lengthened at random by up to ``share`` of itself."""
    spread = seconds * share
    return seconds - spread + backoff.full_jitter(2 * spread)
