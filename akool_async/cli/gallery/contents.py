"""The contents of a gallery: the roots of its trees, and the outcome of each node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from attrs import field, frozen

from akool_async.cli.outcomes.line import NodeId

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from akool_async import ImageResult
    from akool_async.cli.outcomes.line import OutcomeLine


@frozen(kw_only=True)
class Root:
    """The root of a tree: a prompt, or a source image of the input."""

    node: NodeId
    """Its children are the presses on its image."""
    name: str
    prompt: str | None = None
    """The text of a prompt."""
    image_id: str | None = None
    """The id of a source image; None for a prompt, whose image is in its line."""
    image: ImageResult | None = None
    """The source image, if it was read already."""

    @classmethod
    def of_prompt(cls, key: str, text: str, name: str | None = None) -> Self:
        """Return the root of a prompt. Without a name the page shows its key."""
        return cls(node=NodeId.of_prompt(key), name=name or key, prompt=text)

    @classmethod
    def of_image(cls, image_id: str, image: ImageResult | None = None, name: str | None = None) -> Self:
        """Return the root of a source image. Without a name the page shows its id."""
        return cls(node=NodeId(f"image {image_id}"), name=name or image_id, image_id=image_id, image=image)


@frozen(kw_only=True)
class Contents:
    """A snapshot of what a gallery shows; its mappings no longer change."""

    title: str
    roots: Sequence[Root]
    """Shown in this order. Trees that only ``lines`` knows follow."""
    lines: Mapping[NodeId, OutcomeLine]
    """The outcome of each node that has ended."""
    running: Mapping[NodeId, str] = field(factory=dict)
    """The ids of operations that still run at AKOOL and have no line yet."""
    planned: AbstractSet[NodeId] = frozenset()
    """Nodes that the run has not begun yet."""
    seconds: Mapping[str, float] = field(factory=dict)
    """The duration of each operation in seconds, by operation id, if it is known."""

    def all_roots(self) -> Iterator[Root]:
        """Yield the roots, and then a root for each tree that only ``lines`` knows."""
        yield from self.roots
        known = {root.node.root for root in self.roots}
        for node, line in self.lines.items():
            if node.root not in known:
                known.add(node.root)
                yield self._root_of(node, line)

    def _root_of(self, node: NodeId, line: OutcomeLine) -> Root:
        first = NodeId(node.root)
        if line.key is None:
            image_id = line.root_id or line.image_id or ""
            return Root(node=first, name=image_id, image_id=image_id)
        prompt = self.lines.get(first)
        named = None if prompt is None else prompt.name
        return Root(node=first, name=named or line.key, prompt=None if prompt is None else prompt.prompt)
