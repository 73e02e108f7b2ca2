"""The gallery of a running batch: the page is rewritten while the run goes on, and once more when it ends."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from akool_async.cli.gallery.kept import KeptThumbnails
from akool_async.cli.gallery.opening import open_in_browser
from akool_async.cli.gallery.page import draw_page
from akool_async.cli.gallery.pictures import Pictures

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from akool_async import AkoolSession
    from akool_async.cli.gallery.contents import Contents
    from akool_async.cli.gallery.page import Page
    from akool_async.cli.gallery.pictures import Progress

PACE: Final = 5.0
"""Minimum seconds between two versions of the page."""
REST: Final = 10
"""The pause after a page is this many times as long as drawing it took, up to MAX_AGE."""
MAX_AGE: Final = 60.0
"""Seconds after which the page is rewritten even if nothing changed. An older page belongs to a run that was killed."""
MIN_RELOAD: Final = 5
"""Minimum seconds after which a page reloads itself."""
MAX_CONCURRENT: Final = 2
"""Pictures drawn concurrently while the run goes on."""


@define(eq=False)
class LiveGallery:
    """A page that grows during a run, and reloads itself until the run has ended.

    Call :meth:`start` at the beginning, :meth:`show` after a run that went to its end, and :meth:`stop` in any case.

    Args:
        path: The file of the page.
        akool: The session that fetches pictures.
        make_contents: Returns the current contents.
        progress: Shows the progress of the last page; None to show nothing.
        pace: Minimum seconds between two versions of the page.
        opens: True to open the first version in a browser, if a person watches on a desktop.
    """

    _path: Path
    _akool: AkoolSession
    _make_contents: Callable[[], Contents]
    _progress: Progress | None = None
    _pace: float = field(default=PACE, kw_only=True)
    _opens: bool = field(default=False, kw_only=True)
    _kept: KeptThumbnails = field(factory=KeptThumbnails, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _writing: asyncio.Future[None] | None = field(default=None, init=False)
    """The page that a thread is writing, which cannot be cancelled."""
    _reloads: bool = field(default=False, init=False)
    """True if the page on disk reloads itself."""

    def start(self) -> None:
        """Write pages in the background. If one cannot be written, the run goes on."""
        self._task = asyncio.create_task(self._write_pages(), name="akool gallery")

    async def show(self) -> None:
        """Write the last page, with every picture. Pictures that are not on disk are fetched.

        Raises:
            OSError: The page could not be written; an earlier version of it is unchanged.
        """
        await self._pause()
        pictures = Pictures(akool=self._akool, page=self._path, kept=self._kept, progress=self._progress)
        await self._write(await draw_page(self._last_contents(), pictures))
        await asyncio.to_thread(self._kept.prune)

    async def stop(self) -> None:
        """If the run ended early, replace a page that reloads itself by one that does not."""
        await self._pause()
        if self._reloads:
            pictures = Pictures(akool=self._akool, page=self._path, kept=self._kept, asks=False, draws=False)
            with suppress(OSError):  # the error that ended the run matters more
                await self._write(await draw_page(self._last_contents(), pictures))

    async def _write_pages(self) -> None:
        pictures = Pictures(
            akool=self._akool, page=self._path, kept=self._kept, max_concurrent=MAX_CONCURRENT, asks=False
        )
        shown: Contents | None = None
        shown_at, pause = 0.0, self._pace
        while True:
            began = time.monotonic()
            contents = self._make_contents()
            if contents != shown or began - shown_at > MAX_AGE:
                page = await draw_page(contents, pictures)
                pause = max(self._pace, min(REST * (time.monotonic() - began), MAX_AGE))
                with suppress(OSError):  # if it lasts, writing the last page reports it
                    await self._write(page, reload_after=math.ceil(max(pause, MIN_RELOAD)))
                    shown, shown_at = contents, began
            await asyncio.sleep(pause)

    async def _write(self, page: Page, *, reload_after: int | None = None) -> None:
        self._writing = asyncio.ensure_future(asyncio.to_thread(page.write, self._path, reload_after=reload_after))
        self._reloads = self._reloads or reload_after is not None
        await asyncio.shield(self._writing)
        if self._opens:
            self._opens = False
            open_in_browser(self._path)
        self._reloads = reload_after is not None

    async def _pause(self) -> None:
        """End the task, and wait for the page that it is writing, which would otherwise replace the last one."""
        if self._task is not None:
            self._task.cancel()
        for ending in (self._task, self._writing):
            if ending is not None:
                await asyncio.wait([ending])
                if not ending.cancelled():
                    ending.exception()  # the last page would meet the same error

    def _last_contents(self) -> Contents:
        return evolve(self._make_contents(), running={}, planned=frozenset())
