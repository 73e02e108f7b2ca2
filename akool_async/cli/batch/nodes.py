"""The trees of a batch. Each prompt and each press is a node with an identity, a name and children."""

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
    """The entry of the file to which the tree of this node belongs."""
    id: NodeId
    then: tuple[Branch, ...] = ()
    """The buttons to press on the result."""
    name: str | None = None
    """The name for people and for file names; None for presses without one."""
    parent: str | None = None
    """The name of the node whose result is pressed; None for a root."""

    @classmethod
    def root(cls, entry: Entry, name: str | None) -> Node:
        """Return the node of a line of the file.

        Args:
            entry: The line.
            name: The name of the prompt, or of the image whose button is pressed.
        """
        named = f"{name}-{entry.item.button}" if name is not None and isinstance(entry.item, ButtonPress) else name
        return cls(entry, entry.node, entry.item.then, named)

    @property
    def is_root(self) -> bool:
        """True if a line of the file asks for this node itself."""
        return self.id == self.entry.node

    @property
    def button(self) -> Button | None:
        """The button; None for a prompt."""
        return Button(self.id.path[-1]) if self.id.path else None

    @property
    def kind(self) -> str:
        """The kind of price, such as ``upscale`` or ``prompt``."""
        return self.entry.item.kind if self.button is None else self.button.kind

    def child(self, button: str, then: tuple[Branch, ...] = ()) -> Node:
        """Return the node of a press on the result of this one."""
        name = None if self.name is None else f"{self.name}-{button}"
        return Node(self.entry, self.id.child(str(button)), then, name, self.name)

    def children(self) -> Iterator[Node]:
        """Yield the nodes of all presses on the result of this one."""
        for branch in self.then:
            yield self.child(branch.button, branch.then)

    def descend(self, path: Sequence[Button]) -> Node:
        """Return the node that these buttons lead to, from this node down."""
        node = self
        for button in path:
            then = next((branch.then for branch in node.then if branch.button == button), ())
            node = node.child(button, then)
        return node

    def walk(self) -> Iterator[Node]:
        """Yield this node and all nodes below it."""
        yield self
        for child in self.children():
            yield from child.walk()

    def press(self, image_id: str) -> ButtonPress:
        """Return the press of this node on a source image, with the presses that follow."""
        return ButtonPress(image_id, Button(self.id.path[-1]), then=self.then)

    def line(self, image_id: str | None = None) -> OutcomeLine:
        """Return the line of this node without an outcome, with its source image if that is known."""
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
    """Finds the node of an outcome or an event."""

    _exact: dict[int, tuple[Item, Node]] = field(factory=dict)
    """The nodes by ``id()`` of their items, since a run may send two equal items."""
    _equal: dict[NodeId, Node] = field(factory=dict)
    """The nodes by identity, since a store returns copies of the items."""
    _made: dict[str, Node] = field(factory=dict)
    """The nodes by AKOOL's id of the image that they made."""

    def add(self, item: Item, node: Node) -> None:
        """Note the node of an item that the run sends or presses."""
        self._exact[id(item)] = item, node
        self._equal[node_of(item)] = node

    def note_made(self, operation_id: str, node: Node) -> None:
        """Note the id that AKOOL gave a node."""
        self._made[operation_id] = node

    def of_item(self, item: Item) -> Node | None:
        """Return the node of an item, or of an equal item; None if the index has neither."""
        _, node = self._exact.get(id(item), (None, None))
        return node or self._equal.get(node_of(item))

    def of_event(self, press: ButtonPress | None, prompt: Prompt | SourcePrompt | None) -> Node | None:
        """Return the node of an event's press or prompt; None if the event is of another program."""
        if press is None:
            return None if prompt is None else self.of_item(prompt)
        node = self.of_item(press)
        if node is None and (parent := self._made.get(press.image_id)) is not None:
            return parent.descend([press.button])
        return node

    def of_outcome(self, outcome: Outcome) -> Node:
        """Return the node of an outcome.

        Raises:
            ValueError: The run did not send or press this item.
        """
        item = outcome.item
        root = None if item is None else self.of_item(item)
        if root is None:
            raise ValueError(f"an outcome of an item that this run did not send: {item}")
        return root.descend(outcome.path[1:] if isinstance(item, ButtonPress) else outcome.path)
