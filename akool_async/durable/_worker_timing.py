"""How often and how long durable runs wait, as one value."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from akool_async import _validate
from akool_async._limits.timing import wait

MIN_INTERVAL: Final = 0.05
"""Seconds. :meth:`WorkerTiming.scaled` makes no interval shorter, since after each one the database is queried."""
MIN_HEARTBEAT: Final = 0.5
"""The same for heartbeats: on a busy machine, others would take a slow worker for dead."""


@frozen(kw_only=True)
class WorkerTiming:
    """How often workers and readers poll a store, and how long they wait, in seconds. The defaults fit AKOOL.

    Start all workers of a store with the same values. Against an emulator, ``AKOOL_TIME_SCALE`` of its
    ``environment()`` shortens these waits and those of sessions together.

    Args:
        heartbeat_interval: Between two heartbeats of a worker. If it misses four, others take its jobs over.
        poll_interval: Between two polls of a worker for what others have changed, in case a notification is lost.
        queue_poll_interval: Between two polls for a batch while jobs are open. The most recently started worker's
            applies to all.
        file_poll_interval: Between two polls for whether another process has changed an SQLite file.
        outcomes_poll_interval: Between two polls of ``outcomes()`` for jobs that have ended.
        first_retry_pause: Before AKOOL is asked again for a job. It doubles with every try, and half of it is random.
        max_retry_pause: The longest such pause.
        first_database_pause: Before an unavailable database is tried again. It doubles with every try, and half of it
            is random.
        max_database_pause: The longest such pause.
        key_timeout: For AKOOL to confirm the key when a worker starts. Without an answer it starts nevertheless.
        database_timeout: For an unavailable database, before a caller gets a :class:`StoreError`. A restart of
            PostgreSQL takes less.
        opening_timeout: For another process that makes the tables of the same store.
        listen_timeout: For a connection to PostgreSQL that notifications come through.
        drain_timeout: For POSTs under way to end and to be recorded, when a worker ends.
        hand_over_timeout: For the hand-over of its jobs, when a worker ends. Others take them over in any case once
            its heartbeat is missing.

    Raises:
        ValueError: A value is not a number of seconds above 0.
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

        No interval gets shorter than 50 ms by this, and no heartbeat interval shorter than half a second. Timeouts stay
        as they are: a fast emulator makes neither the database nor this machine faster.

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
