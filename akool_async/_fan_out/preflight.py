"""The preflight: read the source image and find out whether a button can be pressed, before anything is spent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async._http.event_loop import retrieve_exception
from akool_async._limits.recent import Recent
from akool_async._submit.decision import Source
from akool_async._submit.reconcile import source_shows
from akool_async.errors import CODES, AkoolError, AlreadyUsedError, NotFoundError, NotOperableError, codes_of

if TYPE_CHECKING:
    from akool_async._http.endpoints import Endpoints
    from akool_async.items import ButtonPress
    from akool_async.models import ImageResult

MAX_READS: Final = 8
"""Maximum number of concurrent reads, which is also what a bad key costs."""
NOT_OPERABLE: Final = codes_of(NotOperableError)[0]
ALREADY_USED: Final = codes_of(AlreadyUsedError)[0]


@frozen
class Obstacle:
    """The reason why a button cannot be pressed."""

    code: int
    """The code that AKOOL would answer."""
    reason: str
    """The reason, for messages."""


def obstacle_of(source: ImageResult, button: str) -> Obstacle | None:
    """Return why a button of a source image cannot be pressed; None if it can be pressed."""
    match source_shows(source, button):
        case Source.OFFERED:
            return None
        case Source.USED:
            return Obstacle(ALREADY_USED, f"{button} is already used")
        case _:
            offered = ", ".join(source.buttons) or f"no button at status {source.status}"
            return Obstacle(NOT_OPERABLE, f"{button} is not available; AKOOL offers {offered}")


class Preflight:
    """Reads each source image once for all of its buttons."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._places = asyncio.Semaphore(MAX_READS)
        self._reads: Recent[str, asyncio.Task[ImageResult]] = Recent()

    async def check(self, press: ButtonPress, *, known: ImageResult | None = None) -> None:
        """Check that the button is offered.

        Args:
            press: The press.
            known: The source image, if it was read before. It is read again if it does not offer the button.

        Raises:
            AlreadyUsedError: The button is used; nothing was sent.
            NotOperableError: The button is not available; nothing was sent.
            AkoolError: The source image could not be read.
        """
        if known is not None and obstacle_of(known, press.button) is None:
            return
        try:
            source = await self._source(press.image_id)
        except AkoolError as error:
            error.operation_id = None  # it is the source image's id, not that of the press's operation
            raise error.about(press=press)  # noqa: B904 - the same error
        obstacle = obstacle_of(source, press.button)
        if obstacle is not None:
            message = f"not pressed: {obstacle.reason}"
            raise CODES[obstacle.code].error(obstacle.code, message).about(press=press)

    def close(self) -> None:
        """Cancel the reads under way."""
        for read in self._reads.values():
            read.cancel()

    async def _source(self, image_id: str) -> ImageResult:
        if image_id not in self._reads:
            read = self._reads[image_id] = asyncio.create_task(self._read_in_turn(image_id))
            read.add_done_callback(retrieve_exception)
        read = self._reads[image_id]
        await asyncio.wait([read])  # cancelling one caller does not cancel the read for the others
        try:
            source = read.result()
        except AkoolError as error:
            if not isinstance(error, NotFoundError):
                self._forget(image_id, read)  # the next button reads it again
            raise error.fresh() from error.__cause__
        if not source.is_final:
            self._forget(image_id, read)
        return source

    def _forget(self, image_id: str, read: asyncio.Task[ImageResult]) -> None:
        if self._reads.get(image_id) is read:
            del self._reads[image_id]

    async def _read_in_turn(self, image_id: str) -> ImageResult:
        async with self._places:
            return await self._endpoints.get_image_result(image_id)
