"""Which node of a fan-out begins next: upscales, variations and prompts in turn, what belongs to open trees first."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, field

from akool_async.items import ButtonPress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from akool_async._fan_out.tree import Node

AHEAD: Final = 5
"""Upscales that open trees have for each slot, before another tree begins: while a slot makes four of them, the next
image is made, which may take three times as long."""
MAX_PROMPTS_SENT: Final = 16
"""Prompts that wait to be accepted: more would only keep the presses on images that are there waiting behind them."""
MIN_READY: Final = 4
"""Operations that are ready to take a slot, beyond those that have one."""


@define(eq=False)
class Lane:
    """The nodes of one kind: those that wait, and how many have begun."""

    limit: int
    _children: deque[Node] = field(factory=deque)
    """Of trees that have begun."""
    _roots: deque[Node] = field(factory=deque)
    begun: int = 0
    _was_child: bool = False

    @property
    def is_open(self) -> bool:
        """True if another may begin."""
        return self.begun < self.limit

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._children) + len(self._roots)

    @property
    def roots(self) -> int:
        """How many items of the fan-out itself wait."""
        return len(self._roots)

    @property
    def children(self) -> int:
        """How many presses on images that were made here wait."""
        return len(self._children)

    def add(self, node: Node) -> None:
        """One more waits."""
        (self._roots if node.parent is None else self._children).append(node)

    def take(self, *, may_take_root: bool) -> Node | None:
        """The next one; if both wait, a child and a root in turn, so that neither starves."""
        take_root = bool(self._roots) and may_take_root and (self._was_child or not self._children)
        if not take_root and not self._children:
            return None
        self._was_child = not take_root
        return (self._roots if take_root else self._children).popleft()

    def first_root(self) -> Node | None:
        """The item that is next."""
        return self._roots[0] if self._roots else None

    def clear(self) -> Iterator[Node]:
        """Take all that wait."""
        for queue in (self._children, self._roots):
            while queue:
                yield queue.popleft()


class Lanes:
    """All nodes that wait or have begun.

    Args:
        upscale_cap: Slots for upscales.
        operation_cap: Slots for operations of any kind; None for no limit.
        max_in_flight: How many nodes may be under way or have an outcome that was not taken.
    """

    def __init__(self, upscale_cap: int, operation_cap: int | None, max_in_flight: int) -> None:
        # Some beyond the cap: the next upscale has passed its preflight when a slot comes free. More of them would only
        # wait for slots in the place of variations.
        ready = min(upscale_cap, max_in_flight // 4)
        self._upscales = Lane(upscale_cap + ready)
        self._variations = Lane(max_in_flight)
        self._prompts = Lane(MAX_PROMPTS_SENT)
        self._max_begun = max_in_flight if operation_cap is None else operation_cap + max(ready, MIN_READY)
        self._wanted_ahead = AHEAD * upscale_cap
        self._ahead = 0
        """Upscales of open trees that have not ended."""
        self._order = [self._upscales, self._variations, self._prompts]
        """The one that has begun none for the longest time comes first."""

    def add(self, node: Node) -> None:
        """One more waits."""
        self._lane_of(node).add(node)

    def take(self, begun: int) -> Node | None:
        """The node that begins next, which is counted as begun; None if none may.

        Args:
            begun: Nodes under way.
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
        """A node has ended; a prompt also once it is accepted."""
        self._lane_of(node).begun -= 1

    def count_ended(self, upscales: int) -> None:
        """So many upscales of open trees have ended, or will not be made."""
        self._ahead -= upscales

    def clear(self) -> Iterator[Node]:
        """Take all that wait."""
        for lane in self._order:
            yield from lane.clear()

    @property
    def is_empty(self) -> bool:
        """True if none waits."""
        return not any(lane.waiting for lane in self._order)

    def want_items(self, max_waiting: int) -> bool:
        """True if the input may hold an item that can begin sooner than those that wait."""
        is_missing = any(lane.is_open and not lane.waiting for lane in self._order)
        return is_missing and sum(lane.roots for lane in self._order) < max_waiting

    def _may_open(self, lane: Lane) -> bool:
        """Whether another tree may begin: not while the open ones keep all slots busy, or could begin more."""
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
