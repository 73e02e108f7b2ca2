"""The name of each tree of a batch: the same as in earlier runs, or else one that no other tree has."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Final

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from akool_async.cli.batch.input_file import Entry
    from akool_async.cli.outcomes.line import NodeId, OutcomeLine

PATH: Final = re.compile(r"(-[uv][1-4])+\Z")
"""The buttons at the end of a name, in small letters."""
PICTURE: Final = re.compile(r"-(\d+|grid)\Z")
"""The end of a picture's name if its image has several pictures, in small letters."""
PICTURE_SUFFIXES: Final = frozenset({".png", ".jpg", ".gif", ".webp"})
"""The suffixes with which pictures are saved."""


def assign_names(
    entries: Iterable[Entry],
    lines: Iterable[OutcomeLine],
    *,
    in_folder: Collection[str] = (),
    stored: Collection[NodeId] = (),
) -> Mapping[NodeId, str | None]:
    """Return the name of each root. It comes from the output, or else from the file, with a number if it is taken.

    Args:
        entries: The roots.
        lines: The lines and notes of earlier runs. A name stays taken even if the file no longer asks for its node.
        in_folder: The result of ``names_in_folder`` for the download folder.
        stored: The roots that are recorded in a store. The pictures in the folder are probably theirs.
    """
    book = _NameBook(in_folder)
    for line in lines:
        book.record(line)
    names: dict[NodeId, str | None] = {}
    for entry in entries:
        first = None if entry.batch is None else names[entry.batch]
        wanted = entry.name if first is None else f"{first}-b{entry.number}"
        names[entry.node] = book.recorded.get(entry.node) or (
            None if wanted is None else book.assign(entry.node.root, wanted, is_stored=entry.node in stored)
        )
    return names


def names_in_folder(folder: Path | None) -> frozenset[str]:
    """Return the names of the trees that pictures in a folder seem to belong to, for ``assign_names``.

    They are empty without a folder, and for a folder that cannot be read: the run checks it before it begins.
    """
    try:
        files = [] if folder is None else list(folder.iterdir())
    except OSError:
        return frozenset()
    stems = [_fold(file.stem) for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
    return frozenset(_distinct(PICTURE.sub("", stem)) for stem in stems)


@define
class _NameBook:
    """The names that are taken, and the trees that have them."""

    _in_folder: Collection[str]
    recorded: dict[NodeId, str] = field(factory=dict)
    _numbers: dict[str, int] = field(factory=dict)
    """The last number that was appended to a name."""
    _owners: dict[str, str] = field(factory=dict)
    """The root that has a name, by the result of ``_distinct``."""
    _assigned: dict[tuple[str, str], str] = field(factory=dict)
    """The name of a root, by the root and the name that it asked for. Presses of one image share it."""

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

    def assign(self, root: str, wanted: str, *, is_stored: bool) -> str:
        """Return this name if it is free, or else the name with the next free number."""
        name = self._assigned.get((root, wanted), wanted)
        while not self._is_free(name, root, is_stored=is_stored):
            number = self._numbers[wanted] = self._numbers.get(wanted, 1) + 1
            name = f"{wanted}-{number}"
        self._owners[_distinct(name)] = root
        self._assigned[root, wanted] = name
        return name

    def _is_free(self, name: str, root: str, *, is_stored: bool) -> bool:
        owner = self._owners.get(_distinct(name))
        is_unused = owner is None and (is_stored or _distinct(name) not in self._in_folder)
        return owner == root or is_unused


def _distinct(name: str) -> str:
    """Return the part of a name that must differ between trees: ``a-V1`` also names the first variation of ``a``."""
    return PATH.sub("", _fold(name))


def _fold(name: str) -> str:
    """Return a name as file systems compare it that ignore case."""
    return unicodedata.normalize("NFC", name.casefold())
