"""Compare the polls of the demo with those that plain back-off would have sent for the same operations."""

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
    """Computes when plain back-off would have polled each finished operation. It sends nothing.

    Args:
        scale: The emulator's durations relative to AKOOL's: 0.1 if it is ten times as fast.
    """

    _scale: float
    _delays: list[float] = field(init=False, factory=list)
    _polls: int = field(init=False, default=0)

    def on_event(self, event: Event) -> None:
        """Record the end of an operation, if the times in its result show how long it took."""
        if not isinstance(event, Finished) or event.duration is None:
            return
        backoff, age, polls = ExponentialPolling().scaled(self._scale), 0.0, 0
        while age < event.duration:
            age += backoff.next_delay(Progress(event.kind, age, polls, None, None))
            polls += 1
        self._polls += polls
        self._delays.append(age - event.duration)

    def line(self, counters: Counters, *, with_webhook: bool) -> str:
        """Return one line on the polls that were sent and on those of plain back-off.

        Args:
            counters: The counters of the session.
            with_webhook: Whether webhooks also reported the ends.
        """
        ours = (
            f"AKOOL was polled {counters.polls} times for {counters.finished} operations; the mean detection delay was "
            f"{counters.detection_delay:.2f} s" + (", with a webhook" if with_webhook else "")
        )
        if not self._delays:
            return f"{ours}."
        delay = sum(self._delays) / len(self._delays)
        return f"{ours} (plain back-off: {self._polls} times for {len(self._delays)}, {delay:.2f} s)."
