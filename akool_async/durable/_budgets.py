"""The budgets of a store: the most credits that the jobs of one submission, or of one day, may cost.

A budget applies to all workers together. Every transaction that changes the credits of jobs also changes the sums of
their budgets, by the difference between the jobs before and after the change.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa
from attrs import frozen

from akool_async import BudgetError
from akool_async.durable._tables import BUDGETS, JOBS, insert_into

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SPENT: Final = sa.func.coalesce(JOBS.c.lost, 0.0) + sa.case(
    (JOBS.c.reserved.is_(None), sa.func.coalesce(JOBS.c.credits, JOBS.c.estimate, 0.0)), else_=0.0
)
"""Credits that an ended job, and the earlier POSTs of any job, have spent of a budget."""
RESERVED: Final = sa.func.coalesce(
    sa.case((JOBS.c.credits > JOBS.c.reserved, JOBS.c.credits), else_=JOBS.c.reserved), 0.0
)
"""Credits reserved for a job until it has ended."""
DAY_FORMAT: Final = "day %Y-%m-%d"


class DailyBudgetError(BudgetError):
    """A press could have exceeded ``max_credits_per_day``. The jobs stay open until after midnight (UTC)."""


@frozen
class BudgetRow:
    """The state of a budget in the current transaction. All amounts are credits."""

    name: str
    max_credits: float
    spent: float
    reserved: float


def day_of(microseconds: int) -> str:
    """Return the name of the budget of the day (UTC) of a time in microseconds since the epoch."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime(DAY_FORMAT)


def open_budget(connection: sa.Connection, account: str, name: str, max_credits: float) -> None:
    """Create a budget, or change its ``max_credits``. A new budget counts what its jobs have cost already."""
    is_of_it = (JOBS.c.account == account) & ((JOBS.c.budget == name) | (JOBS.c.day == name))
    sums = sa.select(sa.func.coalesce(sa.func.sum(SPENT), 0.0), sa.func.coalesce(sa.func.sum(RESERVED), 0.0))
    exists = sa.select(BUDGETS.c.budget).where(BUDGETS.c.account == account, BUDGETS.c.budget == name)
    if connection.execute(exists).first() is not None:
        changed = sa.update(BUDGETS).where(BUDGETS.c.account == account, BUDGETS.c.budget == name)
        connection.execute(changed.where(BUDGETS.c.max_credits != max_credits).values(max_credits=max_credits))
        return
    spent, reserved = connection.execute(sums.where(is_of_it)).one()
    new = insert_into(connection, BUDGETS).values(
        account=account, budget=name, max_credits=max_credits, spent=spent, reserved=reserved
    )
    connection.execute(new.on_conflict_do_nothing())


def read_budgets(connection: sa.Connection, account: str, names: Iterable[str]) -> dict[str, BudgetRow]:
    """Return the budgets with these names, by name."""
    columns = (BUDGETS.c.budget, BUDGETS.c.max_credits, BUDGETS.c.spent, BUDGETS.c.reserved)
    rows = connection.execute(
        sa.select(*columns).where(BUDGETS.c.account == account, BUDGETS.c.budget.in_(list(names)))
    )
    return {row.budget: BudgetRow(*row) for row in rows}


@contextmanager
def updating_budgets(connection: sa.Connection, account: str, job_ids: Sequence[str]) -> Iterator[None]:
    """Update the sums of the budgets of these jobs after a block that changes the credits of the jobs."""
    before = _sums(connection, job_ids)
    yield
    after = _sums(connection, job_ids)
    for name in before.keys() | after.keys():
        (old_spent, old_reserved), (spent, reserved) = before.get(name, (0.0, 0.0)), after.get(name, (0.0, 0.0))
        connection.execute(
            sa.update(BUDGETS)
            .where(BUDGETS.c.account == account, BUDGETS.c.budget == name)
            .values(spent=BUDGETS.c.spent + spent - old_spent, reserved=BUDGETS.c.reserved + reserved - old_reserved)
        )


def _sums(connection: sa.Connection, job_ids: Sequence[str]) -> dict[str, tuple[float, float]]:
    sums: dict[str, tuple[float, float]] = {}
    query = sa.select(JOBS.c.budget, JOBS.c.day, sa.func.sum(SPENT), sa.func.sum(RESERVED))
    query = query.where(JOBS.c.job_id.in_(job_ids)).group_by(JOBS.c.budget, JOBS.c.day)
    for budget, day, spent, reserved in connection.execute(query):
        for name in (budget, day):
            if name is not None:
                earlier = sums.get(name, (0.0, 0.0))
                sums[name] = (earlier[0] + spent, earlier[1] + reserved)
    return sums
