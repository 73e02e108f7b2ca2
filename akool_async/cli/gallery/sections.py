"""The sections of a page: an image, a card for each button, and a nested section for each image that was made."""

from __future__ import annotations

import asyncio
import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import evolve, field, frozen

from akool_async import AkoolError, Button, ImageResult, NotFoundError
from akool_async.cli.gallery.pictures import GONE, Picture
from akool_async.cli.gallery.tree import COMPLETED, QUEUED, RUNNING, UNKNOWN
from akool_async.cli.messages import reason_of
from akool_async.cli.outcomes.line import PressState
from akool_async.cli.output.stderr import amount, count_presses

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from akool_async.cli.gallery.contents import Root
    from akool_async.cli.gallery.pictures import Pictures
    from akool_async.cli.gallery.tree import Node
    from akool_async.cli.outcomes.line import NodeId

NO_IMAGE: Final = "AKOOL has no such image"
NO_RESULT: Final = "no result"
WHY_NO_PICTURE: Final = {
    PressState.FAILED: "AKOOL could not make it",
    PressState.NOT_FINISHED: "still runs at AKOOL",
    PressState.LOST: "its id is not known",
    PressState.IN_DOUBT: "its id is not known",
    RUNNING: "runs at AKOOL",
    QUEUED: "not begun yet",
    UNKNOWN: "no record",
}
"""Why there is no picture, by state; for other states see NO_RESULT."""


@frozen(kw_only=True)
class Card:
    """The outcome of a prompt or a press."""

    anchor: str
    name: str
    button: str
    """Empty for a prompt."""
    state: str
    style: str
    """The CSS class of the state."""
    picture: Picture
    id: str | None
    facts: str
    error: str | None
    opened_at: str | None
    """The anchor of the section that shows its image; None if there is none."""


@frozen(kw_only=True)
class ImageSection:
    """An image and its buttons."""

    anchor: str
    name: str
    card: Card | None
    """The outcome of the prompt or press that made it; None for a source image."""
    prompt: str | None
    id: str | None
    is_made: bool
    """False if there is no image, and so no buttons."""
    picture: Picture
    singles: Sequence[Picture]
    """Those of the four single pictures that are on disk."""
    cards: Sequence[Card]
    free: Sequence[str]
    """Buttons that nobody is known to have pressed."""
    used: Sequence[str]
    """Buttons that an earlier run or another program has pressed."""
    sections: Sequence[ImageSection]

    def all_sections(self, depth: int = 0) -> Iterator[tuple[int, ImageSection]]:
        """Yield this section and all nested ones, each with its depth."""
        yield depth, self
        for section in self.sections:
            yield from section.all_sections(depth + 1)


@frozen
class _Shown:
    """The pictures of a node: the upscale or the grid, and the single pictures."""

    picture: Picture
    singles: Sequence[Picture] = ()


