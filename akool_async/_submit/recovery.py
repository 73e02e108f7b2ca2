"""A lost reply loses the new id, and AKOOL has no list to find it in; the webhook of that POST carries it.

To tell which POST a webhook belongs to, each gets a word of its own in its ``webhookUrl``, which nobody can guess.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from akool_async._http.origin import has_other_origin
from akool_async._limits.recent import Recent
from akool_async.errors import AkoolError
from akool_async.models import ImageResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from akool_async._http.endpoints import Endpoints
    from akool_async._limits.credits import Loss
    from akool_async.models import ButtonPress

logger = logging.getLogger("akool_async")

PARAMETER: Final = "akool_press"
"""The word's name in the query of the address."""
MOST_IMAGES: Final = 4
"""Images of one POST; what a webhook tells beyond them is not kept."""
READ_TRIES: Final = 10
"""Tries of reading the image that it tells of; with their waits most of a minute."""


class Callback:
    """What is told by webhook of one POST."""

    __slots__ = ("_bell", "_closed", "_told", "_untaken", "kind", "losses", "url", "word")

    def __init__(self, url: str | None, word: str | None, kind: str) -> None:
        self.kind = kind
        """What the images of the POST cost by."""
        self.losses: list[Loss] = []
        """What was counted for each of its images when its outcome was unknown."""
        self.url = url
        """What AKOOL is to call."""
        self.word = word
        """None where the address is not this session's."""
        self._told: set[str] = set()
        self._untaken: list[str] = []
        self._bell: asyncio.Future[None] | None = None
        self._closed = False

    @property
    def has_told(self) -> bool:
        """True once it told an id."""
        return bool(self._told)

    def tell(self, image_id: str) -> bool:
        """AKOOL calls with an id: True where it is new."""
        if image_id in self._told or len(self._told) >= MOST_IMAGES:
            return False
        self._told.add(image_id)
        self._untaken.append(image_id)
        self._ring()
        return True

    def close(self) -> None:
        """Nothing is waited for any more."""
        self._closed = True
        self._ring()

    def take_all(self) -> list[str]:
        """The ids that were told and not taken yet."""
        untaken, self._untaken = self._untaken, []
        return untaken

    async def next_id(self, deadline: float) -> str | None:
        """The next id that is told; None where there is none by then (on the event loop's clock)."""
        try:
            async with asyncio.timeout_at(deadline):
                while not self._untaken and not self._closed and self.word is not None:
                    self._bell = asyncio.get_running_loop().create_future()
                    await self._bell
        except TimeoutError:
            logger.debug("no webhook in time for a POST whose reply was lost")
        return self._untaken.pop(0) if self._untaken else None

    def _ring(self) -> None:
        if self._bell is not None and not self._bell.done():
            self._bell.set_result(None)


class Recovery:
    """Finds the images of POSTs whose reply was lost."""

    def __init__(
        self,
        api: Endpoints,
        webhook_url: str | None,
        timeout: float,
        recover: Callable[[ImageResult, ButtonPress | None, Callback], None],
    ) -> None:
        self._endpoints = api
        self._timeout = timeout
        self._webhook_url = webhook_url
        self._recover = recover
        self._expected: dict[str, Callback] = {}
        self._given_up: Recent[str, tuple[Callback, ButtonPress | None]] = Recent()
        self._recoveries: set[asyncio.Task[None]] = set()
        self._closed = False

    def expect(self, webhook_url: str | None, kind: str, word: str | None = None) -> Callback:
        """For one POST. Only the session's own address gets a word: another may lead to whoever does not know it."""
        if webhook_url is None or webhook_url != self._webhook_url:
            return Callback(webhook_url, None, kind)
        word = word or secrets.token_urlsafe(16)
        callback = self._expected[word] = Callback(_with_word(webhook_url, word), word, kind)
        return callback

    def end(self, callback: Callback) -> None:
        """The POST's outcome is known, or given up."""
        if callback.word is not None:
            self._expected.pop(callback.word, None)

    async def find(self, callback: Callback, press: ButtonPress | None, images: int) -> list[ImageResult]:
        """The images that the webhook reports in time; later ones go to ``recover``."""
        found: list[ImageResult] = []
        deadline = asyncio.get_running_loop().time() + self._timeout
        image_id = None
        try:
            while len(found) < images and (image_id := await callback.next_id(deadline)) is not None:
                found += await self._read_child(image_id, press)
                image_id = None
        except asyncio.CancelledError:  # the session closes, and AKOOL does not call again
            found += [ImageResult(id=told) for told in (image_id, *callback.take_all()) if told is not None]
            if not found:  # pragma: no cover - only the end of the event loop cancels before any id is known
                raise
        if len(found) < images and callback.word is not None:
            self._given_up[callback.word] = (callback, press)
        return found

    def hear(self, word: str, image_id: str) -> bool:
        """A webhook tells an image's id under the word of a POST: True where its reply was lost, or may yet be."""
        if word in self._expected:
            self._expected[word].tell(image_id)
            return True
        if word not in self._given_up or self._closed:
            return False
        callback, press = self._given_up[word]
        if callback.tell(image_id):
            recovery = asyncio.create_task(self._recover_one(image_id, press, callback))
            self._recoveries.add(recovery)
            recovery.add_done_callback(lambda task: self._end_recovery(task, image_id, press, callback))
        return True

    async def aclose(self) -> None:
        """Nothing is waited for any more."""
        self._closed = True
        for callback in self._expected.values():
            callback.close()
        for recovery in self._recoveries:
            recovery.cancel()
        await asyncio.gather(*self._recoveries, return_exceptions=True)

    async def _recover_one(self, image_id: str, press: ButtonPress | None, callback: Callback) -> None:
        for image in await self._read_child(image_id, press):
            self._recover(image, press, callback)

    def _end_recovery(
        self, recovery: asyncio.Task[None], image_id: str, press: ButtonPress | None, callback: Callback
    ) -> None:
        self._recoveries.discard(recovery)
        if recovery.cancelled():  # the session closes, perhaps before its first step, and AKOOL does not call again
            self._recover(ImageResult(id=image_id), press, callback)

    async def _read_child(self, image_id: str, press: ButtonPress | None) -> list[ImageResult]:
        """The image of which a webhook told, unless AKOOL says that another press made it."""
        try:
            image = await self._endpoints.get_image_result(image_id, tries=READ_TRIES)
        except AkoolError as error:
            logger.warning("a webhook told of image %s, which could not be read yet: %s", image_id, error)
            return [ImageResult(id=image_id)]  # whoever knew the word is believed that much, rather than lose a paid id
        if has_other_origin(image, press):
            logger.warning("a webhook told of image %s, which %s did not make", image_id, press or "a prompt")
            return []
        return [image]


def _with_word(url: str, word: str) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode({PARAMETER: word})]))
    return urlunsplit(parts._replace(query=query))
