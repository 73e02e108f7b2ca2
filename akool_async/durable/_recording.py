"""Record the jobs of submitted items, and the jobs below a result together with that result."""

from __future__ import annotations

import secrets
from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import orjson
import sqlalchemy as sa
from attrs import evolve, frozen
from sqlalchemy.dialects import postgresql, sqlite

from akool_async import ButtonPress
from akool_async.durable._batch_queue import BATCH_SIZE, BELOW
from akool_async.durable._job import JobState
from akool_async.durable._job_items import JobItem, read_job_item
from akool_async.durable._tables import JOBS, KNOWN_ID, is_postgresql, rows_from_json
from akool_async.items import Branch, count_upscales, read_then, write_then

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from akool_async.durable._batch_queue import BatchQueue

NAMES = ("job", "image_id", "button", "kind", "prompt", "branches", "parent", "batch", "correlation_id", "budget")


@frozen
class NewJob:
    """A job to record, unless it is recorded already."""

    job_item: JobItem
    then: tuple[Branch, ...] = ()
    """The buttons to press on its result."""
    budget: str | None = None
    """The name of its budget; None without one."""
    parent: str | None = None
    """The id of the job whose result it is pressed on; None for a submitted item."""


def job_id_of(account: str, job_item: JobItem) -> str:
    """Return the id of the job of an item."""
    return f"{account}:{job_item.name}"


class Recorder:
    """Records the jobs of one account, and puts them into the queue."""

    def __init__(self, account: str, queue: BatchQueue) -> None:
        self._account = account
        self._queue = queue

    def record(self, connection: sa.Connection, jobs: Iterable[NewJob], now_us: int) -> int:
        """Record jobs that are new or that ended over budget, and return their number.

        If a job is recorded already, buttons of its ``then`` that are missing are added to it.

        Args:
            connection: A connection with an open transaction.
            jobs: The jobs to record.
            now_us: The time in microseconds since the epoch, by the database's clock.

        Raises:
            ValueError: A prompt has the key of a different prompt.
        """
        by_id: dict[str, NewJob] = {}
        for job in jobs:
            name = job_id_of(self._account, job.job_item)
            by_id[name] = evolve(job, then=read_then([by_id[name].then, job.then])) if name in by_id else job
        batches: dict[str, str] = {}
        rows = [{**self._row_of(name, job), "batch": batch} for name, job, batch in self._in_batches(by_id, batches)]
        if not rows:
            return 0
        rows.sort(key=itemgetter("job"))  # in one order, so that two transactions never wait for each other
        statement = _insert_statement(is_postgresql=is_postgresql(connection))
        parameters = {"rows": orjson.dumps(rows).decode(), "given_account": self._account, "now_us": now_us}
        added = connection.execute(statement, parameters).all()
        for batch in dict.fromkeys(row.batch for row in added):
            self._queue.enqueue(connection, batch, batches[batch])
        complete = {row.job for row in added if _matches_request(row, by_id[row.job])}
        known = {name: job for name, job in by_id.items() if name not in complete and _needs_comparison(job)}
        return len(added) + self._extend(connection, known, now_us)

    def _in_batches(self, jobs: dict[str, NewJob], batches: dict[str, str]) -> Iterator[tuple[str, NewJob, str]]:
        """Yield the id, the job and the batch of each job, and add the queue of each batch to ``batches``."""
        by_queue: dict[str, list[tuple[str, NewJob]]] = {}
        for name, job in jobs.items():
            by_queue.setdefault(job.job_item.queue if job.parent is None else BELOW, []).append((name, job))
        for queue, some in by_queue.items():
            for start in range(0, len(some), BATCH_SIZE):
                batch = uuid4().hex
                batches[batch] = queue
                yield from ((name, job, batch) for name, job in some[start : start + BATCH_SIZE])

    @staticmethod
    def _row_of(name: str, job: NewJob) -> dict[str, Any]:
        return {
            "job": name,
            **job.job_item.columns(),
            "kind": job.job_item.item.kind,
            "branches": write_then(job.then),
            "upscales": count_upscales(job.then),
            "parent": job.parent,
            "correlation_id": secrets.token_urlsafe(16),
            "budget": job.budget,
        }

    def _extend(self, connection: sa.Connection, jobs: dict[str, NewJob], now_us: int) -> int:
        """Add missing buttons to recorded jobs, and return the number of jobs that this adds below finished ones."""
        if not jobs:
            return 0
        columns = (JOBS.c.job_id, JOBS.c.prompt, JOBS.c.branches, JOBS.c.state, KNOWN_ID.label("image_id"))
        below: list[NewJob] = []
        # No worker can end one of these jobs now: the INSERT has locked their rows, although it did not change them.
        for row in connection.execute(sa.select(*columns).where(JOBS.c.job_id.in_(jobs))).all():
            job = jobs[row.job_id]
            if row.prompt != job.job_item.columns()["prompt"]:
                known = read_job_item("", "", row.prompt)
                raise ValueError(
                    f"items: the key {job.job_item.key!r} belongs to another prompt, {known.item}: use another key"
                )
            then = read_then([row.branches, job.then])
            if (text := write_then(then)) != row.branches:
                changed = sa.update(JOBS).where(JOBS.c.job_id == row.job_id)
                more = {"branches": text, "upscales": count_upscales(then)}
                connection.execute(changed.values(**more, budget=sa.func.coalesce(JOBS.c.budget, job.budget)))
            if row.state == JobState.DONE:
                below += jobs_below(row.job_id, row.image_id, then, job.budget)
        return self.record(connection, below, now_us)


