"""What a fan-out may spend: no more than ``max_credits``, whatever is under way and whatever AKOOL reports first."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Self

from akool_async.errors import BudgetError, OutcomeUnknownError

if TYPE_CHECKING:
    from types import TracebackType

    from akool_async._money import Prices
    from akool_async.models import Button, ImageResult


class Budget:
    """Credits charged, and set aside for presses whose price AKOOL has not confirmed."""

    def __init__(self, max_credits: float | None, prices: Prices) -> None:
        self._max_credits = math.inf if max_credits is None else max_credits
        self._prices = prices
        self._charged = 0.0
        self._reserved = 0.0
        self._asking: set[str] = set()
        self._asked: set[str] = set()
        self._changed = asyncio.Condition()

    def refuse_if_spent(self, button: Button) -> None:
        """Raise :class:`BudgetError` if the credits for a press will not be there, whatever else happens."""
        price = self._prices.largest(button.kind)
        if self._charged + price > self._max_credits:
            raise BudgetError(max_credits=self._max_credits, charged=self._charged, price=price)

    async def reserve(self, button: Button) -> float:
        """Set credits aside for a press, waiting for what is under way if the answer depends on it.

        The first press of a kind goes alone until its result shows what the others cost.

        Raises:
            BudgetError: they are not there.
        """
        if self._max_credits == math.inf:
            return 0.0
        async with self._changed:
            while True:
                self.refuse_if_spent(button)
                price = self._prices.largest(button.kind)
                fits = self._charged + self._reserved + price <= self._max_credits
                if fits and button.kind not in self._asking:
                    if not self._prices.is_known(button.kind) and button.kind not in self._asked:
                        self._asking.add(button.kind)
                    self._reserved += price
                    return price
                await self._changed.wait()

    async def count(self, kind: str, *, reserved: float, charged: float, is_over: bool) -> None:
        """Of a press ``reserved`` is no longer set aside, and ``charged`` more is spent."""
        if self._max_credits == math.inf:
            return
        async with self._changed:
            self._reserved -= reserved
            self._charged += charged
            if is_over:
                self._asking.discard(kind)
            if is_over and charged:  # AKOOL may never report a price: then the next ones do not go alone
                self._asked.add(kind)
            self._changed.notify_all()


class Purchase:
    """The credits of one press, from before its POST until its result: an async context manager around both."""

    def __init__(self, budget: Budget, button: Button) -> None:
        self._budget = budget
        self._button = button
        self._reserved: float | None = None
        self._charged = 0.0
        self._reported = 0.0
        self._is_accepted = False

    async def reserve(self) -> None:
        """Set the credits aside. Never called for a press that is under way or known already: it is charged once.

        Raises:
            BudgetError: they are not there.
        """
        self._reserved = await self._budget.reserve(self._button)

    async def accept(self, reply: ImageResult | None) -> None:
        """AKOOL accepted the press. A price below what was set aside is not believed before the result confirms it."""
        self._is_accepted = True
        self._reported = (reply and reply.deduction_credit) or 0.0
        if self._reserved is not None and self._reported >= self._reserved:
            await self._count(self._reported, is_over=False)

    async def end(self, result: ImageResult | None) -> None:
        """The result came, or None: nothing more is heard of a press that may have been charged.

        The larger of the two reports counts. None and 0 are no price: what was set aside is counted.
        """
        reported = result and result.deduction_credit
        known = max(reported, self._reported) if reported else 0.0
        await self._count(max(known or self._reserved or 0.0, self._charged), is_over=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if exc is None:
            return
        if self._is_accepted or isinstance(exc, OutcomeUnknownError):
            await self.end(None)
        else:
            await self._count(0.0, is_over=True)

    async def _count(self, charged: float, *, is_over: bool) -> None:
        if self._reserved is None:
            return
        reserved, self._reserved = self._reserved, 0.0
        more, self._charged = charged - self._charged, charged
        await self._budget.count(self._button.kind, reserved=reserved, charged=more, is_over=is_over)
