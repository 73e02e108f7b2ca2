"""The trees of a page, grown from what is known of single nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async import Button, ImageStatus
from akool_async.cli.outcomes.line import NodeId

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from akool_async.cli.gallery.contents import Contents, Root
    from akool_async.cli.outcomes.line import OutcomeLine
    from akool_async.items import Branch

COMPLETED, RUNNING, QUEUED, UNKNOWN = "completed", "running", "queued", "unknown"
RANKS: Final = {str(button): rank for rank, button in enumerate(Button)}


@frozen(kw_only=True)
class Node:
    """A prompt, a press, or a source image, and the presses on its image."""

    id: NodeId
    line: OutcomeLine | None
    """None of a source image, and of a node that has not ended."""
    state: str
    """As people read it; pages are styled by it."""
    operation_id: str | None
    children: Sequence[Node]
    """In the order of AKOOL's buttons."""

    @property
    def button(self) -> str:
        """The button that was or would have been pressed; empty for a root."""
        return self.id.path[-1] if self.id.path else ""

    @property
    def is_completed(self) -> bool:
        """True if it made an image."""
        return self.state == COMPLETED and self.operation_id is not None

    @property
    def is_opened(self) -> bool:
        """True if a page shows its image with its buttons, and not only as one of its parent's."""
        is_under_way = self.state in {RUNNING, QUEUED} and all(child.line is None for child in self.children)
        return not self.id.path or (bool(self.children) and not is_under_way)

    @property
    def presses_to_follow(self) -> int:
        """How many presses below it a page does not show yet."""
        return 0 if self.is_opened else sum(1 + child.presses_to_follow for child in self.children)

    def shown_nodes(self) -> Iterator[Node]:
        """This node and those below it that a page shows."""
        yield self
        if self.is_opened:
            for child in self.children:
                yield from child.shown_nodes()


def grow(contents: Contents) -> list[tuple[Root, Node]]:
    """The tree of each root, with every line that belongs to it, whatever order they came in."""
    buttons: dict[NodeId, set[str]] = {}
    for node in {*contents.lines, *contents.running, *contents.planned}:
        for depth, button in enumerate(node.path):
            buttons.setdefault(NodeId(node.root, node.path[:depth]), set()).add(button)

    def grow_node(node: NodeId) -> Node:
        line = contents.lines.get(node)
        ordered = sorted(buttons.get(node, ()), key=lambda button: (RANKS.get(button, len(RANKS)), button))
        return Node(
            id=node,
            line=line,
            state=_state_of(node, line, contents),
            operation_id=(line and line.id) or contents.running.get(node),
            children=[grow_node(node.child(button)) for button in ordered],
        )

    return [(root, grow_node(root.node)) for root in contents.all_roots()]


def nodes_below(node: NodeId, branches: Iterable[Branch]) -> Iterator[NodeId]:
    """The nodes that are asked for below a node, such as those that a run plans."""
    for branch in branches:
        child = node.child(str(branch.button))
        yield child
        yield from nodes_below(child, branch.then)


def _state_of(node: NodeId, line: OutcomeLine | None, contents: Contents) -> str:
    if node in contents.running and (line is None or line.id is None):  # an earlier run did not press it
        return RUNNING
    if line is not None:
        return COMPLETED if line.ok or line.status == ImageStatus.COMPLETED else str(line.state)
    return QUEUED if node in contents.planned else UNKNOWN
