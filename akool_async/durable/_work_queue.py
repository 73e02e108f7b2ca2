"""DBOS: the queue of jobs, the caps over all processes, and the taking over from workers that died.

The only room that knows it. A workflow per job, a queue per account and kind.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

from akool_async import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from dbos import EnqueueOptions

    from akool_async.durable._job import Entry
    from akool_async.durable._store_url import StoreUrl

APPLICATION: Final = "akool_async"
OUTSIDE: Final = "DurableFanOut works within its block only: async with DurableFanOut(...) as jobs"
WORKFLOW: Final = "akool_press"
VERSION: Final = "1"
"""Of what a workflow is told: DBOS gives a worker those of its own version only, so this is not the library's."""
PARTITION: Final = "all"
"""All upscales are in one: DBOS takes up SERIALIZABLE from partitions only, else two workers could pass the cap."""
MOST_VARIATIONS: Final = 256
"""That one worker has in hand."""
UNUSED_INTERVAL: Final = 0.1
"""Seconds between two wake-ups of DBOS's threads for messages and events, of which we have none. They also look then
whether DBOS ends: with its default, a second, every end would take that second.
"""
MOST_TAKEOVERS: Final = 1_000_000
"""DBOS gives up a job that was taken up so often; it is not the job that lets ours die."""
FIRST, IN_TURN = 0, 1
"""Priorities: a job that may run at AKOOL already goes before those that surely do not, or the cap would be passed."""

# https://docs.dbos.dev/explanations/system-tables
SCHEMA: Final = "dbos"
WORKFLOWS: Final = sa.table(
    "workflow_status",
    *map(sa.column, ("workflow_uuid", "status", "executor_id", "queue_name", "priority", "owner_xid")),
    *map(sa.column, ("started_at_epoch_ms",)),
)
RUNNING, WAITING = "PENDING", "ENQUEUED"

LOGGER: Final = logging.getLogger("dbos")

_carry_out: Callable[[str], Awaitable[None]] | None = None  # DBOS is one per process, and knows functions, not objects


