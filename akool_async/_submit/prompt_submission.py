"""The submission of a prompt."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from akool_async._limits.slots import Slot
from akool_async._submit.submission import Submission

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from akool_async._limits.journal import Claim
    from akool_async._submit.recovery import Callback
    from akool_async._submit.submission import SubmissionServices
    from akool_async.items import Prompt, SourcePrompt
    from akool_async.models import ImageResult
    from akool_async.operations import Operation


class PromptSubmission(Submission["list[ImageResult]", "list[Operation]"]):
    """Create By Prompt and Create By Source Prompt: one image, or several. AKOOL accepts the same prompt repeatedly."""

    def __init__(self, services: SubmissionServices, prompt: Prompt | SourcePrompt, webhook_url: str | None) -> None:
        super().__init__(services, prompt, webhook_url)
        self._sent = prompt

    def _post(self, webhook_url: str | None) -> Awaitable[list[ImageResult]]:
        return self._services.endpoints.create_by_prompt(self._sent, webhook_url, self._gate)

    async def _record(self, images: list[ImageResult]) -> list[ImageResult]:
        return await self._services.journal.record(self.item, images)

    def _choose(self, found: list[ImageResult]) -> list[ImageResult]:
        return found

    def _accept(self, images: list[ImageResult], claim: Claim, callback: Callback) -> list[Operation]:
        operations = []
        for image, slot in zip_longest(images, claim.slots):  # AKOOL may make fewer or more images than requested
            if image is None:
                slot.release()
            else:
                operations.append(self._take_over(image, slot or Slot(), callback))
        return operations

    def _operations(self, result: list[Operation]) -> Iterable[Operation]:
        return result
