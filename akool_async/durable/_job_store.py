"""Every statement that reads or writes what a press has come to."""

from __future__ import annotations

import logging
import secrets
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from akool_async import AkoolError, Button, ButtonPress, NotFoundError, Outcome, OutcomeUnknownError
from akool_async.durable._charges import larger, learn, price_of, sum_up
from akool_async.durable._job import Claim, Entry, Job, JobCounts, JobState
from akool_async.durable._outcome_codec import read_outcome, write_outcome
from akool_async.durable._tables import ENDS, IS_RUN, JOBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from akool_async import WebhookEvent

logger = logging.getLogger("akool_async")

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PAGE: Final = 1_000
"""Jobs that are read or written in one statement."""

_ENTRY: Final = (JOBS.c.job, JOBS.c.submitted_at, JOBS.c.attempt, JOBS.c.button, JOBS.c.operation_id, JOBS.c.in_doubt)


class Jobs:
    """The jobs of one account. Every method takes a connection in a transaction of the caller's."""

    def __init__(self, account: str) -> None:
        self.account = account

    def job_of(self, press: ButtonPress) -> str:
        """A job's name."""
        return f"{self.account}:{press.image_id}:{press.button}"

    @staticmethod
    def press_of(job: str) -> ButtonPress:
        """What it presses."""
        image_id, _, button = job.partition(":")[2].rpartition(":")
        return ButtonPress(image_id, button)

    # --- submitting ---

    def add(self, connection: sa.Connection, presses: Iterable[ButtonPress]) -> list[Entry]:
        """Record those that are not recorded yet, and return these."""
        rows = [
            {
                "job": self.job_of(press),
                "account": self.account,
                "image_id": press.image_id,
                "button": press.button.value,
                "state": JobState.OPEN,
                "attempt": 1,
                "in_doubt": False,
                "word": secrets.token_urlsafe(16),
                "submitted_at": _now(connection),
            }
            for press in dict.fromkeys(presses)
        ]
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        insert = dialect.insert(JOBS).values(rows).on_conflict_do_nothing()
        return [_entry(row) for row in connection.execute(insert.returning(*_ENTRY))]

    # --- a worker's steps: each is one statement, and so happens whole or not at all ---

    def claim(self, connection: sa.Connection, job: str, run_id: str) -> Claim | None:
        """The intent: from here on ``run_id`` may press. None where the job is over."""
        by_another = JOBS.c.run_id.is_not(None) & (JOBS.c.run_id != run_id)
        row = connection.execute(
            _open(job)
            .values(
                run_id=run_id,
                in_doubt=JOBS.c.in_doubt | by_another,
                estimate=sa.func.coalesce(JOBS.c.estimate, self._price_of(job)),
            )
            .returning(JOBS.c.word, _known_id(), JOBS.c.in_doubt)
        ).first()
        if row is None:
            return None
        word, operation_id, in_doubt = row
        return Claim(word=word, operation_id=operation_id, in_doubt=in_doubt)

    @staticmethod
    def release(connection: sa.Connection, job: str, run_id: str) -> None:
        """The intent was not carried out: nothing was sent."""
        of_earlier = sa.case((JOBS.c.in_doubt, JOBS.c.estimate))
        connection.execute(_open(job).where(JOBS.c.run_id == run_id).values(run_id=None, estimate=of_earlier))

    @staticmethod
    def accept(connection: sa.Connection, job: str, operation_id: str, reported: float | None) -> None:
        """AKOOL accepted the press, whoever has the job now, and also where it was told as unknown meanwhile.

        ``reported`` is what it says that it charged.
        """
        told = sa.update(JOBS).where(JOBS.c.job == job)
        told = told.values(operation_id=operation_id, charged=True, credits=larger(reported))
        if not connection.execute(told).rowcount:
            logger.warning("%s was accepted as %s, and is not recorded any more", job, operation_id)

    @staticmethod
    def known_id(connection: sa.Connection, job: str) -> str | None:
        """The operation's id, as a worker or a webhook told it."""
        return connection.execute(sa.select(_known_id()).where(JOBS.c.job == job)).scalar()

    def press_anew(self, connection: sa.Connection, job: str) -> bool:
        """An earlier press was not accepted, and there is another one now; False where an id was told meanwhile."""
        unpressed = _open(job).where(_known_id().is_(None))
        anew = unpressed.values(looked_for=None, charged=None, estimate=self._price_of(job))
        return bool(connection.execute(anew).rowcount)

    @staticmethod
    def look(connection: sa.Connection, job: str, seconds: float) -> float:
        """Its id was looked for, for so many seconds; how many they are by now, at whichever workers."""
        so_far = sa.func.coalesce(JOBS.c.looked_for, 0) + round(seconds * 1_000_000)
        looking = sa.update(JOBS).where(JOBS.c.job == job).values(looked_for=so_far).returning(JOBS.c.looked_for)
        return (connection.execute(looking).scalar() or 0) / 1_000_000

    def end(self, connection: sa.Connection, job: str, run_id: str, outcome: Outcome) -> None:
        """The job is over, unless another worker has taken it up since; where that one knew no outcome, this counts."""
        operation_id = None if outcome.operation is None else outcome.operation.id
        is_mine = (JOBS.c.run_id == run_id) & JOBS.c.ended_at.is_(None)
        if outcome.result is not None:
            is_mine |= (JOBS.c.state == JobState.UNKNOWN) | _was_given_up()
        lost = outcome.error if isinstance(outcome.error, OutcomeUnknownError) else None
        was_refused = outcome.operation is None and lost is None
        was_charged = outcome.result is not None or (lost is not None and lost.charged)
        charged = connection.execute(
            sa.update(JOBS)
            .where(JOBS.c.job == job, is_mine)
            .values(
                state=_state_of(outcome),
                ended_at=_now(connection),
                ended_number=self._next_end(connection),
                operation_id=sa.func.coalesce(operation_id, JOBS.c.operation_id),
                outcome=write_outcome(outcome),
                charged=True if was_charged else JOBS.c.charged,
                credits=larger(None if outcome.result is None else outcome.result.deduction_credit),
                estimate=None if was_refused else sa.case((JOBS.c.charged, JOBS.c.estimate), else_=self._price_of(job)),
            )
            .returning(JOBS.c.credits)
        ).scalar()
        if charged is not None and outcome.result is not None:
            learn(connection, self.account, self.press_of(job).button, charged)

    def _price_of(self, job: str) -> sa.ColumnElement[float | None]:
        return price_of(self.account, self.press_of(job).button)

    def _next_end(self, connection: sa.Connection) -> int:
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        first = dialect.insert(ENDS).values(account=self.account, number=1)
        following = first.on_conflict_do_update(index_elements=[ENDS.c.account], set_={"number": ENDS.c.number + 1})
        number: int = connection.execute(following.returning(ENDS.c.number)).scalar_one()
        return number

    # --- webhooks ---

    def hear(self, connection: sa.Connection, event: WebhookEvent, word: str | None) -> list[str]:
        """Keep what a webhook tells, and return the jobs that it concerns."""
        is_meant = JOBS.c.operation_id == event.id
        if word is not None:
            is_meant |= (JOBS.c.word == word) & JOBS.c.operation_id.is_(None)
        hearing = sa.update(JOBS).where(JOBS.c.account == self.account, is_meant)
        told = hearing.values(told_id=event.id, told_status=event.status, charged=True).returning(JOBS.c.job)
        return list(connection.execute(told).scalars())

    @staticmethod
    def heard(connection: sa.Connection, run_id: str) -> list[tuple[str, str, int]]:
        """What webhooks told of the jobs of this worker: word, operation's id and status."""
        told = sa.select(JOBS.c.word, JOBS.c.told_id, JOBS.c.told_status)
        rows = connection.execute(told.where(JOBS.c.run_id == run_id, IS_RUN, JOBS.c.told_status.is_not(None)))
        return [(word, told_id, status) for word, told_id, status in rows]

    # --- settling ---

    @staticmethod
    def doubt(connection: sa.Connection, jobs: Sequence[str]) -> None:
        """Whoever took these up may have pressed, and does not say."""
        was_taken = JOBS.c.job.in_(jobs) & JOBS.c.run_id.is_not(None)
        connection.execute(sa.update(JOBS).where(was_taken).values(in_doubt=True))

    def taken_up(self, connection: sa.Connection) -> list[Entry]:
        """Those that some worker has in hand."""
        taken = sa.select(*_ENTRY).where(JOBS.c.account == self.account, IS_RUN)
        return [_entry(row) for row in connection.execute(taken)]

    @staticmethod
    def put_back(connection: sa.Connection, entry: Entry) -> Entry | None:
        """Open a job anew that was taken up and left; None where that is not so any more."""
        as_it_was = _open(entry.job).where(JOBS.c.attempt == entry.attempt)
        values = {"in_doubt": True, "run_id": None, "attempt": JOBS.c.attempt + 1}
        row = connection.execute(as_it_was.values(values).returning(*_ENTRY)).first()
        return None if row is None else _entry(row)

    @staticmethod
    def reopen(connection: sa.Connection, job: str, operation_id: str | None) -> Entry | None:
        """Open a job again, to be followed as this operation, or to be pressed; None where it cannot be."""
        row = connection.execute(
            _unsettled(job)
            .values(
                state=JobState.OPEN,
                ended_at=None,
                ended_number=None,
                outcome=None,
                run_id=None,
                operation_id=operation_id,
                in_doubt=_may_have_been_pressed() if operation_id is None else False,
                attempt=JOBS.c.attempt + 1,
            )
            .returning(*_ENTRY)
        ).first()
        return None if row is None else _entry(row)

    @staticmethod
    def tell_id(connection: sa.Connection, job: str, operation_id: str) -> bool:
        """Give the id of an open job to the worker that looks for it; False where none does."""
        is_looked_for = JOBS.c.looked_for.is_not(None) & _known_id().is_(None)
        return bool(connection.execute(_open(job).where(is_looked_for).values(operation_id=operation_id)).rowcount)

    @staticmethod
    def abandon(connection: sa.Connection, job: str) -> bool:
        """Count an unknown job as failed; False where it is none."""
        unknown = sa.update(JOBS).where(JOBS.c.job == job, JOBS.c.state == JobState.UNKNOWN)
        for found in Jobs.named(connection, [job]):
            if found.outcome is None or found.outcome.error is None:
                return False
            error = AkoolError(f"given up: {found.outcome.error.args[0]}").about(press=found.press)
            outcome = write_outcome(Outcome(found.press, found.outcome.operation, error=error))
            return bool(connection.execute(unknown.values(state=JobState.FAILED, outcome=outcome)).rowcount)
        return False

    # --- reading ---

    def job_with(self, connection: sa.Connection, operation_id: str) -> str | None:
        """The job that AKOOL accepted as this operation."""
        has_it = (JOBS.c.account == self.account) & (JOBS.c.operation_id == operation_id)
        return connection.execute(sa.select(JOBS.c.job).where(has_it)).scalar()

    def count(self, connection: sa.Connection) -> JobCounts:
        """All of them, by state, and what they cost."""
        mine = JOBS.c.account == self.account
        by_state = sa.select(JOBS.c.state, sa.func.count()).where(mine).group_by(JOBS.c.state)
        counts: dict[str, int] = {state: count for state, count in connection.execute(by_state)}  # noqa: C416 - rows
        running = connection.execute(sa.select(sa.func.count()).where(mine, IS_RUN)).scalar_one()
        waiting = max(counts.get(JobState.OPEN, 0) - running, 0)
        done, failed, unknown = (counts.get(state, 0) for state in (JobState.DONE, JobState.FAILED, JobState.UNKNOWN))
        credits_ = sum_up(connection, self.account)
        return JobCounts(waiting=waiting, running=running, done=done, failed=failed, unknown=unknown, **credits_)

    def has_open(self, connection: sa.Connection) -> bool:
        """Whether any is open."""
        is_open = (JOBS.c.account == self.account) & (JOBS.c.state == JobState.OPEN)
        return connection.execute(sa.select(JOBS.c.job).where(is_open).limit(1)).first() is not None

    def find(self, connection: sa.Connection, presses: Iterable[ButtonPress]) -> list[Job]:
        """Those of them that were submitted."""
        return self.named(connection, [self.job_of(press) for press in presses])

    @staticmethod
    def named(connection: sa.Connection, names: Sequence[str]) -> list[Job]:
        """Those of these names, in the order of their ends."""
        jobs = _select().where(JOBS.c.job.in_(names)).order_by(JOBS.c.ended_number, JOBS.c.job)
        return [_read(row) for row in connection.execute(jobs)]

    def page(self, connection: sa.Connection, states: Sequence[JobState], after: ButtonPress | None) -> list[Job]:
        """The next of them in these states, ordered by their names."""
        wanted = _select().where(JOBS.c.account == self.account, JOBS.c.state.in_(states))
        if after is not None:
            wanted = wanted.where(JOBS.c.job > self.job_of(after))
        return [_read(row) for row in connection.execute(wanted.order_by(JOBS.c.job).limit(PAGE))]

    def ended_after(self, connection: sa.Connection, number: int) -> list[tuple[int, Job]]:
        """The next that ended after the end of this number, each with its own."""
        ended = _select().where(JOBS.c.account == self.account, JOBS.c.ended_number > number)
        in_order = ended.order_by(JOBS.c.ended_number).limit(PAGE)
        return [(row.ended_number, _read(row)) for row in connection.execute(in_order)]

    def last_end(self, connection: sa.Connection) -> int:
        """The number of the latest end, 0 before the first."""
        latest = sa.select(ENDS.c.number).where(ENDS.c.account == self.account)
        return connection.execute(latest).scalar() or 0

    # --- forgetting ---

    def ended_before(self, connection: sa.Connection, moment: datetime) -> list[Entry]:
        """Some of those that ended before then and that nobody has to settle."""
        old = sa.select(*_ENTRY).where(JOBS.c.account == self.account, *_are_over(moment))
        return [_entry(row) for row in connection.execute(old.limit(PAGE))]

    @staticmethod
    def forget(connection: sa.Connection, entries: Iterable[Entry], moment: datetime) -> int:
        """Forget those of them that were not opened again meanwhile; how many they were."""
        old = sa.delete(JOBS).where(JOBS.c.job.in_([entry.job for entry in entries]), *_are_over(moment))
        return connection.execute(old).rowcount


