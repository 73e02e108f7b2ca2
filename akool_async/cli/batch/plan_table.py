"""A plan as a table for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

from rich.table import Table
from rich.text import Text

from akool_async._limits.credits import EXPECTED_PRICES
from akool_async.cli.batch.plan import KINDS
from akool_async.cli.outcomes.line import PressState
from akool_async.cli.output.stderr import amount, plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from akool_async.cli.batch.fan_out_options import FanOutOptions
    from akool_async.cli.batch.input_file import Batch
    from akool_async.cli.batch.plan import Plan

    Row = tuple[str, str, str, str]

NOUNS: Final = {
    "upscale": "an upscale",
    "variation": "a variation",
    "prompt": "a prompt",
    "v4 4k": "a prompt (v4, 4k)",
    "v4 1080p": "a prompt (v4, 1080p)",
}
"""The name of an image of each kind of price."""
CHARGED: Final = "as last charged"
FROM_PAGES: Final = "from AKOOL's pages"
FROM_USE: Final = "an estimate, since AKOOL's pages name no price"
KINDS_WITHOUT_PAGES: Final = frozenset({"v4 4k", "v4 1080p"})
MAX_LINES: Final = 8
"""Numbers of lines that are printed for one reason."""
MAX_NAMES: Final = 8
"""Names of columns that are printed."""
MAX_REASONS: Final = 20
"""Reasons that are printed."""


def show_plan(plan: Plan, options: FanOutOptions, console: Console) -> None:
    """Print a plan. If the run does not begin, print how to begin it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for name, figure, detail, style in _rows(plan, options):
        table.add_row(Text(name, style), Text(figure, style), Text(plain(detail), "dim"))
    console.print(Text(plain(f"Plan for {plan.batch.name}"), "bold"))
    console.print(table)
    if not options.yes:
        console.print(Text("Nothing was spent. Press with --yes.", "bold"), soft_wrap=True)


def _rows(plan: Plan, options: FanOutOptions) -> Iterator[Row]:
    yield from _made(plan)
    yield from _earlier(plan)
    yield from _not_pressed(plan)
    yield from _costs(plan, options)


def _made(plan: Plan) -> Iterator[Row]:
    """Yield the rows on what would be made, level by level."""
    first, *others = plan.levels
    has_several = len(plan.levels) > 1 or first.counts.total() > first.count(*KINDS)
    prompts = Counter({kind: count for kind, count in first.counts.items() if kind not in KINDS})
    presses = Counter({kind: count for kind, count in first.counts.items() if kind in KINDS})
    if prompts:
        detail = f"{_count(prompts.total(), 'prompt')}, for {_credits(plan, prompts)}"
        yield "to send", f"{prompts.total():,}", detail, ""
    if presses or not has_several:
        detail = f"{_kinds(presses)} of {_count(plan.images, 'image')}" if presses else ""
        detail += f", for {_credits(plan, presses)}" if presses and has_several else ""
        yield "to press", f"{presses.total():,}", detail, ""
    for level in others:
        of = "images to be made" if level.depth == 1 else "the images of those"
        detail = f"{_kinds(level.counts)} of {of}, for {_credits(plan, level.counts)}, if everything succeeds"
        yield "then to press", f"{level.counts.total():,}", detail, ""


def _kinds(counts: Counter[str]) -> str:
    return " and ".join(_count(counts[kind], kind) for kind in KINDS if counts[kind])


def _credits(plan: Plan, counts: Counter[str]) -> str:
    credits_needed = plan.price_of(counts)
    return f"{amount(credits_needed)} credit{'' if credits_needed == 1 else 's'}"


def _earlier(plan: Plan) -> Iterator[Row]:
    for name, count, detail, style in (
        ("to fetch", len(plan.to_fetch), "accepted and paid for in an earlier run", ""),
        (
            PressState.IN_DOUBT,
            len(plan.sent_again),
            f"sent again because of --retry-unknown; may cost {amount(plan.credits_twice)} credits twice",
            "magenta",
        ),
        (
            "recorded",
            plan.recorded_nodes,
            "in the store already: this run carries out those that are open, and reports all",
            "",
        ),
        ("waiting", plan.waiting.total(), "in the store, from this file or another: this run makes them too", ""),
        ("done already", len(plan.done), "by an earlier run", ""),
        ("failed already", len(plan.failed), "at AKOOL; a button works once", "red"),
        *_lost(plan),
        (
            "not read",
            len(plan.batch.unread),
            _unread_columns(plan.batch),
            "yellow" if plan.batch.misspelt else "",
        ),
        ("asked for again", plan.batch.repeated, "made only once", ""),
        ("changed", len(plan.changed), "prompts whose key has another text in the output: not made again", "yellow"),
        ("cut lines", plan.unreadable, "in the output, from a killed run: skipped", "yellow"),
    ):
        if count:
            yield name, f"{count:,}", detail, style


