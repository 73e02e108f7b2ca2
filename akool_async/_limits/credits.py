"""Prices, and the credits that a session was charged. Budgets and counters use this one account."""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from akool_async._limits.recent import Recent

EXPECTED_PRICES: Final = {"upscale": 2.0, "variation": 2.0, "prompt": 2.0, "v4 4k": 4.0, "v4 1080p": 3.0}
"""Credits for one image: ``deduction_credit`` in the examples on AKOOL's pages; for v4, as observed."""
MAX_PRICE: Final = 1_000.0
"""Credits for one image. Larger reports are ignored: they make no sense, and would use up any budget."""
MAX_OPEN: Final = 100_000
"""Maximum number of operations whose result is awaited for its price."""


def as_price(reported: float | None) -> float | None:
    """Return a ``deduction_credit`` if it makes sense as a price, otherwise None."""
    return reported if reported and reported <= MAX_PRICE else None


@define
class Prices:
    """Credits for one image of each kind, as AKOOL reported them."""

    _last: dict[str, float] = field(factory=dict)
    _largest: dict[str, float] = field(factory=dict)

    def observe(self, kind: str, credits_charged: float) -> None:
        """Record a price from a reply, which the result may correct."""
        self._largest[kind] = max(credits_charged, self._largest.get(kind, 0.0))

    def learn(self, kind: str, credits_charged: float) -> None:
        """Record a price from a result."""
        self.observe(kind, credits_charged)
        self._last[kind] = credits_charged

    def is_known(self, kind: str) -> bool:
        """Return True if a result has shown the price of this kind."""
        return kind in self._last

    def of(self, kind: str) -> tuple[float | None, float | None]:
        """Return the last price of a kind from a result, and the largest from any report; None if there is none."""
        return self._last.get(kind), self._largest.get(kind)

    def expected(self, kind: str) -> float:
        """Return the likely price of the next image: the last price, or else the one on AKOOL's pages."""
        return self._last.get(kind, EXPECTED_PRICES[kind])

    def largest(self, kind: str) -> float:
        """Return the highest price that the next image may have. A new kind may cost as much as any other."""
        return self._largest.get(kind) or max(EXPECTED_PRICES[kind], *self._largest.values(), 0.0)


@frozen
class _Charge:
    """The credits counted for an operation whose result is awaited."""

    kind: str
    credits: float
    is_estimate: bool


@frozen
class Loss:
    """The credits counted for an image of a POST whose reply was lost."""

    credits: float
    is_charged: bool
    """True if AKOOL accepted it; False if it only may have."""


@define
class Account:
    """Credits that AKOOL charged to this session's POSTs."""

    prices: Prices = field(factory=Prices)
    charged: float = 0.0
    """For operations whose id is known."""
    lost: float = 0.0
    """For presses that AKOOL accepted, and whose id is lost."""
    in_doubt: float = 0.0
    """For POSTs that AKOOL may have accepted."""
    estimated: float = 0.0
    """The part of ``charged`` for which AKOOL has reported no price."""
    _open: Recent[str, _Charge] = field(factory=lambda: Recent(MAX_OPEN))
    _first_balance: float | None = None
    _spent_elsewhere: float | None = None

    def accept(self, operation_id: str, kind: str, reported: float | None) -> None:
        """Count an accepted image.

        Args:
            operation_id: Its id.
            kind: Its kind.
            reported: ``deduction_credit`` of the reply; None if there is none.
        """
        reported = as_price(reported)
        charge = _Charge(kind, reported or self.prices.expected(kind), not reported)
        if reported:
            self.prices.observe(kind, reported)
        self._count(charge, 1)
        self._open[operation_id] = charge

    def end(self, operation_id: str, reported: float | None) -> None:
        """Correct the count of an accepted image. The larger of both reports counts.

        Args:
            operation_id: Its id.
            reported: ``deduction_credit`` of the result; None if there is none.
        """
        charge = self._open.pop(operation_id, None)
        if charge is None:
            return
        reported = as_price(reported)
        if reported and (charge.is_estimate or reported > charge.credits):
            self._count(charge, -1)
            charge = _Charge(charge.kind, reported, is_estimate=False)
            self._count(charge, 1)
        if not charge.is_estimate:
            self.prices.learn(charge.kind, charge.credits)

    def lose(self, kind: str, images: int, *, charged: bool | None) -> list[Loss]:
        """Count the images of a POST whose reply was lost. Return the loss for each of them."""
        losses = [Loss(self.prices.expected(kind), is_charged=bool(charged)) for _ in range(images)]
        for loss in losses:
            self._count_loss(loss, 1)
        return losses

    def find(self, loss: Loss) -> None:
        """Undo a loss: the image was found."""
        self._count_loss(loss, -1)

    def read_balance(self, balance: float) -> None:
        """Record the account's balance."""
        spent = self.charged + self.lost
        if self._first_balance is None:
            self._first_balance = balance + spent
        else:
            self._spent_elsewhere = self._first_balance - balance - spent

    @property
    def spent_elsewhere(self) -> float | None:
        """Credits by which the balance fell beyond ``charged`` and ``lost``, between its first and its last reading.

        Negative after a top-up. None before the second reading.
        """
        return self._spent_elsewhere

    def _count(self, charge: _Charge, sign: int) -> None:
        self.charged += sign * charge.credits
        if charge.is_estimate:
            self.estimated += sign * charge.credits

    def _count_loss(self, loss: Loss, sign: int) -> None:
        if loss.is_charged:
            self.lost += sign * loss.credits
        else:
            self.in_doubt += sign * loss.credits
