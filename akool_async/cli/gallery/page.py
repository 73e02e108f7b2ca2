"""One page that shows each source image, its eight buttons and what they became, and needs no other file for that."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from akool_async.cli.gallery.page_file import replace_page
from akool_async.cli.gallery.pictures import Pictures
from akool_async.cli.gallery.sections import make_section
from akool_async.cli.outcomes.charges import charges_of
from akool_async.cli.output.stderr import plain

if TYPE_CHECKING:
    from pathlib import Path

    from jinja2 import Template

    from akool_async import AkoolSession
    from akool_async.cli.gallery.pictures import Progress
    from akool_async.cli.gallery.sections import Contents


async def write_gallery(path: Path, akool: AkoolSession, contents: Contents, progress: Progress | None = None) -> None:
    """Write the page of these images; pictures that are not on disk are fetched for it.

    Raises:
        OSError: it could not be written; a page that was there before is as it was.
    """
    pictures = Pictures(akool, path, contents.pictures, progress)
    sections = await asyncio.gather(*(make_section(image_id, contents, pictures) for image_id in contents.image_ids))
    done = sum(line.ok for line in contents.lines.values())
    charged = charges_of(contents.lines.values())
    summary = f"{done:,} of {len(contents.lines):,} presses done, {charged} credits"
    page = _template().render(title=contents.title, summary=summary, sections=sections)
    await asyncio.to_thread(replace_page, path, page)


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("akool_async.cli.gallery", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_make_harmless,
    )
    return environment.get_template("gallery.html.jinja")


def _make_harmless(value: Any) -> Any:  # noqa: ANN401 - whatever the template shows
    return plain(value) if type(value) is str else value  # what the template itself has put together is a Markup
