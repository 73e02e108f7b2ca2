"""Sums of charged credits, and sentences about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from akool_async.cli.outcomes.line import FREE, OutcomeLine
from akool_async.cli.output.stderr import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from akool_async import Counters
    from akool_async.durable import JobCounts

MIN_AMOUNT: Final = 0.005
"""Credits; a smaller difference is a rounding error."""


@define
class Charges:
    """A sum of credits. If it may be lower than what AKOOL charged, its text begins with "at least"."""

    _credits: dict[object, float] = field(factory=dict)
    """Credits by operation or press."""
    _uncertain: set[object] = field(factory=set)
    """Operations and presses that may have been charged more."""

    def add(self, name: object, charged: float | None, *, is_reported: bool = True) -> None:
        """Count one operation or press. If it is counted more than once, its largest figure is used.

        Args:
            name: Identifies the operation or press.
            charged: Credits; None, and 0 or less, mean that the charge is not known.
            is_reported: False for an estimate, True for a figure from AKOOL.
        """
        known = charged if charged is not None and charged > 0 else 0.0
        self._credits[name] = max(known, self._credits.get(name, 0.0))
        if is_reported and known:
            self._uncertain.discard(name)
        elif not self._credits[name] or not is_reported:
            self._uncertain.add(name)

    def add_line(self, line: OutcomeLine) -> None:
        """Count the press or prompt of a line."""
        if line.state not in FREE:
            self.add(line.id or line.node, line.credits, is_reported=line.id is not None)

    @property
    def total(self) -> float:
        """The credits that are known."""
        return sum(self._credits.values())

    def __contains__(self, name: object) -> bool:
        return name in self._credits

    def __str__(self) -> str:
        return ("at least " if self._uncertain else "") + amount(self.total)


def charges_of(lines: Iterable[OutcomeLine]) -> Charges:
    """Return the sum of the charges of these lines."""
    charges = Charges()
    for line in lines:
        charges.add_line(line)
    return charges


def explain_account(counters: Counters) -> Iterator[str]:
    """Yield sentences about the charges of a session: estimates, unknown outcomes, and differences to the balance."""
    if counters.credits_estimated:
        yield f"{amount(counters.credits_estimated)} credits of that are an estimate: AKOOL reported no price"
    in_doubt = amount(counters.credits_in_doubt) if counters.credits_in_doubt else ""
    elsewhere = counters.credits_elsewhere or 0.0
    if elsewhere >= MIN_AMOUNT and in_doubt:
        yield (
            f"{amount(elsewhere)} credits more are gone: for prompts and presses whose outcome is unknown (up to "
            f"{in_doubt}), for another program on this account, or for a price that AKOOL reported too low"
        )
    elif in_doubt:
        yield f"up to {in_doubt} credits more may have been charged for prompts and presses whose outcome is unknown"
    elif elsewhere >= MIN_AMOUNT:
        yield (
            f"{amount(elsewhere)} credits went elsewhere: another program on this account, or a price that AKOOL "
            "reported too low"
        )
    if elsewhere <= -MIN_AMOUNT:
        yield f"the balance is {amount(-elsewhere)} credits higher than that explains: a top-up, or a refund"


def describe_job_charges(counts: JobCounts) -> str:
    """Return the charges of recorded presses as the end of a sentence; empty if nothing was charged."""
    charged = counts.credits_charged + counts.credits_lost
    text = f"; {amount(charged)} credits charged" if charged or counts.credits_in_doubt else ""
    if counts.credits_lost:
        text += f", {amount(counts.credits_lost)} of them by estimate for presses whose id is lost"
    if counts.credits_estimated:
        others = "others" if counts.credits_lost else "of them"
        text += f", {amount(counts.credits_estimated)} {others} by estimate"
    if counts.credits_in_doubt:
        text += f", and perhaps {amount(counts.credits_in_doubt)} more"
    return text
