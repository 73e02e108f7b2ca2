"""The pictures of a gallery: drawn from disk if they are there, or else fetched, a few at a time."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote

from attrs import define, evolve, field, frozen

from akool_async import AkoolError, ImageResult, NotFoundError, ResultExpiredError
from akool_async.cli.gallery.thumbnails import UnreadableError, thumbnail
from akool_async.cli.messages import reason_of

if TYPE_CHECKING:
    from pathlib import PurePath

    from akool_async import AkoolSession

MAX_CONCURRENT: Final = 8
GONE: Final = "its pictures are not at AKOOL any more"
NO_FILE: Final = "its file is not there"


@frozen(kw_only=True)
class Picture:
    """A picture in the page, or why it is missing, and what it links to."""

    thumbnail: str | None = None
    reason: str = ""
    link: str | None = None


class Progress(Protocol):
    """Shows how far a page is."""

    def show_drawn(self, drawn: int, total: int) -> None:
        """This many of its pictures are drawn, or known to be missing."""


@define
class Pictures:
    """Draws the pictures of a page.

    Args:
        akool: Where pictures are fetched from.
        page: The page, which links to files.
        total: How many pictures there will be.
        progress: None to show none.
    """

    _akool: AkoolSession
    _page: Path
    _total: int
    _progress: Progress | None
    _done: int = field(default=0, init=False)
    _slots: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(MAX_CONCURRENT), init=False)

    async def show(self, image: ImageResult, file: Path | None) -> Picture:
        """The one picture that represents an image: the upscale, or the grid of four."""
        async with self._slots:
            picture = await self._show(image, file)
        self.count()
        return picture

    def count(self) -> None:
        """One more picture is drawn, or known to be missing."""
        self._done += 1
        if self._progress is not None:
            self._progress.show_drawn(self._done, self._total)

    async def read(self, image_id: str) -> ImageResult:
        """An image as AKOOL has it.

        Raises:
            AkoolError: it could not be read.
        """
        async with self._slots:
            return await self._akool.get_image_result(image_id)

    async def _show(self, image: ImageResult, file: Path | None) -> Picture:
        if file is None:
            return await self._show_fetched(image)
        try:
            return Picture(thumbnail=await asyncio.to_thread(thumbnail, file), link=self._link_to(file))
        except (FileNotFoundError, NotADirectoryError):
            problem = NO_FILE
        except UnreadableError as error:
            problem = str(error)
        picture = await self._show_fetched(image)
        if picture.thumbnail is not None or picture.reason == problem:
            return picture
        return evolve(picture, reason=f"{problem}, and {picture.reason}")

    async def _show_fetched(self, image: ImageResult) -> Picture:
        """The picture is on disk only until it is drawn: a temporary folder may be small."""
        link = None
        try:
            if not image.urls:
                image = await self._akool.get_image_result(image.id)
            link = image.image or next(iter(image.urls), None)
            shown = ImageResult(id=image.id, status=image.status, image=link)  # one picture, whatever our clock says
            with tempfile.TemporaryDirectory(prefix="akool-gallery-", ignore_cleanup_errors=True) as folder:
                (file,) = await self._akool.download(shown, Path(folder))
                return Picture(thumbnail=await asyncio.to_thread(thumbnail, file), link=_web_address(link))
        except (NotFoundError, ResultExpiredError):
            return Picture(reason=GONE)
        except UnreadableError as error:
            return Picture(reason=str(error), link=_web_address(link))
        except (AkoolError, OSError) as error:
            return Picture(reason=reason_of(error), link=_web_address(link))

    def _link_to(self, file: Path) -> str:
        place = Path(os.path.abspath(file))  # noqa: PTH100 - a link in a path stays as it is
        if self._page.is_symlink():  # the page is then opened by either name
            return place.as_uri()
        return link_between(Path(os.path.abspath(self._page.parent)), place)  # noqa: PTH100


def _web_address(address: str | None) -> str | None:
    return address if address is not None and address.startswith(("https://", "http://")) else None


def link_between(folder: PurePath, file: PurePath) -> str:
    """A link from a page in this folder to the file, both absolute: relative, so that they can be moved together."""
    shared = next((above for above in (folder, *folder.parents) if file.is_relative_to(above)), None)
    if shared is None:  # on another drive of Windows
        return file.as_uri()
    up = [".."] * len(folder.relative_to(shared).parts)
    return quote(os.fsencode("/".join((*up, *file.relative_to(shared).parts))))
