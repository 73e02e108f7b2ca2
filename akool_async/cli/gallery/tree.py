"""The trees of a page, built from single nodes."""

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
    """None for a source image, and for a node that has not ended."""
    state: str
    """The state that the page shows, which also selects its style."""
    operation_id: str | None
    children: Sequence[Node]
    """In the order of AKOOL's buttons."""

    @property
    def button(self) -> str:
        """The button of a press; empty for a root."""
        return self.id.path[-1] if self.id.path else ""

    @property
    def is_completed(self) -> bool:
        """True if there is an image."""
        return self.state == COMPLETED and self.operation_id is not None

    @property
    def is_opened(self) -> bool:
        """True if the node has a section of its own, and not only a card in the section of its parent."""
        is_under_way = self.state in {RUNNING, QUEUED} and all(child.line is None for child in self.children)
        return not self.id.path or (bool(self.children) and not is_under_way)

    @property
    def presses_to_follow(self) -> int:
        """The number of presses below it that the page does not show yet."""
        return 0 if self.is_opened else sum(1 + child.presses_to_follow for child in self.children)

    def shown_nodes(self) -> Iterator[Node]:
        """Yield this node and those below it that the page shows."""
        yield self
        if self.is_opened:
            for child in self.children:
                yield from child.shown_nodes()


def grow(contents: Contents) -> list[tuple[Root, Node]]:
    """Return the tree of each root."""
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
    """Yield the nodes that ``branches`` ask for below a node."""
    for branch in branches:
        child = node.child(str(branch.button))
        yield child
        yield from nodes_below(child, branch.then)


def _state_of(node: NodeId, line: OutcomeLine | None, contents: Contents) -> str:
    if node in contents.running and (line is None or line.id is None):  # the line is of an earlier run
        return RUNNING
    if line is not None:
        return COMPLETED if line.ok or line.status == ImageStatus.COMPLETED else str(line.state)
    return QUEUED if node in contents.planned else UNKNOWN
