"""One page that shows each source image, its eight buttons and what they became, and needs no other file for that."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote
from uuid import uuid4

from attrs import define, evolve, field, frozen
from jinja2 import Environment, PackageLoader, StrictUndefined

from akool_async import AkoolError, Button, ButtonPress, ImageResult, ImageStatus
from akool_async.cli._money import charges_of
from akool_async.cli._thumbnails import thumbnail
from akool_async.cli._words import amount

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template

    from akool_async import AkoolSession
    from akool_async.cli._lines import Line

GENERATOR: Final = b'<meta name="generator" content="akool_async">'
HEAD: Final = 1024
AT_ONCE: Final = 8
UNAVAILABLE: Final = "its pictures are not at AKOOL any more"


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


@frozen
class Picture:
    """A picture in the page, and where a click on it leads."""

    thumbnail: str
    link: str | None


@frozen(kw_only=True)
class Tile:
    """One button."""

    button: str
    state: str = "free"
    told: str = ""
    id: str | None = None
    facts: str = ""
    error: str | None = None
    picture: Picture | None = None
    nothing: str = ""


@frozen(kw_only=True)
class Sheet:
    """One source image."""

    id: str
    tiles: Sequence[Tile]
    prompt: str | None = None
    picture: Picture | None = None
    nothing: str = UNAVAILABLE


async def write_gallery(
    path: Path,
    akool: AkoolSession,
    contents: Contents,
) -> None:
    """Write the page of these images; pictures that are not on disk are fetched for it.

    Raises:
        OSError: it could not be written; a page that was there before is as it was.
    """
    with tempfile.TemporaryDirectory(prefix="akool-gallery-") as folder:
        pictures = _Pictures(akool, Path(folder), path.parent)
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
    """
    if not path.exists():
        return
    if path.is_file():
        with path.open("rb") as file:
            if GENERATOR in file.read(HEAD):
                return
    raise FileExistsError(f"{path} exists and is not a gallery; it was not overwritten")


@define
class _Pictures:
    """Thumbnails, and where a click on them leads."""

    _akool: AkoolSession
    _folder: Path
    _beside: Path
    _places: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(AT_ONCE), init=False)

    async def show(self, image: ImageResult, file: Path | None) -> Picture | None:
        """The one picture that stands for an image: the upscale, or the grid of four."""
        link = image.image if (image.image or "").startswith(("https://", "http://")) else None
        async with self._places:
            try:
                shown = await self._fetch(image) if file is None else file
            except AkoolError:
                return None
            drawn = await asyncio.to_thread(thumbnail, shown)
        if drawn is None:
            return None
        return Picture(drawn, link if file is None else self._link_to(file))

    async def _fetch(self, image: ImageResult) -> Path:
        return (await self._akool.download(evolve(image, upscaled_urls=(), images=()), self._folder))[0]

    def _link_to(self, file: Path) -> str:
        return quote(os.path.relpath(file, self._beside))

    async def read(self, image_id: str) -> ImageResult | None:
        """A source image; None where AKOOL does not have it."""
        async with self._places:
            try:
                return await self._akool.get_image_result(image_id)
            except AkoolError:
                return None


async def _sheet(image_id: str, contents: Contents, pictures: _Pictures) -> Sheet:
    source = contents.sources.get(image_id) or await pictures.read(image_id)
    tiles = await asyncio.gather(*(_tile(image_id, button, source, contents, pictures) for button in Button))
    if source is None:
        return Sheet(id=image_id, tiles=tiles)
    return Sheet(
        id=image_id,
        tiles=tiles,
        prompt=source.prompt,
        picture=await pictures.show(source, contents.files.get(image_id)),
    )


async def _tile(
    image_id: str, button: Button, source: ImageResult | None, contents: Contents, pictures: _Pictures
) -> Tile:
    line = contents.lines.get(ButtonPress(image_id, button))
    if line is None:
        is_used = source is not None and button in source.used_buttons
        return Tile(button=button, nothing="used before" if is_used else "not pressed")
    if not line.is_settled:
        return Tile(button=button, state="running", told=line.state, error=line.error, nothing="its id is not known")
    if line.id is None:
        state = "free" if line.code is None else "failed"  # AKOOL refused it
        return Tile(button=button, state=state, told=line.state, error=line.error, nothing="nothing came of it")
    seconds = contents.seconds.get(line.id)
    facts = [] if seconds is None else [f"{seconds:.1f} s"]
    facts += [] if line.credits is None else [f"{amount(line.credits)} credits"]
    tile = Tile(button=button, id=line.id, facts=" \N{MIDDLE DOT} ".join(facts), error=line.error)
    if line.status == ImageStatus.FAILED:
        return evolve(tile, state="failed", told="failed", nothing="AKOOL could not make it")
    if line.status != ImageStatus.COMPLETED:
        return evolve(tile, state="running", told="not finished", nothing="runs on at AKOOL")
    file = Path(line.files[-1]) if line.files else None
    image = ImageResult(id=line.id, image=line.urls[-1] if line.urls else None)
    picture = await pictures.show(image, file)
    return evolve(tile, state="completed", told="completed", nothing=UNAVAILABLE, picture=picture)


def _template() -> Template:
    environment = Environment(loader=PackageLoader("akool_async.cli", "."), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("gallery.html.jinja")


def _replace(path: Path, page: str) -> None:
    """Whole or not at all."""
    require_free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{uuid4().hex}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(page)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
