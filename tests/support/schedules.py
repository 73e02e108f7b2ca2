"""Schedules for servers on loopback, which answer immediately."""

from attrs import evolve

from akool_async import ExponentialPolling, Timing
from akool_async.polling import Progress

FAST = ExponentialPolling(initial=0.01, max_interval=0.05)
QUICK = evolve(Timing().scaled(0.01), closing_timeout=0.05)


def progress(kind=None, *, age=0.0, polls=0):
    """Return the progress of an operation that was polled ``polls`` times."""
    return Progress(kind=kind, age=age, polls=polls, status=None, processing_since=None)
