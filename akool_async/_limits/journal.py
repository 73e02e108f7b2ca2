"""The journal: what a session remembers about its presses and prompts, and the credits that it counts."""

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
    """The press; None for a prompt."""


@frozen
class Claim:
    """The right to send one paid POST, and what is known about earlier POSTs for the same item."""

    slots: tuple[Slot, ...] = ()
    """A slot for each image; empty if a store counts the slots."""
    correlation_id: str | None = None
    """Identifies the POST in its webhook; None if the session may choose one."""
    may_be_sent: bool = False
    """True if another process may have sent it, which must be found out first."""
    reported_id: str | None = None
    """The new id, reported by a webhook or a person; None if it was not reported."""
    seconds_searched: float = 0.0
    """Seconds that other processes have already waited for a lost id."""


class Journal(Protocol):
    """The memory of a session. A paid POST is claimed; then it is recorded as accepted or lost, or it is released."""

    account: Account
    """The credits."""
    unclaimed: deque[Made]
    """Operations whose callers were all cancelled; the newest 10,000."""
    unclaimed_errors: deque[OutcomeUnknownError]
    """Unknown outcomes of POSTs whose callers were all cancelled; the newest 10,000."""

    def operation_id(self, item: Item) -> str | None:
        """Return the id of an accepted item's operation; None if none is remembered."""

    def lost(self, press: ButtonPress) -> OutcomeUnknownError | None:
        """Return the error of a press that was charged and whose id is lost; None if none is remembered."""

    def knows(self, operation_id: str) -> bool:
        """Return True if an operation with this id was accepted before."""

    async def claim(self, item: Item) -> Claim:
        """Wait for the slots of an item, and record that it is about to be sent."""

    def release(self, item: Item, claim: Claim, *, may_be_accepted: bool) -> None:
        """Release the slots of an item whose operation is not known.

        Args:
            item: The item.
            claim: Its claim.
            may_be_accepted: True if AKOOL may have accepted it.
        """

    async def record(self, item: Item, images: list[ImageResult]) -> list[ImageResult]:
        """Record the ids of the images that AKOOL made for an item, and return the images.

        Images of other items are left out: such a reply answers an earlier POST, as a cache may do.

        Raises:
            ResponseError: All images belong to other items.
        """

    def searching(self, item: Item, seconds_searched: float) -> AbstractContextManager[None]:
        """Return a context manager for the wait for an item's id after a lost reply.

        Args:
            item: The item.
            seconds_searched: Seconds that other processes have already waited.
        """

    def accept(self, item: Item, image: ImageResult) -> None:
        """Record that AKOOL accepted an item and made this image."""

    def lose(self, item: Item, images: int, error: OutcomeUnknownError | None) -> list[Loss]:
        """Record that images of an item are lost, and return the loss of each.

        Args:
            item: The item.
            images: The number of lost images.
            error: The error that its callers get, if any.
        """

    def find(self, press: ButtonPress | None, losses: list[Loss]) -> None:
        """Record that a lost image was found.

        Args:
            press: The press that made it; None for a prompt.
            losses: The losses of its POST, of which one is removed.
        """

    def end(self, operation_id: str, deduction_credit: float | None) -> None:
        """Record that an operation ended, and the credits that its result reports."""

    def open_budget(self, max_credits: float | None) -> Budget:
        """Make the budget of one fan-out; None is no limit."""

    def keep_unclaimed(self, operations: Iterable[Made]) -> None:
        """Keep operations whose callers were all cancelled."""

    def keep_unclaimed_error(self, error: AkoolError) -> None:
        """Keep the error of a POST whose callers were all cancelled, if AKOOL may have accepted the POST."""

    def claim_operation(self, operation_id: str) -> None:
        """Remove an operation from those that are unclaimed, since a caller receives it now."""

    def claim_error(self, press: ButtonPress) -> None:
        """Remove the error of a press from those that are unclaimed, since a caller receives it now."""


