"""Transactions over the jobs of an account and their queue together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async import NotFoundError
from akool_async.durable._job import QueueEntry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from akool_async import ButtonPress, WebhookEvent
    from akool_async.durable._arguments import Resolution
    from akool_async.durable._job_store import JobStore
    from akool_async.durable._work_queue import WorkQueue


class JobTransactions:
    """What is written to the jobs and to the queue in one transaction, or not at all."""

    def __init__(self, store: JobStore, queue: WorkQueue) -> None:
        self._store = store
        self._queue = queue

    def submit(self, connection: Connection, presses: Iterable[ButtonPress]) -> int:
        """Record presses and enqueue those that are new; return how many."""
        new = self._store.add(connection, presses)
        self._queue.enqueue(connection, new)
        return len(new)

    def record_webhook(self, connection: Connection, event: WebhookEvent, correlation_id: str | None) -> bool:
        """Record a webhook, and reopen an unsettled job whose id it carries; True if it concerns any job."""
        job_ids = self._store.record_webhook(connection, event, correlation_id)
        for job_id in job_ids:
            self._reopen(connection, job_id, event.id)
        return bool(job_ids)

    def resolve(self, connection: Connection, resolution: Resolution) -> bool:
        """Settle a job as somebody asks; False if it cannot be settled so.

        Raises:
            ValueError: The operation id belongs to another job.
        """
        job_id = self._store.job_id(resolution.press)
        if resolution.abandon:
            return self._store.abandon(connection, job_id)
        operation_id = resolution.operation_id
        if operation_id is None:
            return self._reopen(connection, job_id, self._usable_id(connection, resolution.press))
        owner = self._store.find_id_by_operation(connection, operation_id)
        if owner not in (None, job_id):
            raise ValueError(f"operation_id: {operation_id} is that of {self._store.press_of(owner)}")
        is_reopened = self._reopen(connection, job_id, operation_id)
        return is_reopened or self._store.record_id(connection, job_id, operation_id)

    def abandoned(self, connection: Connection) -> list[QueueEntry]:
        """Claimed jobs whose workflow DBOS has abandoned."""
        return self._queue.without_workflow(connection, self._store.claimed(connection))

    def requeue(self, connection: Connection, worker: str, dropped: set[str]) -> int:
        """Requeue the workflows that ``worker`` dropped, and all abandoned jobs; return how many."""
        self._store.mark_in_doubt(connection, [QueueEntry.job_id_of(workflow) for workflow in dropped])
        again = [new for entry in self.abandoned(connection) if (new := self._store.requeue(connection, entry))]
        self._queue.enqueue(connection, again)
        return self._queue.release(connection, worker, dropped) + len(again)

    def _reopen(self, connection: Connection, job_id: str, operation_id: str | None) -> bool:
        entry = self._store.reopen(connection, job_id, operation_id)
        if entry is not None:
            self._queue.enqueue(connection, [entry])
        return entry is not None

    def _usable_id(self, connection: Connection, press: ButtonPress) -> str | None:
        """The id that is recorded for a press, unless AKOOL does not know it."""
        for job in self._store.find(connection, [press]):
            is_wrong = job.outcome is not None and isinstance(job.outcome.error, NotFoundError)
            return None if is_wrong else job.operation_id
        return None
