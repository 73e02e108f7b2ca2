"""What a batch would do and cost, found before anything is spent."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from akool_async import AlreadyUsedError, APIError, NotFoundError, NotOperableError, NotPermittedError
from akool_async._http.retry import is_account_error
from akool_async._limits.credits import EXPECTED_PRICES
from akool_async.cli.outcomes.charges import USED, Step, next_step
from akool_async.cli.outcomes.line import Line, PressState, reason_of
from akool_async.errors import codes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from akool_async import AkoolSession, ButtonPress, ImageResult
    from akool_async.cli.batch.input_file import Batch, Entry
    from akool_async.cli.batch.output_file import Results

READS_AT_ONCE: Final = 8
NOT_OPERABLE: Final = codes_of(NotOperableError)[0]
ALREADY_USED: Final = codes_of(AlreadyUsedError)[0]
KINDS: Final = ("upscale", "variation")


@frozen
class Price:
    """Credits for a press of one kind."""

    credits: float
    is_known: bool
    """False where no press of the kind is known, and this is what AKOOL's pages say."""


@frozen
class Refused:
    """A press that AKOOL would not take."""

    entry: Entry
    reason: str
    code: int
    """AKOOL's, or the one that it would answer with."""
    is_used: bool = False


@define
class Plan:
    """What becomes of each press of a batch."""

    batch: Batch
    balance: float
    to_press: list[Entry] = field(factory=list)
    to_fetch: dict[ButtonPress, str] = field(factory=dict)
    """Operations that an earlier run has paid for."""
    recorded: list[Entry] = field(factory=list)
    """Presses that a state holds: to be carried out to their end, whatever they have come to."""
    waiting: Counter[str] = field(factory=Counter)
    """All that a state holds and that are not pressed yet, by kind: this run presses them too, of the batch or not."""
    done: list[Line] = field(factory=list)
    failed: list[Line] = field(factory=list)
    """Pressed by an earlier run, and failed at AKOOL: a button works once."""
    lost: list[Line] = field(factory=list)
    """Pressed by an earlier run, and charged or perhaps charged, without an id: not to be pressed again."""
    refused: list[Refused] = field(factory=list)
    sources: dict[str, ImageResult] = field(factory=dict)
    prices: dict[str, Price] = field(factory=dict)
    unreadable: int = 0
    """Lines of the output that tell nothing."""

    @property
    def counts(self) -> Counter[str]:
        """Presses to be made, by kind."""
        return Counter(entry.press.button.kind for entry in self.to_press)

    @property
    def credits(self) -> float:
        """What they would cost, and what is pressed beside them."""
        return self._price(self.counts) + self.credits_waiting

    @property
    def credits_waiting(self) -> float:
        """What is pressed in any case costs."""
        return self._price(self.waiting)

    def _price(self, counts: Counter[str]) -> float:
        return sum(count * self.prices[kind].credits for kind, count in counts.items())

    def within(self, budget: float | None) -> tuple[list[Entry], list[Entry]]:
        """The presses that the budget suffices for at these prices, and the others."""
        fitting: list[Entry] = []
        others: list[Entry] = []
        left = math.inf if budget is None else budget - self.credits_waiting
        for entry in self.to_press:
            price = self.prices[entry.press.button.kind].credits
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
            "credits_per_press": {kind: price.credits for kind, price in self.prices.items()},
            "credits": self.credits,
            "balance": self.balance,
        }


