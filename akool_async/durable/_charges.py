"""What a state knows of credits: what each press was charged, and what the next one of its kind is expected to cost.

``credits`` of a job is what AKOOL reported, the larger of the reply to the press and the result. ``estimate`` is set as
long as AKOOL may have charged for it, from before its POST; where nothing was reported, the estimate counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from akool_async._limits.credits import EXPECTED_PRICES
from akool_async.durable._tables import IS_ESTIMATED, IS_REPORTED, JOBS, PRICES

if TYPE_CHECKING:
    from akool_async import Button

Credits = sa.ColumnElement[float | None]


def price_of(account: str, button: Button) -> Credits:
    """What a press is expected to cost: as the last one of its kind, or else as AKOOL's pages say."""
    is_its = (PRICES.c.account == account) & (PRICES.c.kind == button.kind)
    last = sa.select(PRICES.c.credits).where(is_its).scalar_subquery()
    return sa.func.coalesce(last, EXPECTED_PRICES[button.kind])


def larger(reported: float | None) -> Credits:
    """What a job was charged, now that AKOOL reports this; None and 0 are no price."""
    if not reported:
        return JOBS.c.credits
    return sa.case((JOBS.c.credits > reported, JOBS.c.credits), else_=reported)


def learn(connection: sa.Connection, account: str, button: Button, charged: float) -> None:
    """Keep the price of the last one of its kind."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    price = dialect.insert(PRICES).values(account=account, kind=button.kind, credits=charged)
    changed = price.on_conflict_do_update(
        index_elements=[PRICES.c.account, PRICES.c.kind],
        set_={"credits": charged},
        where=PRICES.c.credits != charged,
    )
    connection.execute(changed)


def sum_up(connection: sa.Connection, account: str) -> dict[str, float]:
    """What was charged to an account, as :class:`JobCounts` tells it."""
    mine = JOBS.c.account == account
    reported = connection.execute(sa.select(sa.func.sum(JOBS.c.credits)).where(mine, IS_REPORTED)).scalar() or 0.0
    has_id = JOBS.c.operation_id.is_not(None) | JOBS.c.told_id.is_not(None)
    known = sa.case((JOBS.c.charged, has_id)).label("known")  # NULL where it may not have been charged
    by_estimate = sa.select(known, sa.func.sum(JOBS.c.estimate)).where(mine, IS_ESTIMATED).group_by(known)
    sums: dict[bool | None, float] = {is_known: total for is_known, total in connection.execute(by_estimate)}  # noqa: C416 - rows
    return {
        "credits_charged": reported + sums.get(True, 0.0),
        "credits_lost": sums.get(False, 0.0),
        "credits_in_doubt": sums.get(None, 0.0),
        "credits_estimated": sums.get(True, 0.0),
    }
