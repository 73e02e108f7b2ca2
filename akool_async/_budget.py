"""What a fan-out may spend: never more than ``max_credits``, whatever is under way."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async.errors import BudgetError

if TYPE_CHECKING:
    from akool_async.models import Button

DOCUMENTED_PRICE: Final = 2.0
"""``deduction_credit`` of every example in AKOOL's pages, set aside until a press of the kind has told its own."""


class Budget:
    """Credits charged, and set aside for presses whose reply has not come."""

    def __init__(self, max_credits: float | None) -> None:
        self._max_credits = max_credits
        self._charged = 0.0
        self._reserved = 0.0
        self._prices: dict[str, float] = {}
        self._asking: set[str] = set()
        self._changed = asyncio.Condition()

    def refuse_if_spent(self, button: Button) -> None:
        """Raise :class:`BudgetError` where the credits for a press will not be there, whatever else happens."""
        price = self._price_of(button)
        if self._max_credits is not None and self._charged + price > self._max_credits:
            raise BudgetError(max_credits=self._max_credits, charged=self._charged, price=price)

    async def reserve(self, button: Button) -> float:
        """Set credits aside for a press, waiting for replies under way where the answer depends on them.

        The first press of a kind goes alone: its reply tells what the others cost.

        Raises:
            BudgetError: they are not there.
        """
        if self._max_credits is None:
            return 0.0
        async with self._changed:
            while True:
                self.refuse_if_spent(button)
                price = self._price_of(button)
                fits = self._charged + self._reserved + price <= self._max_credits
                if fits and button.kind not in self._asking:
                    if button.kind not in self._prices:
                        self._asking.add(button.kind)
                    self._reserved += price
                    return price
                await self._changed.wait()

    def _price_of(self, button: Button) -> float:
        return self._prices.get(button.kind, max([DOCUMENTED_PRICE, *self._prices.values()]))

    async def settle(self, button: Button, reserved: float, charged: float) -> None:
        """A press that had ``reserved`` was charged this much: its price, nothing, or what it may have been."""
        if self._max_credits is None:
            return
        async with self._changed:
            self._reserved -= reserved
            self._charged += charged
            if charged:
                self._prices[button.kind] = max(charged, self._prices.get(button.kind, 0.0))
            self._asking.discard(button.kind)
            self._changed.notify_all()
