"""Chooses the node of a fan-out that begins next: upscales, variations and prompts in turn, open trees first."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from akool_async.items import ButtonPress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from akool_async._fan_out.tree import Node

AHEAD: Final = 5
"""A new tree begins if the open trees have fewer upscales left than this, for each slot. A slot is busy with them while
the next image is made, which may take three times as long as an upscale."""
MAX_PROMPTS_SENT: Final = 16
"""Maximum number of prompts that wait to be accepted. With more, presses on finished images would queue behind them."""
MIN_READY: Final = 4
"""Minimum number of operations that are ready for the next free slot."""


@define(eq=False)
class Lane:
    """The queue for the nodes of one kind."""

    limit: int
    """Maximum number of nodes that have begun."""
    _children: list[tuple[int, int, Node]] = field(factory=list)
    """Waiting nodes of trees that have begun, as a heap: the deepest first, so that few nodes wait."""
    _roots: deque[Node] = field(factory=deque)
    """Waiting items of the input."""
    begun: int = 0
    """Number of nodes that have begun and not left."""
    _sequence: Iterator[int] = field(factory=itertools.count)
    _was_child: bool = False
    """True if the last node that began was a child."""

    @property
    def is_open(self) -> bool:
        """True if another node may begin."""
        return self.begun < self.limit

    @property
    def waiting(self) -> int:
        """The number of waiting nodes."""
        return len(self._children) + len(self._roots)

    @property
    def roots(self) -> int:
        """The number of waiting items of the input."""
        return len(self._roots)

    @property
    def children(self) -> int:
        """The number of waiting presses on images that this fan-out made."""
        return len(self._children)

    def add(self, node: Node) -> None:
        """Add a node to the queue."""
        if node.parent is None:
            self._roots.append(node)
        else:
            heapq.heappush(self._children, (-len(node.parent.path), next(self._sequence), node))

    def take(self, *, may_take_root: bool) -> Node | None:
        """Remove and return the next node; None if there is none. Children and roots alternate if both wait."""
        take_root = bool(self._roots) and may_take_root and (self._was_child or not self._children)
        if not take_root and not self._children:
            return None
        self._was_child = not take_root
        return self._roots.popleft() if take_root else heapq.heappop(self._children)[-1]

    def first_root(self) -> Node | None:
        """Return the next item of the input; None if there is none."""
        return self._roots[0] if self._roots else None

    def clear(self) -> Iterator[Node]:
        """Remove and yield all waiting nodes."""
        while self._children:
            yield heapq.heappop(self._children)[-1]
        while self._roots:
            yield self._roots.popleft()


class Lanes:
    """The queues for all kinds of nodes.

    Args:
        upscale_cap: Slots for upscales.
        operation_cap: Slots for operations of any kind; None for no limit.
        max_in_flight: Maximum number of nodes that are under way or whose outcome was not taken.
    """

    def __init__(self, upscale_cap: int, operation_cap: int | None, max_in_flight: int) -> None:
        # A few beyond the cap have passed their preflight when a slot becomes free. More would take the place of
        # variations, only to wait for slots.
        ready = min(upscale_cap, max_in_flight // 4)
        self._upscales = Lane(upscale_cap + ready)
        self._variations = Lane(max_in_flight)
        self._prompts = Lane(MAX_PROMPTS_SENT)
        self._max_begun = max_in_flight if operation_cap is None else operation_cap + max(ready, MIN_READY)
        self._wanted_ahead = AHEAD * upscale_cap
        self._ahead = 0
        """Upscales of open trees that have not ended."""
        self._order = [self._upscales, self._variations, self._prompts]
        """Least recently used first."""

    def add(self, node: Node) -> None:
        """Add a node to its queue."""
        self._lane_of(node).add(node)

    def take(self, begun: int) -> Node | None:
        """Remove and return the node that begins next; None if none may begin.

        Args:
            begun: Number of nodes under way.
        """
        if begun >= self._max_begun:
            return None
        for lane in self._order:
            node = lane.take(may_take_root=self._may_open(lane)) if lane.is_open else None
            if node is not None:
                lane.begun += 1
                self._order.remove(lane)
                self._order.append(lane)
                if node.parent is None:
                    self._ahead += node.upscales
                return node
        return None

    def leave(self, node: Node) -> None:
        """Make room for the next node. Call it when a node has ended, or a prompt was accepted."""
        self._lane_of(node).begun -= 1

    def count_ended(self, upscales: int) -> None:
        """Record that ``upscales`` upscales of open trees have ended, or will not be made."""
        self._ahead -= upscales

    def clear(self) -> Iterator[Node]:
        """Remove and yield all waiting nodes."""
        for lane in self._order:
            yield from lane.clear()

    @property
    def is_empty(self) -> bool:
        """True if no node waits."""
        return not any(lane.waiting for lane in self._order)

    def want_items(self, max_waiting: int) -> bool:
        """Return True if the input may hold an item that can begin before those that wait.

        Args:
            max_waiting: Maximum number of items of the input that wait.
        """
        is_missing = any(lane.is_open and not lane.waiting for lane in self._order)
        return is_missing and sum(lane.roots for lane in self._order) < max_waiting

    def _may_open(self, lane: Lane) -> bool:
        """Return True if another tree may begin: the open ones do not keep all slots busy, and no child could begin."""
        node = lane.first_root()
        if node is None or not node.then:
            return node is not None and (lane is not self._prompts or not self._could_begin_child())
        if node.upscales and self._ahead >= self._wanted_ahead:
            return False
        return not self._could_begin_child()

    def _could_begin_child(self) -> bool:
        return any(lane.is_open and lane.children for lane in self._order)

    def _lane_of(self, node: Node) -> Lane:
        if not isinstance(node.item, ButtonPress):
            return self._prompts
        return self._upscales if node.item.button.is_upscale else self._variations
