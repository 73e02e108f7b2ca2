"""Sums of credits that were charged, and sentences about them."""

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
"""Credits; less is an error of rounding."""


@define
class Charges:
    """A sum of credits that never claims less than AKOOL charged."""

    _credits: dict[object, float] = field(factory=dict)
    _unsure: set[object] = field(factory=set)

    def add(self, name: object, charged: float | None, *, is_reported: bool = True) -> None:
        """Count one operation or press; of several figures for it the largest counts, and 0 or less is no figure.

        ``is_reported`` is False if the figure is not AKOOL's own.
        """
        known = charged if charged is not None and charged > 0 else 0.0
        self._credits[name] = max(known, self._credits.get(name, 0.0))
        if is_reported and known:
            self._unsure.discard(name)
        elif not self._credits[name] or not is_reported:
            self._unsure.add(name)

    def add_line(self, line: OutcomeLine) -> None:
        """Count a press."""
        if line.state not in FREE:
            self.add(line.id or line.node, line.credits, is_reported=line.id is not None)

    @property
    def total(self) -> float:
        """Credits, as far as they are known."""
        return sum(self._credits.values())

    def __contains__(self, name: object) -> bool:
        return name in self._credits

    def __str__(self) -> str:
        return ("at least " if self._unsure else "") + amount(self.total)


def charges_of(lines: Iterable[OutcomeLine]) -> Charges:
    """What these presses were charged."""
    charges = Charges()
    for line in lines:
        charges.add_line(line)
    return charges


def explain_account(counters: Counters) -> Iterator[str]:
    """Sentences on a session's account: what is estimated, and what the balance does not explain."""
    if counters.credits_estimated:
        yield f"{amount(counters.credits_estimated)} credits of that are an estimate: AKOOL reported no price"
    if counters.credits_in_doubt:
        in_doubt = amount(counters.credits_in_doubt)
        yield f"up to {in_doubt} credits more may have been charged for presses whose outcome is unknown"
    elsewhere = counters.credits_elsewhere or 0.0
    if elsewhere >= MIN_AMOUNT:
        or_unknown = ", or a press whose outcome is unknown" if counters.credits_in_doubt else ""
        yield (
            f"{amount(elsewhere)} credits went elsewhere: another program on this account, or a price that AKOOL "
            f"reported too low{or_unknown}"
        )
    elif elsewhere <= -MIN_AMOUNT:
        yield f"the balance is {amount(-elsewhere)} credits higher than that explains: a top-up, or a refund"


def describe_job_charges(counts: JobCounts) -> str:
    """What recorded presses were charged, as the end of a sentence; empty if nothing was charged."""
    charged = counts.credits_charged + counts.credits_lost
    by_estimate = counts.credits_estimated + counts.credits_lost
    text = f"; {amount(charged)} credits charged" if charged or counts.credits_in_doubt else ""
    if counts.credits_lost:
        text += f", {amount(counts.credits_lost)} of them for presses whose id is lost"
    if by_estimate:
        text += f", {amount(by_estimate)} by estimate"
    if counts.credits_in_doubt:
        text += f", and perhaps {amount(counts.credits_in_doubt)} more"
    return text