async def make_plan(
    akool: AkoolSession,
    batch: Batch,
    results: Results,
    *,
    recorded: Collection[ButtonPress],
    waiting: Counter[str],
    with_files: bool,
    on_read: Callable[[int, int], None],
) -> Plan:
    """Read each source image once, and the balance; ``on_read`` is told how many images were read, of how many.

    ``recorded`` are the presses that a state holds, and ``waiting`` counts those that it is still to press.

    Raises:
        AkoolError: something could not be read; nothing was spent.
    """
    plan = Plan(batch, await akool.get_credit(), waiting=waiting, unreadable=results.unreadable)
    open_entries = []
    for entry in batch.entries:
        line, accepted = results.lines.get(entry.press), results.accepted.get(entry.press)
        if accepted is not None:
            plan.to_fetch[entry.press] = accepted
        elif entry.press in recorded and not (line is not None and line.is_over):
            plan.recorded.append(entry)
        elif line is not None and line.state is PressState.LOST:
            plan.lost.append(line)
        elif line is None or line.id is None:
            open_entries.append(entry)
        elif not line.is_over or (line.ok and with_files and not line.has_files):
            plan.to_fetch[entry.press] = line.id
        else:
            (plan.done if line.ok else plan.failed).append(line)
    image_ids = list(dict.fromkeys(entry.press.image_id for entry in open_entries))
    sources = await _read_sources(akool, image_ids, on_read)
    plan.sources = {image_id: source for image_id, source in sources.items() if not isinstance(source, APIError)}
    plan.prices = _prices(results.lines.values(), plan.sources.values())
    for entry in open_entries:
        _sort(plan, entry, sources[entry.press.image_id], results.lines.get(entry.press))
    return plan


async def _read_sources(
    akool: AkoolSession, image_ids: list[str], on_read: Callable[[int, int], None]
) -> dict[str, ImageResult | APIError]:
    sources: dict[str, ImageResult | APIError] = {}
    left = iter(image_ids)

    async def read_in_turn() -> None:
        for image_id in left:
            try:
                sources[image_id] = await akool.get_image_result(image_id)
            except (NotFoundError, NotPermittedError) as error:
                if is_account_error(error):
                    raise
                sources[image_id] = error
            on_read(len(sources), len(image_ids))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(READS_AT_ONCE):
                group.create_task(read_in_turn())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return sources


def _sort(plan: Plan, entry: Entry, source: ImageResult | APIError, earlier: Line | None) -> None:
    button = entry.press.button
    offered, used = ((), ()) if isinstance(source, APIError) else (source.buttons, source.used_buttons)
    state = None if earlier is None else earlier.state
    step = next_step(state, is_used=button in used, is_offered=button in offered)
    if step is Step.PRESS:
        plan.to_press.append(entry)
    elif step is Step.KEEP_LOST and earlier is not None:
        price = plan.prices[button.kind].credits
        plan.lost.append(evolve(earlier, charged=True, credits=price, error=USED, code=None))
    elif step is Step.KEEP_IN_DOUBT and earlier is not None:
        plan.lost.append(earlier)
    elif isinstance(source, APIError):
        plan.refused.append(Refused(entry, reason_of(source), source.code))
    elif step is Step.REFUSE_USED:
        plan.refused.append(Refused(entry, f"{button} is used already", ALREADY_USED, is_used=True))
    else:
        others = ", ".join(offered) or f"nothing (status {source.status})"
        plan.refused.append(Refused(entry, f"{button} is not offered, but {others}", NOT_OPERABLE))


def _prices(lines: Iterable[Line], sources: Iterable[ImageResult]) -> dict[str, Price]:
    """What a press of each kind was last charged: in this output, or else for an image that the batch starts from."""
    charged: dict[str, float] = {}
    for source in sources:
        kind = {"U": "upscale", "V": "variation"}.get((source.op_button or "")[:1])
        if kind is not None and source.deduction_credit is not None and source.deduction_credit > 0:
            charged[kind] = source.deduction_credit
    for line in lines:
        if line.credits is not None and line.credits > 0 and line.id is not None:
            charged[line.press.button.kind] = line.credits
    return {kind: Price(charged.get(kind, EXPECTED_PRICES[kind]), kind in charged) for kind in KINDS}


def _locate(refused: Refused) -> dict[str, Any]:
    press = refused.entry.press
    return {
        "line": refused.entry.line,
        "image_id": press.image_id,
        "button": press.button,
        "error": refused.reason,
    }
