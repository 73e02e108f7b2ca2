"""Jobs as users see them, and jobs as a worker holds them."""

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
"""The most jobs that one statement reads or writes."""
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
    """AKOOL may have accepted the press, but its id is lost or wrong: settle it with ``DurableFanOut.resolve``."""


@frozen(kw_only=True, slots=False)  # slots have no room for a cached property
class Job:
    """A submitted press or prompt, with its state and outcome."""

    state: JobState
    operation_id: str | None
    """The id of the image that AKOOL makes for this job; None while it is not known."""
    submitted_at: datetime
    """When the job was recorded, as an aware time in UTC."""
    ended_at: datetime | None
    """When the job ended, as an aware time in UTC; None for an open job."""
    job_id: str = field(repr=False)
    """The id of this job in the store."""
    budget: str | None = field(repr=False)
    """The id of the budget of its submission, which presses on its image share; None without ``max_credits``."""
    budget_left: float | None = field(repr=False)
    """Credits that this budget still allowed when the job was read; None without a budget."""
    parent_id: str | None = field(repr=False)
    """The id of the job whose image this press is on; None for a job that was submitted itself."""
    _job_item: JobItem = field(repr=False)
    _branches: str = field(repr=False)
    _outcome_text: str | None = field(repr=False)

    @property
    def item(self) -> Item:
        """The press or the prompt. A prompt always has a key here."""
        return self._job_item.item

    @property
    def press(self) -> ButtonPress | None:
        """The press; None for a prompt."""
        return press_of(self.item)

    @property
    def key(self) -> str | None:
        """The key of a prompt; None for a press. The second image of a batch has ``KEY#2``, the third ``KEY#3``."""
        return self._job_item.key

    @cached_property
    def then(self) -> tuple[Branch, ...]:
        """The buttons to press on the image of this job, each with the buttons to press on its image."""
        return read_then(self._branches)

    @cached_property
    def outcome(self) -> Outcome | None:
        """The outcome of the job; None for an open job. Its operation is detached from any session.

        Its ``parent`` is None: only the outcomes of :meth:`DurableFanOut.outcomes` have their parents.
        """
        return None if self._outcome_text is None else decode_outcome(self._job_item, self._outcome_text)


@frozen(kw_only=True)
class JobCounts:
    """How many jobs of an account are in each state, and what AKOOL charged for them. Pruned jobs are not counted.

    AKOOL has charged between ``credits_charged + credits_lost`` credits and ``credits_in_doubt`` credits more, if the
    estimates are right.
    """

    waiting: int
    """Open jobs that no worker has claimed."""
    running: int
    """Open jobs that a worker has claimed."""
    done: int
    """Jobs that completed with a result."""
    failed: int
    """Failed jobs, except those that were over budget."""
    over_budget: int
    """Failed jobs that were not sent because their budget did not allow it."""
    unknown: int
    """Jobs whose outcome is unknown."""
    credits_charged: float
    """Credits charged for jobs whose operation id is known, including open jobs and jobs that failed at AKOOL. Each job
    counts with the larger of the credits in the reply to its press and the credits in its result."""
    credits_lost: float
    """Estimated credits charged for presses whose id was lost (``OutcomeUnknownError.charged`` is True). Abandoning a
    job does not change this sum."""
    credits_in_doubt: float
    """Estimated credits that AKOOL may have charged: for presses under way, for presses that AKOOL may or may not have
    accepted, and for earlier POSTs of prompts that were sent again on request."""
    credits_estimated: float
    """The part of ``credits_charged`` for which AKOOL has reported no credits. Each such job counts with the last or
    the largest known price of its kind."""

    @property
    def open(self) -> int:
        """Jobs that have not ended: ``waiting + running``."""
        return self.waiting + self.running


@define(kw_only=True, eq=False)
class LeasedJob:
    """An open job that a worker holds, with what earlier workers recorded."""

    job_id: str
    item: Item
    """The press or prompt that its POST sends."""
    upscales: int
    """The number of upscales planned below this job."""
    is_below: bool
    """True if this is a press on an image that another job made."""
    correlation_id: str
    """Part of the webhook URL of the press, so that its webhook carries it."""
    operation_id: str | None
    """The id in AKOOL's reply; None while it is not known."""
    reported_id: str | None
    """An id from a webhook or a person, not checked yet; None if there is none."""
    is_claimed: bool
    """True if the job already counts against the cap."""
    may_be_sent: bool
    """True if an earlier worker may have sent the POST."""
    seconds_searched: float
    """For how long all workers together have searched for a lost id."""
    credits: float | None
    """Credits that AKOOL has reported; None if it has reported none."""
    spent: float
    """Credits that the job has already spent of its budgets."""
    budget: str | None
    """The name of the budget of its submission; None without one."""

    @property
    def opens_tree(self) -> bool:
        """Whether the job starts a tree with upscales. It waits while open trees have many upscales left."""
        return bool(self.upscales) and not self.is_below


def state_of(outcome: Outcome) -> JobState:
    """Return the state of a job that ended with this outcome."""
    if outcome.ok:
        return JobState.DONE
    is_refused = isinstance(outcome.error, NotFoundError | InvalidParameterError)
    has_wrong_id = outcome.operation is not None and is_refused
    return JobState.UNKNOWN if has_wrong_id or isinstance(outcome.error, OutcomeUnknownError) else JobState.FAILED


def from_microseconds(microseconds: int) -> datetime:
    """Return the time (UTC) at a number of microseconds since the epoch, the form in which a store keeps it."""
    return EPOCH + timedelta(microseconds=microseconds)


def to_microseconds(time: datetime) -> int:
    """Return a time as microseconds since the epoch, the form in which a store keeps it."""
    return (time - EPOCH) // timedelta(microseconds=1)
