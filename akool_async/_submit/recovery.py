"""Finds the new id after a lost reply. AKOOL has no list of operations, but the webhook of the POST carries the id.

The ``webhookUrl`` of each POST contains a secret random correlation id. It shows which POST a webhook belongs to.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode, urlsplit, urlunsplit

from attrs import frozen

from akool_async._http.origin import has_other_origin, made_by
from akool_async._limits.journal import Made
from akool_async._limits.recent import Recent
from akool_async._limits.slots import Slot
from akool_async._submit.reconcile import READ_TRIES
from akool_async.errors import AkoolError
from akool_async.items import press_of
from akool_async.models import ImageResult

if TYPE_CHECKING:
    from akool_async._http.endpoints import Endpoints
    from akool_async._limits.credits import Loss
    from akool_async._limits.journal import Claim, Journal
    from akool_async._submit.acceptance import Acceptance
    from akool_async.items import Item

logger = logging.getLogger("akool_async")

PARAMETER: Final = "akool_press"
"""The query parameter with the correlation id, in the webhook's address."""
MAX_IMAGES: Final = 4
"""Maximum number of images of one POST. Further reported ids are dropped."""


class Callback:
    """The webhook of one POST, and the ids that it reported."""

    __slots__ = (
        *("_arrival", "_ids", "_is_closed", "_untaken"),
        *("correlation_id", "is_expected", "rejected", "seconds_searched", "url"),
    )

    def __init__(
        self,
        url: str | None,
        correlation_id: str | None,
        *,
        is_expected: bool,
        seconds_searched: float = 0.0,
    ) -> None:
        self.url = url
        """The address that AKOOL is to call; None for no webhook."""
        self.correlation_id = correlation_id
        """Identifies the POST in its webhook; None if no id can be reported to this session."""
        self.is_expected = is_expected
        """True if the POST carries the address of this session."""
        self.seconds_searched = seconds_searched
        """Seconds that other processes have already waited for an id."""
        self.rejected: str | None = None
        """Why a reported id was rejected; None if no id was."""
        self._ids: set[str] = set()
        self._untaken: list[str] = []
        self._arrival: asyncio.Future[None] | None = None
        self._is_closed = False

    @property
    def has_id(self) -> bool:
        """True if an id was reported."""
        return bool(self._ids)

    def add_id(self, image_id: str) -> bool:
        """Add a reported id. Return True if it is new."""
        if image_id in self._ids or len(self._ids) >= MAX_IMAGES:
            return False
        self._ids.add(image_id)
        self._untaken.append(image_id)
        self._notify()
        return True

    def close(self) -> None:
        """End the wait for further ids."""
        self._is_closed = True
        self._notify()

    def take_all(self) -> list[str]:
        """Remove and return the reported ids that were not taken."""
        untaken, self._untaken = self._untaken, []
        return untaken

    async def next_id(self, deadline: float) -> str | None:
        """Wait for the next reported id; None if none arrives by the deadline, on the event loop's clock."""
        try:
            async with asyncio.timeout_at(deadline):
                while not self._untaken and not self._is_closed and self.correlation_id is not None:
                    self._arrival = asyncio.get_running_loop().create_future()
                    await self._arrival
        except TimeoutError:
            logger.debug("no webhook in time for a POST whose reply was lost")
        return self._untaken.pop(0) if self._untaken else None

    def _notify(self) -> None:
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)


@frozen
class _Lost:
    """An item whose callers got an :class:`OutcomeUnknownError`."""

    item: Item
    callback: Callback
    losses: list[Loss]
    """The credits counted for its images."""


