"""Schedules that decide when to poll Get Image Result. They only compute; the session waits and sends the polls."""

from akool_async.polling.adaptive import AdaptivePolling
from akool_async.polling.exponential import ExponentialPolling
from akool_async.polling.schedule import Finished, Polling, Progress

__all__ = ["AdaptivePolling", "ExponentialPolling", "Finished", "Polling", "Progress"]
