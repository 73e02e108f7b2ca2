"""The work queue, on DBOS: it holds jobs, keeps the caps over all processes and takes jobs over from dead workers.

The only module that knows DBOS. Each job is a workflow; each account has a queue for each kind of button.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

from akool_async import ConfigurationError
from akool_async.durable._database import NOT_ENTERED
from akool_async.durable._job import BUTTON_KINDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from dbos import EnqueueOptions

    from akool_async.durable._job import QueueEntry
    from akool_async.durable._store_url import StoreUrl

APPLICATION: Final = "akool_async"
WORKFLOW: Final = "akool_press"
VERSION: Final = "1"
"""The version of a workflow's arguments. DBOS gives a worker only workflows of its own version, so this is not the
library's."""
PARTITION: Final = "all"
"""The one partition of all upscales. DBOS dequeues under SERIALIZABLE only from partitions; otherwise two workers could
pass the cap."""
MAX_VARIATIONS: Final = 256
"""Variations that one worker carries out concurrently."""
UNUSED_INTERVAL: Final = 0.1
"""Seconds between two wake-ups of DBOS's threads for messages and events, which we do not use. They also notice then
that DBOS ends: with its default, a second, every end would take that second."""
MAX_RECOVERIES: Final = 1_000_000
"""DBOS abandons a workflow after this many recoveries. Our workers die for reasons unrelated to the job, so never
abandon one."""
FIRST, IN_TURN = 0, 1
"""Priorities. A job that may be running at AKOOL already goes before others, or the cap would be passed."""

# https://docs.dbos.dev/explanations/system-tables
SCHEMA: Final = "dbos"
WORKFLOWS: Final = sa.table(
    "workflow_status",
    *map(sa.column, ("workflow_uuid", "status", "executor_id", "queue_name", "priority", "owner_xid")),
    *map(sa.column, ("started_at_epoch_ms",)),
)
RUNNING, WAITING = "PENDING", "ENQUEUED"

dbos_logger: Final = logging.getLogger("dbos")

_run_job: Callable[[str], Awaitable[None]] | None = None  # DBOS is one per process, and knows functions, not objects


