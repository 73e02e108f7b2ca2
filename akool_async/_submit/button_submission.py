"""The submission of a press."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async._limits.slots import Slot
from akool_async._submit.submission import Submission
from akool_async.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from akool_async._limits.journal import Claim
    from akool_async._submit.recovery import Callback
    from akool_async._submit.submission import SubmissionServices
    from akool_async.items import ButtonPress
    from akool_async.models import ImageResult


class ButtonSubmission(Submission["ImageResult", Operation]):
    """Create By Button: one image. A button works once."""

    def __init__(self, services: SubmissionServices, press: ButtonPress, webhook_url: str | None) -> None:
        super().__init__(services, press, webhook_url)
        self._press = press

    def _post(self, webhook_url: str | None) -> Awaitable[ImageResult]:
        return self._services.endpoints.create_by_button(self._press, webhook_url, self._gate)

    async def _record(self, images: ImageResult) -> ImageResult:
        return (await self._services.journal.record(self.item, [images]))[0]

    def _choose(self, found: list[ImageResult]) -> ImageResult:
        return found[0]

    def _accept(self, images: ImageResult, claim: Claim, callback: Callback) -> Operation:
        return self._take_over(images, claim.slots[0] if claim.slots else Slot(), callback)

    def _operations(self, result: Operation) -> Iterable[Operation]:
        return (result,)
