"""The changes that a worker writes to its jobs: claims, ids and ends. One transaction writes many of them.

A claim succeeds only within the caps and budgets that all workers share. Each change carries the lease of its worker.
If another worker has taken the job over, only facts are still written: an id that AKOOL returned, and a result.
"""

from __future__ import annotations

import logging
import math
import time
from contextlib import nullcontext
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson
import sqlalchemy as sa
from attrs import asdict, define, evolve, field, frozen

from akool_async import BudgetError
from akool_async._fan_out.lanes import AHEAD
from akool_async._limits.budget import reservation
from akool_async._limits.credits import Prices, as_price
from akool_async.durable._budgets import DailyBudgetError, day_of, open_budget, read_budgets, updating_budgets
from akool_async.durable._group_writer import HAS_TO_WAIT
from akool_async.durable._job import JobState
from akool_async.durable._notifications import notify
from akool_async.durable._recording import Recorder, jobs_below
from akool_async.durable._reopening import reopen
from akool_async.durable._tables import (
    ACCOUNTS,
    BUDGETS,
    IS_BELOW,
    IS_CLAIMED,
    JOBS,
    KNOWN_ID,
    LEASES,
    PRICES,
    insert_into,
    is_postgresql,
    rows_from_json,
)
from akool_async.items import read_then

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from akool_async.durable._batch_queue import BatchQueue
    from akool_async.durable._budgets import BudgetRow
    from akool_async.durable._job import LeasedJob
    from akool_async.durable._recording import NewJob

T = TypeVar("T")

logger = logging.getLogger("akool_async")


@frozen
class Limits:
    """The limits that a worker applies to all workers of its account together."""

    max_upscales: int
    max_operations: int | None
    """Concurrent operations of all kinds; None for no limit."""
    max_credits_per_day: float | None
    """Credits for each day (UTC); None for no limit."""
    price_timeout: float
    """Seconds that other presses of a budget wait for a press whose price is not known yet."""


@frozen(eq=False)
class ClaimJob:
    """Claim a job before its POST.

    The result is True once the POST may be sent, and False if the job has ended or belongs to another worker. The claim
    has to wait while the cap is reached, or while its budget could not cover an unexpected price.
    """

    job: LeasedJob
    lease: int
    frees_capacity = False
    is_optional = True


@frozen(eq=False)
class WithdrawClaim:
    """Undo a claim: AKOOL did not accept the press."""

    job: LeasedJob
    lease: int
    frees_capacity = True
    is_optional = False


@frozen(eq=False)
class AcceptJob:
    """Record that AKOOL accepted the press. The result is False if another job has the same operation id, else True."""

    job: LeasedJob
    operation_id: str
    reported: float | None
    """Credits that the reply reported; None if it reported none."""
    frees_capacity = True
    is_optional = False

    def __str__(self) -> str:
        return f"{self.job.item} was accepted as {self.operation_id}, which could not be recorded"


@frozen(eq=False)
class EndJob:
    """Record the end of a job that this worker has.

    If there is a result, it is recorded even if another worker has the job or has ended it as unknown. The change's
    result is True once the job has ended, and False if it stays open: another worker has it, or its lost id
    has become known.
    """

    job: LeasedJob
    lease: int
    state: JobState
    outcome: str
    """The outcome as JSON."""
    operation_id: str | None
    """The id that AKOOL returned; None if it is not known."""
    reported: float | None
    """Credits that the result reported; None if it reported none."""
    is_charged: bool
    """True if AKOOL is known to have accepted the press."""
    is_refused: bool
    """True if AKOOL is known not to have accepted the press."""
    has_result: bool
    """True if AKOOL returned a result."""
    is_over_budget: bool
    """True if the POST was not sent because the budget did not allow it."""
    frees_capacity = True
    is_optional = False


@frozen(eq=False)
class SearchForId:
    """Record for how long workers have searched for a lost id."""

    job: LeasedJob
    lease: int
    seconds: float
    """The sum over all workers."""
    frees_capacity = False
    is_optional = False


JobChange = SearchForId | ClaimJob | WithdrawClaim | AcceptJob | EndJob

POSTGRESQL_NOW: Final = sa.cast(sa.extract("epoch", sa.func.clock_timestamp()) * 1_000_000, sa.BigInteger)
_IS_ONE: Final = JOBS.c.job_id.in_(sa.bindparam("given_jobs", expanding=True))
_IS_MINE: Final = (JOBS.c.lease == sa.bindparam("given_lease")) & JOBS.c.ended_at.is_(None)
_OTHER: Final = JOBS.alias("other")
_HAS_NO_RESULT: Final = JOBS.c.ended_at.is_(None) | (JOBS.c.state != JobState.DONE) & JOBS.c.in_doubt


