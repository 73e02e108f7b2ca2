"""Waits for servers on loopback, which answer immediately."""

from akool_async import ExponentialPolling, Timing

FAST = ExponentialPolling(initial=0.01, max_interval=0.05)
QUICK = Timing().scaled(0.01)
