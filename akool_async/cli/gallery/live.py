"""The page of a run that goes on: written again and again, and for the last time when the run ends."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from akool_async.cli.gallery.kept import KeptThumbnails
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
"""Seconds between two pages, at least."""
REST: Final = 10
"""A page that took long to draw is followed by a pause that is so many times as long, up to MAX_AGE."""
MAX_AGE: Final = 60.0
"""Seconds after which a page is written again even if nothing has changed: a page that is older is a killed run's."""
MIN_RELOAD: Final = 5
"""Seconds after which a page reloads itself, at least."""
MAX_CONCURRENT: Final = 2
"""Pictures that are drawn at a time while presses are made."""


@define(eq=False)
class LiveGallery:
    """A page that grows while a run goes on, and reloads itself until the run has ended.

    Begin with :meth:`start`, and end with :meth:`show`; call :meth:`stop` however the run ends.

    Args:
        path: Where the page is written.
        akool: Where pictures are fetched from.
        make_contents: Returns what the page shows by now.
        progress: Shows how far the last page is; None to show nothing.
        pace: Seconds between two pages, at least.
    """

    _path: Path
    _akool: AkoolSession
    _make_contents: Callable[[], Contents]
    _progress: Progress | None = None
    _pace: float = field(default=PACE, kw_only=True)
    _kept: KeptThumbnails = field(factory=KeptThumbnails, init=False)
    _task: asyncio.Task[None] | None = field(default=None, init=False)
    _writing: asyncio.Future[None] | None = field(default=None, init=False)
    """A page that a thread writes: it cannot be cancelled."""
    _reloads: bool = field(default=False, init=False)
    """True if the page that is there reloads itself."""

    def start(self) -> None:
        """Write pages in the background, until the last one. What goes wrong with them ends nothing."""
        self._task = asyncio.create_task(self._write_pages(), name="akool gallery")

    async def show(self) -> None:
        """Write the last page, with every picture; those that are not on disk are fetched.

        Raises:
            OSError: it could not be written; a page that was there before is as it was.
        """
        await self._pause()
        pictures = Pictures(akool=self._akool, page=self._path, kept=self._kept, progress=self._progress)
        await self._write(await draw_page(self._last_contents(), pictures))
        await asyncio.to_thread(self._kept.prune)

    async def stop(self) -> None:
        """Let no page that reloads itself stay: it is written with what is known and drawn, if the run ended early."""
        await self._pause()
        if self._reloads:
            pictures = Pictures(akool=self._akool, page=self._path, kept=self._kept, asks=False, draws=False)
            with suppress(OSError):  # what ended the run is reported, and this is no more than its page
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
                with suppress(OSError):  # the last page is written too, and reports it
                    await self._write(page, reload_after=math.ceil(max(pause, MIN_RELOAD)))
                    shown, shown_at = contents, began
            await asyncio.sleep(pause)

    async def _write(self, page: Page, *, reload_after: int | None = None) -> None:
        self._writing = asyncio.ensure_future(asyncio.to_thread(page.write, self._path, reload_after=reload_after))
        self._reloads = self._reloads or reload_after is not None
        await asyncio.shield(self._writing)
        self._reloads = reload_after is not None

    async def _pause(self) -> None:
        """End the task, and wait for the page that it is writing, which would replace the last one."""
        if self._task is not None:
            self._task.cancel()
        for ending in (self._task, self._writing):
            if ending is not None:
                await asyncio.wait([ending])
                if not ending.cancelled():
                    ending.exception()  # which the last page would meet as well

    def _last_contents(self) -> Contents:
        return evolve(self._make_contents(), running={}, planned=frozenset())
