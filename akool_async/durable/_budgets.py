"""The budgets of a store: what the jobs of one submission, or of one day, may cost all workers together.

Their sums follow the jobs: a transaction that changes the credits of jobs reads what they count for before and after.
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
"""What a job counts for once it has ended, and what earlier POSTs of it count for."""
RESERVED: Final = sa.func.coalesce(
    sa.case((JOBS.c.credits > JOBS.c.reserved, JOBS.c.credits), else_=JOBS.c.reserved), 0.0
)
"""What is set aside for a job until it has ended."""
DAY_FORMAT: Final = "day %Y-%m-%d"


class DailyBudgetError(BudgetError):
    """Pressing could have passed ``max_credits_per_day``: the jobs stay open, and go on after midnight (UTC)."""


@frozen
class BudgetRow:
    """A budget as it is in this transaction."""

    name: str
    max_credits: float
    spent: float
    reserved: float


def day_of(microseconds: int) -> str:
    """The name of the budget of a day, in UTC."""
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC).strftime(DAY_FORMAT)


def open_budget(connection: sa.Connection, account: str, name: str, max_credits: float) -> None:
    """Make a budget, or change what it allows. What jobs of it have cost so far counts."""
    is_of_it = (JOBS.c.account == account) & ((JOBS.c.budget == name) | (JOBS.c.day == name))
    sums = sa.select(sa.func.coalesce(sa.func.sum(SPENT), 0.0), sa.func.coalesce(sa.func.sum(RESERVED), 0.0))
    exists = sa.select(BUDGETS.c.budget).where(BUDGETS.c.account == account, BUDGETS.c.budget == name)
    if connection.execute(exists).first() is not None:
        changed = sa.update(BUDGETS).where(BUDGETS.c.account == account, BUDGETS.c.budget == name)
        connection.execute(changed.where(BUDGETS.c.max_credits != max_credits).values(max_credits=max_credits))
        return
    spent, reserved = connection.execute(sums.where(is_of_it)).one()
    made = insert_into(connection, BUDGETS).values(
        account=account, budget=name, max_credits=max_credits, spent=spent, reserved=reserved
    )
    connection.execute(made.on_conflict_do_nothing())


def read_budgets(connection: sa.Connection, account: str, names: Iterable[str]) -> dict[str, BudgetRow]:
    """The budgets with these names, by name."""
    columns = (BUDGETS.c.budget, BUDGETS.c.max_credits, BUDGETS.c.spent, BUDGETS.c.reserved)
    rows = connection.execute(
        sa.select(*columns).where(BUDGETS.c.account == account, BUDGETS.c.budget.in_(list(names)))
    )
    return {row.budget: BudgetRow(*row) for row in rows}


@contextmanager
def budgets_follow(connection: sa.Connection, account: str, job_ids: Sequence[str]) -> Iterator[None]:
    """In this block the credits of these jobs change, and so do the sums of their budgets."""
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
