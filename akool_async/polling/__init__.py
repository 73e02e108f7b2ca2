"""When to poll Get Image Result: schedules, learned durations and the plan made of them. Nothing waits here."""

from akool_async.polling.adaptive import AdaptivePolling
from akool_async.polling.exponential import ExponentialPolling
from akool_async.polling.schedule import Finished, Polling, Progress

__all__ = ["AdaptivePolling", "ExponentialPolling", "Finished", "Polling", "Progress"]
