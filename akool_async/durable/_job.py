"""The values of durable runs: jobs as their users see them, and as a worker has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from akool_async import InvalidParameterError, NotFoundError, OutcomeUnknownError
from akool_async.durable._outcome_codec import decode_outcome
from akool_async.items import press_of, read_then

if TYPE_CHECKING:
    from akool_async import ButtonPress, Outcome
    from akool_async.durable._job_items import JobItem
    from akool_async.items import Branch, Item

PAGE_SIZE: Final = 1_000
"""Jobs that are read or written in one statement."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


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


@frozen(kw_only=True, slots=False)  # slots have no room for a cached property
class Job:
    """A submitted press or prompt, and what became of it."""

    state: JobState
    operation_id: str | None
    """The id that AKOOL gave the press; None while it is not known."""
    submitted_at: datetime
    """Aware, in UTC."""
    ended_at: datetime | None
    """Aware, in UTC; None for an open job."""
    job_id: str = field(repr=False)
    """The id of this job in the store."""
    parent_id: str | None = field(repr=False)
    """The id of the job on whose result it is pressed; None for one that was submitted itself."""
    job_item: JobItem = field(repr=False)
    """What this job is for, as the store keeps it."""
    _branches: str = field(repr=False)
    _outcome_text: str | None = field(repr=False)

    @property
    def item(self) -> Item:
        """The press or the prompt. A prompt has its key."""
        return self.job_item.item

    @property
    def press(self) -> ButtonPress | None:
        """None for a prompt."""
        return press_of(self.item)

    @property
    def key(self) -> str | None:
        """The key of a prompt, of a further image of a batch with its number; None for a press."""
        return self.job_item.key

    @cached_property
    def then(self) -> tuple[Branch, ...]:
        """What is pressed on its result."""
        return read_then(self._branches)

    @cached_property
    def outcome(self) -> Outcome | None:
        """None for an open job. Its operation is detached from any session, as an unpickled one is.

        Its ``parent`` is known only to :meth:`DurableFanOut.outcomes`.
        """
        return None if self._outcome_text is None else decode_outcome(self.job_item, self._outcome_text)


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
    """Without those that were over their budget."""
    over_budget: int
    """Failed jobs for which nothing was sent, since their budget was spent."""
    unknown: int
    credits_charged: float
    """Credits charged for jobs whose operation id is known, including open jobs and those that failed at AKOOL. For
    each job the larger of two reports counts: that of the reply to the press and that of the result."""
    credits_lost: float
    """Credits charged for presses whose id was lost (``OutcomeUnknownError.charged`` is True), by estimate. Abandoning
    a job does not change this sum."""
    credits_in_doubt: float
    """Credits that may have been charged, by estimate: for presses under way, for presses of which nobody knows
    whether AKOOL accepted them, and for earlier POSTs of prompts that were sent again on request."""
    credits_estimated: float
    """The part of ``credits_charged`` for which AKOOL has reported no price. The last price of the same kind of button
    stands in for it."""

    @property
    def open(self) -> int:
        """Jobs that have not ended."""
        return self.waiting + self.running


@define(kw_only=True, eq=False)
class LeasedJob:
    """An open job as a worker has it, with what earlier workers left."""

    job_id: str
    item: Item
    """What its POST is for."""
    upscales: int
    """How many upscales are to be pressed below it."""
    is_below: bool
    """True if it is pressed on an image that another job made."""
    correlation_id: str
    """Travels with the press; its webhook carries it."""
    operation_id: str | None
    reported_id: str | None
    is_claimed: bool
    """True if it counts against the cap already."""
    may_be_sent: bool
    """True if another worker may have pressed."""
    seconds_searched: float
    credits: float | None
    """What AKOOL reported so far."""
    spent: float
    """What it counts for in its budgets already."""
    budget: str | None

    @property
    def opens_tree(self) -> bool:
        """True if it waits until the trees that are open leave room for its upscales."""
        return bool(self.upscales) and not self.is_below


def state_of(outcome: Outcome) -> JobState:
    """The state of a job that ended with this outcome."""
    if outcome.ok:
        return JobState.DONE
    is_refused = isinstance(outcome.error, NotFoundError | InvalidParameterError)
    has_wrong_id = outcome.operation is not None and is_refused
    return JobState.UNKNOWN if has_wrong_id or isinstance(outcome.error, OutcomeUnknownError) else JobState.FAILED


def read_moment(microseconds: int) -> datetime:
    """A moment as a store keeps it."""
    return EPOCH + timedelta(microseconds=microseconds)


def write_moment(moment: datetime) -> int:
    """A moment as a store keeps it."""
    return (moment - EPOCH) // timedelta(microseconds=1)
