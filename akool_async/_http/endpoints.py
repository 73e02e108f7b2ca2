"""A coroutine for each endpoint of AKOOL. Each docstring begins with the name of AKOOL's page."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import frozen

from akool_async._http import codec
from akool_async._http.origin import contradiction
from akool_async._http.retry import is_transient, read_date
from akool_async._http.transport import Call, Transport
from akool_async._limits.backoff import growing_waits
from akool_async.errors import AkoolError, ResponseError
from akool_async.items import Prompt

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from yarl import URL

    from akool_async._http.request_body import SendGate
    from akool_async._limits.timing import Timing
    from akool_async.items import ButtonPress, SourcePrompt
    from akool_async.models import ImageResult

READ_TRIES: Final = 4
OLD_AGE: Final = timedelta(minutes=10)
"""AKOOL's jobs rarely take longer than a minute, and their URLs appear within seconds of their end."""

T = TypeVar("T")


@frozen
class Snapshot:
    """The result of a poll."""

    image: ImageResult
    """The image."""
    date: str
    """The Date header of the reply."""
    url: URL
    """The address that was polled. Using it again saves aiohttp 3 us per poll."""

    @property
    def is_old(self) -> bool:
        """True if the image is too old, by AKOOL's clock, for missing URLs to appear."""
        answered_at, created_at = read_date(self.date), self.image.created_at
        return answered_at is not None and created_at is not None and answered_at - created_at > OLD_AGE


class Endpoints:
    """AKOOL's image API."""

    def __init__(self, transport: Transport, timing: Timing) -> None:
        self._transport = transport
        self._timing = timing
        self._create_by_button = transport.url("api/open/v3/content/image/createbybutton")
        self._create_by_prompt = transport.url("api/open/v3/content/image/createbyprompt")
        self._create_by_source_prompt = transport.url("api/open/v4/content/image/createBySourcePrompt")
        self._get_image_result = transport.url("api/open/v3/content/image/infobymodelid")
        self._get_credit = transport.url("api/open/v3/faceswap/quota/info")

    async def create_by_button(self, press: ButtonPress, webhook_url: str | None, gate: SendGate) -> ImageResult:
        """Create By Button. Spends credits.

        Args:
            press: The press.
            webhook_url: The address that AKOOL is to call; None for none.
            gate: Records whether the POST went out.
        """
        body = codec.button_body(press, webhook_url)
        call = Call("Create By Button", "POST", self._create_by_button, body, gate)
        try:
            image = codec.read_image(await self._transport.request(call))
            _require_answer(image, press)
        except AkoolError as error:
            error.about(press=press)
            raise
        return image

    async def create_by_prompt(
        self, prompt: Prompt | SourcePrompt, webhook_url: str | None, gate: SendGate
    ) -> list[ImageResult]:
        """Create By Prompt, or Create By Source Prompt (v4): one image, or several for a batch. Spends credits.

        Args:
            prompt: The prompt.
            webhook_url: The address that AKOOL is to call; None for none.
            gate: Records whether the POST went out.
        """
        if isinstance(prompt, Prompt):
            endpoint, url = "Create By Prompt", self._create_by_prompt
        else:
            endpoint, url = "Create By Source Prompt", self._create_by_source_prompt
        body = codec.prompt_body(prompt, webhook_url)
        images = codec.read_images(await self._transport.request(Call(endpoint, "POST", url, body, gate)))
        answers = [image for image in images if contradiction(image, None) is None]
        if not answers:
            _require_answer(images[0], None)
        return answers

    async def get_image_result(self, image_id: str, *, tries: int = READ_TRIES) -> ImageResult:
        """Get Image Result, with up to ``tries`` tries."""
        return (await self._read_patiently(lambda: self.poll(image_id, None), tries)).image

    async def poll(self, operation_id: str, last: Snapshot | None) -> Snapshot:
        """Get Image Result, once. If nothing has changed since ``last``, return ``last`` itself."""
        url = self._get_image_result.with_query(image_model_id=operation_id) if last is None else last.url
        try:
            answer = await self._transport.request(Call("Get Image Result", "GET", url))
            image = codec.read_image(answer, None if last is None else last.image)
            if last is not None and image is last.image:
                return last
            if image.id != operation_id:
                raise ResponseError(f"a reply about image {image.id}, which was not requested")
            return Snapshot(image, answer.date, url)
        except AkoolError as error:
            error.about(operation_id=operation_id)
            raise

    async def get_credit(self, *, tries: int = READ_TRIES) -> float:
        """Get User Credit Info: the account's balance, with up to ``tries`` tries."""
        call = Call("Get Credit", "GET", self._get_credit)
        return codec.read_credit(await self._read_patiently(lambda: self._transport.request(call), tries))

    async def _read_patiently(self, read: Callable[[], Awaitable[T]], tries: int) -> T:
        """Call ``read`` up to ``tries`` times while its errors are transient."""
        waits = growing_waits(self._timing.retry_delay, self._timing.max_retry_delay)
        for _ in range(tries - 1):  # pragma: no branch - Python 3.11 measures this wrongly after a timeout
            try:
                return await read()
            except AkoolError as error:
                if not is_transient(error):
                    raise
                pause = max(next(waits), error.retry_after or 0.0)
            await asyncio.sleep(pause)
        return await read()


def _require_answer(image: ImageResult, press: ButtonPress | None) -> None:
    if (reason := contradiction(image, press)) is not None:
        raise ResponseError(reason)
