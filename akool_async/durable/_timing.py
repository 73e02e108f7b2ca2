"""How long durable work waits, as one value."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from akool_async.timing import wait

MIN_INTERVAL: Final = 0.05
"""Seconds below which :meth:`WorkerTiming.scaled` does not bring an interval: each is a query of the database."""
MIN_HEARTBEAT: Final = 0.5
"""The same for the heartbeat: on a busy machine a worker that is merely slow would be taken for dead."""


@frozen(kw_only=True)
class WorkerTiming:
    """How long workers and readers of a state wait, in seconds; the defaults are meant for AKOOL itself.

    All workers of a state should have the same. Tests against an emulator give shorter ones, for example
    ``WorkerTiming().scaled(1 / 200)`` if it works 200 times faster than AKOOL.
    """

    # How often something is done.

    heartbeat_interval: float = wait(3.0)
    """Between two heartbeats of a worker, which shows then that it lives, and takes over from workers that died."""
    poll_interval: float = wait(0.5)
    """Between two looks of a worker for what webhooks told, and for whether any job is open."""
    queue_poll_interval: float = wait(0.1)
    """Between two looks for a job while a slot is free; that of the worker that started last counts for all."""
    lost_id_poll_interval: float = wait(1.0)
    """Between two looks for the id of a press whose reply was lost."""
    outcomes_poll_interval: float = wait(0.5)
    """Between two looks of ``outcomes()`` for what has ended."""
    first_retry_pause: float = wait(1.0)
    """Before AKOOL is asked again for a job, the first time. It doubles from time to time, and is drawn at random."""
    max_retry_pause: float = wait(60.0)
    """The longest such pause."""
    first_database_pause: float = wait(0.1)
    """Before a database that was away is tried again, the first time. It grows as that for AKOOL does."""
    max_database_pause: float = wait(5.0)
    """The longest such pause."""

    # How long something is waited for.

    key_timeout: float = wait(10.0)
    """For AKOOL to say whether the key is right, as a worker starts. Without an answer it works all the same."""
    database_timeout: float = wait(10.0)
    """For a database that is away, before a caller gets a StateError; a restart of PostgreSQL takes less."""
    opening_timeout: float = wait(60.0)
    """For another process that makes the tables of the same state."""
    lock_timeout: float = wait(10.0)
    """For an answer of PostgreSQL about which workers live."""
    drain_timeout: float = wait(10.0)
    """For POSTs under way to end and to be recorded, as a worker ends."""
    hand_over_timeout: float = wait(3.0)
    """For recording what an ended worker leaves to others, who find it in any case."""

    def scaled(self, share: float) -> WorkerTiming:
        """The same with its intervals and pauses multiplied by ``share``.

        No interval gets shorter than 50 ms thereby, and no heartbeat than half a second. Timeouts stay as they are: a
        fast emulator makes neither the database nor this machine faster.
        """

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
