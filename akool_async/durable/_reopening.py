"""Opens an ended job again, whose press AKOOL did not accept, or perhaps did: somebody has settled it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import uuid4

import sqlalchemy as sa

from akool_async import NotFoundError
from akool_async.durable._batch_queue import LEFT
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
"""AKOOL made no operation of the press, or perhaps did not, or nobody has followed it."""


def reopen(connection: sa.Connection, queue: BatchQueue, job_id: str, reported_id: str | None) -> bool:
    """Open an ended job again; False if it has not ended, or is settled.

    Args:
        connection: In a transaction.
        queue: Takes the job.
        job_id: The job.
        reported_id: The id to follow it by, once it is checked; None to go on with the id of AKOOL's reply if there is
            one, and else to press.
    """
    keeps_id = reported_id is None and not _has_wrong_id(connection, job_id)
    batch = uuid4().hex
    # A prompt can be sent any number of times, and each may cost its credits; a button is paid for once.
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
            # What became of a prompt cannot be found out: whoever settles it has decided to send it again.
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
    queue.enqueue(connection, batch, LEFT if has_id else queue_of(row.button))
    return True


def _has_wrong_id(connection: sa.Connection, job_id: str) -> bool:
    """True if AKOOL does not know the operation id of a job."""
    its = sa.select(JOBS.c.image_id, JOBS.c.button, JOBS.c.prompt, JOBS.c.outcome).where(JOBS.c.job_id == job_id)
    return any(
        outcome is not None and isinstance(decode_outcome(read_job_item(*what), outcome).error, NotFoundError)
        for *what, outcome in connection.execute(its)
    )
