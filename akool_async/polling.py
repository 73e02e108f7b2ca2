"""When to look: schedules for Get Image Result, built on backoff's generators and jitters. Nothing waits here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import backoff
from attrs import field, frozen

from akool_async import _validate

if TYPE_CHECKING:
    from collections.abc import Iterator


class Polling(Protocol):
    """A way to place the looks at a running operation."""

    def intervals(self) -> Iterator[float]:
        """Endless seconds to wait before each look, the first counted from the press."""


@frozen(kw_only=True)
class ExponentialPolling:
    """Look after ``initial`` seconds, then ``factor`` times longer each time, up to ``max_interval`` seconds.

    Each interval is moved at random by up to ``jitter`` (a share, 0 to 1) of itself, never past ``max_interval``, so
    that operations started together do not ask together.
    """

    initial: float = field(default=1.0)
    factor: float = field(default=1.5)
    max_interval: float = field(default=3.0)
    jitter: float = field(default=0.1)

    def __attrs_post_init__(self) -> None:
        _validate.seconds("initial", self.initial)
        _validate.seconds("max_interval", self.max_interval)
        _validate.number_between("factor", self.factor, 1, 1000)
        _validate.number_between("jitter", self.jitter, 0, 1)
        if self.max_interval < self.initial:
            raise ValueError(f"max_interval must be at least initial ({self.initial:g} s), not {self.max_interval!r}")

    def intervals(self) -> Iterator[float]:
        """Endless seconds to wait before each look."""
        plain = backoff.expo(base=self.factor, factor=self.initial, max_value=self.max_interval)
        next(plain)  # backoff's generators yield an empty value first
        for interval in plain:
            spread = interval * self.jitter
            yield min(interval - spread + backoff.full_jitter(2 * spread), self.max_interval)
