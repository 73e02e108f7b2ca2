"""What a job is to those who submit, carry out and read it."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from datetime import datetime

    from akool_async import Button, ButtonPress, Outcome


class JobState(StrEnum):
    """How a job stands."""

    OPEN = "open"
    """Waiting, or running at AKOOL."""
    DONE = "done"
    FAILED = "failed"
    """Refused, failed at AKOOL, or otherwise without a result."""
    UNKNOWN = "unknown"
    """Pressed, with a reply that was lost or an id that AKOOL does not know: see ``DurableFanOut.resolve``."""


@frozen(kw_only=True)
class Job:
    """A press that was submitted."""

    press: ButtonPress
    state: JobState
    operation_id: str | None
    """What AKOOL accepted it as; None where that is not known, or not so yet."""
    submitted_at: datetime
    """Aware, in UTC."""
    ended_at: datetime | None
    """Aware, in UTC; None for an open job."""
    outcome: Outcome | None
    """None for an open job."""


@frozen(kw_only=True)
class JobCounts:
    """How the jobs of an account stand, and what AKOOL charged for them. What is pruned is not counted.

    At any moment AKOOL has charged at least ``credits_charged + credits_lost`` for these jobs, and at most
    ``credits_in_doubt`` more, as far as the estimates hold.
    """

    waiting: int
    running: int
    done: int
    failed: int
    unknown: int
    credits_charged: float
    """Credits charged for jobs whose operation id is known, those that are still open or have failed at AKOOL included:
    of each the larger of what the reply to the press and the result reported."""
    credits_lost: float
    """Credits charged for presses whose id was lost (``OutcomeUnknownError.charged`` is True), by estimate. Giving a
    job up does not take it from here."""
    credits_in_doubt: float
    """Credits that may have been charged, by estimate: for presses that are being made, and for those of which it is
    not known whether AKOOL accepted them."""
    credits_estimated: float
    """Of ``credits_charged``: what AKOOL has reported no price for, at the price of the last one of its kind."""

    @property
    def open(self) -> int:
        """Jobs that are not over."""
        return self.waiting + self.running


@frozen(kw_only=True)
class Claim:
    """A job that a worker has taken up, as earlier ones left it."""

    word: str
    """What its webhook carries."""
    operation_id: str | None
    in_doubt: bool
    """True where another worker may have pressed."""


@frozen(kw_only=True)
class Entry:
    """A place in the engine's queue."""

    job: str
    submitted_at: int
    attempt: int
    button: Button
    may_run: bool
    """True where AKOOL may be at work on it already."""

    def workflow_id(self, attempt: int | None = None) -> str:
        """Another one for each time that the job was opened, and for each job of this name."""
        return f"{self.job}#{self.submitted_at}.{attempt or self.attempt}"

    @staticmethod
    def job_of(workflow_id: str) -> str:
        """The job's name."""
        return workflow_id.rpartition("#")[0]
