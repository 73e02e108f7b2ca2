"""One typed coroutine per AKOOL endpoint. Each docstring opens with the name of the page it follows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import evolve, frozen

from akool_async._http import codec
from akool_async._http.origin import contradiction
from akool_async._http.retry import is_transient, read_date
from akool_async._http.transport import Call, Transport
from akool_async._limits.backoff import growing_waits
from akool_async.errors import AkoolError, ResponseError
from akool_async.models import PromptRequest, SourcePromptRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from akool_async._http.request_body import SendGate
    from akool_async._limits.timing import Timing
    from akool_async.models import ButtonPress, ImageResult

READ_TRIES: Final = 4
SETTLED_AGE: Final = timedelta(minutes=10)
"""AKOOL's jobs hardly ever take longer than a minute, and their URLs come within seconds of their end."""

T = TypeVar("T")


_PROMPT_ENDPOINTS: Final = {
    PromptRequest: ("Create By Prompt", "/api/open/v3/content/image/createbyprompt"),
    SourcePromptRequest: ("Create By Source Prompt", "/api/open/v4/content/image/createBySourcePrompt"),
}


@frozen
class Snapshot:
    """What a poll saw, and the bytes that it was read from."""

    image: ImageResult
    content: bytes
    date: str

    @property
    def is_settled(self) -> bool:
        """True if the image is so old, by AKOOL's own clock, that no more URLs come."""
        answered_at, created_at = read_date(self.date), self.image.created_at
        return answered_at is not None and created_at is not None and answered_at - created_at > SETTLED_AGE


class Endpoints:
    """AKOOL's image API."""

    def __init__(self, transport: Transport, timing: Timing) -> None:
        self._transport = transport
        self._timing = timing

    async def create_by_button(self, press: ButtonPress, webhook_url: str | None, gate: SendGate) -> ImageResult:
        """Create By Button. Spends credits."""
        path = "/api/open/v3/content/image/createbybutton"
        call = Call("Create By Button", "POST", path, codec.button_body(press, webhook_url), gate=gate)
        try:
            image = codec.read_image(await self._transport.request(call))
            _require_answer(image, press)
        except AkoolError as error:
            error.about(press=press)
            raise
        return image

    async def create_by_prompt(
        self, request: PromptRequest | SourcePromptRequest, webhook_url: str | None, gate: SendGate
    ) -> list[ImageResult]:
        """Create By Prompt, or Create By Source Prompt (v4): one image, or several for a batch. Spends credits."""
        endpoint, path = _PROMPT_ENDPOINTS[type(request)]
        call = Call(endpoint, "POST", path, codec.prompt_body(evolve(request, webhook_url=webhook_url)), gate=gate)
        images = codec.read_images(await self._transport.request(call))
        answers = [image for image in images if contradiction(image, None) is None]
        if not answers:
            _require_answer(images[0], None)
        return answers

    async def get_image_result(self, image_id: str, *, tries: int = READ_TRIES) -> ImageResult:
        """Get Image Result, in up to ``tries`` tries."""
        return (await self._read_patiently(lambda: self.poll(image_id, None), tries)).image

    async def poll(self, image_id: str, last: Snapshot | None) -> Snapshot:
        """Get Image Result, once more: most polls of a running job are answered with the very bytes of the last."""
        path = "/api/open/v3/content/image/infobymodelid"
        known = None if last is None else last.content
        call = Call("Get Image Result", "GET", path, query={"image_model_id": image_id}, known=known)
        try:
            answer = await self._transport.request(call)
            if last is not None and answer is codec.UNCHANGED:
                return last
            image = codec.read_image(answer)
            if image.id != image_id:
                raise ResponseError(f"a reply about image {image.id}, which was not asked about")
            return Snapshot(image, answer.content, answer.date)
        except AkoolError as error:
            error.about(operation_id=image_id)
            raise

    async def get_credit(self, *, tries: int = READ_TRIES) -> float:
        """Get User Credit Info: the account's balance, in up to ``tries`` tries."""
        call = Call("Get Credit", "GET", "/api/open/v3/faceswap/quota/info")
        return codec.read_credit(await self._read_patiently(lambda: self._transport.request(call), tries))

    async def _read_patiently(self, read: Callable[[], Awaitable[T]], tries: int) -> T:
        """Call a read that costs nothing, and again up to ``tries`` times in all where the error may pass."""
        waits = growing_waits(self._timing.retry_delay, self._timing.max_retry_delay)
        for _ in range(tries - 1):  # pragma: no branch - Python 3.11 loses track after a time-out within
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
