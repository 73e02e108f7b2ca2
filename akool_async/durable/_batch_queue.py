"""The queue of batches, built on DBOS. It gives each batch to one worker and keeps the batches of dead workers.

No other module uses DBOS, and this one uses only its public interface. Each batch is a workflow. The outcomes of its
presses are in the table of jobs. https://docs.dbos.dev/python/reference/client
"""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer

from akool_async import ConfigurationError
from akool_async.durable._database import NOT_ENTERED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    import sqlalchemy as sa

    from akool_async.durable._store_url import StoreUrl

APPLICATION: Final = "akool_async"
WORKFLOW: Final = "akool_batch"
WORKFLOW_OF_FORMAT_3: Final = "akool_press"
VERSION: Final = "2"
"""The version of a workflow's arguments. DBOS gives a worker only workflows of its own version, so this is not the
library's."""
BATCH_SIZE: Final = 100
"""The most jobs in a batch. A batch belongs to one worker at a time."""
BELOW: Final = "below"
"""The queue of presses on images that other jobs made. Their batches are small: a few presses for each image."""
MAX_BATCHES: Final = {"upscale": 2, "variation": 8, "prompt": 4, BELOW: 64}
"""The most batches of each kind that one worker holds: enough to have the next press ready. Takeovers do not count."""
TAKEOVER: Final = "left"
"""The queue of batches that a worker handed over. It has no limit: running operations are always followed."""
UNUSED_INTERVAL: Final = 0.1
"""Seconds between two polls of DBOS's threads for messages and events, which we do not use. DBOS stops only after the
next poll, so its default of a second would delay each stop of a worker by up to a second."""
MAX_RECOVERIES: Final = 1_000_000
"""DBOS abandons a workflow after this many recoveries. Our workers die for reasons unrelated to the batch, so never
abandon one."""
WAITING, RUNNING = "ENQUEUED", "PENDING"

dbos_logger: Final = logging.getLogger("dbos")

_only_worker: Final = threading.Lock()
_run_batch: Callable[[str], Awaitable[None]] | None = None  # global, since DBOS calls functions and not methods


