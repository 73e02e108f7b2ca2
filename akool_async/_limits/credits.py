"""What things cost, and what a session was charged: the one account that budgets and sums are drawn from."""

from __future__ import annotations

from typing import Final

from attrs import define, field, frozen

from akool_async._limits.recent import Recent

EXPECTED_PRICES: Final = {"upscale": 2.0, "variation": 2.0, "prompt": 2.0, "v4 4k": 4.0, "v4 1080p": 3.0}
"""Credits for one image: ``deduction_credit`` of the examples in AKOOL's pages; for v4, as seen in use."""
MAX_PRICE: Final = 1_000.0
"""Credits for one image. A report beyond it makes no sense, and would end all presses under a budget."""
MAX_OPEN: Final = 100_000
"""Operations whose result is awaited for its price."""


def as_price(reported: float | None) -> float | None:
    """The ``deduction_credit`` of a reply or a result as a price; None if it makes no sense as one."""
    return reported if reported and reported <= MAX_PRICE else None


@define
class Prices:
    """Credits for one image of each kind, as AKOOL charged them."""

    _last: dict[str, float] = field(factory=dict)
    _largest: dict[str, float] = field(factory=dict)

    def observe(self, kind: str, credits_charged: float) -> None:
        """AKOOL reports a charge, which its result may yet correct."""
        self._largest[kind] = max(credits_charged, self._largest.get(kind, 0.0))

    def learn(self, kind: str, credits_charged: float) -> None:
        """AKOOL charged this much, as its result confirms."""
        self.observe(kind, credits_charged)
        self._last[kind] = credits_charged

    def is_known(self, kind: str) -> bool:
        """True once AKOOL charged for one of this kind."""
        return kind in self._last

    def of(self, kind: str) -> tuple[float | None, float | None]:
        """The last price of a kind that a result confirmed, and the largest that AKOOL reported."""
        return self._last.get(kind), self._largest.get(kind)

    def expected(self, kind: str) -> float:
        """What the next one is likely to cost: as the last one, or else as AKOOL's pages say."""
        return self._last.get(kind, EXPECTED_PRICES[kind])

    def largest(self, kind: str) -> float:
        """What the next one may cost, as far as is known: for a kind not seen yet, as much as any other."""
        return self._largest.get(kind) or max(EXPECTED_PRICES[kind], *self._largest.values(), 0.0)


@frozen
class _Charge:
    """What is counted for an operation whose result is awaited."""

    kind: str
    credits: float
    is_estimate: bool


@frozen
class Loss:
    """What is counted for an image of a POST whose reply was lost."""

    credits: float
    is_charged: bool
    """False if AKOOL may not have accepted it."""


@define
class Account:
    """Credits that AKOOL charged to this session's POSTs."""

    prices: Prices = field(factory=Prices)
    charged: float = 0.0
    """For operations whose id is known."""
    lost: float = 0.0
    """For presses that AKOOL was found to have accepted, and whose id is lost."""
    in_doubt: float = 0.0
    """For POSTs of which it is not known whether AKOOL accepted them."""
    estimated: float = 0.0
    """Of ``charged``: what AKOOL has not reported a price for."""
    _open: Recent[str, _Charge] = field(factory=lambda: Recent(MAX_OPEN))
    _first_balance: float | None = None
    _spent_elsewhere: float | None = None

    def accept(self, operation_id: str, kind: str, reported: float | None) -> None:
        """AKOOL accepted an image, with the ``deduction_credit`` of its reply."""
        reported = as_price(reported)
        charge = _Charge(kind, reported or self.prices.expected(kind), not reported)
        if reported:
            self.prices.observe(kind, reported)
        self._count(charge, 1)
        self._open[operation_id] = charge

    def end(self, operation_id: str, reported: float | None) -> None:
        """An accepted image came to its end, with the ``deduction_credit`` of its result. The larger report counts."""
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
        """The reply to a POST was lost, and its images were not found. Returns what this counts for each of them."""
        losses = [Loss(self.prices.expected(kind), is_charged=bool(charged)) for _ in range(images)]
        for loss in losses:
            self._count_loss(loss, 1)
        return losses

    def find(self, loss: Loss) -> None:
        """An image that was counted as lost has come to be known after all."""
        self._count_loss(loss, -1)

    def read_balance(self, balance: float) -> None:
        """AKOOL reports the account's balance."""
        spent = self.charged + self.lost
        if self._first_balance is None:
            self._first_balance = balance + spent
        else:
            self._spent_elsewhere = self._first_balance - balance - spent

    @property
    def spent_elsewhere(self) -> float | None:
        """What the balance fell by beyond ``charged`` and ``lost``, from the first time that it was read to the last.

        Negative for a top-up. None unless it was read twice.
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
