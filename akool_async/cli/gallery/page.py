"""One page that shows each source image, its eight buttons and what they became, and needs no other file for that."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from attrs import field, frozen
from jinja2 import Environment, PackageLoader, StrictUndefined

from akool_async import AkoolError, Button, ButtonPress, ImageResult, ImageStatus, NotFoundError
from akool_async.cli.gallery.pictures import GONE, Picture, Pictures
from akool_async.cli.messages import amount, plain
from akool_async.cli.outcomes.charges import charges_of
from akool_async.cli.outcomes.line import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jinja2 import Template

    from akool_async import AkoolSession
    from akool_async.cli.outcomes.line import Line

GENERATOR: Final = b'<meta name="generator" content="akool_async">'
HEAD: Final = 1024
NO_IMAGE: Final = "AKOOL has no such image"


@frozen(kw_only=True)
class Contents:
    """What a gallery shows."""

    title: str
    image_ids: Sequence[str]
    """The source images, in this order."""
    sources: Mapping[str, ImageResult] = field(factory=dict)
    """Those that were read already."""
    files: Mapping[str, Path] = field(factory=dict)
    """Pictures of source images that are on disk."""
    lines: Mapping[ButtonPress, Line]
    seconds: Mapping[str, float]
    """How long each operation took, where that is known."""

    @property
    def pictures(self) -> int:
        """How many it shows, or says why not."""
        return len(self.image_ids) + sum(line.status == ImageStatus.COMPLETED for line in self.lines.values())


@frozen(kw_only=True)
class Tile:
    """One button."""

    button: str
    state: str = "free"
    picture: Picture
    told: str = ""
    id: str | None = None
    facts: str = ""
    error: str | None = None


@frozen(kw_only=True)
class Sheet:
    """One source image."""

    id: str
    tiles: Sequence[Tile]
    picture: Picture
    prompt: str | None = None


async def write_gallery(
    path: Path,
    akool: AkoolSession,
    contents: Contents,
    on_done: Callable[[int], None] = lambda _: None,
) -> None:
    """Write the page of these images; pictures that are not on disk are fetched for it.

    ``on_done`` is called with how many of ``contents.pictures`` are done.

    Raises:
        OSError: it could not be written; a page that was there before is as it was.
    """
    pictures = Pictures(akool, path, on_done)
    sheets = await asyncio.gather(*(_sheet(image_id, contents, pictures) for image_id in contents.image_ids))
    done = sum(line.ok for line in contents.lines.values())
    charged = charges_of(contents.lines.values())
    summary = f"{done:,} of {len(contents.lines):,} presses done, {charged} credits"
    page = _template().render(title=contents.title, summary=summary, sheets=sheets)
    await asyncio.to_thread(_replace, path, page)


def require_free(path: Path) -> None:
    """Refuse a name that something else than a gallery has; a gallery is made anew.

    Raises:
        FileExistsError: it has.
        OSError: nothing can be there, as behind a link that leads to itself.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:  # a link to a page that is not there yet included
        return
    if is_file:
        with path.open("rb") as file:
            if GENERATOR in file.read(HEAD):
                return
    raise FileExistsError(f"{path} exists and is not a gallery; it was not overwritten")


async def _sheet(image_id: str, contents: Contents, pictures: Pictures) -> Sheet:
    try:
        source = contents.sources.get(image_id) or await pictures.read(image_id)
    except AkoolError as error:
        tiles = await _tiles(image_id, None, contents, pictures)
        was_there = any(tile.id is not None for tile in tiles)
        pictures.count()
        unknown = (GONE if was_there else NO_IMAGE) if isinstance(error, NotFoundError) else reason_of(error)
        return Sheet(id=image_id, tiles=tiles, picture=Picture(reason=unknown))
    return Sheet(
        id=image_id,
        tiles=await _tiles(image_id, source, contents, pictures),
        prompt=source.prompt,
        picture=await pictures.show(source, contents.files.get(image_id)),
    )


async def _tiles(image_id: str, source: ImageResult | None, contents: Contents, pictures: Pictures) -> Sequence[Tile]:
    return await asyncio.gather(*(_tile(image_id, button, source, contents, pictures) for button in Button))


async def _tile(
    image_id: str, button: Button, source: ImageResult | None, contents: Contents, pictures: Pictures
) -> Tile:
    line = contents.lines.get(ButtonPress(image_id, button))
    if line is None:
        is_used = source is not None and button in source.used_buttons
        return Tile(button=button, picture=Picture(reason="used before" if is_used else "not pressed"))
    if not line.is_settled:
        lost = Picture(reason="its id is not known")
        return Tile(button=button, state="running", told=line.state, error=line.error, picture=lost)
    if line.id is None:
        state = "free" if line.code is None else "failed"  # AKOOL refused it
        nothing = Picture(reason="nothing came of it")
        return Tile(button=button, state=state, told=line.state, error=line.error, picture=nothing)
    seconds = contents.seconds.get(line.id)
    facts = [] if seconds is None else [f"{seconds:.1f} s"]
    facts += [] if line.credits is None else [f"{amount(line.credits)} credits"]
    if line.status == ImageStatus.COMPLETED:
        state, told = "completed", "completed"
        file = Path(line.files[-1]) if line.files else None
        picture = await pictures.show(ImageResult(id=line.id, image=line.urls[-1] if line.urls else None), file)
    elif line.status == ImageStatus.FAILED:
        state, told, picture = "failed", "failed", Picture(reason="AKOOL could not make it")
    else:
        state, told, picture = "running", "not finished", Picture(reason="runs on at AKOOL")
    return Tile(
        button=button,
        state=state,
        told=told,
        id=line.id,
        facts=" \N{MIDDLE DOT} ".join(facts),
        error=line.error,
        picture=picture,
    )


def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("akool_async.cli.gallery", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
    )
    return environment.get_template("gallery.html.jinja")


def _harmless(value: Any) -> Any:  # noqa: ANN401 - whatever the template shows
    return plain(value) if type(value) is str else value  # what the template itself has put together is a Markup


def _replace(path: Path, page: str) -> None:
    """Whole or not at all; a link to a page stays, and that page keeps its permissions."""
    require_free(path)
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid4().hex}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            with suppress(FileNotFoundError):
                shutil.copymode(target, part)
            file.write(page)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
