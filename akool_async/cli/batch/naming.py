"""The name of each tree of a batch: the same as in earlier runs, or else one that no other tree has."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from akool_async.cli.batch.input_file import Entry
    from akool_async.cli.outcomes.line import NodeId, OutcomeLine

PATH: Final = re.compile(r"(-[uv][1-4])+\Z")
"""The buttons at the end of a name, in small letters."""


def assign_names(entries: Iterable[Entry], lines: Iterable[OutcomeLine]) -> Mapping[NodeId, str | None]:
    """Return the name of each root. It comes from the output, or else from the file, with a number if it is taken.

    Args:
        entries: The roots.
        lines: The lines of earlier runs. A name stays taken even if the file no longer asks for its node.
    """
    book = _NameBook()
    for line in lines:
        book.record(line)
    names: dict[NodeId, str | None] = {}
    for entry in entries:
        first = None if entry.batch is None else names[entry.batch]
        wanted = entry.name if first is None else f"{first}-b{entry.number}"
        names[entry.node] = book.recorded.get(entry.node) or (
            None if wanted is None else book.assign(entry.node, wanted)
        )
    return names


@define
class _NameBook:
    """The names that are taken, and the trees that have them."""

    recorded: dict[NodeId, str] = field(factory=dict)
    _numbers: dict[str, int] = field(factory=dict)
    """The last number that was appended to a name."""
    _owners: dict[str, str] = field(factory=dict)
    """The root that has a name, by the result of ``_distinct``."""

    def record(self, line: OutcomeLine) -> None:
        """Note the name of the tree that a line belongs to."""
        if line.name is None:
            return
        root = line.node.tree
        below = "".join(f"-{button}" for button in line.node.path)
        if line.name.endswith(below) and line.name != below:
            name = line.name.removesuffix(below)
            self.recorded.setdefault(root, name)
            self._owners.setdefault(_distinct(name), root.root)

    def assign(self, root: NodeId, wanted: str) -> str:
        """Return this name if it is free, or else the name with the next free number."""
        name = wanted
        while self._owners.setdefault(_distinct(name), root.root) != root.root:
            number = self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            name = f"{wanted}-{number}"
        return name


def _distinct(name: str) -> str:
    """Return the part of a name that must differ between trees.

    Some file systems ignore case, and ``a-V1`` is also the name of the first variation of ``a``.
    """
    return PATH.sub("", unicodedata.normalize("NFC", name.casefold()))
