"""The trees that a batch asks for: each prompt and press is a node, with its identity, its name and its children."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from akool_async import Button, ButtonPress
from akool_async.cli.batch.input_file import node_of
from akool_async.cli.outcomes.line import NodeId, OutcomeLine

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from akool_async import Outcome
    from akool_async.cli.batch.input_file import Entry
    from akool_async.items import Branch, Item, Prompt, SourcePrompt


@frozen(eq=False)
class Node:
    """A prompt or a press of a batch."""

    entry: Entry
    """That of its tree."""
    id: NodeId
    then: tuple[Branch, ...] = ()
    """What is pressed on its result."""
    name: str | None = None
    """For people, and for file names."""
    parent: str | None = None
    """The name of the node whose result is pressed."""

    @classmethod
    def root(cls, entry: Entry, name: str | None) -> Node:
        """The node that a line of the file asks for.

        Args:
            entry: The line.
            name: Of the prompt, or of the image whose button is pressed.
        """
        named = f"{name}-{entry.item.button}" if name is not None and isinstance(entry.item, ButtonPress) else name
        return cls(entry, entry.node, entry.item.then, named)

    @property
    def is_root(self) -> bool:
        """True if a line of the file asks for it itself."""
        return self.id == self.entry.node

    @property
    def button(self) -> Button | None:
        """None for a prompt."""
        return Button(self.id.path[-1]) if self.id.path else None

    @property
    def kind(self) -> str:
        """What its price is learned for."""
        return self.entry.item.kind if self.button is None else self.button.kind

    def child(self, button: str, then: tuple[Branch, ...] = ()) -> Node:
        """A press on its result."""
        name = None if self.name is None else f"{self.name}-{button}"
        return Node(self.entry, self.id.child(str(button)), then, name, self.name)

    def children(self) -> Iterator[Node]:
        """All presses on its result that are asked for."""
        for branch in self.then:
            yield self.child(branch.button, branch.then)

    def descend(self, path: Sequence[Button]) -> Node:
        """The node below, along these buttons."""
        node = self
        for button in path:
            then = next((branch.then for branch in node.then if branch.button == button), ())
            node = node.child(button, then)
        return node

    def walk(self) -> Iterator[Node]:
        """It and all nodes below."""
        yield self
        for child in self.children():
            yield from child.walk()

    def press(self, image_id: str) -> ButtonPress:
        """The press that it is, of this source image, with all that follows."""
        return ButtonPress(image_id, Button(self.id.path[-1]), then=self.then)

    def line(self, image_id: str | None = None) -> OutcomeLine:
        """Its line, before anything is known of it but its source image."""
        item, path = self.entry.item, self.id.path
        is_plain = self.is_root and isinstance(item, ButtonPress)
        return OutcomeLine(
            image_id=item.image_id if is_plain and isinstance(item, ButtonPress) else image_id,
            button=path[-1] if path else None,
            prompt=None if isinstance(item, ButtonPress) or path else item.text,
            key=None if isinstance(item, ButtonPress) else item.key,
            root_id=item.image_id if isinstance(item, ButtonPress) and not is_plain else None,
            path=() if is_plain else path,
            name=self.name,
            parent=self.parent,
        )


@define(eq=False)
class NodeIndex:
    """Which node an outcome or an event is about."""

    _exact: dict[int, tuple[Item, Node]] = field(factory=dict)
    """By the identity of the items that a run passes on, of which two may be equal."""
    _equal: dict[NodeId, Node] = field(factory=dict)
    """By what identifies the items in a store, whose copies they come back as."""
    _made: dict[str, Node] = field(factory=dict)
    """By the id of the image that the node made."""

    def add(self, item: Item, node: Node) -> None:
        """The run passes this item on, for this node."""
        self._exact[id(item)] = item, node
        self._equal[node_of(item)] = node

    def note_made(self, operation_id: str, node: Node) -> None:
        """AKOOL accepted the node, with this id."""
        self._made[operation_id] = node

    def of_item(self, item: Item) -> Node | None:
        """The node of an item that was passed on, or of an equal one."""
        _, node = self._exact.get(id(item), (None, None))
        return node or self._equal.get(node_of(item))

    def of_event(self, press: ButtonPress | None, prompt: Prompt | SourcePrompt | None) -> Node | None:
        """The node of a press or a prompt; None if it is of no run of this index."""
        if press is None:
            return None if prompt is None else self.of_item(prompt)
        node = self.of_item(press)
        if node is None and (parent := self._made.get(press.image_id)) is not None:
            return parent.descend([press.button])
        return node

    def of_outcome(self, outcome: Outcome) -> Node:
        """The node of an outcome."""
        item = outcome.item
        root = None if item is None else self.of_item(item)
        if root is None:
            raise ValueError(f"an outcome of something that was not asked for: {item}")
        return root.descend(outcome.path[1:] if isinstance(item, ButtonPress) else outcome.path)