def _are_over(moment: datetime) -> list[sa.ColumnElement[bool]]:
    return [JOBS.c.ended_at < _write_moment(moment), JOBS.c.state.in_([JobState.DONE, JobState.FAILED])]


def _open(job: str) -> sa.Update:
    return sa.update(JOBS).where(JOBS.c.job == job, JOBS.c.ended_at.is_(None))


def _unsettled(job: str) -> sa.Update:
    """A press of which AKOOL has, or may have, no operation, or one that nobody has followed."""
    was_refused = (JOBS.c.state == JobState.FAILED) & JOBS.c.operation_id.is_(None)
    return sa.update(JOBS).where(JOBS.c.job == job, was_refused | _was_given_up() | (JOBS.c.state == JobState.UNKNOWN))


def _was_given_up() -> sa.ColumnElement[bool]:
    """Its id may have come to be known since."""
    return (JOBS.c.state == JobState.FAILED) & JOBS.c.looked_for.is_not(None)


def _may_have_been_pressed() -> sa.ColumnElement[bool]:
    """Of a press that is over and has no operation: AKOOL may have taken it all the same."""
    return JOBS.c.in_doubt | (JOBS.c.state == JobState.UNKNOWN) | JOBS.c.looked_for.is_not(None)


def _known_id() -> sa.ColumnElement[str | None]:
    return sa.func.coalesce(JOBS.c.operation_id, JOBS.c.told_id)


