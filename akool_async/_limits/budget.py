"""The budget of a fan-out: at most ``max_credits``, even if AKOOL's first reports of a price are wrong."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Final, Self

from attrs import frozen

from akool_async._limits.credits import as_price
from akool_async.errors import BudgetError, OutcomeUnknownError

if TYPE_CHECKING:
    from types import TracebackType

    from akool_async._limits.credits import Prices
    from akool_async.items import Item

CAUTION: Final = 50
"""Until AKOOL has answered a press, this many times its expected price is reserved, since prices may rise."""


@frozen
class Reservation:
    """Credits that are reserved for a press."""

    credits: float
    is_alone: bool
    """True if they do not cover a rise of the price, so that other presses wait until this price is confirmed."""


def reservation(
    price: float,
    *,
    max_credits: float,
    charged: float,
    reserved: float,
    is_one_unconfirmed: bool,
    error: type[BudgetError] = BudgetError,
) -> Reservation | None:
    """Return the reservation for a press; None if it must wait for the POSTs under way.

    Args:
        price: The largest price of its kind so far, or else the price on AKOOL's pages.
        max_credits: The budget.
        charged: Credits that are spent.
        reserved: Credits that are reserved for other presses.
        is_one_unconfirmed: True if the price of another POST under way is not confirmed.
        error: The class to raise.

    Raises:
        BudgetError: The budget is too small, whatever the POSTs under way cost.
    """
    if charged + price > max_credits:
        raise error(max_credits=max_credits, charged=charged, price=price)
    left = max_credits - charged - reserved
    if price * CAUTION <= left:
        return Reservation(price * CAUTION, is_alone=False)
    return None if is_one_unconfirmed or price > left else Reservation(price, is_alone=True)


class Budget:
    """Counts credits that are charged, and credits reserved for presses whose price is not confirmed."""

    def __init__(self, max_credits: float | None, prices: Prices, price_timeout: float) -> None:
        self._max_credits = math.inf if max_credits is None else max_credits
        self._prices = prices
        self._price_timeout = price_timeout
        self._charged = 0.0
        self._reserved = 0.0
        # By kind: presses whose price is not confirmed, and the time until which others wait for it.
        self._unconfirmed: dict[str, dict[object, float]] = {}
        self._tried: set[str] = set()  # kinds of finished presses for which AKOOL reported no price
        self._changed = asyncio.Condition()

    @property
    def is_limited(self) -> bool:
        """False without ``max_credits``."""
        return self._max_credits < math.inf

    def refuse_if_spent(self, item: Item) -> None:
        """Raise :class:`BudgetError` if the budget is too small for an item, whatever else happens."""
        price = self.price_of(item)
        if self._charged + price > self._max_credits:
            raise BudgetError(max_credits=self._max_credits, charged=self._charged, price=price)

    def price_of(self, item: Item) -> float:
        """Return the credits that an item may cost, as far as is known."""
        return self._prices.largest(item.kind) * item.images

    async def reserve(self, item: Item, buyer: object) -> float:
        """Reserve credits for an item, and return how many. Wait for POSTs under way if that may free enough.

        Args:
            item: The item.
            buyer: Identifies the POST in later calls.

        Raises:
            BudgetError: The budget is too small.
        """
        async with self._changed:
            while True:
                until = self._until_all_are_confirmed()
                reserved = reservation(
                    self.price_of(item),
                    max_credits=self._max_credits,
                    charged=self._charged,
                    reserved=self._reserved,
                    is_one_unconfirmed=until is not None,
                )
                if reserved is not None:
                    break
                await self._wait_for_change(until)
            until = asyncio.get_running_loop().time() + self._price_timeout
            self._unconfirmed.setdefault(item.kind, {})[buyer] = until
            self._reserved += reserved.credits
            return reserved.credits

    def is_priced(self, kind: str) -> bool:
        """Return True if a result has shown the price of this kind, or that AKOOL does not report it."""
        return self._prices.is_known(kind) or kind in self._tried

    async def confirm(self, kind: str, buyer: object) -> None:
        """Let nobody wait for the price of a POST any longer: AKOOL has answered it, and its kind's price is known."""
        async with self._changed:
            self._unconfirmed[kind].pop(buyer, None)
            self._changed.notify_all()

    async def count(self, *, reserved: float, charged: float) -> None:
        """Release ``reserved`` credits of a POST, and count ``charged`` more credits as spent."""
        async with self._changed:
            self._reserved -= reserved
            self._charged += charged
            self._changed.notify_all()

    async def end(self, kind: str, buyer: object, *, is_charged: bool) -> None:
        """Let nobody wait for the price of a POST any longer: it is over."""
        async with self._changed:
            self._unconfirmed[kind].pop(buyer, None)
            if is_charged:  # AKOOL may never report a price: then the next ones need not wait for it
                self._tried.add(kind)
            self._changed.notify_all()

    def _until_all_are_confirmed(self) -> float | None:
        """Return the time until which to wait for the prices of POSTs under way; None if no wait is needed."""
        until = max((until for kind in self._unconfirmed.values() for until in kind.values()), default=0.0)
        return until if until > asyncio.get_running_loop().time() else None

    async def _wait_for_change(self, until: float | None) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass


class Purchase:
    """The credits of one POST: an async context manager from before it is sent until its result."""

    def __init__(self, budget: Budget, item: Item) -> None:
        self._budget = budget
        self._item = item
        self._reserved = 0.0
        self._charged = 0.0
        self._reported = 0.0
        self._is_open = False
        self._is_accepted = False

    async def reserve(self) -> None:
        """Reserve the credits. Do not call this for a press that was sent before, since it is charged once.

        Raises:
            BudgetError: The budget is too small.
        """
        if self._budget.is_limited:
            self._reserved = await self._budget.reserve(self._item, self)
            self._is_open = True

    async def accept(self, reported: float | None) -> None:
        """Count a POST that AKOOL accepted.

        A price below the reservation is not believed before the result confirms it.

        Args:
            reported: ``deduction_credit`` of the reply, for all images together; None if there is none.
        """
        self._is_accepted = True
        self._reported = as_price(reported) or 0.0
        if not self._is_open:
            return
        is_priced = self._budget.is_priced(self._item.kind)
        if self._reported >= self._reserved:
            await self._count(self._reported)
        elif is_priced:
            likely = max(self._reported, self._budget.price_of(self._item))
            released, self._reserved = self._reserved - likely, likely
            await self._budget.count(reserved=released, charged=0.0)
        if is_priced:
            await self._budget.confirm(self._item.kind, self)

    async def end(self, reported: float | None) -> None:
        """Count the final price. The larger of both reports counts; if there is none, the expected price does.

        Args:
            reported: ``deduction_credit`` of the result; None or 0 if it has none, or if there is no result.
        """
        if self._is_open:
            reported = as_price(reported)
            known = max(reported, self._reported) if reported else 0.0
            await self._close(max(known or self._reported, self._charged) or self._budget.price_of(self._item))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_accepted or isinstance(exc, OutcomeUnknownError):
            await self.end(None)
        elif self._is_open:
            await self._close(0.0)

    async def _close(self, charged: float) -> None:
        self._is_open = False
        await self._count(charged)
        await self._budget.end(self._item.kind, self, is_charged=charged > 0)

    async def _count(self, charged: float) -> None:
        reserved, self._reserved = self._reserved, 0.0
        more, self._charged = charged - self._charged, charged
        await self._budget.count(reserved=reserved, charged=more)
