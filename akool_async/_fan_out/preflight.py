"""Whether a button can be pressed, asked of its source image before anything is spent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async._limits.recent import Recent
from akool_async.errors import AkoolError, AlreadyUsedError, NotFoundError, NotOperableError, codes_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from akool_async.models import ButtonPress, ImageResult

AT_ONCE: Final = 8
"""Reads under way: a bad key costs no more of them."""
NOT_OPERABLE: Final = codes_of(NotOperableError)[0]
ALREADY_USED: Final = codes_of(AlreadyUsedError)[0]


class Preflight:
    """Reads each source image once, however many of its buttons are to be pressed."""

    def __init__(self, read: Callable[[str], Awaitable[ImageResult]]) -> None:
        self._read = read
        self._places = asyncio.Semaphore(AT_ONCE)
        self._reads: Recent[str, asyncio.Task[ImageResult]] = Recent()

    async def check(self, press: ButtonPress) -> None:
        """Return where the button is offered.

        Raises:
            AlreadyUsedError: it is used; nothing was sent.
            NotOperableError: it is not there; nothing was sent.
            AkoolError: the source image could not be read.
        """
        source = await self._source(press.image_id)
        if press.button in source.used_buttons:
            raise AlreadyUsedError(ALREADY_USED, f"found before pressing: {press.button} is used").about(press=press)
        if press.button not in source.buttons:
            offered = ", ".join(source.buttons) or f"nothing at status {source.status}"
            msg = f"found before pressing: {press.button} is not offered, but {offered}"
            raise NotOperableError(NOT_OPERABLE, msg).about(press=press)

    def close(self) -> None:
        """End the reads under way."""
        for read in self._reads.values():
            read.cancel()

    async def _source(self, image_id: str) -> ImageResult:
        if image_id not in self._reads:
            read = self._reads[image_id] = asyncio.create_task(self._read_in_turn(image_id))
            read.add_done_callback(_look_at)
        read = self._reads[image_id]
        await asyncio.wait([read])  # a caller that leaves does not end the read for the others
        try:
            source = read.result()
        except AkoolError as error:
            if not isinstance(error, NotFoundError):
                self._forget(image_id, read)  # what failed is asked again for the next button
            raise error.fresh() from error.__cause__
        if not source.is_final:
            self._forget(image_id, read)
        return source

    def _forget(self, image_id: str, read: asyncio.Task[ImageResult]) -> None:
        if self._reads.get(image_id) is read:
            del self._reads[image_id]

    async def _read_in_turn(self, image_id: str) -> ImageResult:
        async with self._places:
            return await self._read(image_id)


def _look_at(read: asyncio.Task[ImageResult]) -> None:
    """Take in the outcome of a read that nobody may wait for any more, so that asyncio does not complain of it."""
    if not read.cancelled():
        read.exception()
