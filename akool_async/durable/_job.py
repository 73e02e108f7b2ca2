"""The values of durable runs: jobs as their users see them, as workers claim them and as the queue holds them."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async import Button

if TYPE_CHECKING:
    from datetime import datetime

    from akool_async import ButtonPress, Outcome

BUTTON_KINDS: Final = tuple(dict.fromkeys(button.kind for button in Button))
PAGE_SIZE: Final = 1_000
"""Jobs that are read or written in one statement."""


class JobState(StrEnum):
    """The state of a job."""

    OPEN = "open"
    """Waiting, or running at AKOOL."""
    DONE = "done"
    """Completed, with a result."""
    FAILED = "failed"
    """Refused, failed at AKOOL, abandoned, or otherwise without a result."""
    UNKNOWN = "unknown"
    """Pressed, but the reply was lost or AKOOL does not know the id: see ``DurableFanOut.resolve``."""


@frozen(kw_only=True)
class Job:
    """A submitted press and what became of it."""

    press: ButtonPress
    state: JobState
    operation_id: str | None
    """The id that AKOOL gave the press; None while it is not known."""
    submitted_at: datetime
    """Aware, in UTC."""
    ended_at: datetime | None
    """Aware, in UTC; None for an open job."""
    outcome: Outcome | None
    """None for an open job."""


@frozen(kw_only=True)
class JobCounts:
    """How many jobs of an account are in each state, and what AKOOL charged for them. Pruned jobs are not counted.

    At any moment AKOOL has charged at least ``credits_charged + credits_lost`` for these jobs, and at most
    ``credits_in_doubt`` more, as far as the estimates hold.
    """

    waiting: int
    """Open jobs that no worker has claimed."""
    running: int
    """Open jobs that a worker has claimed."""
    done: int
    failed: int
    unknown: int
    credits_charged: float
    """Credits charged for jobs whose operation id is known, including open jobs and those that failed at AKOOL. For
    each job the larger of two reports counts: that of the reply to the press and that of the result."""
    credits_lost: float
    """Credits charged for presses whose id was lost (``OutcomeUnknownError.charged`` is True), by estimate. Abandoning
    a job does not change this sum."""
    credits_in_doubt: float
    """Credits that may have been charged, by estimate: for presses under way, and for presses of which nobody knows
    whether AKOOL accepted them."""
    credits_estimated: float
    """The part of ``credits_charged`` for which AKOOL has reported no price. The last price of the same kind of button
    stands in for it."""

    @property
    def open(self) -> int:
        """Jobs that have not ended."""
        return self.waiting + self.running


@frozen(kw_only=True)
class Claim:
    """A job that a worker has claimed, as earlier workers left it."""

    correlation_id: str
    """Travels with the press; its webhook carries it."""
    operation_id: str | None
    in_doubt: bool
    """True if another worker may have pressed."""


@frozen(kw_only=True)
class QueueEntry:
    """A job's place in the work queue."""

    job_id: str
    submitted_at: int
    """Microseconds since the epoch."""
    attempt: int
    """Counts how often the job was opened."""
    button: Button
    may_run: bool
    """True if AKOOL may be working on it already."""

    def workflow_id(self, attempt: int | None = None) -> str:
        """The id of the workflow, which is new for each attempt, and after a job was pruned and submitted again."""
        return f"{self.job_id}#{self.submitted_at}.{attempt or self.attempt}"

    @staticmethod
    def job_id_of(workflow_id: str) -> str:
        """The id of the job that a workflow carries out."""
        return workflow_id.rpartition("#")[0]
