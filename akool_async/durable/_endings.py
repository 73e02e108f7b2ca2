"""Decide what happens to a job, from the outcome of its press in a worker's session."""

from __future__ import annotations

import logging
from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from akool_async import (
    AkoolError,
    BudgetError,
    NotOperableError,
    OperationFailedError,
    Outcome,
    OutcomeUnknownError,
    PollingError,
    SessionClosedError,
)
from akool_async._http.origin import contradiction, made_by
from akool_async._http.retry import is_account_error, is_transient
from akool_async._submit.decision import Reply, reply_of
from akool_async.durable._budgets import DailyBudgetError
from akool_async.durable._changes import EndJob
from akool_async.durable._job import state_of
from akool_async.durable._outcome_codec import encode_outcome

if TYPE_CHECKING:
    from akool_async.durable._job import LeasedJob
    from akool_async.durable._store_journal import WorkerSession
    from akool_async.items import Item

UNRECORDED_USE: Final = (
    "the button is used, and this store has no record of the press: a backup was restored, the store was copied, or "
    "somebody else pressed"
)


SAFE_TO_RESEND: Final = {Reply.NOT_DELIVERED, Reply.THROTTLED}
"""Replies that show that AKOOL did not accept a POST, so that it can be sent again."""

logger = logging.getLogger("akool_async")


class NextStep(Enum):
    """What a worker does with a job next."""

    END = auto()
    """Record its end."""
    RETRY = auto()
    """Try again later: the outcome says nothing about the job."""
    STOP = auto()
    """Leave the job open and stop this worker: the other presses would fail in the same way."""
    HAND_OVER = auto()
    """Leave the job open for another worker."""


def next_step(outcome: Outcome, *, until_empty: bool) -> NextStep:
    """Return the next step for a job, from the outcome of its press.

    Args:
        outcome: The outcome from the session's fan-out.
        until_empty: If True, the worker stops when the budget of the day is spent. If False, it waits for the next day.
    """
    error = outcome.error
    if not isinstance(error, AkoolError) or isinstance(error, OperationFailedError):
        return NextStep.END
    if isinstance(error, OutcomeUnknownError):
        return _next_step_in_doubt(error)
    if isinstance(error, DailyBudgetError):
        return NextStep.STOP if until_empty else NextStep.RETRY
    if outcome.operation is None and reply_of(error) in SAFE_TO_RESEND:
        return NextStep.RETRY
    if outcome.operation is None and not is_account_error(error) and not isinstance(error, SessionClosedError):
        return NextStep.END
    return _next_step_after_read(error)


def reason_to_stop(outcome: Outcome) -> AkoolError | None:
    """Return the account's or the budget's error from an outcome whose next step is ``STOP``."""
    error = outcome.error
    reason = (error.unread or error.__cause__) if isinstance(error, OutcomeUnknownError) else error
    return reason if isinstance(reason, AkoolError) else None


def _next_step_in_doubt(error: OutcomeUnknownError) -> NextStep:
    """Return the next step for a press that AKOOL may have accepted."""
    if error.unread is not None:  # the source image could not be read: nothing is known about the press
        return _next_step_after_read(error.unread)
    refusal = error.__cause__
    if isinstance(refusal, AkoolError) and is_account_error(refusal):
        return NextStep.STOP
    return NextStep.RETRY if isinstance(refusal, AkoolError) and reply_of(refusal) in SAFE_TO_RESEND else NextStep.END


def _next_step_after_read(error: Exception) -> NextStep:
    """Return the next step after a poll or a read failed with this error."""
    if isinstance(error, SessionClosedError):
        return NextStep.HAND_OVER
    if is_account_error(error):
        return NextStep.STOP
    is_temporary = isinstance(error, PollingError) or (isinstance(error, AkoolError) and is_transient(error))
    return NextStep.RETRY if is_temporary else NextStep.END


def item_of(outcome: Outcome) -> Item:
    """Return the press or prompt of an outcome. It has no parent, since the store keeps the trees."""
    item = outcome.prompt or outcome.press
    if item is None:  # pragma: no cover - only an outcome with a parent has neither
        raise ValueError("the outcome has neither a press nor a prompt")
    return item


async def end_of(outcome: Outcome, job: LeasedJob, lease: int, akool: WorkerSession) -> EndJob:
    """Return the change that records the end of a job."""
    outcome = await _checked(outcome, job, akool)
    lost = outcome.error if isinstance(outcome.error, OutcomeUnknownError) else None
    return EndJob(
        job=job,
        lease=lease,
        state=state_of(outcome),
        outcome=encode_outcome(outcome),
        operation_id=None if outcome.operation is None else outcome.operation.id,
        reported=None if outcome.result is None else outcome.result.deduction_credit,
        is_charged=outcome.result is not None or (lost is not None and bool(lost.charged)),
        is_refused=outcome.operation is None and lost is None and not job.may_be_sent,
        has_result=outcome.result is not None,
        is_over_budget=isinstance(outcome.error, BudgetError),
    )


async def _checked(outcome: Outcome, job: LeasedJob, akool: WorkerSession) -> Outcome:
    """Return the outcome, or an unknown one if it claims more than is known."""
    press, operation, error = outcome.press, outcome.operation, outcome.error
    if outcome.result is not None and operation is not None and contradiction(outcome.result, press) is not None:
        # The id came from a webhook or a person, and may have been mixed up.
        message = f"the id {operation.id} is that of {made_by(outcome.result)}, not of {job.item}"
    elif error is not None and not isinstance(error, AkoolError):
        logger.error("%s: unexpected error", job.item, exc_info=error)
        message = f"unexpected error ({error!r})"
    elif isinstance(error, BudgetError) and job.may_be_sent:
        message = f"an earlier POST may have been accepted ({error})"
    elif (
        isinstance(error, NotOperableError) and not job.may_be_sent and press is not None and await akool.is_used(press)
    ):
        message = f"{UNRECORDED_USE} ({error})"
    else:
        return outcome
    unknown = OutcomeUnknownError(message, charged=None).about(press=press, prompt=outcome.prompt)
    return Outcome(press, operation, error=unknown, prompt=outcome.prompt)
