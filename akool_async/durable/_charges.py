"""The credits of a store: what AKOOL charged for each press, and what the next one of its kind is expected to cost.

``credits`` of a job is what AKOOL reported, the larger of the reply to the press and the result. ``estimate`` is set
while AKOOL may have charged for the job, from before its POST. It counts if AKOOL has reported nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from akool_async._limits.credits import EXPECTED_PRICES, as_price, price_kind
from akool_async.durable._tables import IS_ESTIMATED, IS_REPORTED, JOBS, PRICES, insert_into

if TYPE_CHECKING:
    from akool_async import ButtonPress

Credits = sa.ColumnElement[float | None]


def expected_price(account: str, press: ButtonPress) -> Credits:
    """What a press is expected to cost: as much as the last one of its kind, or else as AKOOL's pages say."""
    kind = price_kind(press)
    is_its = (PRICES.c.account == account) & (PRICES.c.kind == kind)
    last = sa.select(PRICES.c.credits).where(is_its).scalar_subquery()
    return sa.func.coalesce(last, EXPECTED_PRICES[kind])


def larger_charge(reported: float | None) -> Credits:
    """The credits of a job, now that AKOOL reports this ``deduction_credit``."""
    price = as_price(reported)
    if price is None:
        return JOBS.c.credits
    return sa.case((JOBS.c.credits > price, JOBS.c.credits), else_=price)


def record_price(connection: sa.Connection, account: str, press: ButtonPress, charged: float) -> None:
    """Keep what was charged for a press as the price of its kind."""
    price = insert_into(connection, PRICES).values(account=account, kind=price_kind(press), credits=charged)
    changed = price.on_conflict_do_update(
        index_elements=[PRICES.c.account, PRICES.c.kind],
        set_={"credits": charged},
        where=PRICES.c.credits != charged,
    )
    connection.execute(changed)


def sum_credits(connection: sa.Connection, account: str) -> dict[str, float]:
    """What was charged to an account, as the fields of :class:`JobCounts`."""
    mine = JOBS.c.account == account
    reported = connection.execute(sa.select(sa.func.sum(JOBS.c.credits)).where(mine, IS_REPORTED)).scalar() or 0.0
    has_id = JOBS.c.operation_id.is_not(None) | JOBS.c.webhook_id.is_not(None)
    known = sa.case((JOBS.c.charged, has_id)).label("known")  # NULL if it may not have been charged
    by_estimate = sa.select(known, sa.func.sum(JOBS.c.estimate)).where(mine, IS_ESTIMATED).group_by(known)
    sums: dict[bool | None, float] = {is_known: total for is_known, total in connection.execute(by_estimate)}  # noqa: C416 - rows
    return {
        "credits_charged": reported + sums.get(True, 0.0),
        "credits_lost": sums.get(False, 0.0),
        "credits_in_doubt": sums.get(None, 0.0),
        "credits_estimated": sums.get(True, 0.0),
    }
