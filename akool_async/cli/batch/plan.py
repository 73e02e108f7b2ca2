"""What a batch would do and cost."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from akool_async._limits.credits import Prices
from akool_async.cli.outcomes.line import OutcomeLine

if TYPE_CHECKING:
    from akool_async import ButtonPress, ImageResult
    from akool_async.cli.batch.input_file import Batch, Entry

KINDS: Final = ("upscale", "variation")


@frozen
class Refused:
    """A press that AKOOL would refuse."""

    entry: Entry
    reason: str
    code: int
    """AKOOL's, or the one that it would answer with."""
    is_used: bool = False

    def line(self) -> OutcomeLine:
        """The line of the press."""
        press = self.entry.press
        return OutcomeLine(image_id=press.image_id, button=str(press.button), error=self.reason, code=self.code)


@define
class Plan:
    """What becomes of each press of a batch."""

    batch: Batch
    balance: float
    to_press: list[Entry] = field(factory=list)
    to_fetch: dict[ButtonPress, str] = field(factory=dict)
    """Operations that an earlier run has paid for."""
    recorded: list[Entry] = field(factory=list)
    """Presses that the store holds: to be carried out to their end, whatever their state."""
    waiting: Counter[str] = field(factory=Counter)
    """All presses that the store holds and that are not made yet, by kind, of the batch or not: this run makes them."""
    done: list[OutcomeLine] = field(factory=list)
    failed: list[OutcomeLine] = field(factory=list)
    """Pressed by an earlier run, and failed at AKOOL: a button works once."""
    lost: list[OutcomeLine] = field(factory=list)
    """Pressed by an earlier run, and charged or perhaps charged, without an id: not to be pressed again."""
    refused: list[Refused] = field(factory=list)
    sources: dict[str, ImageResult] = field(factory=dict)
    prices: Prices = field(factory=Prices)
    unreadable: int = 0
    """Lines of the output that cannot be read."""

    @property
    def counts(self) -> Counter[str]:
        """Presses to be made, by kind."""
        return Counter(entry.press.button.kind for entry in self.to_press)

    @property
    def credits(self) -> float:
        """What they would cost, together with what waits in the store."""
        return self._price(self.counts) + self.credits_waiting

    @property
    def credits_waiting(self) -> float:
        """What is pressed in any case costs."""
        return self._price(self.waiting)

    @property
    def are_missing(self) -> bool:
        """True if presses of the file failed earlier, would be refused or cannot be read."""
        return bool(self.failed or self.refused or self.batch.invalid)

    def _price(self, counts: Counter[str]) -> float:
        return sum(count * self.prices.expected(kind) for kind, count in counts.items())

    def within(self, budget: float | None) -> tuple[list[Entry], list[Entry]]:
        """The presses that the budget suffices for at these prices, and the others."""
        fitting: list[Entry] = []
        others: list[Entry] = []
        left = math.inf if budget is None else budget - self.credits_waiting
        for entry in self.to_press:
            price = self.prices.expected(entry.press.button.kind)
            (fitting if price <= left else others).append(entry)
            left -= price if price <= left else 0.0
        return fitting, others

    def as_json(self) -> dict[str, Any]:
        """The plan, for machines."""
        return {
            "to_press": len(self.to_press),
            **{f"{kind}s": self.counts[kind] for kind in KINDS},
            "images": len({entry.press.image_id for entry in self.to_press}),
            "to_fetch": len(self.to_fetch),
            "recorded": len(self.recorded),
            "waiting": self.waiting.total(),
            "done": len(self.done),
            "failed": len(self.failed),
            "lost": [{"image_id": line.image_id, "button": line.button, "state": line.state} for line in self.lost],
            "used": [_locate(refused) for refused in self.refused if refused.is_used],
            "not_offered": [_locate(refused) for refused in self.refused if not refused.is_used],
            "invalid": [{"line": invalid.line, "error": invalid.reason} for invalid in self.batch.invalid],
            "repeated": self.batch.repeated,
            "credits_per_press": {kind: self.prices.expected(kind) for kind in KINDS},
            "credits": self.credits,
            "balance": self.balance,
        }


def _locate(refused: Refused) -> dict[str, Any]:
    press = refused.entry.press
    return {
        "line": refused.entry.line,
        "image_id": press.image_id,
        "button": press.button,
        "error": refused.reason,
    }
