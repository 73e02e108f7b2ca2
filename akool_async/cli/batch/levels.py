"""The number of images on each level of a batch: prompts, presses on their images, presses on the results of those."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from akool_async.items import Branch, Item


@frozen
class Level:
    """The images that can be made once the level before is complete."""

    depth: int
    """0 for prompts and presses on existing images, 1 for presses on their results, and so on."""
    counts: Counter[str] = field(factory=Counter)
    """The number of images by kind of price."""

    def count(self, *kinds: str) -> int:
        """Return the number of images of these kinds."""
        return sum(self.counts[kind] for kind in kinds)


def levels_of(items: Iterable[Item], later: Iterable[Branch]) -> list[Level]:
    """Return the levels of trees.

    Args:
        items: Prompts, and presses on existing images.
        later: Presses on images that are not completed yet.
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
    """Count the branches of each depth. Equal trees are counted together, since most come from one option."""
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
