"""A schedule for an emulator that works fast."""

from akool_async import ExponentialPolling

FAST = ExponentialPolling(initial=0.01, max_interval=0.05)
