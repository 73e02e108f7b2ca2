"""The jobs of an account: every statement that reads or writes what became of a press."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from akool_async import AkoolError, ButtonPress, Outcome, OutcomeUnknownError
from akool_async.durable._charges import expected_price, larger_charge, record_price, sum_credits
from akool_async.durable._job import PAGE_SIZE, Claim, Job, JobCounts, JobState, QueueEntry
from akool_async.durable._job_rows import (
    IS_UNSETTLED,
    JOB_COLUMNS,
    KNOWN_ID,
    MAY_HAVE_BEEN_PRESSED,
    QUEUE_COLUMNS,
    WAS_ABANDONED,
    ended_before,
    is_open,
    now,
    read_entry,
    read_job,
    state_of,
)
from akool_async.durable._outcome_codec import encode_outcome
from akool_async.durable._tables import ENDS, IS_CLAIMED, JOBS, insert_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from akool_async import WebhookEvent

logger = logging.getLogger("akool_async")

_SECOND: Final = 1_000_000
"""In microseconds."""


class JobStore:
    """The jobs of one account. Every method takes a connection that is in a transaction of the caller's."""

    def __init__(self, account: str) -> None:
        self.account = account

    def job_id(self, press: ButtonPress) -> str:
        """The id of the job that makes a press."""
        return f"{self.account}:{press.image_id}:{press.button}"

    @staticmethod
    def press_of(job_id: str) -> ButtonPress:
        """The press that a job makes."""
        image_id, _, button = job_id.partition(":")[2].rpartition(":")
        return ButtonPress(image_id, button)

    def add(self, connection: sa.Connection, presses: Iterable[ButtonPress]) -> list[QueueEntry]:
        """Record presses, and return the entries of those that were not recorded before."""
        rows = [
            {
                "job_id": self.job_id(press),
                "account": self.account,
                "image_id": press.image_id,
                "button": press.button.value,
                "state": JobState.OPEN,
                "attempt": 1,
                "in_doubt": False,
                "correlation_id": secrets.token_urlsafe(16),
                "submitted_at": now(connection),
            }
            for press in dict.fromkeys(presses)
        ]
        insert = insert_into(connection, JOBS).values(rows).on_conflict_do_nothing()
        return [read_entry(row) for row in connection.execute(insert.returning(*QUEUE_COLUMNS))]

    # --- the steps of a worker: each is one statement, so that it happens whole or not at all ---

    def claim(self, connection: sa.Connection, job_id: str, worker: str) -> Claim | None:
        """Record that ``worker`` may press from now on; None if the job has ended."""
        by_another = JOBS.c.worker.is_not(None) & (JOBS.c.worker != worker)
        row = connection.execute(
            sa.update(JOBS)
            .where(is_open(job_id))
            .values(
                worker=worker,
                in_doubt=JOBS.c.in_doubt | by_another,
                estimate=sa.func.coalesce(JOBS.c.estimate, self._price_of(job_id)),
            )
            .returning(JOBS.c.correlation_id, KNOWN_ID, JOBS.c.in_doubt)
        ).first()
        if row is None:
            return None
        correlation_id, operation_id, in_doubt = row
        return Claim(correlation_id=correlation_id, operation_id=operation_id, in_doubt=in_doubt)

    @staticmethod
    def withdraw_claim(connection: sa.Connection, job_id: str, worker: str) -> None:
        """Record that ``worker`` did not press: AKOOL did not take what it sent, if anything."""
        of_earlier_press = sa.case((JOBS.c.in_doubt, JOBS.c.estimate))
        claimed = sa.update(JOBS).where(is_open(job_id), JOBS.c.worker == worker)
        connection.execute(claimed.values(worker=None, estimate=of_earlier_press))

    @staticmethod
    def accept(connection: sa.Connection, job_id: str, operation_id: str, reported: float | None) -> None:
        """Record that AKOOL accepted the press, whoever has the job now and even if it ended as unknown meanwhile.

        Args:
            connection: In a transaction.
            job_id: The job.
            operation_id: The id that AKOOL gave the press.
            reported: ``deduction_credit`` of its reply.
        """
        accepted = sa.update(JOBS).where(JOBS.c.job_id == job_id)
        accepted = accepted.values(operation_id=operation_id, charged=True, credits=larger_charge(reported))
        if not connection.execute(accepted).rowcount:
            logger.warning("%s was accepted as %s, but its job was pruned", job_id, operation_id)

    @staticmethod
    def known_id(connection: sa.Connection, job_id: str) -> str | None:
        """The operation's id, whether a worker or a webhook reported it."""
        return connection.execute(sa.select(KNOWN_ID).where(JOBS.c.job_id == job_id)).scalar()

    def clear_doubt(self, connection: sa.Connection, job_id: str) -> bool:
        """Record that AKOOL did not accept an earlier press and that another follows; False if an id became known."""
        unpressed = sa.update(JOBS).where(is_open(job_id), KNOWN_ID.is_(None))
        cleared = unpressed.values(search_time=None, charged=None, estimate=self._price_of(job_id))
        return bool(connection.execute(cleared).rowcount)

    @staticmethod
    def add_search_time(connection: sa.Connection, job_id: str, seconds: float) -> float:
        """Add to the time for which workers have waited for a lost id, and return the sum, in seconds."""
        so_far = sa.func.coalesce(JOBS.c.search_time, 0) + round(seconds * _SECOND)
        added = sa.update(JOBS).where(JOBS.c.job_id == job_id).values(search_time=so_far).returning(JOBS.c.search_time)
        return (connection.execute(added).scalar() or 0) / _SECOND

    def end(self, connection: sa.Connection, job_id: str, worker: str, outcome: Outcome) -> None:
        """End a job, unless another worker has claimed it since. A result also replaces an end without one."""
        is_mine = (JOBS.c.worker == worker) & JOBS.c.ended_at.is_(None)
        if outcome.result is not None:
            is_mine |= (JOBS.c.state == JobState.UNKNOWN) | WAS_ABANDONED
        charged = connection.execute(
            sa.update(JOBS)
            .where(JOBS.c.job_id == job_id, is_mine)
            .values(
                state=state_of(outcome),
                ended_at=now(connection),
                ended_number=self._next_end(connection),
                outcome=encode_outcome(outcome),
                **self._charge_of(job_id, outcome),
            )
            .returning(JOBS.c.credits)
        ).scalar()
        if charged is not None and outcome.result is not None:
            record_price(connection, self.account, self.press_of(job_id), charged)

    def _charge_of(self, job_id: str, outcome: Outcome) -> dict[str, object]:
        operation_id = None if outcome.operation is None else outcome.operation.id
        lost = outcome.error if isinstance(outcome.error, OutcomeUnknownError) else None
        was_refused = outcome.operation is None and lost is None
        was_charged = outcome.result is not None or (lost is not None and lost.charged)
        price = self._price_of(job_id)
        return {
            "operation_id": sa.func.coalesce(operation_id, JOBS.c.operation_id),
            "charged": True if was_charged else JOBS.c.charged,
            "credits": larger_charge(None if outcome.result is None else outcome.result.deduction_credit),
            "estimate": None if was_refused else sa.case((JOBS.c.charged, JOBS.c.estimate), else_=price),
        }

    def _price_of(self, job_id: str) -> sa.ColumnElement[float | None]:
        return expected_price(self.account, self.press_of(job_id))

    def _next_end(self, connection: sa.Connection) -> int:
        first = insert_into(connection, ENDS).values(account=self.account, number=1)
        following = first.on_conflict_do_update(index_elements=[ENDS.c.account], set_={"number": ENDS.c.number + 1})
        number: int = connection.execute(following.returning(ENDS.c.number)).scalar_one()
        return number

    # --- webhooks ---

    def record_webhook(self, connection: sa.Connection, event: WebhookEvent, correlation_id: str | None) -> list[str]:
        """Record a webhook, and return the ids of the jobs that it concerns."""
        is_meant = JOBS.c.operation_id == event.id
        if correlation_id is not None:
            is_meant |= (JOBS.c.correlation_id == correlation_id) & JOBS.c.operation_id.is_(None)
        meant = sa.update(JOBS).where(JOBS.c.account == self.account, is_meant)
        recorded = meant.values(webhook_id=event.id, webhook_status=event.status, charged=True)
        return list(connection.execute(recorded.returning(JOBS.c.job_id)).scalars())

    @staticmethod
    def webhooks_for(connection: sa.Connection, worker: str) -> list[tuple[str, str, int]]:
        """The webhooks of the jobs that a worker has claimed: correlation id, operation id and status of each."""
        recorded = sa.select(JOBS.c.correlation_id, JOBS.c.webhook_id, JOBS.c.webhook_status)
        mine = recorded.where(JOBS.c.worker == worker, IS_CLAIMED, JOBS.c.webhook_status.is_not(None))
        rows = connection.execute(mine)
        return [(correlation_id, operation_id, status) for correlation_id, operation_id, status in rows]

    # --- jobs that workers left, and jobs that people settle ---

    @staticmethod
    def mark_in_doubt(connection: sa.Connection, job_ids: Sequence[str]) -> None:
        """Record that whoever claimed these jobs may have pressed."""
        was_claimed = JOBS.c.job_id.in_(job_ids) & JOBS.c.worker.is_not(None)
        connection.execute(sa.update(JOBS).where(was_claimed).values(in_doubt=True))

    def claimed(self, connection: sa.Connection) -> list[QueueEntry]:
        """The open jobs that some worker has claimed."""
        entries = sa.select(*QUEUE_COLUMNS).where(JOBS.c.account == self.account, IS_CLAIMED)
        return [read_entry(row) for row in connection.execute(entries)]

    @staticmethod
    def requeue(connection: sa.Connection, entry: QueueEntry) -> QueueEntry | None:
        """Begin a new attempt of a claimed job that its worker left; None if another attempt was begun meanwhile."""
        same_attempt = sa.update(JOBS).where(is_open(entry.job_id), JOBS.c.attempt == entry.attempt)
        values = {"in_doubt": True, "worker": None, "attempt": JOBS.c.attempt + 1}
        row = connection.execute(same_attempt.values(values).returning(*QUEUE_COLUMNS)).first()
        return None if row is None else read_entry(row)

    @staticmethod
    def reopen(connection: sa.Connection, job_id: str, operation_id: str | None) -> QueueEntry | None:
        """Open an ended job again, if it is unsettled: to follow this operation, or to press if it is None."""
        row = connection.execute(
            sa.update(JOBS)
            .where(JOBS.c.job_id == job_id, IS_UNSETTLED)
            .values(
                state=JobState.OPEN,
                ended_at=None,
                ended_number=None,
                outcome=None,
                worker=None,
                operation_id=operation_id,
                in_doubt=MAY_HAVE_BEEN_PRESSED if operation_id is None else False,
                attempt=JOBS.c.attempt + 1,
            )
            .returning(*QUEUE_COLUMNS)
        ).first()
        return None if row is None else read_entry(row)

    @staticmethod
    def record_id(connection: sa.Connection, job_id: str, operation_id: str) -> bool:
        """Give a lost id to the worker that waits for it; False if no worker does."""
        is_awaited = JOBS.c.search_time.is_not(None) & KNOWN_ID.is_(None)
        awaited = sa.update(JOBS).where(is_open(job_id), is_awaited)
        return bool(connection.execute(awaited.values(operation_id=operation_id)).rowcount)

    @staticmethod
    def abandon(connection: sa.Connection, job_id: str) -> bool:
        """Count an unknown job as failed; False if it is not unknown."""
        unknown = sa.update(JOBS).where(JOBS.c.job_id == job_id, JOBS.c.state == JobState.UNKNOWN)
        for job in JobStore.find_by_id(connection, [job_id]):
            if job.outcome is None or job.outcome.error is None:
                return False
            error = AkoolError(f"abandoned: {job.outcome.error.args[0]}").about(press=job.press)
            outcome = encode_outcome(Outcome(job.press, job.outcome.operation, error=error))
            return bool(connection.execute(unknown.values(state=JobState.FAILED, outcome=outcome)).rowcount)
        return False

    # --- reading ---

    def find(self, connection: sa.Connection, presses: Iterable[ButtonPress]) -> list[Job]:
        """The jobs of these presses; presses that were not submitted are left out."""
        return self.find_by_id(connection, [self.job_id(press) for press in presses])

    @staticmethod
    def find_by_id(connection: sa.Connection, job_ids: Sequence[str]) -> list[Job]:
        """The jobs with these ids, in the order of their ends."""
        jobs = sa.select(*JOB_COLUMNS).where(JOBS.c.job_id.in_(job_ids)).order_by(JOBS.c.ended_number, JOBS.c.job_id)
        return [read_job(row) for row in connection.execute(jobs)]

    def find_id_by_operation(self, connection: sa.Connection, operation_id: str) -> str | None:
        """The id of the job whose press AKOOL accepted as this operation."""
        has_it = (JOBS.c.account == self.account) & (JOBS.c.operation_id == operation_id)
        return connection.execute(sa.select(JOBS.c.job_id).where(has_it)).scalar()

    def count(self, connection: sa.Connection) -> JobCounts:
        """Count the jobs of each state, and sum up what AKOOL charged for them."""
        mine = JOBS.c.account == self.account
        by_state = sa.select(JOBS.c.state, sa.func.count()).where(mine).group_by(JOBS.c.state)
        counts: dict[str, int] = {state: count for state, count in connection.execute(by_state)}  # noqa: C416 - rows
        running = connection.execute(sa.select(sa.func.count()).where(mine, IS_CLAIMED)).scalar_one()
        waiting = max(counts.get(JobState.OPEN, 0) - running, 0)
        done, failed, unknown = (counts.get(state, 0) for state in (JobState.DONE, JobState.FAILED, JobState.UNKNOWN))
        sums = sum_credits(connection, self.account)
        return JobCounts(waiting=waiting, running=running, done=done, failed=failed, unknown=unknown, **sums)

    def has_open(self, connection: sa.Connection) -> bool:
        """Whether any job is open."""
        open_jobs = sa.select(JOBS.c.job_id).where(JOBS.c.account == self.account, JOBS.c.state == JobState.OPEN)
        return connection.execute(open_jobs.limit(1)).first() is not None

    def page(self, connection: sa.Connection, states: Sequence[JobState], after: ButtonPress | None) -> list[Job]:
        """The next page of jobs in these states, ordered by image id and button."""
        wanted = sa.select(*JOB_COLUMNS).where(JOBS.c.account == self.account, JOBS.c.state.in_(states))
        if after is not None:
            wanted = wanted.where(JOBS.c.job_id > self.job_id(after))
        return [read_job(row) for row in connection.execute(wanted.order_by(JOBS.c.job_id).limit(PAGE_SIZE))]

    def ended_after(self, connection: sa.Connection, number: int) -> list[tuple[int, Job]]:
        """The next page of jobs whose end has a higher number than this, each with its number."""
        ended = sa.select(*JOB_COLUMNS).where(JOBS.c.account == self.account, JOBS.c.ended_number > number)
        in_order = ended.order_by(JOBS.c.ended_number).limit(PAGE_SIZE)
        return [(row.ended_number, read_job(row)) for row in connection.execute(in_order)]

    def last_end(self, connection: sa.Connection) -> int:
        """The number of the latest end; 0 before the first."""
        latest = sa.select(ENDS.c.number).where(ENDS.c.account == self.account)
        return connection.execute(latest).scalar() or 0

    # --- pruning ---

    def prunable(self, connection: sa.Connection, moment: datetime) -> list[QueueEntry]:
        """A page of jobs that ended before ``moment`` and that nobody has to resolve."""
        old = sa.select(*QUEUE_COLUMNS).where(JOBS.c.account == self.account, ended_before(moment))
        return [read_entry(row) for row in connection.execute(old.limit(PAGE_SIZE))]

    @staticmethod
    def delete(connection: sa.Connection, entries: Iterable[QueueEntry], moment: datetime) -> int:
        """Delete those jobs that were not reopened meanwhile, and return how many."""
        old = sa.delete(JOBS).where(JOBS.c.job_id.in_([entry.job_id for entry in entries]), ended_before(moment))
        return connection.execute(old).rowcount
