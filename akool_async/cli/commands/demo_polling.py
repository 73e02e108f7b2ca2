"""What the polls of the demo cost, beside those of plain back-off for the same operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from akool_async import ExponentialPolling
from akool_async.events import Finished
from akool_async.polling import Progress

if TYPE_CHECKING:
    from akool_async.events import Event
    from akool_async.models import Counters


@define
class PollingComparison:
    """Polls the operations that have ended once more on paper, with plain back-off.

    Args:
        scale: How many times longer than at AKOOL operations take.
    """

    _scale: float
    _delays: list[float] = field(init=False, factory=list)
    _polls: int = field(init=False, default=0)

    def on_event(self, event: Event) -> None:
        """Take in the end of an operation whose duration AKOOL's times show."""
        if not isinstance(event, Finished) or event.duration is None:
            return
        backoff, age, polls = ExponentialPolling().scaled(self._scale), 0.0, 0
        while age < event.duration:
            age += backoff.next_delay(Progress(event.kind, age, polls, None, None))
            polls += 1
        self._polls += polls
        self._delays.append(age - event.duration)

    def line(self, counters: Counters, *, with_webhook: bool) -> str:
        """Both on one line."""
        ours = (
            f"AKOOL was polled {counters.polls} times for {counters.finished} operations; the mean detection delay was "
            f"{counters.detection_delay:.2f} s" + (", with a webhook" if with_webhook else "")
        )
        if not self._delays:
            return f"{ours}."
        delay = sum(self._delays) / len(self._delays)
        return f"{ours} (plain back-off: {self._polls} times for {len(self._delays)}, {delay:.2f} s)."