@frozen
class _Statements:
    """Statements that each change many jobs. They are built once for each kind of database.

    The rows are passed as JSON. One statement per row would take most of a worker's time, and would release the
    interpreter's lock for each row.
    """

    withdraw: sa.Update
    set_search_time: sa.Update
    accept: sa.Executable
    end: sa.Executable

    @classmethod
    def of(cls, connection: sa.Connection) -> _Statements:
        return _make_statements(is_postgresql=is_postgresql(connection))


@cache
def _make_statements(*, is_postgresql: bool) -> _Statements:
    searched = rows_from_json(is_postgresql, job=sa.Text(), microseconds=sa.BigInteger())
    accepted = rows_from_json(
        is_postgresql, job=sa.Text(), id=sa.Text(), reported=sa.Double(), still=sa.Double(), is_alone=sa.Boolean()
    )
    ended = rows_from_json(
        is_postgresql,
        **{name: sa.Text() for name in ("job", "state", "outcome", "id", "reported_id")},
        **{name: sa.Boolean() for name in ("has_result", "is_unknown", "is_charged", "is_refused", "is_over_budget")},
        number=sa.BigInteger(),
        reported=sa.Double(),
        price=sa.Double(),
    )
    # Without a condition on the account, which would make SQLite read all of its jobs. Ids differ between accounts.
    has_other = sa.exists().where(_OTHER.c.operation_id == accepted.c.id, _OTHER.c.job_id != JOBS.c.job_id)
    return _Statements(
        withdraw=sa.update(JOBS)
        .where(_IS_ONE, _IS_MINE, JOBS.c.operation_id.is_(None))
        .values(claimed=False, reserved=None, goes_alone=False, estimate=sa.case((JOBS.c.in_doubt, JOBS.c.estimate))),
        set_search_time=sa.update(JOBS)
        .where(JOBS.c.job_id == searched.c.job, _IS_MINE)
        .values(search_time=searched.c.microseconds),
        accept=sa.update(JOBS)
        .where(JOBS.c.job_id == accepted.c.job, ~has_other)
        .values(
            operation_id=accepted.c.id,
            charged=True,
            credits=_larger_charge(accepted.c.reported),
            reserved=sa.case(
                (JOBS.c.reserved.is_(None), None), else_=sa.func.coalesce(accepted.c.still, JOBS.c.reserved)
            ),
            goes_alone=JOBS.c.goes_alone & accepted.c.is_alone,
        )
        .returning(JOBS.c.job_id, JOBS.c.ended_at),
        end=sa.update(JOBS)
        .where(
            JOBS.c.job_id == ended.c.job,
            _IS_MINE | (ended.c.has_result & _HAS_NO_RESULT),
            # A webhook, or a worker that was cut off, may have recorded the id in the meantime.
            ~ended.c.is_unknown
            | ended.c.id.is_not(None)
            | (JOBS.c.operation_id.is_(None) & JOBS.c.reported_id.is_not_distinct_from(ended.c.reported_id)),
        )
        .values(
            state=ended.c.state,
            lease=None,
            claimed=False,
            in_doubt=ended.c.is_unknown,
            ended_at=sa.bindparam("now_us", type_=sa.BigInteger),
            ended_number=ended.c.number,
            outcome=ended.c.outcome,
            operation_id=sa.func.coalesce(ended.c.id, JOBS.c.operation_id),
            charged=sa.case((ended.c.is_charged, True), else_=JOBS.c.charged),
            # The worker has checked the reported id: it belongs to another press.
            reported_id=sa.case((ended.c.is_unknown, None), else_=JOBS.c.reported_id),
            credits=_larger_charge(ended.c.reported),
            estimate=sa.case(
                (ended.c.is_refused, None),
                # With a budget, the largest known price counts, since the press may have cost that much.
                (JOBS.c.charged & (JOBS.c.budget.is_(None) | (JOBS.c.estimate > ended.c.price)), JOBS.c.estimate),
                else_=ended.c.price,
            ),
            reserved=None,
            goes_alone=False,
            over_budget=ended.c.is_over_budget,
        )
        .returning(JOBS.c.job_id, JOBS.c.state, JOBS.c.branches, JOBS.c.budget, KNOWN_ID.label("image_id")),
    )


