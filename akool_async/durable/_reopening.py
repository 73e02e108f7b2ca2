"""Reopen an ended job that AKOOL did not accept, or may have accepted, after a person or a webhook settled it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

import sqlalchemy as sa

from akool_async import NotFoundError
from akool_async.durable._batch_queue import TAKEOVER
from akool_async.durable._job import JobState
from akool_async.durable._job_items import queue_of, read_job_item
from akool_async.durable._outcome_codec import decode_outcome
from akool_async.durable._tables import JOBS

if TYPE_CHECKING:
    from akool_async.durable._batch_queue import BatchQueue

_IS_FAILED: Final = JOBS.c.state == JobState.FAILED
IS_UNSETTLED: Final = (
    (JOBS.c.state == JobState.UNKNOWN) | (_IS_FAILED & JOBS.c.operation_id.is_(None)) | (_IS_FAILED & JOBS.c.in_doubt)
)
"""The outcome is unknown, AKOOL did not accept the press, or the job was abandoned in doubt."""


def reopen(connection: sa.Connection, queue: BatchQueue, job_id: str, reported_id: str | None) -> bool:
    """Reopen an ended job. Return False if it has not ended or is settled.

    Args:
        connection: A connection with an open transaction.
        queue: The queue that the job goes to.
        job_id: The id of the job.
        reported_id: The operation id to follow after a check. None to follow the id of AKOOL's reply if there is one,
            and otherwise to press.
    """
    keeps_id = reported_id is None and not _has_wrong_id(connection, job_id)
    batch = uuid4().hex
    # A prompt can be sent repeatedly, and each POST may cost its credits. A button is paid for only once.
    is_sent_again = sa.and_(
        JOBS.c.prompt.is_not(None),
        sa.literal(reported_id is None),
        JOBS.c.reported_id.is_(None),
        JOBS.c.operation_id.is_(None) | sa.literal(not keeps_id),
    )
    lost = sa.func.coalesce(JOBS.c.lost, 0.0) + sa.func.coalesce(JOBS.c.credits, JOBS.c.estimate, 0.0)
    row = connection.execute(
        sa.update(JOBS)
        .where(JOBS.c.job_id == job_id, IS_UNSETTLED)
        .values(
            state=JobState.OPEN,
            batch=batch,
            ended_at=None,
            ended_number=None,
            outcome=None,
            over_budget=False,
            # The outcome of a lost prompt cannot be looked up: the person who settles it decides to send it again.
            in_doubt=(JOBS.c.in_doubt | (JOBS.c.state == JobState.UNKNOWN)) & JOBS.c.prompt.is_(None),
            operation_id=JOBS.c.operation_id if keeps_id else None,
            reported_id=reported_id or JOBS.c.reported_id,
            lost=sa.case((is_sent_again, sa.func.nullif(lost, 0.0)), else_=JOBS.c.lost),
            **{name: sa.case((is_sent_again, None), else_=JOBS.c[name]) for name in ("charged", "credits", "estimate")},
        )
        .returning(JOBS.c.button, JOBS.c.operation_id, JOBS.c.reported_id)
    ).first()
    if row is None:
        return False
    has_id = row.operation_id is not None or row.reported_id is not None
    queue.enqueue(connection, batch, TAKEOVER if has_id else queue_of(row.button))
    return True


def _has_wrong_id(connection: sa.Connection, job_id: str) -> bool:
    """Return whether AKOOL reported that the operation id of a job does not exist."""
    query = sa.select(JOBS.c.image_id, JOBS.c.button, JOBS.c.prompt, JOBS.c.outcome).where(JOBS.c.job_id == job_id)
    return any(
        outcome is not None and isinstance(decode_outcome(read_job_item(*columns), outcome).error, NotFoundError)
        for *columns, outcome in connection.execute(query)
    )
