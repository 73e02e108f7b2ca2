"""When to poll Get Image Result: schedules, learned durations and the plan made of them. Nothing waits here."""

from akool_async.polling.schedules import AdaptivePolling, ExponentialPolling, Polling

__all__ = ["AdaptivePolling", "ExponentialPolling", "Polling"]
