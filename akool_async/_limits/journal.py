"""What a session remembers of its presses, and counts of their credits."""

from __future__ import annotations

import logging
from collections import deque
from contextlib import nullcontext
from typing import TYPE_CHECKING, Protocol

from attrs import define, field, frozen

from akool_async._limits.budget import Budget
from akool_async._limits.credits import Account
from akool_async._limits.recent import CACHE_SIZE, Recent
from akool_async.errors import AkoolError, OutcomeUnknownError, ResponseError
from akool_async.items import press_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from akool_async._limits.credits import Loss
    from akool_async._limits.slots import Slot, Slots
    from akool_async.items import ButtonPress, Item
    from akool_async.models import ImageResult

logger = logging.getLogger("akool_async")


@frozen
class Made:
    """An operation, and the press that made it."""

    operation_id: str
    press: ButtonPress | None
    """None for a prompt."""


@frozen
class Claim:
    """The right to send one paid POST, and what is known of earlier POSTs for the same item."""

    slots: tuple[Slot, ...] = ()
    """One for each image, if this process counts them."""
    correlation_id: str | None = None
    """By which its webhook is known; None if the session may choose one."""
    may_be_sent: bool = False
    """True if another process may have sent it: it is found out first."""
    reported_id: str | None = None
    """The id that a webhook or a person reported; None if nobody did."""
    seconds_searched: float = 0.0
    """For how long other processes have waited for a lost id."""


class Journal(Protocol):
    """The memory of a session. A paid POST is claimed, then recorded as accepted, or released, or lost."""

    account: Account
    unclaimed: deque[Made]
    """Operations whose callers had all left; the newest 10,000."""
    unclaimed_errors: deque[OutcomeUnknownError]
    """Unknown outcomes of POSTs whose callers had all left; the newest 10,000."""

    def operation_id(self, item: Item) -> str | None:
        """The operation of an item that AKOOL accepted; None if none is remembered."""

    def lost(self, press: ButtonPress) -> OutcomeUnknownError | None:
        """The error of a press that was charged and whose id is lost; None if none is remembered."""

    def knows(self, operation_id: str) -> bool:
        """True for the id of an operation that was accepted before."""

    async def claim(self, item: Item) -> Claim:
        """Wait for the slots of an item, and record that it is about to be sent."""

    def release(self, item: Item, claim: Claim, *, may_be_accepted: bool) -> None:
        """An item was not accepted, as far as is known: give its slots back."""

    async def record(self, item: Item, images: list[ImageResult]) -> list[ImageResult]:
        """Record the ids of the images that AKOOL made for an item, and return the images.

        Images that another item has made are left out: they answer an earlier POST, as a cache may do.

        Raises:
            ResponseError: There are no others.
        """

    def searching(self, item: Item, seconds_searched: float) -> AbstractContextManager[None]:
        """In this block the id of an item is waited for, whose reply was lost; it was for some seconds already."""

    def accept(self, item: Item, image: ImageResult) -> None:
        """AKOOL accepted an item, and made this image for it."""

    def lose(self, item: Item, images: int, error: OutcomeUnknownError | None) -> list[Loss]:
        """The reply for so many images of an item was lost. Returns what that counts for each of them."""

    def find(self, press: ButtonPress | None, losses: list[Loss]) -> None:
        """An image that was counted as lost has become known."""

    def end(self, operation_id: str, deduction_credit: float | None) -> None:
        """An operation ended, and its result reports this charge."""

    def open_budget(self, max_credits: float | None) -> Budget:
        """The budget of one fan-out; None is no limit."""

    def keep_unclaimed(self, operations: Iterable[Made]) -> None:
        """Keep operations whose callers had all left."""

    def keep_unclaimed_error(self, error: AkoolError) -> None:
        """Keep the error of a POST whose callers had all left, if AKOOL may have accepted it."""


