"""The jobs of one account in a store, with coroutines that read and change them."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import sqlalchemy as sa

from akool_async import AkoolError, Outcome
from akool_async.durable._batch_queue import TAKEOVER
from akool_async.durable._budgets import open_budget
from akool_async.durable._changes import lock_account, now
from akool_async.durable._job import PAGE_SIZE, Job, JobCounts, JobState, LeasedJob, from_microseconds
from akool_async.durable._job_items import read_job_item
from akool_async.durable._notifications import notify
from akool_async.durable._outcome_codec import encode_outcome
from akool_async.durable._recording import Recorder, job_id_of
from akool_async.durable._reopening import reopen
from akool_async.durable._tables import (
    ACCOUNTS,
    BUDGETS,
    IS_CLAIMED,
    IS_ESTIMATED,
    IS_LOST,
    IS_OVER_BUDGET,
    IS_REPORTED,
    JOBS,
    KNOWN_ID,
    LEASES,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from akool_async import WebhookEvent
    from akool_async.durable._arguments import Resolution
    from akool_async.durable._batch_queue import BatchQueue
    from akool_async.durable._database import Database
    from akool_async.durable._job_items import JobItem
    from akool_async.durable._recording import NewJob

SECOND: Final = 1_000_000
"""Microseconds."""
MAY_BE_SENT: Final = JOBS.c.in_doubt | (JOBS.c.claimed & JOBS.c.operation_id.is_(None))
"""A worker may have sent the POST of the job."""
IS_OPEN: Final = JOBS.c.ended_at.is_(None)
JOB_COLUMNS: Final = (
    *(JOBS.c[name] for name in ("job_id", "parent", "image_id", "button", "prompt", "branches", "state")),
    *(JOBS.c[name] for name in ("submitted_at", "ended_at", "ended_number", "outcome")),
    KNOWN_ID.label("operation_id"),
    JOBS.c.budget,
    sa.select(BUDGETS.c.max_credits - BUDGETS.c.spent - BUDGETS.c.reserved)
    .where(BUDGETS.c.account == JOBS.c.account, BUDGETS.c.budget == JOBS.c.budget)
    .scalar_subquery()
    .label("budget_left"),
)
LEASE_COLUMNS: Final = tuple(
    JOBS.c[name]
    for name in (
        *("job_id", "image_id", "button", "prompt", "upscales", "parent", "correlation_id", "operation_id"),
        *("reported_id", "claimed", "in_doubt", "search_time", "credits", "estimate", "reserved", "budget"),
    )
)

logger = logging.getLogger("akool_async")


class Store:
    """The jobs of one account. All coroutines raise the errors of :class:`Database`."""

    def __init__(self, account: str, database: Database, queue: BatchQueue) -> None:
        self.account = account
        self._database = database
        self._queue = queue
        self._recorder = Recorder(account, queue)
        self._is_mine = JOBS.c.account == account

    def job_id(self, job_item: JobItem) -> str:
        """Return the id of the job of an item."""
        return job_id_of(self.account, job_item)

    # --- submitting ---

    async def submit(self, jobs: Sequence[NewJob]) -> int:
        """Record jobs, and enqueue those that are new or that ended over budget. Return their number."""
        return await self._database.write(self._submit, jobs)

    async def open_budget(self, max_credits: float) -> str:
        """Create a budget for a submission, and return its name."""
        name = f"batch {uuid4().hex}"
        await self._database.write(open_budget, self.account, name, max_credits)
        return name

    def _submit(self, connection: sa.Connection, jobs: Sequence[NewJob]) -> int:
        new = self._recorder.record(connection, jobs, now(connection))
        if new:
            notify(connection, self.account)
        return new

    # --- webhooks, and jobs that a person settles ---

    async def record_webhook(self, event: WebhookEvent, correlation_id: str | None) -> bool:
        """Record a webhook, and reopen an unsettled job that it belongs to. Return whether it belongs to any job."""
        return await self._database.write(self._record_webhook, event, correlation_id)

    async def resolve(self, resolution: Resolution) -> bool:
        """Settle a job as requested. Return False if its state does not allow it.

        Raises:
            ValueError: The operation id belongs to another job.
        """
        return await self._database.write(self._resolve, resolution)

    def _record_webhook(self, connection: sa.Connection, event: WebhookEvent, correlation_id: str | None) -> bool:
        matches = JOBS.c.operation_id == event.id
        if correlation_id is not None:
            matches |= (JOBS.c.correlation_id == correlation_id) & JOBS.c.operation_id.is_(None)
        recorded = sa.update(JOBS).where(self._is_mine, matches)
        recorded = recorded.values(reported_id=event.id, webhook_status=event.status)
        job_ids = list(connection.execute(recorded.returning(JOBS.c.job_id)).scalars())
        for job_id in job_ids:
            reopen(connection, self._queue, job_id, event.id)
        if job_ids:
            notify(connection, self.account)
        elif correlation_id is not None:
            query = sa.select(JOBS.c.job_id).where(self._is_mine, JOBS.c.correlation_id == correlation_id)
            for job_id in connection.execute(query).scalars():
                logger.warning("ignored a webhook with image %s for %s, which has another image", event.id, job_id)
        return bool(job_ids)

    def _resolve(self, connection: sa.Connection, resolution: Resolution) -> bool:
        job_id = self.job_id(resolution.job_item)
        if resolution.abandon:
            return self._abandon(connection, job_id)
        operation_id = resolution.operation_id
        if operation_id is not None:
            is_owner = self._is_mine & (JOBS.c.operation_id == operation_id) & (JOBS.c.job_id != job_id)
            columns = (JOBS.c.image_id, JOBS.c.button, JOBS.c.prompt)
            owner = connection.execute(sa.select(*columns).where(is_owner)).first()
            if owner is not None:
                raise ValueError(f"operation_id: {operation_id} belongs to {read_job_item(*owner).item}")
        is_settled = reopen(connection, self._queue, job_id, operation_id)
        if not is_settled and operation_id is not None:  # a worker may be waiting for it
            awaited = sa.update(JOBS).where(JOBS.c.job_id == job_id, IS_OPEN, JOBS.c.claimed, KNOWN_ID.is_(None))
            is_settled = bool(connection.execute(awaited.values(reported_id=operation_id)).rowcount)
        notify(connection, self.account)
        return is_settled

    def _abandon(self, connection: sa.Connection, job_id: str) -> bool:
        """Count an unknown job as failed. Return False if its outcome is not unknown."""
        for job in self._read(connection, JOBS.c.job_id == job_id, JOBS.c.state == JobState.UNKNOWN):
            if (
                job.outcome is not None and job.outcome.error is not None
            ):  # pragma: no branch - unknown jobs have an error
                error = AkoolError(f"abandoned: {job.outcome.error.args[0]}")
                outcome = encode_outcome(Outcome(job.press, job.outcome.operation, error=error))
                unknown = sa.update(JOBS).where(JOBS.c.job_id == job_id, JOBS.c.state == JobState.UNKNOWN)
                return bool(connection.execute(unknown.values(state=JobState.FAILED, outcome=outcome)).rowcount)
        return False

    # --- reading ---

    async def find(self, job_ids: Iterable[str]) -> list[Job]:
        """Return the jobs with these ids, in the order in which they ended. Ids without a job are left out."""
        return await self._database.read(self._read, JOBS.c.job_id.in_(list(job_ids)))

    async def page(self, states: Sequence[JobState], after: str | None) -> list[Job]:
        """Return the next page of jobs in these states, ordered by id. ``after`` is the last id of the page before."""
        # The ids of an account's jobs begin with its name, so the primary key has them in order.
        last = f"{self.account}:" if after is None else after
        # The concatenation keeps SQLite from using an index on the account: it would sort all other jobs at each page.
        where = [JOBS.c.account + "" == self.account, JOBS.c.job_id > last]
        if set(states) != set(JobState):
            where = [self._is_mine, JOBS.c.job_id > last, JOBS.c.state.in_(states)]
        return await self._database.read(self._read, *where, order=JOBS.c.job_id)

    async def ended_after(self, number: int) -> list[tuple[int, Job]]:
        """Return the next page of jobs whose end has a higher number than this, each with that number."""
        return await self._database.read(self._read_ended_after, number)

    async def last_end(self) -> int:
        """Return the number of the latest end; 0 before the first."""
        latest = sa.select(ACCOUNTS.c.ended_number).where(ACCOUNTS.c.account == self.account)
        return await self._database.read(_scalar, latest) or 0

    async def has_open(self) -> bool:
        """Return whether any job is open."""
        is_open = sa.select(sa.literal(1)).where(self._is_mine, JOBS.c.state == JobState.OPEN)
        return await self._database.read(_scalar, is_open.limit(1)) is not None

    async def count(self) -> JobCounts:
        """Count the jobs in each state, and sum up the credits that AKOOL charged for them."""
        return await self._database.read(self._count)

    def _read(
        self, connection: sa.Connection, *where: sa.ColumnElement[bool], order: sa.ColumnElement[Any] | None = None
    ) -> list[Job]:
        order_by = (JOBS.c.ended_number, JOBS.c.job_id) if order is None else (order,)
        jobs = sa.select(*JOB_COLUMNS).where(*where).order_by(*order_by).limit(PAGE_SIZE)
        return [_read_job(row) for row in connection.execute(jobs)]

    def _read_ended_after(self, connection: sa.Connection, number: int) -> list[tuple[int, Job]]:
        ended = sa.select(*JOB_COLUMNS).where(self._is_mine, JOBS.c.ended_number > number)
        in_order = ended.order_by(JOBS.c.ended_number).limit(PAGE_SIZE)
        return [(row.ended_number, _read_job(row)) for row in connection.execute(in_order)]

    def _count(self, connection: sa.Connection) -> JobCounts:
        by_state = sa.select(JOBS.c.state, sa.func.count()).where(self._is_mine).group_by(JOBS.c.state)
        counts: dict[str, int] = {state: count for state, count in connection.execute(by_state)}  # noqa: C416 - rows
        claimed = sa.select(sa.func.count()).where(self._is_mine, IS_CLAIMED)
        running = connection.execute(claimed).scalar_one()
        waiting = max(counts.get(JobState.OPEN, 0) - running, 0)
        done, failed, unknown = (counts.get(state, 0) for state in (JobState.DONE, JobState.FAILED, JobState.UNKNOWN))
        over = connection.execute(sa.select(sa.func.count()).where(self._is_mine, IS_OVER_BUDGET)).scalar_one()
        sums = self._sum_credits(connection)
        return JobCounts(
            waiting=waiting, running=running, done=done, failed=failed - over, over_budget=over, unknown=unknown, **sums
        )

    def _sum_credits(self, connection: sa.Connection) -> dict[str, float]:
        of_reported = sa.select(sa.func.sum(JOBS.c.credits)).where(self._is_mine, IS_REPORTED)
        reported = connection.execute(of_reported).scalar() or 0.0
        of_lost = sa.select(sa.func.sum(JOBS.c.lost)).where(self._is_mine, IS_LOST)
        lost = connection.execute(of_lost).scalar() or 0.0
        known = sa.case((JOBS.c.charged, KNOWN_ID.is_not(None))).label(
            "known"
        )  # NULL if it is not known to have been charged
        by_estimate = sa.select(known, sa.func.sum(JOBS.c.estimate)).where(self._is_mine, IS_ESTIMATED).group_by(known)
        sums: dict[bool | None, float] = {is_known: total for is_known, total in connection.execute(by_estimate)}  # noqa: C416 - rows
        return {
            "credits_charged": reported + sums.get(True, 0.0),
            "credits_lost": sums.get(False, 0.0),
            "credits_in_doubt": sums.get(None, 0.0) + lost,
            "credits_estimated": sums.get(True, 0.0),
        }

    # --- pruning ---

    async def prune(self, before: int) -> int:
        """Delete a page of jobs that ended as done or failed before a time (microseconds). Return their number."""
        pruned, batches = await self._database.write(self._delete, before)
        await self._database.attempt(partial(self._queue.delete, batches))
        return pruned

    def _delete(self, connection: sa.Connection, before: int) -> tuple[int, set[str]]:
        is_settled = JOBS.c.state.in_([JobState.DONE, JobState.FAILED])
        old = sa.select(JOBS.c.job_id).where(self._is_mine, JOBS.c.ended_at < before, is_settled).limit(PAGE_SIZE)
        deleted = sa.delete(JOBS).where(JOBS.c.job_id.in_(old)).returning(JOBS.c.batch)
        batches = list(connection.execute(deleted).scalars())
        in_use = sa.select(JOBS.c.batch).where(JOBS.c.batch.in_(set(batches)))
        return len(batches), {batch for batch in batches if batch} - set(connection.execute(in_use).scalars())

    # --- workers ---

    async def open_lease(self, worker: str) -> int:
        """Register a worker, and return the number of its lease."""
        return await self._database.write(self._open_lease, worker)

    async def renew(self, lease: int) -> dict[int, int] | None:
        """Send a heartbeat and return the heartbeat counts of all workers. Return None if others ended this lease."""
        return await self._database.write(self._renew, lease)

    async def end_lease(self, lease: int, beats: int | None = None) -> int | None:
        """End a lease, and return the number of jobs that this frees; None if the worker turned out to be alive.

        Args:
            lease: The number of the lease.
            beats: The count of heartbeats at which the worker stopped. None for a worker that ends its own lease.
        """
        freed = await self._database.write(self._end_lease, lease, beats)
        if freed is not None or beats is None:
            # If this fails or the process dies here, find_lost will find the batches.
            batches = await self._database.attempt(partial(self._queue.running, lease))
            await self._database.attempt(partial(self._queue.requeue, batches))
        return freed

    async def lease_batch(self, batch: str, lease: int) -> list[LeasedJob] | None:
        """Lease the open jobs of a batch. Return None if another worker has some of them or this lease has ended."""
        return await self._database.write(self._lease_batch, batch, lease)

    async def find_leased(self, job_id: str, lease: int) -> LeasedJob | None:
        """Return the current state of a leased job; None if it has ended or another worker has it."""
        query = sa.select(*LEASE_COLUMNS).where(JOBS.c.job_id == job_id, JOBS.c.lease == lease, IS_OPEN)
        rows = await self._database.read(_rows, query)
        return _read_leased(rows[0]) if rows else None

    async def has_open_in(self, batch: str) -> bool:
        """Return whether any job of a batch is open."""
        is_open = sa.select(sa.literal(1)).where(JOBS.c.batch == batch, IS_OPEN).limit(1)
        return await self._database.read(_scalar, is_open) is not None

    async def find_lost(self, others: Collection[int], *, only_claimed: bool) -> set[str]:
        """Return the batches of open jobs that no worker has, and that are neither queued nor at the given workers.

        Args:
            others: The leases of the other workers.
            only_claimed: Whether to search only claimed jobs, which take up capacity. There may be very many others.
        """
        idle = sa.select(JOBS.c.batch).where(self._is_mine, JOBS.c.lease.is_(None), JOBS.c.batch.is_not(None))
        idle = idle.where(IS_CLAIMED if only_claimed else JOBS.c.state == JobState.OPEN).group_by(JOBS.c.batch)
        oldest = idle.order_by(sa.func.min(JOBS.c.submitted_at)).limit(PAGE_SIZE)
        batches = await self._database.read(_scalars, oldest)
        return await self._database.attempt(partial(self._queue.lost, batches, others))

    async def requeue(self, batches: Collection[str]) -> None:
        """Put the jobs of lost batches into the queue again."""
        await self._database.write(self._requeue, batches)

    async def webhooks_for(self, lease: int) -> set[tuple[str, str, int]]:
        """Return correlation id, reported operation id and webhook status of each claimed job with a reported id."""
        recorded = sa.select(JOBS.c.correlation_id, JOBS.c.reported_id, sa.func.coalesce(JOBS.c.webhook_status, 0))
        mine = recorded.where(self._is_mine, JOBS.c.lease == lease, JOBS.c.claimed, JOBS.c.reported_id.is_not(None))
        return {tuple(row) for row in await self._database.read(_rows, mine)}

    async def learned(self) -> str | None:
        """Return the durations that workers have learned, as written by ``AdaptivePolling.to_json``."""
        learned = sa.select(ACCOUNTS.c.learned).where(ACCOUNTS.c.account == self.account)
        return await self._database.read(_scalar, learned)

    async def save_learned(self, text: str) -> None:
        """Save the durations that a worker has learned."""
        mine = sa.update(ACCOUNTS).where(ACCOUNTS.c.account == self.account)
        await self._database.write(_execute, mine.values(learned=text))

    def _open_lease(self, connection: sa.Connection, worker: str) -> int:
        lock_account(connection, self.account)
        next_number = sa.update(ACCOUNTS).where(ACCOUNTS.c.account == self.account)
        next_number = next_number.values(last_lease=ACCOUNTS.c.last_lease + 1)
        number: int = connection.execute(next_number.returning(ACCOUNTS.c.last_lease)).scalar_one()
        connection.execute(sa.insert(LEASES).values(account=self.account, number=number, worker=worker, beats=0))
        return number

    def _renew(self, connection: sa.Connection, lease: int) -> dict[int, int] | None:
        own_lease = sa.update(LEASES).where(LEASES.c.account == self.account, LEASES.c.number == lease)
        if not connection.execute(own_lease.values(beats=LEASES.c.beats + 1)).rowcount:
            return None
        rows = connection.execute(sa.select(LEASES.c.number, LEASES.c.beats).where(LEASES.c.account == self.account))
        return {number: beats for number, beats in rows}  # noqa: C416 - rows

    def _end_lease(self, connection: sa.Connection, lease: int, beats: int | None) -> int | None:
        lock_account(connection, self.account)
        ended = sa.delete(LEASES).where(LEASES.c.account == self.account, LEASES.c.number == lease)
        if beats is not None:
            ended = ended.where(LEASES.c.beats == beats)
        if not connection.execute(ended).rowcount:
            return None
        leased = sa.update(JOBS).where(self._is_mine, JOBS.c.lease == lease, IS_OPEN)
        freed = connection.execute(leased.values(lease=None, in_doubt=MAY_BE_SENT)).rowcount
        notify(connection, self.account)
        return freed

    def _lease_batch(self, connection: sa.Connection, batch: str, lease: int) -> list[LeasedJob] | None:
        lock_account(connection, self.account)
        alive = set(connection.execute(sa.select(LEASES.c.number).where(LEASES.c.account == self.account)).scalars())
        is_open = self._is_mine & (JOBS.c.batch == batch) & IS_OPEN
        owners = set(connection.execute(sa.select(JOBS.c.lease).where(is_open, JOBS.c.lease.is_not(None))).scalars())
        if lease not in alive or owners & (alive - {lease}):
            return None
        taken = sa.update(JOBS).where(is_open).values(lease=lease, in_doubt=MAY_BE_SENT)
        return [_read_leased(row) for row in connection.execute(taken.returning(*LEASE_COLUMNS))]

    def _requeue(self, connection: sa.Connection, batches: Collection[str]) -> None:
        for lost in batches:  # under a new id, since DBOS runs a workflow id only once
            batch = uuid4().hex
            moved = sa.update(JOBS).where(self._is_mine, JOBS.c.batch == lost, IS_OPEN, JOBS.c.lease.is_(None))
            if connection.execute(moved.values(batch=batch)).rowcount:
                self._queue.enqueue(connection, batch, TAKEOVER)


def _read_job(row: sa.Row[*tuple[Any, ...]]) -> Job:
    return Job(
        job_id=row.job_id,
        parent_id=row.parent,
        job_item=read_job_item(row.image_id, row.button, row.prompt),
        branches=row.branches,
        state=JobState(row.state),
        operation_id=row.operation_id,
        submitted_at=from_microseconds(row.submitted_at),
        ended_at=None if row.ended_at is None else from_microseconds(row.ended_at),
        budget=row.budget,
        budget_left=row.budget_left,
        outcome_text=row.outcome,
    )


def _read_leased(row: sa.Row[*tuple[Any, ...]]) -> LeasedJob:
    return LeasedJob(
        job_id=row.job_id,
        item=read_job_item(row.image_id, row.button, row.prompt).posted,
        upscales=row.upscales,
        is_below=row.parent is not None,
        correlation_id=row.correlation_id,
        operation_id=row.operation_id,
        reported_id=row.reported_id,
        is_claimed=row.claimed,
        may_be_sent=row.in_doubt or (row.operation_id is None and row.reported_id is not None),
        seconds_searched=(row.search_time or 0) / SECOND,
        credits=row.credits,
        spent=0.0 if row.reserved is not None else row.credits or row.estimate or 0.0,
        budget=row.budget,
    )


def _scalar(connection: sa.Connection, query: sa.Select[Any]) -> Any:  # noqa: ANN401 - any column
    return connection.execute(query).scalar()


def _scalars(connection: sa.Connection, query: sa.Select[Any]) -> list[Any]:
    return list(connection.execute(query).scalars())


def _rows(connection: sa.Connection, query: sa.Select[Any]) -> list[Any]:
    return list(connection.execute(query))


def _execute(connection: sa.Connection, statement: sa.Executable) -> None:
    connection.execute(statement)