@frozen(kw_only=True)
class SectionMaker:
    """Makes the sections of a page.

    Args:
        pictures: Draws the pictures.
        seconds: The duration of each operation in seconds, by operation id.
    """

    _pictures: Pictures
    _seconds: Mapping[str, float]
    _shown: dict[NodeId, _Shown] = field(factory=dict, init=False)
    _sources: dict[NodeId, ImageResult] = field(factory=dict, init=False)
    """The source images that could be read."""

    async def draw(self, root: Root, tree: Node) -> None:
        """Draw the pictures of a tree. Its source image is read first if that has not been done."""
        image, reason = await self._read_source(root, tree)
        completed = (node for node in tree.shown_nodes() if node.is_completed)
        await asyncio.gather(self._draw_source(root, image, reason), *map(self._draw, completed))

    def make(self, root: Root, tree: Node) -> ImageSection:
        """Return the section of a root, with its nested sections, once its pictures are drawn."""
        section = self._section_of(tree, root.name)
        if root.image_id is None:
            return evolve(section, prompt=root.prompt)
        image = self._sources.get(root.node)
        if image is None:  # it is not known which buttons are free
            return evolve(section, id=root.image_id)
        unpressed = _unpressed(tree)
        used = [button for button in unpressed if button in image.used_buttons]
        free = [button for button in unpressed if button not in used]
        return evolve(section, id=root.image_id, prompt=image.prompt, used=used, free=free)

    async def _read_source(self, root: Root, tree: Node) -> tuple[ImageResult | None, str]:
        """Return the source image, or the reason why it cannot be shown."""
        if root.image_id is None or root.image is not None:
            return root.image, ""
        try:
            return await self._pictures.read(root.image_id), ""
        except NotFoundError:
            return None, GONE if any(node.operation_id is not None for node in tree.children) else NO_IMAGE
        except (AkoolError, ValueError) as error:  # ValueError: the id cannot be one of AKOOL's
            return None, reason_of(error)

    async def _draw_source(self, root: Root, image: ImageResult | None, reason: str) -> None:
        if image is not None:
            self._sources[root.node] = image
            self._shown[root.node] = _Shown(await self._pictures.show(image, None))
        elif root.image_id is not None:
            self._shown[root.node] = _Shown(await self._pictures.show_unread(root.image_id, reason))

    async def _draw(self, node: Node) -> None:
        line = node.line
        if line is None or line.id is None:
            return
        image = ImageResult(id=line.id, image=line.urls[-1] if line.urls else None)
        picture, singles = await asyncio.gather(
            self._pictures.show(image, Path(line.files[-1]) if line.files else None),
            self._pictures.show_singles(_singles_of(node)),
        )
        self._shown[node.id] = _Shown(picture, singles)

    def _section_of(self, node: Node, name: str) -> ImageSection:
        opened = [child for child in node.children if child.is_opened]
        return ImageSection(
            anchor=anchor_of(node),
            name=name,
            card=self._card_of(node, name) if _is_counted(node) else None,
            prompt=None,
            id=None if node.line is None else node.line.id,
            is_made=node.is_completed or not _is_counted(node),
            picture=self._picture_of(node),
            singles=self._shown[node.id].singles if node.id in self._shown else (),
            cards=[self._card_of(child, _name_of(child, name)) for child in node.children],
            free=_unpressed(node) if node.is_completed else (),
            used=(),
            sections=[self._section_of(child, _name_of(child, name)) for child in opened],
        )

    def _card_of(self, node: Node, name: str) -> Card:
        line = node.line
        return Card(
            anchor=f"{anchor_of(node)}c",
            name=name,
            button=node.button,
            state=node.state,
            style=style_of(node.state),
            picture=self._picture_of(node),
            id=node.operation_id,
            facts=self._facts(node),
            error=None if line is None or line.error is None else line.error.removeprefix(f"{node.state}: "),
            opened_at=anchor_of(node) if node.is_opened else None,
        )

    def _picture_of(self, node: Node) -> Picture:
        if node.id in self._shown:
            return self._shown[node.id].picture
        return Picture(reason=WHY_NO_PICTURE.get(node.state, NO_RESULT))

    def _facts(self, node: Node) -> str:
        facts: list[str] = []
        if node.operation_id is not None and (seconds := self._seconds.get(node.operation_id)) is not None:
            facts.append(f"{seconds:.1f} s")
        if node.line is not None and node.line.id is not None and node.line.credits is not None:
            facts.append(f"{amount(node.line.credits)} credits")
        if node.presses_to_follow:
            facts.append(f"then {count_presses(node.presses_to_follow)}")
        return " \N{MIDDLE DOT} ".join(facts)


def count_pictures(root: Root, tree: Node) -> int:
    """Count the pictures of a section, missing ones included."""
    own = 0 if root.image_id is None else 1
    return own + sum(1 + len(_singles_of(node)) for node in tree.shown_nodes() if node.is_completed)


def count_states(trees: Iterable[Node]) -> dict[str, int]:
    """Count the prompts and presses in each state, in the order in which states are shown."""
    counts: dict[str, int] = {}
    for node in (node for tree in trees for node in tree.shown_nodes() if _is_counted(node)):
        counts[node.state] = counts.get(node.state, 0) + 1
    order = [COMPLETED, *map(str, PressState), RUNNING, QUEUED, UNKNOWN]
    return dict(sorted(counts.items(), key=lambda item: order.index(item[0]) if item[0] in order else len(order)))


def style_of(state: str) -> str:
    """Return the CSS class of a state, such as ``outcome-unknown``."""
    return re.sub(r"[^a-z]+", "-", state.lower()).strip("-")


def anchor_of(node: Node) -> str:
    """Return the anchor of a node, which is the same in every version of the page."""
    named = "\0".join((node.id.root, *node.id.path)).encode("utf-8", "surrogatepass")
    return f"n{hashlib.blake2b(named, digest_size=8).hexdigest()}"


def _is_counted(node: Node) -> bool:
    """Return False for a source image, which this run did not make."""
    return bool(node.id.path) or node.line is not None or node.state in {RUNNING, QUEUED}


def _singles_of(node: Node) -> Sequence[Path]:
    """Return the single pictures of a grid that has a section of its own. The last file is the grid."""
    if not node.is_opened or not node.is_completed or node.line is None:
        return ()
    return [Path(file) for file in node.line.files[:-1]]


def _unpressed(node: Node) -> Sequence[str]:
    pressed = {child.button for child in node.children}
    return [str(button) for button in Button if str(button) not in pressed]


def _name_of(node: Node, parent: str) -> str:
    return (node.line and node.line.name) or f"{parent}-{node.button}"