@define(eq=False)
class MemoryJournal:
    """A journal that ends with its process. It remembers the newest 10,000 of each kind."""

    _slots: Slots
    _price_timeout: float
    account: Account = field(factory=Account)
    unclaimed: deque[Made] = field(factory=lambda: deque(maxlen=CACHE_SIZE))
    unclaimed_errors: deque[OutcomeUnknownError] = field(factory=lambda: deque(maxlen=CACHE_SIZE))
    _operation_ids: Recent[Item, str] = field(factory=Recent)
    _lost: Recent[ButtonPress, OutcomeUnknownError] = field(factory=Recent)
    _accepted: Recent[str, None] = field(factory=Recent)

    def operation_id(self, item: Item) -> str | None:
        """The operation of an item that AKOOL accepted; None if none is remembered."""
        if item not in self._operation_ids:
            return None
        self._operation_ids.move_to_end(item)
        return self._operation_ids[item]

    def lost(self, press: ButtonPress) -> OutcomeUnknownError | None:
        """The error of a press that was charged and whose id is lost; None if none is remembered."""
        return self._lost.get(press)

    def knows(self, operation_id: str) -> bool:
        """True for the id of an operation that was accepted before."""
        return operation_id in self._accepted

    async def claim(self, item: Item) -> Claim:
        """Wait for the slots of an item."""
        if item.images == 1:
            slots: tuple[Slot, ...] = (
                await self._slots.acquire(None if (press := press_of(item)) is None else press.button),
            )
        else:
            slots = tuple(await self._slots.acquire_batch(item.images))
        return Claim(slots)

    def release(self, item: Item, claim: Claim, *, may_be_accepted: bool) -> None:  # noqa: ARG002 - for a store
        """An item was not accepted, as far as is known: give its slots back."""
        for slot in claim.slots:
            slot.release()

    async def record(self, item: Item, images: list[ImageResult]) -> list[ImageResult]:  # noqa: ARG002 - for a store
        """Return the images whose ids are new."""
        new = [image for image in images if image.id not in self._accepted]
        if not new:
            raise ResponseError(f"a reply with the id of an earlier operation, {images[0].id}")
        return new

    def searching(self, item: Item, seconds_searched: float) -> AbstractContextManager[None]:  # noqa: ARG002
        """In this block the id of an item is waited for: this journal does not record it."""
        return nullcontext()

    def accept(self, item: Item, image: ImageResult) -> None:
        """AKOOL accepted an item, and made this image for it."""
        self._accepted[image.id] = None
        self.account.accept(image.id, item.kind, image.deduction_credit)
        if (press := press_of(item)) is not None:
            self._operation_ids[press] = image.id

    def lose(self, item: Item, images: int, error: OutcomeUnknownError | None) -> list[Loss]:
        """The reply for so many images of an item was lost. Returns what that counts for each of them."""
        charged = None if error is None else error.charged
        press = press_of(item)
        if charged and error is not None and press is not None:
            self._lost[press] = _without_frames(error)
        return self.account.lose(item.kind, images, charged=charged)

    def find(self, press: ButtonPress | None, losses: list[Loss]) -> None:
        """An image that was counted as lost has become known."""
        if losses:
            self.account.find(losses.pop())
        if press is not None:
            self._lost.pop(press, None)
            still_unknown = [error for error in self.unclaimed_errors if error.press != press]
            self.unclaimed_errors = deque(still_unknown, maxlen=CACHE_SIZE)

    def end(self, operation_id: str, deduction_credit: float | None) -> None:
        """An operation ended, and its result reports this charge."""
        self.account.end(operation_id, deduction_credit)

    def open_budget(self, max_credits: float | None) -> Budget:
        """The budget of one fan-out; None is no limit."""
        return Budget(max_credits, self.account.prices, self._price_timeout)

    def keep_unclaimed(self, operations: Iterable[Made]) -> None:
        """Keep operations whose callers had all left."""
        self.unclaimed.extend(operations)

    def keep_unclaimed_error(self, error: AkoolError) -> None:
        """Keep the error of a POST whose callers had all left, if AKOOL may have accepted it."""
        if isinstance(error, OutcomeUnknownError):
            self.unclaimed_errors.append(_without_frames(error))
            logger.warning("a POST whose callers had all left: %s", error)
        else:
            logger.debug("a POST whose callers had all left was not accepted: %s", error)


def _without_frames(error: OutcomeUnknownError) -> OutcomeUnknownError:
    """A copy to keep, without the traceback and the cause: they hold every frame they went through, with its body."""
    kept = error.fresh()
    kept.__cause__ = None
    return kept
