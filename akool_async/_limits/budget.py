"""What a fan-out may spend: no more than ``max_credits``, whatever is under way and whatever AKOOL reports first."""

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
"""Times the expected price that is set aside for a press until AKOOL has answered it: prices may rise any time."""


@frozen
class Reservation:
    """Credits that are set aside for a press."""

    credits: float
    is_alone: bool
    """True if it is too little for a surprise: others of the budget wait until its price is confirmed."""


def reservation(
    price: float,
    *,
    max_credits: float,
    charged: float,
    reserved: float,
    is_one_unconfirmed: bool,
    error: type[BudgetError] = BudgetError,
) -> Reservation | None:
    """What to set aside for a press; None if it has to wait for what is under way.

    Args:
        price: The largest price of its kind so far; as long as there is none, the one that AKOOL's pages name.
        max_credits: The budget.
        charged: Credits that are spent.
        reserved: Credits that are set aside for other presses.
        is_one_unconfirmed: Whether the price of another POST that is under way may yet be a surprise.
        error: What to raise.

    Raises:
        BudgetError: The credits will not be there, whatever becomes of what is under way.
    """
    if charged + price > max_credits:
        raise error(max_credits=max_credits, charged=charged, price=price)
    left = max_credits - charged - reserved
    if price * CAUTION <= left:
        return Reservation(price * CAUTION, is_alone=False)
    return None if is_one_unconfirmed or price > left else Reservation(price, is_alone=True)


class Budget:
    """Credits charged, and set aside for presses whose price AKOOL has not confirmed."""

    def __init__(self, max_credits: float | None, prices: Prices, price_timeout: float) -> None:
        self._max_credits = math.inf if max_credits is None else max_credits
        self._prices = prices
        self._price_timeout = price_timeout
        self._charged = 0.0
        self._reserved = 0.0
        # By kind: presses whose price may yet be a surprise, and until when others wait for it.
        self._unconfirmed: dict[str, dict[object, float]] = {}
        self._tried: set[str] = set()  # kinds of which a press went alone and showed no price
        self._changed = asyncio.Condition()

    @property
    def is_limited(self) -> bool:
        """False without ``max_credits``."""
        return self._max_credits < math.inf

    def refuse_if_spent(self, item: Item) -> None:
        """Raise :class:`BudgetError` if the credits for an item will not be there, whatever else happens."""
        price = self.price_of(item)
        if self._charged + price > self._max_credits:
            raise BudgetError(max_credits=self._max_credits, charged=self._charged, price=price)

    def price_of(self, item: Item) -> float:
        """What an item may cost, as far as is known."""
        return self._prices.largest(item.kind) * item.images

    async def reserve(self, item: Item, buyer: object) -> float:
        """Set credits aside for an item, and return how many, waiting for what is under way if that may suffice.

        Raises:
            BudgetError: the credits are not there.
        """
        async with self._changed:
            while True:
                until = self._until_all_are_confirmed()
                set_aside = reservation(
                    self.price_of(item),
                    max_credits=self._max_credits,
                    charged=self._charged,
                    reserved=self._reserved,
                    is_one_unconfirmed=until is not None,
                )
                if set_aside is not None:
                    break
                await self._wait_for_change(until)
            until = asyncio.get_running_loop().time() + self._price_timeout
            self._unconfirmed.setdefault(item.kind, {})[buyer] = until
            self._reserved += set_aside.credits
            return set_aside.credits

    def is_priced(self, kind: str) -> bool:
        """True if a result has shown what an image of this kind costs, or that AKOOL does not report it."""
        return self._prices.is_known(kind) or kind in self._tried

    async def confirm(self, kind: str, buyer: object) -> None:
        """AKOOL answered a POST of a kind whose price is known: nobody has to wait for its price."""
        async with self._changed:
            self._unconfirmed[kind].pop(buyer, None)
            self._changed.notify_all()

    async def count(self, *, reserved: float, charged: float) -> None:
        """Of a POST ``reserved`` is no longer set aside, and ``charged`` more is spent."""
        async with self._changed:
            self._reserved -= reserved
            self._charged += charged
            self._changed.notify_all()

    async def end(self, kind: str, buyer: object, *, is_charged: bool) -> None:
        """Nothing more is heard of a POST."""
        async with self._changed:
            self._unconfirmed[kind].pop(buyer, None)
            if is_charged:  # AKOOL may never report a price: then the next ones do not go alone
                self._tried.add(kind)
            self._changed.notify_all()

    def _until_all_are_confirmed(self) -> float | None:
        """The time until which to wait for the prices of POSTs under way; None if there is nothing to wait for."""
        until = max((until for kind in self._unconfirmed.values() for until in kind.values()), default=0.0)
        return until if until > asyncio.get_running_loop().time() else None

    async def _wait_for_change(self, until: float | None) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass


class Purchase:
    """The credits of one POST, from before it is sent until its result: an async context manager around both."""

    def __init__(self, budget: Budget, item: Item) -> None:
        self._budget = budget
        self._item = item
        self._reserved = 0.0
        self._charged = 0.0
        self._reported = 0.0
        self._is_open = False
        self._is_accepted = False

    async def reserve(self) -> None:
        """Set the credits aside. Not to be called for what was sent already: it is charged once.

        Raises:
            BudgetError: they are not there.
        """
        if self._budget.is_limited:
            self._reserved = await self._budget.reserve(self._item, self)
            self._is_open = True

    async def accept(self, reported: float | None) -> None:
        """AKOOL accepted it, with this ``deduction_credit`` in its reply: of a batch, in all.

        A price below what was set aside is not believed before the result confirms it.
        """
        self._is_accepted = True
        self._reported = as_price(reported) or 0.0
        if not self._is_open:
            return
        is_priced = self._budget.is_priced(self._item.kind)
        if self._reported >= self._reserved:
            await self._count(self._reported)
        elif is_priced:
            still = max(self._reported, self._budget.price_of(self._item))
            less, self._reserved = self._reserved - still, still
            await self._budget.count(reserved=less, charged=0.0)
        if is_priced:
            await self._budget.confirm(self._item.kind, self)

    async def end(self, reported: float | None) -> None:
        """The result came with this ``deduction_credit``; None and 0 if it has none, or if no result comes.

        The larger report counts. If there is none, what the press was likely to cost is counted.
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