class WorkQueue:
    """The jobs of one account, as DBOS holds them."""

    def __init__(self, store_url: StoreUrl, account: str) -> None:
        self._address = store_url.driver_address
        self._queues = {kind: f"akool:{account}:{kind}" for kind in BUTTON_KINDS}
        self._client: DBOSClient | None = None
        self._workflows = WORKFLOWS if store_url.file is not None else _in_schema(WORKFLOWS)

    def open(self, database: sa.Engine) -> None:
        """Make or migrate DBOS's tables, and use these connections from now on."""
        _quieten_dbos()
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

    def enqueue(self, connection: sa.Connection, entries: Iterable[QueueEntry]) -> None:
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
            if entry.button.is_upscale:
                options["queue_partition_key"] = PARTITION
            self._connected.enqueue_in_transaction(connection, options, entry.job_id)

    def delete(self, entries: Iterable[QueueEntry]) -> None:
        """Delete the workflows of ended jobs, those of earlier attempts included."""
        ids = [entry.workflow_id(attempt) for entry in entries for attempt in range(1, entry.attempt + 1)]
        self._connected.delete_workflows(ids)

    # --- the one worker of this process ---

    def launch(
        self,
        worker: str,
        run_job: Callable[[str], Awaitable[None]],
        database: sa.Engine,
        *,
        max_concurrent_upscales: int,
        poll_interval: float,
    ) -> None:
        """Begin to take jobs from the queues, in this thread's event loop.

        Args:
            worker: Its name.
            run_job: Carries out the job with an id.
            database: The connections to use.
            max_concurrent_upscales: Of all workers together.
            poll_interval: Seconds between two polls for a job.

        Raises:
            ConfigurationError: DBOS runs in this process already.
        """
        global _run_job  # noqa: PLW0603
        if _run_job is not None:
            raise ConfigurationError(
                "one DurableFanOut runs in a process at a time, and another is running or still handing over: run this "
                "in another process"
            )
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": database,
                "executor_id": worker,
                "application_version": VERSION,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": logging.getLevelName(dbos_logger.level),
                "run_migrations": False,
                "notification_listener_polling_interval_sec": UNUSED_INTERVAL,
                "notification_coalesce_sec": UNUSED_INTERVAL,
            }
        )
        if DBOS.executor_id != worker:  # it is one per process, and was made before
            raise ConfigurationError("DBOS is used in this process otherwise: run DurableFanOut in another process")
        _run_job = run_job
        try:
            self._launch(max_concurrent_upscales, poll_interval)
        except BaseException:  # pragma: no cover - if the database goes away at this very moment
            self.stop()
            raise

    def _launch(self, max_concurrent_upscales: int, poll_interval: float) -> None:
        DBOS.listen_queues(list(self._queues.values()))
        self._connected.register_queue(
            self._queues["upscale"],
            global_concurrency=max_concurrent_upscales,
            partition_worker_concurrency=max_concurrent_upscales,
            polling_interval_sec=poll_interval,
            on_conflict="always_update",
        )
        self._connected.register_queue(
            self._queues["variation"],
            worker_concurrency=MAX_VARIATIONS,
            polling_interval_sec=poll_interval,
            on_conflict="always_update",
        )
        DBOS.launch()

    @staticmethod
    def stop() -> None:
        """Stop taking jobs; those under way stay this worker's until they are taken over."""
        global _run_job  # noqa: PLW0603
        DBOS.destroy()
        _run_job = None

    # --- who works on what, as DBOS records it ---

    def workers(self, connection: sa.Connection) -> set[str]:
        """The names of the workers that have jobs."""
        running = sa.select(self._workflows.c.executor_id).where(*self._is_running()).distinct()
        return {worker for worker in connection.execute(running).scalars() if worker}

    def running(self, connection: sa.Connection, worker: str) -> set[str]:
        """The ids of the workflows that a worker has."""
        columns = self._workflows.c
        running = sa.select(columns.workflow_uuid).where(*self._is_running(), columns.executor_id == worker)
        return set(connection.execute(running).scalars())

    def take_over(self, connection: sa.Connection, workers: Iterable[str]) -> int:
        """Put all jobs of these workers back into the queue, before all others, and return how many.

        DBOS's own recovery does the same, but one job at a time and without the priority.
        """
        return self._requeue(connection, self._workflows.c.executor_id.in_(list(workers)))

    def release(self, connection: sa.Connection, worker: str, workflow_ids: Iterable[str]) -> int:
        """Put these workflows of a worker back into the queue, before all others, and return how many."""
        columns = self._workflows.c
        is_meant = columns.workflow_uuid.in_(list(workflow_ids))
        return self._requeue(connection, columns.executor_id == worker, is_meant)

    def without_workflow(self, connection: sa.Connection, entries: Sequence[QueueEntry]) -> list[QueueEntry]:
        """Those entries whose workflow DBOS has abandoned, or never had."""
        columns = self._workflows.c
        wanted = columns.workflow_uuid.in_([entry.workflow_id() for entry in entries])
        query = sa.select(columns.workflow_uuid).where(wanted, columns.status.in_([RUNNING, WAITING]))
        known = set(connection.execute(query).scalars())
        return [entry for entry in entries if entry.workflow_id() not in known]

    def _requeue(self, connection: sa.Connection, *which: sa.ColumnElement[bool]) -> int:
        left = sa.update(self._workflows).where(*self._is_running(), *which)
        requeued = left.values(status=WAITING, priority=FIRST, owner_xid=None, started_at_epoch_ms=None)
        return connection.execute(requeued).rowcount

    def _is_running(self) -> list[sa.ColumnElement[bool]]:
        columns = self._workflows.c
        return [columns.queue_name.in_(list(self._queues.values())), columns.status == RUNNING]

    @property
    def _connected(self) -> DBOSClient:
        if self._client is None:  # pragma: no cover - the fan-out checks it before
            raise ConfigurationError(NOT_ENTERED)
        return self._client


def _quieten_dbos() -> None:
    """Keep DBOS's log quiet, since ours reports what matters, unless somebody has set the level of its logger."""
    if dbos_logger.level == logging.NOTSET:
        dbos_logger.setLevel(logging.CRITICAL)
    if not dbos_logger.handlers:  # else DBOS adds one that writes to today's stderr for the rest of the process
        dbos_logger.addHandler(logging.NullHandler())


def _in_schema(table: sa.TableClause) -> sa.TableClause:
    return sa.table(table.name, *(sa.column(column.name) for column in table.c), schema=SCHEMA)


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
async def _run_workflow(job_id: str) -> Any:  # noqa: ANN401 - DBOS's own
    if _run_job is None:  # pragma: no cover - dequeued at the moment when the worker ended; handed over with the others
        await asyncio.get_running_loop().create_future()
    else:
        await _run_job(job_id)
