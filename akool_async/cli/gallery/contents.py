"""What a gallery shows: where its trees begin, and what became of each node."""

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
    """Where a tree begins: a prompt, or a source image of the input."""

    node: NodeId
    """Its children are the presses on its image."""
    name: str
    prompt: str | None = None
    """The text of a prompt."""
    image_id: str | None = None
    """Of a source image; the image of a prompt is in its line."""
    image: ImageResult | None = None
    """The source image, if it was read already."""

    @classmethod
    def of_prompt(cls, key: str, text: str, name: str | None = None) -> Self:
        """A prompt. Without a name it is shown by its key."""
        return cls(node=NodeId.of_prompt(key), name=name or key, prompt=text)

    @classmethod
    def of_image(cls, image_id: str, image: ImageResult | None = None, name: str | None = None) -> Self:
        """A source image, with what was read of it. Without a name it is shown by its id."""
        return cls(node=NodeId(f"image {image_id}"), name=name or image_id, image_id=image_id, image=image)


@frozen(kw_only=True)
class Contents:
    """What a gallery shows, at one moment: its mappings do not change any more."""

    title: str
    roots: Sequence[Root]
    """In this order. Lines of other trees come after them."""
    lines: Mapping[NodeId, OutcomeLine]
    running: Mapping[NodeId, str] = field(factory=dict)
    """Ids of operations that run at AKOOL and have no line yet."""
    planned: AbstractSet[NodeId] = frozenset()
    """Nodes that the run is still going to come to."""
    seconds: Mapping[str, float] = field(factory=dict)
    """How long each operation took, by its id, if that is known."""

    def all_roots(self) -> Iterator[Root]:
        """The roots, and those of lines that belong to none of them."""
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