class BatchQueue:
    """The batches of one account. The methods block while the database works, so call them in a thread."""

    def __init__(self, store_url: StoreUrl, account: str) -> None:
        self._address = store_url.driver_address
        self._account = account
        self._queues = {kind: f"akool_async:{account}:{kind}" for kind in (*MAX_BATCHES, TAKEOVER)}
        self._client: DBOSClient | None = None

    def migrate(self) -> None:
        """Create or migrate DBOS's tables."""
        _quieten_dbos()
        DBOS.migrate(self._address)

    def connect(self, database: sa.Engine) -> None:
        """Use the connections of this engine from now on."""
        _quieten_dbos()
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

    def enqueue(self, connection: sa.Connection, batch: str, kind: str) -> None:
        """Put a batch into the queue of its kind, in the caller's transaction. ``TAKEOVER`` is not limited."""
        self._connected.enqueue_in_transaction(
            connection,
            {
                "workflow_name": WORKFLOW,
                "queue_name": self._queues[kind],
                "workflow_id": batch,
                "app_version": VERSION,
            },
            batch,
        )

    def requeue(self, batches: Iterable[str]) -> None:
        """Put batches that a worker handed over or never began into the queue of takeovers."""
        if batches := list(batches):
            self._connected.resume_workflows(batches, queue_name=self._queues[TAKEOVER])

    def running(self, lease: int) -> set[str]:
        """Return the ids of the batches that DBOS gave to the worker with this lease."""
        running = self._connected.list_workflows(
            executor_id=self._executor(lease), status=RUNNING, load_input=False, load_output=False
        )
        return {workflow.workflow_id for workflow in running}

    def lost(self, batches: Iterable[str], workers: Iterable[int]) -> set[str]:
        """Return those of the given batches that are neither waiting nor running at one of the given workers."""
        batches = list(batches)
        if not batches:
            return set()
        executors = {self._executor(lease) for lease in workers}
        known = self._connected.list_workflows(
            workflow_ids=batches, status=[WAITING, RUNNING], load_input=False, load_output=False
        )
        return set(batches) - {
            workflow.workflow_id
            for workflow in known
            if workflow.status == WAITING or workflow.executor_id in executors
        }

    def delete(self, batches: Iterable[str]) -> None:
        """Delete batches from the queue."""
        if batches := list(batches):
            self._connected.delete_workflows(batches)

    def delete_those_of_format_3(self) -> None:
        """Delete the workflows of format 3, each of which carried out one press."""
        old = self._connected.list_workflows(name=WORKFLOW_OF_FORMAT_3, load_input=False, load_output=False)
        self.delete(workflow.workflow_id for workflow in old)

    # --- the only worker of this process ---

    @staticmethod
    @contextmanager
    def as_only_worker() -> Iterator[None]:
        """Be the only worker of this process in this block, since a process has one DBOS.

        Raises:
            ConfigurationError: Another worker is running in this process.
        """
        if not _only_worker.acquire(blocking=False):
            raise ConfigurationError(
                "one DurableFanOut runs in a process at a time, and another is running or still handing over its jobs: "
                "run this one in another process"
            )
        try:
            yield
        finally:
            _only_worker.release()

    def start(
        self, lease: int, run_batch: Callable[[str], Awaitable[None]], database: sa.Engine, poll_interval: float
    ) -> None:
        """Begin to take batches, in this thread's event loop.

        Args:
            lease: The number of the worker's lease.
            run_batch: Carries out a batch. Called with the id of the batch.
            database: The connections to use.
            poll_interval: Seconds between two polls for a batch.

        Raises:
            ConfigurationError: The program itself uses DBOS in this process.
        """
        global _run_batch  # noqa: PLW0603
        executor = self._executor(lease)
        DBOS(
            config={
                "name": APPLICATION,
                "system_database_engine": database,
                "executor_id": executor,
                "application_version": VERSION,
                "serializer": DBOSPortableJSONSerializer(),
                "log_level": logging.getLevelName(dbos_logger.level),
                "run_migrations": False,
                "notification_listener_polling_interval_sec": UNUSED_INTERVAL,
                "notification_coalesce_sec": UNUSED_INTERVAL,
            }
        )
        if DBOS.executor_id != executor:  # DBOS() returned the one that the program made
            raise ConfigurationError(
                "this program uses DBOS in this process itself: run DurableFanOut in another process"
            )
        _run_batch = run_batch
        try:
            DBOS.listen_queues(list(self._queues.values()))
            for kind, queue in self._queues.items():
                self._connected.register_queue(
                    queue,
                    worker_concurrency=MAX_BATCHES.get(kind),
                    polling_interval_sec=poll_interval,
                    on_conflict="always_update",
                )
            DBOS.launch()
        except BaseException:  # pragma: no cover - if the database fails just now
            self.stop()
            raise

    @staticmethod
    def stop() -> None:
        """Stop taking batches. Batches under way belong to this worker until they are requeued."""
        global _run_batch  # noqa: PLW0603
        DBOS.destroy()
        _run_batch = None

    def _executor(self, lease: int) -> str:
        return f"{self._account}:{lease}"

    @property
    def _connected(self) -> DBOSClient:
        if self._client is None:  # pragma: no cover - the fan-out checks this first
            raise ConfigurationError(NOT_ENTERED)
        return self._client


def _quieten_dbos() -> None:
    """Silence DBOS's log unless somebody has set the level of its logger: our own log reports what matters."""
    if dbos_logger.level == logging.NOTSET:
        dbos_logger.setLevel(logging.CRITICAL)
    if not dbos_logger.handlers:  # otherwise DBOS adds one that keeps the current stderr for the rest of the process
        dbos_logger.addHandler(logging.NullHandler())


@DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_RECOVERIES)
async def _run_workflow(batch: str) -> None:
    if _run_batch is None:  # pragma: no cover - taken just as the worker ended, and requeued with the others
        await asyncio.get_running_loop().create_future()
    else:
        await _run_batch(batch)
