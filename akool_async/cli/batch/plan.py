"""The plan of a batch: what a run would do, and what it would cost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from akool_async import ButtonPress
from akool_async._limits.credits import Prices
from akool_async.cli.batch.levels import Level, levels_of
from akool_async.cli.batch.stored import StoredItems
from akool_async.items import Branch

if TYPE_CHECKING:
    from akool_async import ImageResult
    from akool_async.cli.batch.input_file import Batch
    from akool_async.cli.batch.nodes import Node
    from akool_async.cli.outcomes.line import OutcomeLine
    from akool_async.items import Item

KINDS: Final = ("upscale", "variation")
"""The kinds of price of presses."""


@frozen(eq=False)
class Task:
    """A node to send or press, with everything to press on its result."""

    node: Node
    item: Item


@frozen(eq=False)
class Fetch:
    """An operation that an earlier run has paid for, and that this run waits for."""

    node: Node
    operation_id: str
    press: ButtonPress | None
    """The press; None for a prompt."""
    later: tuple[Node, ...] = ()
    """Presses on the result whose ids are in no output."""

    @property
    def line(self) -> OutcomeLine:
        """The line of the node with its id, and without an outcome."""
        image_id = None if self.press is None else self.press.image_id
        return evolve(self.node.line(image_id), id=self.operation_id)

    @property
    def branches(self) -> tuple[Branch, ...]:
        """The presses on the result whose ids are in no output, as branches."""
        return tuple(Branch(node.button, node.then) for node in self.later if node.button is not None)


@frozen(eq=False)
class Refused:
    """A press that AKOOL would refuse."""

    node: Node
    press: ButtonPress
    reason: str
    code: int
    """AKOOL's error code, or the code that it would answer with."""
    is_used: bool = False
    """True if the button is used."""

    def line(self) -> OutcomeLine:
        """Return the line of the press."""
        return evolve(self.node.line(self.press.image_id), error=self.reason, code=self.code)

    def as_json(self) -> dict[str, Any]:
        """Return the refusal as JSON."""
        return {
            "line": self.node.entry.line,
            **_identity(self.node.line(self.press.image_id)),
            "error": self.reason,
        }


@define(kw_only=True)
class Steps:
    """What a run does with some nodes, as lists by action."""

    to_press: list[Task] = field(factory=list)
    """Prompts to send, and buttons of existing images to press."""
    sent_again: list[Task] = field(factory=list)
    """Prompts with an unknown outcome that are sent again. They are in ``to_press`` too."""
    changed: list[Node] = field(factory=list)
    """Prompts whose key is in the output with another text. They are not sent again, and are in other lists too."""
    to_fetch: list[Fetch] = field(factory=list)
    recorded: list[Task] = field(factory=list)
    """Roots that are recorded in the store. The run waits until they and their trees have ended."""
    done: list[OutcomeLine] = field(factory=list)
    failed: list[OutcomeLine] = field(factory=list)
    """Nodes that AKOOL accepted in an earlier run, and then failed. They are not pressed again."""
    lost: list[OutcomeLine] = field(factory=list)
    """Nodes that were or may have been charged in an earlier run, without an id. They are not pressed again."""
    refused: list[Refused] = field(factory=list)
    shared: list[OutcomeLine] = field(factory=list)
    """Lines of nodes whose press an earlier run made for another node. The nodes are in other lists too."""
    not_pressed: list[OutcomeLine] = field(factory=list)
    """Presses on images that were not made."""

    def add(self, more: Steps) -> None:
        """Add nodes that are found during the run, and that it does not carry out."""
        for name in ("done", "failed", "lost", "refused", "not_pressed"):
            getattr(self, name).extend(getattr(more, name))


@define(kw_only=True)
class Plan(Steps):
    """What a run does with each node of a batch."""

    batch: Batch
    roots: list[Node]
    balance: float
    """Credits before the run."""
    stored: StoredItems = field(factory=StoredItems)
    """What the store holds of the batch, and what waits there."""
    sources: dict[str, ImageResult] = field(factory=dict)
    """The source images that were read, by id."""
    prices: Prices = field(factory=Prices)
    unreadable: int = 0
    """How many lines of the output cannot be read."""

    @property
    def waiting(self) -> Counter[str]:
        """Open presses and prompts in the store that AKOOL has not accepted, by kind. This run makes all of them."""
        return self.stored.waiting

    @property
    def recorded_nodes(self) -> int:
        """How many prompts and presses of the recorded trees are in the store."""
        return sum(self.stored.sizes[task.node.id] for task in self.recorded)

    @property
    def levels(self) -> list[Level]:
        """The images that would be made, by level."""
        later = [branch for fetch in self.to_fetch for branch in fetch.branches]
        return levels_of([*self._items_to_press, *self.stored.presses], [*later, *self.stored.later])

    @property
    def counts(self) -> Counter[str]:
        """The images that would be made, by kind, if everything succeeds."""
        counts: Counter[str] = Counter()
        for level in self.levels:
            counts += level.counts
        return counts

    @property
    def images(self) -> int:
        """The number of existing images whose buttons would be pressed."""
        items = [*self._items_to_press, *self.stored.presses]
        return len({item.image_id for item in items if isinstance(item, ButtonPress)})

    @property
    def credits(self) -> float:
        """The expected price of everything, including what waits in the store."""
        return self.price_of(self.counts) + self.price_of(self.waiting)

    @property
    def credits_committed(self) -> float:
        """The expected price of what the store holds, with the presses on its results, within its own budgets."""
        prices = ((left, self.price_of(counts)) for left, counts in self.stored.committed)
        return sum(price if left is None else min(price, max(left, 0.0)) for left, price in prices)

    @property
    def credits_twice(self) -> float:
        """Credits that may be charged a second time, for prompts that are sent again."""
        return self.price_of(Counter(task.item.kind for task in self.sent_again))

    @property
    def has_failures(self) -> bool:
        """True if a part of the file failed earlier, would be refused or cannot be read."""
        return bool(self.failed or self.refused or self.batch.invalid)

    @property
    def _items_to_press(self) -> list[Item]:
        return [task.item for task in self.to_press]

    def price_of(self, counts: Counter[str]) -> float:
        """Return the expected price of this many images of each kind."""
        return sum(count * self.prices.expected(kind) for kind, count in counts.items())

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        counts, levels = self.counts, self.levels
        prompts = sum(count for kind, count in counts.items() if kind not in KINDS)
        return {
            "to_press": sum(counts[kind] for kind in KINDS),
            **{f"{kind}s": counts[kind] for kind in KINDS},
            "prompts": prompts,
            "images": self.images,
            "levels": [self._level_as_json(level) for level in levels],
            "to_fetch": len(self.to_fetch),
            "recorded": self.recorded_nodes,
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
    """Return the fields that identify a node: the image and the button for a press on an image of the file."""
    return {"image_id": line.image_id, "button": line.button} | {
        name: value
        for name in ("prompt", "key", "root_id", "path", "name")
        if (value := getattr(line, name)) not in (None, ())
    }
