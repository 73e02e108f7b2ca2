"""The intervals, pauses and timeouts of durable runs, as one value."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from akool_async import _validate
from akool_async._limits.timing import wait

MIN_INTERVAL: Final = 0.05
"""Seconds. :meth:`WorkerTiming.scaled` makes no interval shorter than this, to protect the database."""
MIN_HEARTBEAT: Final = 0.5
"""Seconds. The same for heartbeats: on a busy machine, a shorter interval would make slow workers look dead."""


@frozen(kw_only=True)
class WorkerTiming:
    """How often workers and readers poll a store, and how long they wait. The defaults fit AKOOL.

    All values are seconds. Start all workers of a store with the same values. With an emulator, the variable
    ``AKOOL_TIME_SCALE`` of its ``environment()`` scales these defaults as well as those of sessions.

    Args:
        heartbeat_interval: The time between two heartbeats of a worker. If it misses four, others take over its jobs.
        poll_interval: The time between two polls of a worker for changes by other processes, in case a notification is
            lost.
        queue_poll_interval: The time between two polls for a batch while jobs are open. The value of the worker that
            started last applies to all.
        file_poll_interval: The time between two polls for changes of an SQLite file by other processes.
        outcomes_poll_interval: The time between two polls of ``outcomes()`` for jobs that have ended.
        first_retry_pause: The first pause before a job is retried after a temporary error of AKOOL or the network. It
            doubles with every retry, and half of it is random.
        max_retry_pause: The longest pause before such a retry.
        first_database_pause: The first pause before an unavailable database is tried again. It doubles with every try,
            and half of it is random.
        max_database_pause: The longest pause before such a try.
        key_timeout: How long a starting worker waits for AKOOL to confirm the key. Without an answer, it starts anyway.
        database_timeout: How long a call waits for an unavailable database before it raises :class:`StoreError`. A
            restart of PostgreSQL takes less.
        opening_timeout: How long opening a store waits for another process that is creating its tables.
        listen_timeout: How long a worker waits for the PostgreSQL connection that receives notifications.
        drain_timeout: How long an ending worker waits for POSTs under way to end and to be recorded.
        hand_over_timeout: How long an ending worker waits until its jobs are handed over. If that fails, others take
            them over once its heartbeat is missing.

    Raises:
        ValueError: A value is not a finite number of seconds above 0.
    """

    heartbeat_interval: float = wait(3.0)
    poll_interval: float = wait(1.0)
    queue_poll_interval: float = wait(0.5)
    file_poll_interval: float = wait(0.1)
    outcomes_poll_interval: float = wait(0.5)
    first_retry_pause: float = wait(1.0)
    max_retry_pause: float = wait(60.0)
    first_database_pause: float = wait(0.1)
    max_database_pause: float = wait(5.0)

    key_timeout: float = wait(10.0)
    database_timeout: float = wait(10.0)
    opening_timeout: float = wait(60.0)
    listen_timeout: float = wait(10.0)
    drain_timeout: float = wait(10.0)
    hand_over_timeout: float = wait(3.0)

    def scaled(self, share: float) -> WorkerTiming:
        """Return a copy whose intervals and pauses are multiplied by ``share``.

        This shortens no interval below 50 ms, and no heartbeat interval below half a second. Timeouts do not change,
        since a fast emulator makes neither the database nor this machine faster.

        Args:
            share: A factor above 0.

        Raises:
            ValueError: ``share`` is not a number above 0.
        """
        _validate.scale("share", share)

        def scale(seconds: float, at_least: float = MIN_INTERVAL) -> float:
            return max(seconds * share, min(seconds, at_least))

        return evolve(
            self,
            heartbeat_interval=scale(self.heartbeat_interval, MIN_HEARTBEAT),
            poll_interval=scale(self.poll_interval),
            queue_poll_interval=scale(self.queue_poll_interval),
            file_poll_interval=scale(self.file_poll_interval),
            outcomes_poll_interval=scale(self.outcomes_poll_interval),
            first_retry_pause=scale(self.first_retry_pause),
            max_retry_pause=scale(self.max_retry_pause),
            first_database_pause=scale(self.first_database_pause),
            max_database_pause=scale(self.max_database_pause),
        )
