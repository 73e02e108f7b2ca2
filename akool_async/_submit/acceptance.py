"""Turns the images of an accepted POST into operations: records them, reports them, and begins to poll."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from akool_async.events import Accepted
from akool_async.items import press_of, prompt_of
from akool_async.operations import Operation

if TYPE_CHECKING:
    from akool_async._limits.journal import Journal
    from akool_async._limits.slots import Slot
    from akool_async._poll.poller import Poller
    from akool_async.events import Reporter
    from akool_async.items import Item
    from akool_async.models import ImageResult


@frozen
class Acceptance:
    """Makes operations of accepted images."""

    _journal: Journal
    _poller: Poller
    _reporter: Reporter

    def accept(self, item: Item, image: ImageResult, slot: Slot, *, expects_webhook: bool, is_new: bool) -> Operation:
        """Make the operation of an image that AKOOL accepted.

        Args:
            item: The press or the prompt.
            image: The image, from the reply to the POST or from Get Image Result.
            slot: The image's slot, which is held until the operation ends.
            expects_webhook: True if the POST carried this session's webhook address.
            is_new: False if AKOOL accepted it some time ago, since its reply was lost.
        """
        self._journal.accept(item, image)
        press, prompt = press_of(item), prompt_of(item)
        accepted = Accepted(operation_id=image.id, press=press, prompt=prompt, credits=image.deduction_credit)
        self._reporter.report(accepted)
        button, source_image_id = (None, None) if press is None else (press.button, press.image_id)
        tracked = self._poller.track(image, button, slot, expects_webhook=expects_webhook, is_new=is_new)
        return Operation(image.id, button, source_image_id, tracked=tracked, poller=self._poller)