def _matches_request(row: sa.Row[Any], job: NewJob) -> bool:
    """Return whether a recorded row matches a job. A row that was opened again may have another prompt or ``then``."""
    return bool(row.branches == write_then(job.then) and row.prompt == job.job_item.columns()["prompt"])


def _needs_comparison(job: NewJob) -> bool:
    """Return whether a recorded job can differ from this one: a plain press cannot."""
    return bool(job.then) or not isinstance(job.job_item.item, ButtonPress)


def jobs_below(parent: str, image_id: str, then: Iterable[Branch], budget: str | None) -> Iterator[NewJob]:
    """Return the jobs of the presses on an image that another job made."""
    return (NewJob(JobItem(ButtonPress(image_id, branch.button)), branch.then, budget, parent) for branch in then)


@cache
def _insert_statement(*, is_postgresql: bool) -> sa.Executable:
    """Return a statement that records rows that are new or that ended over budget, and returns them."""
    rows = rows_from_json(is_postgresql, **{name: sa.Text() for name in NAMES}, upscales=sa.Integer())
    values = {
        JOBS.c.job_id: rows.c.job,
        **{JOBS.c[name]: rows.c[name] for name in (*NAMES[1:], "upscales")},
        JOBS.c.account: sa.bindparam("given_account"),
        JOBS.c.submitted_at: sa.bindparam("now_us", type_=sa.BigInteger),
        JOBS.c.state: sa.literal(JobState.OPEN.value),
        **{JOBS.c[name]: sa.false() for name in ("claimed", "in_doubt", "goes_alone", "over_budget")},
    }
    insert = postgresql.insert(JOBS) if is_postgresql else sqlite.insert(JOBS)
    inserted = insert.from_select(
        [column.key for column in values],
        sa.select(*values.values()).where(sa.true()),  # without WHERE, SQLite reads ON as part of a join
        include_defaults=False,
    )
    again: dict[str, Any] = {name: inserted.excluded[name] for name in ("state", "batch", "budget", "over_budget")}
    again |= dict.fromkeys(("ended_at", "ended_number", "outcome"))
    return inserted.on_conflict_do_update(
        index_elements=[JOBS.c.job_id], set_=again, where=JOBS.c.over_budget.is_(True)
    ).returning(JOBS.c.job_id.label("job"), JOBS.c.batch, JOBS.c.prompt, JOBS.c.branches)
