"""How long durable work waits, as one value."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from akool_async._limits.timing import check_share, wait

MIN_INTERVAL: Final = 0.05
"""Seconds below which :meth:`WorkerTiming.scaled` does not bring an interval: each is a query of the database."""
MIN_HEARTBEAT: Final = 0.5
"""The same for the heartbeat: on a busy machine a worker that is merely slow would be taken for dead."""


@frozen(kw_only=True)
class WorkerTiming:
    """How often workers and readers of a state poll, and how long they wait, in seconds. The defaults fit AKOOL.

    All workers of a state should have the same. Against an emulator, ``AKOOL_TIME_SCALE`` of its ``environment()``
    shortens these and the sessions' waits together.

    Args:
        heartbeat_interval: Between two heartbeats, at which a worker shows that it is alive and takes over the jobs of
            workers that died.
        poll_interval: Between two polls of a worker for recorded webhooks, and for whether any job is open.
        queue_poll_interval: Between two polls for a job while a slot is free. The most recently started worker's counts
            for all.
        lost_id_poll_interval: Between two polls for the id of a press whose reply was lost.
        outcomes_poll_interval: Between two polls of ``outcomes()`` for what has ended.
        first_retry_pause: Before AKOOL is asked again for a job. It doubles with every try; the actual pause is random,
            up to that value.
        max_retry_pause: The longest such pause.
        first_database_pause: Before a database that was away is tried again. It grows as the pause before AKOOL does.
        max_database_pause: The longest such pause.
        key_timeout: For AKOOL to say whether the key is right, as a worker starts. Without an answer it works all the
            same.
        database_timeout: For a database that is away, before a caller gets a :class:`StoreError`. A restart of
            PostgreSQL takes less.
        opening_timeout: For another process that makes the tables of the same state.
        lock_timeout: For an answer of PostgreSQL about which workers are alive.
        drain_timeout: For POSTs under way to end and to be recorded, as a worker ends.
        hand_over_timeout: For recording what an ended worker leaves to others, who find it in any case.

    Raises:
        ValueError: A value is not a number of seconds above 0.
    """

    heartbeat_interval: float = wait(3.0)
    poll_interval: float = wait(0.5)
    queue_poll_interval: float = wait(0.1)
    lost_id_poll_interval: float = wait(1.0)
    outcomes_poll_interval: float = wait(0.5)
    first_retry_pause: float = wait(1.0)
    max_retry_pause: float = wait(60.0)
    first_database_pause: float = wait(0.1)
    max_database_pause: float = wait(5.0)

    key_timeout: float = wait(10.0)
    database_timeout: float = wait(10.0)
    opening_timeout: float = wait(60.0)
    lock_timeout: float = wait(10.0)
    drain_timeout: float = wait(10.0)
    hand_over_timeout: float = wait(3.0)

    def scaled(self, share: float) -> WorkerTiming:
        """The same with its intervals and pauses multiplied by ``share``.

        No interval gets shorter than 50 ms thereby, and no heartbeat than half a second. Timeouts stay as they are: a
        fast emulator makes neither the database nor this machine faster.

        Raises:
            ValueError: ``share`` is not a number above 0.
        """
        check_share(share)

        def scale(seconds: float, at_least: float = MIN_INTERVAL) -> float:
            return max(seconds * share, min(seconds, at_least))

        return evolve(
            self,
            heartbeat_interval=scale(self.heartbeat_interval, MIN_HEARTBEAT),
            poll_interval=scale(self.poll_interval),
            queue_poll_interval=scale(self.queue_poll_interval),
            lost_id_poll_interval=scale(self.lost_id_poll_interval),
            outcomes_poll_interval=scale(self.outcomes_poll_interval),
            first_retry_pause=scale(self.first_retry_pause),
            max_retry_pause=scale(self.max_retry_pause),
            first_database_pause=scale(self.first_database_pause),
            max_database_pause=scale(self.max_database_pause),
        )
