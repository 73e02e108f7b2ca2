"""Waits for servers on loopback, which answer immediately."""

from attrs import evolve

from akool_async import ExponentialPolling, Timing

FAST = ExponentialPolling(initial=0.01, max_interval=0.05)
QUICK = evolve(Timing().scaled(0.01), closing_timeout=0.05)