class Recovery:
    """Finds the images of POSTs whose reply was lost."""

    def __init__(
        self, endpoints: Endpoints, journal: Journal, acceptance: Acceptance, *, webhook_url: str | None, timeout: float
    ) -> None:
        self._endpoints = endpoints
        self._journal = journal
        self._acceptance = acceptance
        self._webhook_url = webhook_url
        self._timeout = timeout
        self._expected: dict[str, Callback] = {}
        self._lost: Recent[str, _Lost] = Recent()
        self._reads: set[asyncio.Task[None]] = set()
        self._is_closed = False

    def expect(self, claim: Claim, webhook_url: str | None) -> Callback:
        """Begin to expect the webhook of a POST, or another report of its id.

        Only the session's own address gets the correlation id, since other receivers do not expect that parameter.
        """
        is_own = webhook_url is not None and webhook_url == self._webhook_url
        correlation_id = claim.correlation_id or (secrets.token_urlsafe(16) if is_own else None)
        if correlation_id is None:
            return Callback(webhook_url, None, is_expected=False)
        url = _with_parameter(webhook_url, correlation_id) if webhook_url is not None and is_own else webhook_url
        callback = Callback(url, correlation_id, is_expected=is_own, seconds_searched=claim.seconds_searched)
        if claim.reported_id is not None:
            callback.add_id(claim.reported_id)
        self._expected[correlation_id] = callback
        return callback

    def end(self, callback: Callback) -> None:
        """Stop expecting the webhook: the POST has an outcome."""
        if callback.correlation_id is not None:
            self._expected.pop(callback.correlation_id, None)

    def give_up(self, item: Item, callback: Callback, losses: list[Loss]) -> None:
        """Record that images of a POST were not found. A later webhook makes an unclaimed operation of each."""
        if callback.correlation_id is not None:
            self._lost[callback.correlation_id] = _Lost(item, callback, losses)

    def keep_reported(self, callback: Callback) -> None:
        """Make unclaimed operations of the images that webhooks reported before their POST was given up."""
        lost = None if callback.correlation_id is None else self._lost.get(callback.correlation_id)
        if lost is not None:
            for image_id in callback.take_all():
                self._accept(lost, ImageResult(id=image_id))

    async def find(self, item: Item, callback: Callback) -> list[ImageResult]:
        """Wait for the webhook of a POST, and return the images that it reports in time."""
        found: list[ImageResult] = []
        deadline = asyncio.get_running_loop().time() + self._timeout - callback.seconds_searched
        image_id = None
        try:
            while len(found) < item.images and (image_id := await callback.next_id(deadline)) is not None:
                found += await self._read(item, image_id, callback)
                image_id = None
        except asyncio.CancelledError:  # the session closes, and AKOOL will not call again
            found += [ImageResult(id=reported) for reported in (image_id, *callback.take_all()) if reported is not None]
            if not found:  # pragma: no cover - before any id is known, only the end of the event loop cancels
                raise
        return found

    def on_webhook(self, correlation_id: str, image_id: str) -> bool:
        """Handle a webhook that reports an image of a POST. Return True if the POST's reply was lost, or is awaited."""
        if correlation_id in self._expected:
            self._expected[correlation_id].add_id(image_id)
            return True
        if correlation_id not in self._lost or self._is_closed:
            return False
        lost = self._lost[correlation_id]
        if lost.callback.add_id(image_id):
            read = asyncio.create_task(self._recover(lost, image_id))
            self._reads.add(read)
            read.add_done_callback(partial(self._end_read, lost, image_id))
        return True

    async def aclose(self) -> None:
        """End all waits."""
        self._is_closed = True
        for callback in self._expected.values():
            callback.close()
        for read in self._reads:
            read.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    async def _recover(self, lost: _Lost, image_id: str) -> None:
        for image in await self._read(lost.item, image_id, lost.callback):
            self._accept(lost, image)

    def _end_read(self, lost: _Lost, image_id: str, read: asyncio.Task[None]) -> None:
        self._reads.discard(read)
        if read.cancelled():  # the session closes, perhaps before the first step, and AKOOL will not call again
            self._accept(lost, ImageResult(id=image_id))

    def _accept(self, lost: _Lost, image: ImageResult) -> None:
        """Keep the operation of a webhook that came after its callers got an :class:`OutcomeUnknownError`."""
        press = press_of(lost.item)
        if self._journal.knows(image.id) or (press is not None and self._journal.operation_id(press) is not None):
            return
        self._journal.find(press, lost.losses)
        self._acceptance.accept(lost.item, image, Slot(), expects_webhook=True, is_new=False)
        self._journal.keep_unclaimed([Made(image.id, press)])

    async def _read(self, item: Item, image_id: str, callback: Callback) -> list[ImageResult]:
        """Read a reported image. Return it, unless another press made it."""
        try:
            image = await self._endpoints.get_image_result(image_id, tries=READ_TRIES)
        except AkoolError as error:
            logger.warning("a webhook reported image %s, which could not be read yet: %s", image_id, error)
            return [ImageResult(id=image_id)]  # believed, so that no paid id is lost
        if has_other_origin(image, press_of(item)):
            callback.rejected = f"the id {image_id} is that of {made_by(image)}, not of {item}"
            logger.warning("a reported id was rejected: %s", callback.rejected)
            return []
        return [image]


def _with_parameter(url: str, correlation_id: str) -> str:
    parts = urlsplit(url)
    query = "&".join(filter(None, [parts.query, urlencode({PARAMETER: correlation_id})]))
    return urlunsplit(parts._replace(query=query))