@define(eq=False)
class MemoryJournal:
    """A journal in memory. It remembers the newest 10,000 entries of each kind."""

    _slots: Slots
    _price_timeout: float
    account: Account = field(factory=Account)
    unclaimed: deque[Made] = field(factory=lambda: deque(maxlen=CACHE_SIZE))
    unclaimed_errors: deque[OutcomeUnknownError] = field(factory=lambda: deque(maxlen=CACHE_SIZE))
    _operation_ids: Recent[Item, str] = field(factory=Recent)
    _lost: Recent[ButtonPress, OutcomeUnknownError] = field(factory=Recent)
    _accepted: Recent[str, None] = field(factory=Recent)

    def operation_id(self, item: Item) -> str | None:
        """Return the id of an accepted item's operation; None if none is remembered."""
        if item not in self._operation_ids:
            return None
        self._operation_ids.move_to_end(item)
        return self._operation_ids[item]

    def lost(self, press: ButtonPress) -> OutcomeUnknownError | None:
        """Return the error of a press that was charged and whose id is lost; None if none is remembered."""
        return self._lost.get(press)

    def knows(self, operation_id: str) -> bool:
        """Return True if an operation with this id was accepted before."""
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
        """Release the slots of an item whose operation is not known."""
        for slot in claim.slots:
            slot.release()

    async def record(self, item: Item, images: list[ImageResult]) -> list[ImageResult]:  # noqa: ARG002 - for a store
        """Return the images whose ids are new."""
        new = [image for image in images if image.id not in self._accepted]
        if not new:
            raise ResponseError(f"a reply with the id of an earlier operation, {images[0].id}")
        return new

    def searching(self, item: Item, seconds_searched: float) -> AbstractContextManager[None]:  # noqa: ARG002
        """Return a context manager that does nothing: this journal does not record the wait."""
        return nullcontext()

    def accept(self, item: Item, image: ImageResult) -> None:
        """Record that AKOOL accepted an item and made this image."""
        self._accepted[image.id] = None
        self.account.accept(image.id, item.kind, image.deduction_credit)
        if (press := press_of(item)) is not None:
            self._operation_ids[press] = image.id

    def lose(self, item: Item, images: int, error: OutcomeUnknownError | None) -> list[Loss]:
        """Record that images of an item are lost, and return the loss of each."""
        charged = None if error is None else error.charged
        press = press_of(item)
        if charged and error is not None and press is not None:
            self._lost[press] = _without_frames(error)
        return self.account.lose(item.kind, images, charged=charged)

    def find(self, press: ButtonPress | None, losses: list[Loss]) -> None:
        """Record that a lost image was found."""
        if losses:
            self.account.find(losses.pop())
        if press is not None:
            self._lost.pop(press, None)
            self.claim_error(press)

    def end(self, operation_id: str, deduction_credit: float | None) -> None:
        """Record that an operation ended, and the credits that its result reports."""
        self.account.end(operation_id, deduction_credit)

    def open_budget(self, max_credits: float | None) -> Budget:
        """Make the budget of one fan-out; None is no limit."""
        return Budget(max_credits, self.account.prices, self._price_timeout)

    def keep_unclaimed(self, operations: Iterable[Made]) -> None:
        """Keep operations whose callers were all cancelled."""
        self.unclaimed.extend(operations)

    def keep_unclaimed_error(self, error: AkoolError) -> None:
        """Keep the error of a POST whose callers were all cancelled, if AKOOL may have accepted the POST."""
        if isinstance(error, OutcomeUnknownError):
            self.unclaimed_errors.append(_without_frames(error))
            logger.warning("the outcome of a POST is unknown, and its callers were all cancelled: %s", error)
        else:
            logger.debug("a POST whose callers were all cancelled was not accepted: %s", error)

    def claim_operation(self, operation_id: str) -> None:
        """Remove an operation from those that are unclaimed, since a caller receives it now."""
        if self.unclaimed:
            others = [made for made in self.unclaimed if made.operation_id != operation_id]
            self.unclaimed = deque(others, maxlen=CACHE_SIZE)

    def claim_error(self, press: ButtonPress) -> None:
        """Remove the error of a press from those that are unclaimed, since a caller receives it now."""
        if self.unclaimed_errors:
            others = [error for error in self.unclaimed_errors if error.press != press]
            self.unclaimed_errors = deque(others, maxlen=CACHE_SIZE)


def _without_frames(error: OutcomeUnknownError) -> OutcomeUnknownError:
    """Return a copy without traceback and cause, which would keep every frame and its variables in memory."""
    kept = error.fresh()
    kept.__cause__ = None
    return kept
