"""The pictures of a gallery: kept from an earlier page, drawn from disk, or fetched, a few at a time."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from attrs import define, evolve, field, frozen

from akool_async import AkoolError, ImageResult, NotFoundError, ResultExpiredError
from akool_async.cli.gallery.thumbnails import (
    MAX_SIDE,
    QUALITY,
    SMALL_SIDE,
    UNREADABLE,
    UnreadableError,
    data_uri,
    thumbnail,
)
from akool_async.cli.messages import reason_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import PurePath

    from markupsafe import Markup

    from akool_async import AkoolSession
    from akool_async.cli.gallery.kept import KeptThumbnails

MAX_CONCURRENT: Final = 8
GONE: Final = "its pictures are not at AKOOL any more"
NO_FILE: Final = "its file is not there"
NOT_DRAWN: Final = "not drawn: the run ended early"
NOT_READ: Final = "not read yet"


@frozen(kw_only=True)
class Picture:
    """A picture in the page, or why it is missing, and what it links to."""

    thumbnail: Markup | None = None
    reason: str = ""
    link: str | None = None
    is_on_disk: bool = False
    """True if the link leads to a file."""


class NotReadError(AkoolError):
    """An image that this page does not ask AKOOL for."""


class Progress(Protocol):
    """Shows how far a page is."""

    def show_drawn(self, drawn: int, total: int) -> None:
        """This many of its pictures are drawn, or known to be missing."""


@define(eq=False, kw_only=True)
class Pictures:
    """Draws the pictures of pages.

    Args:
        akool: Where pictures are fetched from.
        page: The page, which links to files.
        kept: Thumbnails of earlier pages.
        progress: None to show none.
        max_concurrent: How many are drawn or fetched at a time.
        asks: False to read no image at AKOOL. Pictures are fetched if their addresses are known, and those that are
            missing are not tried again.
        draws: False to show what is kept, and nothing else.
    """

    _akool: AkoolSession
    _page: Path
    _kept: KeptThumbnails
    _progress: Progress | None = None
    max_concurrent: int = MAX_CONCURRENT
    _asks: bool = True
    _draws: bool = True
    _total: int = field(default=0, init=False)
    _done: int = field(default=0, init=False)
    _missing: dict[str, Picture] = field(factory=dict, init=False)
    _slots: asyncio.Semaphore = field(init=False)

    @_slots.default
    def _make_slots(self) -> asyncio.Semaphore:
        return asyncio.Semaphore(self.max_concurrent)

    def expect(self, total: int) -> None:
        """A page begins that has so many pictures."""
        self._done, self._total = 0, total
        self._report()

    async def show(self, image: ImageResult, file: Path | None) -> Picture:
        """The one picture that represents an image: the upscale, or the grid of four."""
        async with self._slots:
            picture = await self._show(image, file)
        self.count()
        return picture

    async def show_unread(self, image_id: str, reason: str) -> Picture:
        """The picture of an image that cannot be read, if an earlier page has fetched it, or else the reason."""
        picture = await self._show_kept(ImageResult(id=image_id))
        self.count()
        return Picture(reason=reason) if picture is None or picture.thumbnail is None else picture

    async def show_singles(self, files: Sequence[Path]) -> Sequence[Picture]:
        """Those of the single pictures that are on disk and can be shown."""
        return [picture for file in files if (picture := await self._show_single(file)).thumbnail is not None]

    def count(self) -> None:
        """One more picture is drawn, or known to be missing."""
        self._done += 1
        self._report()

    async def read(self, image_id: str) -> ImageResult:
        """An image as AKOOL has it.

        Raises:
            AkoolError: it could not be read.
        """
        if not self._asks:
            raise NotReadError(NOT_READ if self._draws else NOT_DRAWN)
        async with self._slots:
            return await self._akool.get_image_result(image_id)

    def _report(self) -> None:
        if self._progress is not None:
            self._progress.show_drawn(self._done, self._total)

    async def _show_single(self, file: Path) -> Picture:
        async with self._slots:
            picture = await self._show_file(file, SMALL_SIDE)
        self.count()
        return picture

    async def _show(self, image: ImageResult, file: Path | None) -> Picture:
        from_disk = Picture() if file is None else await self._show_file(file, MAX_SIDE)
        if from_disk.thumbnail is not None:
            return from_disk
        fetched = await self._show_kept(image) or await self._show_fetched(image)
        if fetched.thumbnail is not None or from_disk.reason in {"", fetched.reason}:
            return fetched
        return evolve(fetched, reason=f"{from_disk.reason}, and {fetched.reason}")

    async def _show_file(self, file: Path, side: int) -> Picture:
        try:
            drawn = await asyncio.to_thread(self._draw_file, file, side)
        except (FileNotFoundError, NotADirectoryError):
            return Picture(reason=NO_FILE)
        except UnreadableError as error:
            return Picture(reason=str(error))
        except (OSError, ValueError):  # a folder that may not be read, or no name of a file
            return Picture(reason=UNREADABLE)
        return Picture(thumbnail=drawn, link=self._link_to(file), is_on_disk=True)

    def _draw_file(self, file: Path, side: int) -> Markup:
        """The thumbnail of a file, which is known by its place, size and time: it is not read again to compare it."""
        found = file.stat()
        key = f"file {file.absolute()}\0{found.st_size} {found.st_mtime_ns} {side} {QUALITY}"
        drawn = self._kept.find(key)
        if drawn is None:
            if not self._draws:
                raise UnreadableError(NOT_DRAWN)
            drawn = thumbnail(file, side)
            self._kept.keep(key, drawn)
        return data_uri(drawn)

    async def _show_kept(self, image: ImageResult) -> Picture | None:
        """A picture that was fetched for an earlier page: AKOOL has it for 7 days."""
        drawn = await asyncio.to_thread(self._kept.find, _key_of(image))
        if drawn is not None:
            return Picture(thumbnail=data_uri(drawn), link=_web_address(_address_of(image)))
        if not self._draws:
            return Picture(reason=NOT_DRAWN, link=_web_address(_address_of(image)))
        return self._missing.get(image.id)

    async def _show_fetched(self, image: ImageResult) -> Picture:
        picture = await self._fetch(image)
        if picture.thumbnail is None and not self._asks:
            self._missing[image.id] = picture
        return picture

    async def _fetch(self, image: ImageResult) -> Picture:
        """The picture is on disk only until it is drawn: a temporary folder may be small."""
        link = None
        try:
            if not image.urls:
                if not self._asks:
                    return Picture(reason=NOT_READ)
                image = await self._akool.get_image_result(image.id)
            link = _address_of(image)
            shown = ImageResult(id=image.id, status=image.status, image=link)  # one picture, whatever our clock says
            with tempfile.TemporaryDirectory(prefix="akool-gallery-", ignore_cleanup_errors=True) as folder:
                (file,) = await self._akool.download(shown, Path(folder))
                drawn = await asyncio.to_thread(thumbnail, file)
        except (NotFoundError, ResultExpiredError):
            return Picture(reason=GONE)
        except UnreadableError as error:
            return Picture(reason=str(error), link=_web_address(link))
        except (AkoolError, OSError) as error:
            return Picture(reason=reason_of(error), link=_web_address(link))
        await asyncio.to_thread(self._kept.keep, _key_of(image), drawn)
        return Picture(thumbnail=data_uri(drawn), link=_web_address(link))

    def _link_to(self, file: Path) -> str:
        place = Path(os.path.abspath(file))  # noqa: PTH100 - a link in a path stays as it is
        if self._page.is_symlink():  # the page is then opened by either name
            return place.as_uri()
        return link_between(Path(os.path.abspath(self._page.parent)), place)  # noqa: PTH100


def _key_of(image: ImageResult) -> str:
    return f"image {image.id} {MAX_SIDE} {QUALITY}"


def _address_of(image: ImageResult) -> str | None:
    return image.image or next(iter(image.urls), None)


def _web_address(address: str | None) -> str | None:
    return address if address is not None and address.startswith(("https://", "http://")) else None


def link_between(folder: PurePath, file: PurePath) -> str:
    """A link from a page in this folder to the file, both absolute: relative, so that they can be moved together."""
    shared = next((above for above in (folder, *folder.parents) if file.is_relative_to(above)), None)
    if shared is None:  # on another drive of Windows
        return file.as_uri()
    up = [".."] * len(folder.relative_to(shared).parts)
    return quote(os.fsencode("/".join((*up, *file.relative_to(shared).parts))))