def _unread_columns(batch: Batch) -> str:
    misspelt = [f"{name} (is it {right}?)" for name, right in batch.misspelt.items()]
    names = [*misspelt, *(name for name in batch.unread if name not in batch.misspelt)]
    more = len(names) - MAX_NAMES
    return f"columns: {', '.join(names[:MAX_NAMES])}" + (f" and {more} more" if more > 0 else "")


def _lost(plan: Plan) -> Iterator[tuple[str, int, str, str]]:
    prompts = sum(line.button is None for line in plan.lost)
    yield PressState.IN_DOUBT, prompts, "prompts of an earlier run; not sent again without --retry-unknown", "magenta"
    counts = Counter(line.state for line in plan.lost if line.button is not None)
    yield PressState.LOST, counts[PressState.LOST], "presses of an earlier run; not pressed again", "magenta"
    yield PressState.IN_DOUBT, counts[PressState.IN_DOUBT], "presses of an earlier run; not shown by AKOOL", "magenta"


def _not_pressed(plan: Plan) -> Iterator[Row]:
    used = [(one.reason, one.node.entry.line) for one in plan.refused if one.is_used]
    not_offered = [(one.reason, one.node.entry.line) for one in plan.refused if not one.is_used]
    invalid = [(one.reason, one.line) for one in plan.batch.invalid]
    for name, found, style in (
        ("used already", used, "yellow"),
        ("not offered", not_offered, "yellow"),
        ("invalid", invalid, "red"),
    ):
        if found:
            yield from _reasons(name, found, style)
    if plan.not_pressed:
        yield "left out", f"{len(plan.not_pressed):,}", "presses on images that were not made", "yellow"


def _costs(plan: Plan, options: FanOutOptions) -> Iterator[Row]:
    counts = plan.counts + plan.waiting
    for kind in sorted(counts, key=list(EXPECTED_PRICES).index):
        unknown = FROM_USE if kind in KINDS_WITHOUT_PAGES else FROM_PAGES
        source = CHARGED if plan.prices.is_known(kind) else unknown + _without_charge(options)
        yield f"credits for {NOUNS[kind]}", amount(plan.prices.expected(kind)), source, ""
    is_sure = len(plan.levels) == 1
    yield "credits in total", amount(plan.credits), "" if is_sure else "if everything succeeds", "bold"
    after = plan.balance - plan.credits
    yield "balance", amount(plan.balance), f"{amount(after)} after" if after >= 0 else "", ""
    if after < 0:
        yield "missing", amount(-after), "credits; what the balance cannot pay for is not made", "red"
    budget = options.budget(plan.balance)
    if budget is not None:
        is_short = budget < plan.credits
        detail = "what would exceed it is not made" if is_short else "enough"
        detail = "less than what the store already holds may cost" if budget < plan.credits_committed else detail
        yield "may be spent", amount(budget), f"{options.limit(plan.balance)}; {detail}", "red" if is_short else ""


def _without_charge(options: FanOutOptions) -> str:
    """Return where no price was found that AKOOL charged for an image of a kind."""
    place = "store" if options.store is not None else "output" if options.output is not None else None
    return "" if place is None else f"; the {place} has no charge for one yet"


def _reasons(name: str, found: list[tuple[str, int]], style: str) -> Iterator[Row]:
    lines: dict[str, list[int]] = defaultdict(list)
    for reason, line in found:
        lines[reason].append(line)
    details = [f"{_lines(numbers)}: {reason}" for reason, numbers in lines.items()]
    yield name, f"{len(found):,}", details[0], style
    for detail in details[1:MAX_REASONS]:
        yield "", "", detail, style
    if len(details) > MAX_REASONS:
        yield "", "", f"and {_count(len(details) - MAX_REASONS, 'reason')} more; --json shows them all", style


def _lines(lines: list[int]) -> str:
    distinct = list(dict.fromkeys(lines))
    numbers = ", ".join(map(str, distinct[:MAX_LINES]))
    more = len(distinct) - MAX_LINES
    return f"line{'s' if len(distinct) > 1 else ''} {numbers}" + (f" and {more} more" if more > 0 else "")


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}" + ("" if number == 1 else "s")
