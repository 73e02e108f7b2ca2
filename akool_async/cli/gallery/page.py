"""One self-contained page that shows images, their buttons and the results."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from attrs import frozen
from jinja2 import Environment, PackageLoader, StrictUndefined

from akool_async.cli.gallery.kept import KeptThumbnails
from akool_async.cli.gallery.page_file import replace_page
from akool_async.cli.gallery.pictures import Pictures
from akool_async.cli.gallery.sections import SectionMaker, count_pictures, count_states, style_of
from akool_async.cli.gallery.tree import grow
from akool_async.cli.outcomes.charges import charges_of
from akool_async.cli.output.stderr import plain
from akool_async.cli.output.times import utc

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from jinja2 import Template

    from akool_async import AkoolSession
    from akool_async.cli.gallery.contents import Contents, Root
    from akool_async.cli.gallery.pictures import Progress
    from akool_async.cli.gallery.tree import Node
    from akool_async.cli.outcomes.line import OutcomeLine


async def write_gallery(path: Path, akool: AkoolSession, contents: Contents, progress: Progress | None = None) -> None:
    """Write a page. Pictures that are not on disk are fetched for it.

    Args:
        path: The file of the page.
        akool: The session that fetches pictures.
        contents: What the page shows.
        progress: Shows the progress; None to show nothing.

    Raises:
        OSError: The page could not be written; an earlier version of it is unchanged.
    """
    kept = KeptThumbnails()
    page = await draw_page(contents, Pictures(akool=akool, page=path, kept=kept, progress=progress))
    await asyncio.to_thread(page.write, path)
    await asyncio.to_thread(kept.prune)


@frozen(kw_only=True)
class Page:
    """A page whose pictures have been drawn."""

    _contents: Contents
    _trees: Sequence[tuple[Root, Node]]
    _maker: SectionMaker

    def write(self, path: Path, *, reload_after: int | None = None) -> None:
        """Write the page whole or not at all.

        Args:
            path: The file.
            reload_after: Seconds after which the page reloads itself; None if it is final.

        Raises:
            OSError: The page could not be written; an earlier version of it is unchanged.
        """
        sections = [self._maker.make(root, tree) for root, tree in self._trees]
        counts = count_states(tree for _, tree in self._trees)
        text = _template().render(
            title=self._contents.title,
            summary=_summarize(self._contents.lines.values()),
            filters=[(state, style_of(state), count) for state, count in counts.items()],
            places=[place for section in sections for place in section.all_sections()],
            sections=sections,
            reload_after=reload_after,
            written_at=utc(datetime.now(UTC)),
        )
        replace_page(path, text)


async def draw_page(contents: Contents, pictures: Pictures) -> Page:
    """Draw the pictures of a page, in threads, so that a run can go on meanwhile."""
    trees = await asyncio.to_thread(grow, contents)
    maker = SectionMaker(pictures=pictures, seconds=contents.seconds)
    pictures.expect(sum(count_pictures(root, tree) for root, tree in trees))
    waiting = iter(trees)

    async def draw_trees() -> None:
        for root, tree in waiting:
            await maker.draw(root, tree)

    async with asyncio.TaskGroup() as group:
        for _ in range(pictures.max_concurrent):
            group.create_task(draw_trees())
    return Page(contents=contents, trees=trees, maker=maker)


def _summarize(lines: Collection[OutcomeLine]) -> str:
    prompts = [line for line in lines if line.button is None]
    presses = [line for line in lines if line.button is not None]
    done = [
        f"{sum(line.ok for line in some):,} of {len(some):,} {noun} done"
        for some, noun in ((prompts, "prompts"), (presses, "presses"))
        if some or noun == "presses"
    ]
    return f"{', '.join(done)}, {charges_of(lines)} credits"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("akool_async.cli.gallery", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_make_harmless,
    )
    return environment.get_template("gallery.html.jinja")


def _make_harmless(value: Any) -> Any:  # noqa: ANN401 - anything that the template shows
    return plain(value) if type(value) is str else value  # the template's own text is Markup