def _state_of(outcome: Outcome) -> JobState:
    if outcome.ok:
        return JobState.DONE
    is_stray = outcome.operation is not None and isinstance(outcome.error, NotFoundError)
    return JobState.UNKNOWN if is_stray or isinstance(outcome.error, OutcomeUnknownError) else JobState.FAILED


def _now(connection: sa.Connection) -> Any:  # noqa: ANN401 - a number, or what PostgreSQL makes one
    if connection.dialect.name == "postgresql":
        return sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
    return time.time_ns() // 1_000


def _read_moment(microseconds: int) -> datetime:
    return EPOCH + timedelta(microseconds=microseconds)


def _write_moment(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def _select() -> sa.Select[Any]:
    columns = JOBS.c
    return sa.select(
        columns.image_id,
        columns.button,
        columns.state,
        _known_id().label("operation_id"),
        columns.submitted_at,
        columns.ended_at,
        columns.ended_number,
        columns.outcome,
    )


def _read(row: sa.Row[*tuple[Any, ...]]) -> Job:
    press = ButtonPress(row.image_id, row.button)
    return Job(
        press=press,
        state=JobState(row.state),
        operation_id=row.operation_id,
        submitted_at=_read_moment(row.submitted_at),
        ended_at=None if row.ended_at is None else _read_moment(row.ended_at),
        outcome=None if row.outcome is None else read_outcome(press, row.outcome),
    )


def _entry(row: sa.Row[*tuple[Any, ...]]) -> Entry:
    return Entry(
        job=row.job,
        submitted_at=row.submitted_at,
        attempt=row.attempt,
        button=Button(row.button),
        may_run=row.operation_id is not None or row.in_doubt,
    )
