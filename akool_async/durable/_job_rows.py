"""Rows of the jobs table as values, and the conditions on them that have a name."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa

from akool_async import Button, ButtonPress, NotFoundError, Outcome, OutcomeUnknownError
from akool_async.durable._job import Job, JobState, QueueEntry
from akool_async.durable._outcome_codec import decode_outcome
from akool_async.durable._tables import JOBS, is_postgresql

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

KNOWN_ID: Final = sa.func.coalesce(JOBS.c.operation_id, JOBS.c.webhook_id)
"""The operation's id, whether a worker or a webhook reported it."""
_IS_FAILED: Final = JOBS.c.state == JobState.FAILED
_IS_UNKNOWN: Final = JOBS.c.state == JobState.UNKNOWN
WAS_ABANDONED: Final = _IS_FAILED & JOBS.c.search_time.is_not(None)
"""Its id may still become known."""
IS_UNSETTLED: Final = (_IS_FAILED & JOBS.c.operation_id.is_(None)) | WAS_ABANDONED | _IS_UNKNOWN
"""AKOOL made no operation of the press, or perhaps did not, or nobody has followed it."""
MAY_HAVE_BEEN_PRESSED: Final = JOBS.c.in_doubt | _IS_UNKNOWN | JOBS.c.search_time.is_not(None)
"""Of an ended job without an operation: AKOOL may have accepted the press nevertheless."""

QUEUE_COLUMNS: Final = tuple(
    JOBS.c[name] for name in ("job_id", "submitted_at", "attempt", "button", "operation_id", "in_doubt")
)
JOB_COLUMNS: Final = (
    *(JOBS.c[name] for name in ("image_id", "button", "state", "submitted_at", "ended_at", "ended_number", "outcome")),
    KNOWN_ID.label("operation_id"),
)

Row = sa.Row[*tuple[Any, ...]]


def read_entry(row: Row) -> QueueEntry:
    """Read a row of ``QUEUE_COLUMNS``."""
    job_id, submitted_at, attempt, button, operation_id, in_doubt = row
    return QueueEntry(
        job_id=job_id,
        submitted_at=submitted_at,
        attempt=attempt,
        button=Button(button),
        may_run=operation_id is not None or in_doubt,
    )


def read_job(row: Row) -> Job:
    """Read a row of ``JOB_COLUMNS``."""
    press = ButtonPress(row.image_id, row.button)
    return Job(
        press=press,
        state=JobState(row.state),
        operation_id=row.operation_id,
        submitted_at=_read_moment(row.submitted_at),
        ended_at=None if row.ended_at is None else _read_moment(row.ended_at),
        outcome=None if row.outcome is None else decode_outcome(press, row.outcome),
    )


def state_of(outcome: Outcome) -> JobState:
    """The state of a job that ended with this outcome."""
    if outcome.ok:
        return JobState.DONE
    has_wrong_id = outcome.operation is not None and isinstance(outcome.error, NotFoundError)
    return JobState.UNKNOWN if has_wrong_id or isinstance(outcome.error, OutcomeUnknownError) else JobState.FAILED


def is_open(job_id: str) -> sa.ColumnElement[bool]:
    """Whether a job is this one and has not ended."""
    return (JOBS.c.job_id == job_id) & JOBS.c.ended_at.is_(None)


def ended_before(moment: datetime) -> sa.ColumnElement[bool]:
    """Whether a job ended before ``moment`` and nobody has to resolve it."""
    microseconds = (moment - EPOCH) // timedelta(microseconds=1)
    return (JOBS.c.ended_at < microseconds) & JOBS.c.state.in_([JobState.DONE, JobState.FAILED])


def now(connection: sa.Connection) -> Any:  # noqa: ANN401 - a number, or what PostgreSQL makes one
    """Microseconds since the epoch."""
    if is_postgresql(connection):
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
    return time.time_ns() // 1_000


def _read_moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)
