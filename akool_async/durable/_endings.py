"""What becomes of a job, by the outcome of its press in a worker's session."""

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


NOT_TAKEN: Final = {Reply.NOT_DELIVERED, Reply.THROTTLED}
"""Replies to a POST after which it is sent again."""

logger = logging.getLogger("akool_async")


class Fate(Enum):
    """What to do with a job."""

    END = auto()
    """Record its end."""
    AGAIN = auto()
    """Press, find out or wait again later: this says nothing about the job."""
    STOP = auto()
    """Leave it open, and stop this worker: no other press would fare better."""
    LEAVE = auto()
    """Leave it open to the next worker."""


def fate_of(outcome: Outcome, *, until_empty: bool) -> Fate:
    """What to do with a job, by the outcome of its press.

    Args:
        outcome: As the session's fan-out gives it.
        until_empty: Whether the worker is to end, rather than wait for the next day's budget.
    """
    error = outcome.error
    if not isinstance(error, AkoolError) or isinstance(error, OperationFailedError):
        return Fate.END
    if isinstance(error, OutcomeUnknownError):
        return _fate_in_doubt(error)
    if isinstance(error, DailyBudgetError):
        return Fate.STOP if until_empty else Fate.AGAIN
    if outcome.operation is None and reply_of(error) in NOT_TAKEN:
        return Fate.AGAIN
    if outcome.operation is None and not is_account_error(error) and not isinstance(error, SessionClosedError):
        return Fate.END
    return _fate_of_read(error)


def reason_to_stop(outcome: Outcome) -> AkoolError | None:
    """The error of the account, or of the budget, that an outcome of :data:`Fate.STOP` met."""
    error = outcome.error
    reason = (error.unread or error.__cause__) if isinstance(error, OutcomeUnknownError) else error
    return reason if isinstance(reason, AkoolError) else None


def _fate_in_doubt(error: OutcomeUnknownError) -> Fate:
    """What to do with a press that AKOOL may have accepted."""
    if error.unread is not None:  # which says nothing about the press
        return _fate_of_read(error.unread)
    refusal = error.__cause__
    if isinstance(refusal, AkoolError) and is_account_error(refusal):
        return Fate.STOP
    return Fate.AGAIN if isinstance(refusal, AkoolError) and reply_of(refusal) in NOT_TAKEN else Fate.END


def _fate_of_read(error: Exception) -> Fate:
    """What to do if a read, or a wait, ended with an error."""
    if isinstance(error, SessionClosedError):
        return Fate.LEAVE
    if is_account_error(error):
        return Fate.STOP
    is_passing = isinstance(error, PollingError) or (isinstance(error, AkoolError) and is_transient(error))
    return Fate.AGAIN if is_passing else Fate.END


def item_of(outcome: Outcome) -> Item:
    """What a job of a worker is for: its fan-out has no trees, since the store records what comes then."""
    item = outcome.prompt or outcome.press
    if item is None:  # pragma: no cover - only what is below another has neither
        raise ValueError("an outcome of neither a press nor a prompt")
    return item


async def end_of(outcome: Outcome, job: LeasedJob, lease: int, akool: WorkerSession) -> EndJob:
    """The end of a job, as it is recorded."""
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
    """Correct an outcome that says more than is known."""
    press, operation, error = outcome.press, outcome.operation, outcome.error
    if outcome.result is not None and operation is not None and contradiction(outcome.result, press) is not None:
        # Whoever reported the id may have mixed it up.
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