def _larger_charge(reported: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.case((JOBS.c.credits > reported, JOBS.c.credits), else_=sa.func.coalesce(reported, JOBS.c.credits))


_CLAIM: Final = (
    sa.update(JOBS)
    .where(_IS_ONE, _IS_MINE)
    .values(
        claimed=True,
        claimed_at=sa.bindparam("now_us", type_=sa.BigInteger),
        estimate=sa.func.coalesce(JOBS.c.estimate, sa.bindparam("expected", type_=sa.Double)),
        reserved=sa.bindparam("set_aside", type_=sa.Double),
        goes_alone=sa.bindparam("is_alone", type_=sa.Boolean),
        day=sa.bindparam("today"),
    )
    .returning(JOBS.c.job_id)
)
_PRICES: Final = sa.select(PRICES.c.kind, PRICES.c.credits, PRICES.c.largest).where(
    PRICES.c.account == sa.bindparam("given_account")
)
_COUNT_END: Final = (
    sa.update(ACCOUNTS)
    .where(ACCOUNTS.c.account == sa.bindparam("given_account"))
    .values(ended_number=ACCOUNTS.c.ended_number + sa.bindparam("more"))
)
_CLAIM_AGAIN: Final = sa.select(JOBS.c.job_id).where(_IS_ONE, _IS_MINE)
_IS_UPSCALE: Final = JOBS.c.kind == "upscale"
_COUNT_CLAIMED: Final = sa.select(
    sa.func.count().filter(_IS_UPSCALE).label("upscales"), sa.func.count().label("all")
).where(JOBS.c.account == sa.bindparam("given_account"), IS_CLAIMED)
_BELOW: Final = sa.func.count().filter(_IS_UPSCALE) + sa.func.coalesce(sa.func.sum(JOBS.c.upscales), 0)
_COUNT_BELOW: Final = sa.select(_BELOW).where(JOBS.c.account == sa.bindparam("given_account"), IS_BELOW)
_COUNT_BELOW_ROOTS: Final = sa.select(sa.func.coalesce(sa.func.sum(JOBS.c.upscales), 0)).where(
    JOBS.c.account == sa.bindparam("given_account"), IS_CLAIMED, JOBS.c.parent.is_(None)
)
_RESERVED: Final = sa.select(JOBS.c.budget, JOBS.c.day, JOBS.c.kind, JOBS.c.reserved, JOBS.c.goes_alone).where(
    JOBS.c.account == sa.bindparam("given_account"),
    IS_CLAIMED,
    JOBS.c.reserved.is_not(None),
    JOBS.c.claimed_at > sa.bindparam("since", type_=sa.BigInteger),
)


@define
class _Capacity:
    """The free capacity of an account's caps and budgets, in one transaction."""

    limits: Limits
    prices: Prices
    budgets: dict[str, BudgetRow] = field(factory=dict)
    upscales: int = 0
    operations: int = 0
    ahead: int = 0
    """Upscales that open trees still have to run."""
    unconfirmed: set[str] = field(factory=set)
    """Budgets with a POST under way whose price is not known yet."""

    def admit(self, job: LeasedJob, today: str) -> _Terms | None:
        """Take capacity for a press, and return the terms of its claim; None if it has to wait.

        Raises:
            BudgetError: The press exceeds its budget even if no press under way is charged.
        """
        is_upscale = job.item.kind == "upscale"
        max_operations = self.limits.max_operations
        if job.opens_tree and self.ahead >= AHEAD * self.limits.max_upscales:
            return None
        if is_upscale and self.upscales >= self.limits.max_upscales:
            return None
        if max_operations is not None and self.operations >= max_operations:
            return None
        terms = self._reserve(job, today)
        if terms is not None:
            self.upscales += is_upscale
            self.operations += 1
            self.ahead += job.upscales if job.opens_tree else 0
        return terms

    def _reserve(self, job: LeasedJob, today: str) -> _Terms | None:
        kind = job.item.kind
        price = self.prices.largest(kind)
        # A press with an id has been paid for.
        names = [] if job.reported_id else [name for name in (job.budget, today) if name in self.budgets]
        terms = _Terms(self.prices.expected(kind), None, is_alone=False)
        for name in names:
            budget = self.budgets[name]
            set_aside = reservation(
                price,
                max_credits=budget.max_credits,
                charged=budget.spent - (job.spent if name == job.budget else 0.0),
                reserved=budget.reserved,
                is_one_unconfirmed=name in self.unconfirmed,
                error=DailyBudgetError if name == today else BudgetError,
            )
            if set_aside is None:
                return None
            # Of two budgets the smaller reservation counts, since the press costs the same for both.
            least = min(terms.set_aside or math.inf, set_aside.credits)
            terms = _Terms(terms.expected, least, is_alone=terms.is_alone or set_aside.is_alone)
        for name in names:
            budget = self.budgets[name]
            self.budgets[name] = evolve(budget, reserved=budget.reserved + (terms.set_aside or 0.0))
            self.unconfirmed.add(name)
        return terms


@frozen
class _Terms:
    """The credits of a claim."""

    expected: float
    """The expected price."""
    set_aside: float | None
    """Credits to reserve in the budgets; None without a budget."""
    is_alone: bool
    """True if other presses of the budget wait until the price is known."""


class ChangeWriter:
    """Writes the changes of one worker to the store."""

    def __init__(self, account: str, limits: Limits, queue: BatchQueue) -> None:
        self._account = account
        self._limits = limits
        self._queue = queue
        self._recorder = Recorder(account, queue)

    def write_all(self, connection: sa.Connection, changes: Sequence[JobChange], is_retry: bool) -> list[object]:
        """Write changes and return the result of each. Claims come last, since other changes free capacity for them.

        Args:
            connection: A connection with an open transaction.
            changes: The changes to write.
            is_retry: True if an earlier try may have committed, and only the database's answer was lost.
        """
        account = lock_account(connection, self._account)
        prices = self._read_prices(connection)
        results: dict[JobChange, object] = {}
        claims = _of_type(ClaimJob, changes)
        others = [change for change in changes if not isinstance(change, ClaimJob)]
        with self._updating_budgets(connection, account, others):
            results |= self._end(connection, _of_type(EndJob, changes), account, prices)
            if withdrawn := _of_type(WithdrawClaim, changes):
                jobs = [change.job.job_id for change in withdrawn]
                parameters = {"given_jobs": jobs, "given_lease": withdrawn[0].lease}
                connection.execute(_Statements.of(connection).withdraw, parameters)
            if searched := _of_type(SearchForId, changes):
                more = [{"job": each.job.job_id, "microseconds": round(each.seconds * 1_000_000)} for each in searched]
                parameters = {"rows": _dumps(more), "given_lease": searched[0].lease}
                connection.execute(_Statements.of(connection).set_search_time, parameters)
            results |= self._accept(connection, _of_type(AcceptJob, changes), prices)
        if claims:
            if is_retry:
                self._mark_claimed(connection, claims)
            results |= self._claim(connection, claims, account, prices)
        if account.has_others and any(change.frees_capacity for change in changes):
            notify(connection, self._account)
        return [results.get(change) for change in changes]

    def _end(
        self, connection: sa.Connection, ends: list[EndJob], account: AccountRow, prices: Prices
    ) -> dict[JobChange, object]:
        rows = []
        for number, end in enumerate(ends, account.ended_number + 1):
            kind = end.job.item.kind
            reported = as_price(end.reported)
            if end.has_result:
                self._learn_price(connection, kind, max(reported or 0.0, end.job.credits or 0.0) or None, prices)
            rows.append(
                {
                    "job": end.job.job_id,
                    "has_result": end.has_result,
                    "state": end.state,
                    "is_unknown": end.state is JobState.UNKNOWN,
                    "number": number,
                    "outcome": end.outcome,
                    "id": end.operation_id,
                    "reported_id": end.job.reported_id,
                    "is_charged": end.is_charged,
                    "reported": reported,
                    "is_refused": end.is_refused,
                    "price": prices.largest(kind),
                    "is_over_budget": end.is_over_budget,
                }
            )
        if rows:
            connection.execute(_COUNT_END, {"given_account": self._account, "more": len(rows)})
            parameters = {"rows": _dumps(rows), "given_lease": ends[0].lease, "now_us": account.now_us}
            ended = connection.execute(_Statements.of(connection).end, parameters).all()
            self._record_below(connection, ended, account.now_us)
            if len(ended) < len(rows):
                still_open = sa.select(JOBS.c.job_id).where(_IS_ONE, JOBS.c.ended_at.is_(None))
                found = connection.execute(still_open, {"given_jobs": [row["job"] for row in rows]})
                left = set(found.scalars())
                return {end: end.job.job_id not in left for end in ends}
        return dict.fromkeys(ends, True)

    def _record_below(self, connection: sa.Connection, ended: Sequence[sa.Row[Any]], now_us: int) -> None:
        """Record the jobs below ended jobs, in the transaction that ends them."""
        below: list[NewJob] = []
        for row in ended:
            if row.branches and row.state == JobState.DONE:
                below += jobs_below(row.job_id, row.image_id, read_then(row.branches), row.budget)
        if self._recorder.record(connection, below, now_us):
            notify(connection, self._account)

    def _accept(self, connection: sa.Connection, accepted: list[AcceptJob], prices: Prices) -> dict[JobChange, object]:
        rows = []
        by_id = {change.operation_id: change for change in reversed(accepted)}  # the first job of each id wins
        for change in by_id.values():
            kind, reported = change.job.item.kind, as_price(change.reported)
            if reported is not None:
                before = prices.of(kind)
                prices.observe(kind, reported)
                self._write_price(connection, kind, before, prices)
            is_known = prices.is_known(kind)
            rows.append(
                {
                    "job": change.job.job_id,
                    "id": change.operation_id,
                    "reported": reported,
                    # A smaller price counts only after the result confirms it.
                    "still": max(reported or 0.0, prices.largest(kind)) if is_known else None,
                    "is_alone": not is_known,
                }
            )
        if not rows:
            return {}
        written = connection.execute(_Statements.of(connection).accept, {"rows": _dumps(rows)})
        ended_at: dict[str, int | None] = {job_id: ended for job_id, ended in written}  # noqa: C416 - rows
        for job_id, ended in ended_at.items():
            if ended is not None:  # another worker ended the job as unknown: follow its id now
                reopen(connection, self._queue, job_id, None)
        if len(ended_at) < len(accepted):
            for change in self._pruned(connection, [each for each in accepted if each.job.job_id not in ended_at]):
                logger.warning("%s, since its job was pruned", change)
                ended_at[change.job.job_id] = None
        return {change: change.job.job_id in ended_at for change in accepted}

    def _pruned(self, connection: sa.Connection, accepted: list[AcceptJob]) -> list[AcceptJob]:
        found = sa.select(JOBS.c.job_id).where(_IS_ONE)
        existing = set(connection.execute(found, {"given_jobs": [each.job.job_id for each in accepted]}).scalars())
        return [each for each in accepted if each.job.job_id not in existing]

    def _claim(
        self, connection: sa.Connection, claims: list[ClaimJob], account: AccountRow, prices: Prices
    ) -> dict[JobChange, object]:
        today, lease = day_of(account.now_us), claims[0].lease
        if self._limits.max_credits_per_day is not None:
            open_budget(connection, self._account, today, self._limits.max_credits_per_day)
            account = evolve(account, has_budgets=True)
        capacity = self._read_capacity(connection, claims, account, prices, today)
        results: dict[JobChange, object] = {}
        admitted: dict[_Terms | None, list[ClaimJob]] = {}
        for claim in claims:
            try:
                terms = None if claim.job.is_claimed else capacity.admit(claim.job, today)
            except BudgetError as error:
                results[claim] = error
                continue
            if terms is None and not claim.job.is_claimed:
                results[claim] = HAS_TO_WAIT
            else:
                admitted.setdefault(terms, []).append(claim)
        with self._updating_budgets(connection, account, [claim for some in admitted.values() for claim in some]):
            for terms, some in admitted.items():
                rows: dict[str, Any] = {"given_jobs": [claim.job.job_id for claim in some], "given_lease": lease}
                if terms is None:
                    mine = set(connection.execute(_CLAIM_AGAIN, rows).scalars())
                else:
                    rows |= {"now_us": account.now_us, "today": today, **asdict(terms)}
                    mine = set(connection.execute(_CLAIM, rows).scalars())
                results |= {claim: claim.job.job_id in mine for claim in some}
        return results

    def _mark_claimed(self, connection: sa.Connection, claims: list[ClaimJob]) -> None:
        claimed = sa.select(JOBS.c.job_id).where(_IS_ONE, _IS_MINE, IS_CLAIMED)
        parameters = {"given_jobs": [claim.job.job_id for claim in claims], "given_lease": claims[0].lease}
        found = set(connection.execute(claimed, parameters).scalars())
        for claim in claims:
            claim.job.is_claimed |= claim.job.job_id in found

    def _read_capacity(
        self, connection: sa.Connection, claims: list[ClaimJob], account: AccountRow, prices: Prices, today: str
    ) -> _Capacity:
        capacity = _Capacity(self._limits, prices)
        parameters = {"given_account": self._account}
        if self._limits.max_operations is not None or any(claim.job.item.kind == "upscale" for claim in claims):
            capacity.upscales, capacity.operations = connection.execute(_COUNT_CLAIMED, parameters).one()
        if any(claim.job.opens_tree for claim in claims):
            counts = (_COUNT_BELOW, _COUNT_BELOW_ROOTS)
            capacity.ahead = sum(connection.execute(count, parameters).scalar_one() for count in counts)
        if account.has_budgets:
            names = {today, *(claim.job.budget for claim in claims if claim.job.budget is not None)}
            capacity.budgets = read_budgets(connection, self._account, names)
            since = account.now_us - round(self._limits.price_timeout * 1_000_000)
            for budget, day, kind, reserved, goes_alone in connection.execute(
                _RESERVED, {**parameters, "since": since}
            ):
                if goes_alone or reserved > prices.largest(kind):
                    capacity.unconfirmed |= {name for name in (budget, day) if name is not None}
        return capacity

    def _learn_price(self, connection: sa.Connection, kind: str, charged: float | None, prices: Prices) -> None:
        """Record the price in a result. If it has none, record the expected price, so that other presses go on."""
        if charged is not None or not prices.is_known(kind):
            before = prices.of(kind)
            prices.learn(kind, charged or prices.expected(kind))
            self._write_price(connection, kind, before, prices)

    def _read_prices(self, connection: sa.Connection) -> Prices:
        prices = Prices()
        for kind, last, largest in connection.execute(_PRICES, {"given_account": self._account}):
            if last is not None:
                prices.learn(kind, last)
            prices.observe(kind, largest)
        return prices

    def _write_price(
        self, connection: sa.Connection, kind: str, before: tuple[float | None, float | None], prices: Prices
    ) -> None:
        last, largest = prices.of(kind)
        if (last, largest) == before:
            return
        price = insert_into(connection, PRICES).values(account=self._account, kind=kind, credits=last, largest=largest)
        connection.execute(
            price.on_conflict_do_update(
                index_elements=[PRICES.c.account, PRICES.c.kind], set_={"credits": last, "largest": largest}
            )
        )

    def _updating_budgets(
        self, connection: sa.Connection, account: AccountRow, changes: Sequence[JobChange]
    ) -> AbstractContextManager[None]:
        if not account.has_budgets or not changes:
            return nullcontext()
        return updating_budgets(connection, self._account, [change.job.job_id for change in changes])


@frozen
class AccountRow:
    """The row of an account, which the current transaction has locked."""

    ended_number: int
    """The number of the latest end."""
    has_budgets: bool
    has_others: bool
    """True if the account has more than one worker."""
    now_us: int
    """The time in microseconds since the epoch, by the database's clock."""


def lock_account(connection: sa.Connection, account: str) -> AccountRow:
    """Lock an account until the commit, so that no other worker writes to it, and return its row."""
    if is_postgresql(connection):  # lock first: values read before the lock could be outdated
        locked = sa.select(ACCOUNTS.c.account).where(ACCOUNTS.c.account == account).with_for_update()
        connection.execute(locked)
    ended_number, is_limited, workers, now_us = connection.execute(
        _lock_statement(is_postgresql=is_postgresql(connection)), {"given_account": account}
    ).one()
    return AccountRow(ended_number, bool(is_limited), workers > 1, now_us or now(connection))


@cache
def _lock_statement(*, is_postgresql: bool) -> sa.Select[Any]:
    has_budgets = sa.exists().where(BUDGETS.c.account == ACCOUNTS.c.account)
    workers = sa.select(sa.func.count()).where(LEASES.c.account == ACCOUNTS.c.account).scalar_subquery()
    now_us = POSTGRESQL_NOW if is_postgresql else sa.null()
    row = sa.select(ACCOUNTS.c.ended_number, has_budgets, workers, now_us)
    return row.where(ACCOUNTS.c.account == sa.bindparam("given_account"))


def now(connection: sa.Connection) -> int:
    """Return the time in microseconds since the epoch, by the database's clock."""
    if not is_postgresql(connection):
        return time.time_ns() // 1_000
    microseconds: int = connection.execute(sa.select(POSTGRESQL_NOW)).scalar_one()
    return microseconds


def _dumps(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()


def _of_type(kind: type[T], changes: Iterable[object]) -> list[T]:
    return [change for change in changes if isinstance(change, kind)]