class Engine:
    """The jobs of one account, as DBOS sees them."""

    def __init__(self, state: StoreUrl, account: str) -> None:
        self._address = state.driver_address
        self._queues = {kind: f"akool:{account}:{kind}" for kind in ("upscale", "variation")}
        self._client: DBOSClient | None = None
        self._workflows = WORKFLOWS if state.file is not None else _in_schema(WORKFLOWS)

    def open(self, database: sa.Engine) -> None:
        """Make or migrate DBOS's tables, and use these connections."""
        _quieten_unless_asked()
        DBOS.migrate(self._address)
        self._client = DBOSClient(
            system_database_engine=database,
            serializer=DBOSPortableJSONSerializer(),
            application_name=APPLICATION,
            retry_connection_errors=False,
        )

    def close(self) -> None:
        """Disconnect."""
        self._connected.destroy()
        self._client = None

    def enqueue(self, connection: sa.Connection, entries: Iterable[Entry]) -> None:
        """Put jobs into their queues, in the caller's transaction."""
        for entry in entries:
            options: EnqueueOptions = {
                "workflow_name": WORKFLOW,
                "queue_name": self._queues[entry.button.kind],
                "workflow_id": entry.workflow_id(),
                "app_version": VERSION,
            }
            if not entry.may_run:  # else FIRST, DBOS's default
                options["priority"] = IN_TURN
            if entry.button.kind == "upscale":
                options["queue_partition_key"] = PARTITION
            self._connected.enqueue_in_transaction(connection, options, entry.job)

    def forget(self, entries: Iterable[Entry]) -> None:
        """Delete the workflows of jobs that are over."""
        ids = [entry.workflow_id(attempt) for entry in entries for attempt in range(1, entry.attempt + 1)]
        self._connected.delete_workflows(ids)

    # --- a worker: the one engine of this process ---

    def launch(
        self,
        worker: str,
        carry_out: Callable[[str], Awaitable[None]],
        database: sa.Engine,
        *,
        max_concurrent_upscales: int,
        poll_interval: float,
    ) -> None:
        """Begin to carry out jobs, in this thread's event loop and with these connections.

        Raises:
            ConfigurationError: DBOS runs in this process already.
        """
        global _carry_out  # noqa: PLW0603
        if _carry_out is not None:
            raise ConfigurationError(
                "one DurableFanOut runs in a process at a time, and one is at work or still hands over: run this in "
                "another process"
            )
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": database,
                "executor_id": worker,
                "application_version": VERSION,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": logging.getLevelName(LOGGER.level),
                "run_migrations": False,
                "notification_listener_polling_interval_sec": UNUSED_INTERVAL,
                "notification_coalesce_sec": UNUSED_INTERVAL,
            }
        )
        if DBOS.executor_id != worker:  # it is one per process, and was made before
            raise ConfigurationError("DBOS is used in this process otherwise: run DurableFanOut in another process")
        _carry_out = carry_out
        try:
            self._launch(max_concurrent_upscales, poll_interval)
        except BaseException:  # pragma: no cover - as where the state goes away at this very moment
            self.stop()
            raise

    def _launch(self, max_concurrent_upscales: int, poll_interval: float) -> None:
        upscales, variations = self._queues.values()
        DBOS.listen_queues([upscales, variations])
        self._connected.register_queue(
            upscales,
            global_concurrency=max_concurrent_upscales,
            partition_worker_concurrency=max_concurrent_upscales,
            polling_interval_sec=poll_interval,
            on_conflict="always_update",
        )
        self._connected.register_queue(
            variations,
            worker_concurrency=MOST_VARIATIONS,
            polling_interval_sec=poll_interval,
            on_conflict="always_update",
        )
        DBOS.launch()

    @staticmethod
    def stop() -> None:
        """End it; jobs in hand stay this worker's until they are taken over."""
        global _carry_out  # noqa: PLW0603
        DBOS.destroy()
        _carry_out = None

    def workers(self, connection: sa.Connection) -> set[str]:
        """Those that jobs are said to run at."""
        running = sa.select(self._workflows.c.executor_id).where(*self._is_running()).distinct()
        return {worker for worker in connection.execute(running).scalars() if worker}

    def take_over(self, connection: sa.Connection, workers: Iterable[str]) -> int:
        """Put what these workers had in hand back into the queue, before all else; how many they were.

        It is what DBOS's own recovery does, for all at once, and with the priority.
        """
        return self._put_back(connection, self._workflows.c.executor_id.in_(list(workers)))

    def in_hand(self, connection: sa.Connection, worker: str) -> set[str]:
        """The workflows that are said to run at this worker."""
        columns = self._workflows.c
        running = sa.select(columns.workflow_uuid).where(*self._is_running(), columns.executor_id == worker)
        return set(connection.execute(running).scalars())

    def let_go(self, connection: sa.Connection, worker: str, workflows: Iterable[str]) -> int:
        """Put these of this worker's back into the queue, before all else; how many they were."""
        columns = self._workflows.c
        return self._put_back(connection, columns.executor_id == worker, columns.workflow_uuid.in_(list(workflows)))

    def without_workflow(self, connection: sa.Connection, entries: Sequence[Entry]) -> list[Entry]:
        """Those of them that DBOS has given up, or has never heard of."""
        columns = self._workflows.c
        wanted = columns.workflow_uuid.in_([entry.workflow_id() for entry in entries])
        known = sa.select(columns.workflow_uuid).where(wanted, columns.status.in_([RUNNING, WAITING]))
        alive = set(connection.execute(known).scalars())
        return [entry for entry in entries if entry.workflow_id() not in alive]

    def _put_back(self, connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
        orphans = sa.update(self._workflows).where(*self._is_running(), *which)
        back = orphans.values(status=WAITING, priority=FIRST, owner_xid=None, started_at_epoch_ms=None)
        return connection.execute(back).rowcount

    def _is_running(self) -> list[sa.ColumnElement[bool]]:
        columns = self._workflows.c
        return [columns.queue_name.in_(list(self._queues.values())), columns.status == RUNNING]

    @property
    def _connected(self) -> DBOSClient:
        if self._client is None:  # pragma: no cover - the fan-out itself says so before
            raise ConfigurationError(OUTSIDE)
        return self._client


def _quieten_unless_asked() -> None:
    """What matters is told in our words; who set a level of DBOS's logger hears it too."""
    if LOGGER.level == logging.NOTSET:
        LOGGER.setLevel(logging.CRITICAL)
    if not LOGGER.handlers:  # else DBOS adds one, for good, that writes to what stderr is at this moment
        LOGGER.addHandler(logging.NullHandler())


def _in_schema(table: sa.TableClause) -> sa.TableClause:
    return sa.table(table.name, *(sa.column(column.name) for column in table.c), schema=SCHEMA)


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MOST_TAKEOVERS)
async def _run_job(job: str) -> Any:  # noqa: ANN401 - DBOS's own
    if (
        _carry_out is None
    ):  # pragma: no cover - taken up in the moment in which the worker ended: handed over with the rest
        await asyncio.get_running_loop().create_future()
    else:
        await _carry_out(job)
