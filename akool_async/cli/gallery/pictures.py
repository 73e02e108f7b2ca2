"""The pictures of a gallery: taken from the cache, drawn from disk, or fetched, a few concurrently."""

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
GONE: Final = "AKOOL no longer has its pictures"
NO_FILE: Final = "its file is missing"
NOT_DRAWN: Final = "not drawn: the run ended early"
NOT_READ: Final = "not read yet"


@frozen(kw_only=True)
class Picture:
    """A picture in the page, or the reason why it is missing, and its link."""

    thumbnail: Markup | None = None
    reason: str = ""
    link: str | None = None
    is_on_disk: bool = False
    """True if the link is a file."""


class NotReadError(AkoolError):
    """This page does not ask AKOOL for the image."""


class Progress(Protocol):
    """Shows the progress of a page."""

    def show_drawn(self, drawn: int, total: int) -> None:
        """Show how many pictures have been drawn, or are known to be missing."""


@define(eq=False, kw_only=True)
class Pictures:
    """Draws the pictures of pages.

    Args:
        akool: The session that fetches pictures.
        page: The file of the page; links to pictures are relative to it.
        kept: The cache of thumbnails.
        progress: None to show no progress.
        max_concurrent: How many pictures are drawn or fetched concurrently.
        asks: False to send AKOOL no Get Image Result. Pictures whose addresses are known are fetched, once.
        draws: False to use the cache alone.
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
        """Begin a page with this number of pictures."""
        self._done, self._total = 0, total
        self._report()

    async def show(self, image: ImageResult, file: Path | None) -> Picture:
        """Return the picture that stands for an image: the upscale, or the grid of four."""
        async with self._slots:
            picture = await self._show(image, file)
        self.count()
        return picture

    async def show_unread(self, image_id: str, reason: str) -> Picture:
        """Return the cached picture of an image that cannot be read, or the reason."""
        picture = await self._show_kept(ImageResult(id=image_id))
        self.count()
        return Picture(reason=reason) if picture is None or picture.thumbnail is None else picture

    async def show_singles(self, files: Sequence[Path]) -> Sequence[Picture]:
        """Return those of the single pictures that are on disk and can be shown."""
        return [picture for file in files if (picture := await self._show_single(file)).thumbnail is not None]

    def count(self) -> None:
        """Count a picture that is drawn, or known to be missing."""
        self._done += 1
        self._report()

    async def read(self, image_id: str) -> ImageResult:
        """Get Image Result.

        Raises:
            AkoolError: The image could not be read.
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
        except (OSError, ValueError):  # such as a folder without permission, or an impossible file name
            return Picture(reason=UNREADABLE)
        return Picture(thumbnail=drawn, link=self._link_to(file), is_on_disk=True)

    def _draw_file(self, file: Path, side: int) -> Markup:
        """Return the thumbnail of a file, which the cache knows by path, size and modification time."""
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
        """Return a picture that an earlier page has fetched, since AKOOL keeps it for 7 days only."""
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
        """Fetch a picture, which is on disk only until it is drawn, since a temporary folder may be small."""
        link = None
        try:
            if not image.urls:
                if not self._asks:
                    return Picture(reason=NOT_READ)
                image = await self._akool.get_image_result(image.id)
            link = _address_of(image)
            # Without times, so that our clock does not matter.
            shown = ImageResult(id=image.id, status=image.status, image=link)
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
        place = Path(os.path.abspath(file))  # noqa: PTH100 - resolve() would follow links
        if self._page.is_symlink():  # the page may then be opened by either name
            return place.as_uri()
        return link_between(Path(os.path.abspath(self._page.parent)), place)  # noqa: PTH100


def _key_of(image: ImageResult) -> str:
    return f"image {image.id} {MAX_SIDE} {QUALITY}"


def _address_of(image: ImageResult) -> str | None:
    return image.image or next(iter(image.urls), None)


def _web_address(address: str | None) -> str | None:
    return address if address is not None and address.startswith(("https://", "http://")) else None


def link_between(folder: PurePath, file: PurePath) -> str:
    """Return a relative link from a folder to a file (absolute paths), so that both can be moved together."""
    shared = next((above for above in (folder, *folder.parents) if file.is_relative_to(above)), None)
    if shared is None:  # on another drive of Windows
        return file.as_uri()
    up = [".."] * len(folder.relative_to(shared).parts)
    return quote(os.fsencode("/".join((*up, *file.relative_to(shared).parts))))
