"""What a batch would do and cost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from akool_async import ButtonPress
from akool_async._limits.credits import Prices
from akool_async.cli.batch.levels import Level, levels_of
from akool_async.items import Branch

if TYPE_CHECKING:
    from akool_async import ImageResult
    from akool_async.cli.batch.input_file import Batch
    from akool_async.cli.batch.nodes import Node
    from akool_async.cli.outcomes.line import OutcomeLine
    from akool_async.items import Item

KINDS: Final = ("upscale", "variation")
"""Of presses."""


@frozen(eq=False)
class Task:
    """A node that is sent or pressed, with all that is pressed on its result."""

    node: Node
    item: Item


@frozen(eq=False)
class Fetch:
    """An operation that an earlier run has paid for."""

    node: Node
    operation_id: str
    press: ButtonPress | None
    """None for a prompt."""
    later: tuple[Node, ...] = ()
    """Presses on its result of which no run knows an id."""

    @property
    def line(self) -> OutcomeLine:
        """Its line, with no more than the id."""
        image_id = None if self.press is None else self.press.image_id
        return evolve(self.node.line(image_id), id=self.operation_id)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """What is pressed on its result later."""
        return tuple(Branch(node.button, node.then) for node in self.later if node.button is not None)


@frozen(eq=False)
class Refused:
    """A press that AKOOL would refuse."""

    node: Node
    press: ButtonPress
    reason: str
    code: int
    """AKOOL's, or the one that it would answer with."""
    is_used: bool = False

    def line(self) -> OutcomeLine:
        """The line of the press."""
        return evolve(self.node.line(self.press.image_id), error=self.reason, code=self.code)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "line": self.node.entry.line,
            **_identity(self.node.line(self.press.image_id)),
            "error": self.reason,
        }


@define(kw_only=True)
class Steps:
    """What becomes of some nodes."""

    to_press: list[Task] = field(factory=list)
    """Prompts that are sent, and buttons of images that are there."""
    sent_again: list[Task] = field(factory=list)
    """Those of them that are prompts whose outcome is unknown."""
    changed: list[Node] = field(factory=list)
    """Prompts whose key the output has with another text: what is there counts."""
    to_fetch: list[Fetch] = field(factory=list)
    recorded: list[Task] = field(factory=list)
    """What the store holds: to be carried out to its end, whatever its state."""
    done: list[OutcomeLine] = field(factory=list)
    failed: list[OutcomeLine] = field(factory=list)
    """Accepted in an earlier run, and failed at AKOOL: a button works once."""
    lost: list[OutcomeLine] = field(factory=list)
    """Charged or perhaps charged in an earlier run, without an id: not to be sent or pressed again."""
    refused: list[Refused] = field(factory=list)
    shared: list[OutcomeLine] = field(factory=list)
    """Of presses that earlier runs made for other nodes."""
    not_pressed: list[OutcomeLine] = field(factory=list)
    """Presses on images that were not made."""

    def add(self, more: Steps) -> None:
        """Count what has turned up during the run, and what it does not carry out."""
        for name in ("done", "failed", "lost", "refused", "not_pressed"):
            getattr(self, name).extend(getattr(more, name))


@define(kw_only=True)
class Plan(Steps):
    """What becomes of each node of a batch."""

    batch: Batch
    roots: list[Node]
    balance: float
    waiting: Counter[str] = field(factory=Counter)
    """All presses and prompts that the store holds and that are not made yet, by kind, of the batch or not: this run
    makes them."""
    stored_later: tuple[Branch, ...] = ()
    """Presses on the results of what the store holds, which it does not hold yet."""
    sources: dict[str, ImageResult] = field(factory=dict)
    prices: Prices = field(factory=Prices)
    unreadable: int = 0
    """Lines of the output that cannot be read."""

    @property
    def levels(self) -> list[Level]:
        """What would be made, by level."""
        later = [branch for fetch in self.to_fetch for branch in fetch.branches]
        return levels_of([task.item for task in self.to_press], [*later, *self.stored_later])

    @property
    def counts(self) -> Counter[str]:
        """What would be made, by kind, if everything succeeds."""
        counts: Counter[str] = Counter()
        for level in self.levels:
            counts += level.counts
        return counts

    @property
    def images(self) -> int:
        """How many images that are there have buttons that would be pressed."""
        return len({task.item.image_id for task in self.to_press if isinstance(task.item, ButtonPress)})

    @property
    def credits(self) -> float:
        """What all of it would cost, together with what waits in the store."""
        return self.price_of(self.counts) + self.credits_waiting

    @property
    def credits_waiting(self) -> float:
        """What is made in any case costs."""
        return self.price_of(self.waiting)

    @property
    def credits_twice(self) -> float:
        """What may be charged a second time."""
        return self.price_of(Counter(task.item.kind for task in self.sent_again))

    @property
    def are_missing(self) -> bool:
        """True if something of the file failed earlier, would be refused or cannot be read."""
        return bool(self.failed or self.refused or self.batch.invalid)

    def price_of(self, counts: Counter[str]) -> float:
        """What so many of each kind are likely to cost."""
        return sum(count * self.prices.expected(kind) for kind, count in counts.items())

    def as_json(self) -> dict[str, Any]:
        """The plan, for machines."""
        counts, levels = self.counts, self.levels
        prompts = sum(count for kind, count in counts.items() if kind not in KINDS)
        return {
            "to_press": sum(counts[kind] for kind in KINDS),
            **{f"{kind}s": counts[kind] for kind in KINDS},
            "prompts": prompts,
            "images": self.images,
            "levels": [self._level_as_json(level) for level in levels],
            "to_fetch": len(self.to_fetch),
            "recorded": len(self.recorded),
            "waiting": self.waiting.total(),
            "done": len(self.done),
            "failed": len(self.failed),
            "lost": [{**_identity(line), "state": line.state} for line in self.lost],
            "sent_again": len(self.sent_again),
            "changed": [{"line": node.entry.line, "key": node.line().key} for node in self.changed],
            "credits_twice": self.credits_twice,
            "used": [refused.as_json() for refused in self.refused if refused.is_used],
            "not_offered": [refused.as_json() for refused in self.refused if not refused.is_used],
            "not_pressed": len(self.not_pressed),
            "invalid": [{"line": invalid.line, "error": invalid.reason} for invalid in self.batch.invalid],
            "repeated": self.batch.repeated,
            "credits_per_press": {kind: self.prices.expected(kind) for kind in KINDS},
            "credits_per_prompt": {
                kind: self.prices.expected(kind) for kind in counts if kind not in KINDS and counts[kind]
            },
            "estimated": sorted(kind for kind in counts if counts[kind] and not self.prices.is_known(kind)),
            "credits": self.credits,
            "balance": self.balance,
        }

    def _level_as_json(self, level: Level) -> dict[str, Any]:
        presses = {f"{kind}s": level.counts[kind] for kind in KINDS}
        prompts = level.counts.total() - sum(presses.values())
        return {"depth": level.depth, "prompts": prompts, **presses, "credits": self.price_of(level.counts)}


def _identity(line: OutcomeLine) -> dict[str, Any]:
    """What tells a node from others, for machines: of a plain press its image and button alone."""
    return {"image_id": line.image_id, "button": line.button} | {
        name: value
        for name in ("prompt", "key", "root_id", "path", "name")
        if (value := getattr(line, name)) not in (None, ())
    }
