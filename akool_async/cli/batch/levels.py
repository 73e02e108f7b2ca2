"""How much of a batch is made on each level of its trees: prompts, presses on their images, presses on those."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from akool_async.items import Branch, Item


@frozen
class Level:
    """What is made together, if everything before it succeeds."""

    depth: int
    """0 for prompts, and for presses on images that are there; 1 for presses on their results, and so on."""
    counts: Counter[str] = field(factory=Counter)
    """By the kind of price."""

    def count(self, *kinds: str) -> int:
        """How many of these kinds."""
        return sum(self.counts[kind] for kind in kinds)


def levels_of(items: Iterable[Item], later: Iterable[Branch]) -> list[Level]:
    """The levels of trees.

    Args:
        items: Prompts, and presses on images that are there.
        later: Presses on images that are being made.
    """
    levels = [Level(0)]
    trees: Counter[tuple[Branch, ...]] = Counter()
    for item in items:
        levels[0].counts[item.kind] += 1
        trees[item.then] += 1
    trees.update((branch,) for branch in later)
    _count_below(levels, trees)
    return levels


def _count_below(levels: list[Level], trees: Counter[tuple[Branch, ...]]) -> None:
    """Count the branches of each depth; equal trees, which mostly come from one option, are counted together."""
    depth = 0
    while any(trees):
        depth += 1
        levels.append(Level(depth))
        below: Counter[tuple[Branch, ...]] = Counter()
        for branches, times in trees.items():
            for branch in branches:
                levels[depth].counts[branch.button.kind] += times
                below[branch.then] += times
        trees = below
