"""POSTs that spend credits: each is accepted, refused or of unknown outcome, and none is sent again on doubt.

Such a POST runs as a :class:`Flight`: callers come and go, the POST runs to its end. (image id, button) names a press
for good, so all who press the same share one flight and one operation. A prompt has no such name.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from itertools import zip_longest
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from akool_async._api import Api, read_patiently
from akool_async._retry import PostRetry, Verdict, judge_spending_post
from akool_async._slots import Slot
from akool_async.errors import AkoolError, NotOperableError, OutcomeUnknownError, SessionClosedError
from akool_async.models import ButtonPress, SourcePromptRequest
from akool_async.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from akool_async._slots import Slots
    from akool_async._watch import Watcher
    from akool_async.models import Button, ImageResult, PromptRequest

logger = logging.getLogger("akool_async")

T = TypeVar("T")

RECONCILE_GAP: Final = 3.0
"""Seconds between the two reads that must both still offer a button before it is taken as not pressed."""
RECONCILE_TRIES: Final = 10
"""Tries of each of these reads; with their waits most of a minute."""
MOST_DOUBTS: Final = 3
"""Lost replies to one press before it is told as unknown, though after each AKOOL was found not to have taken it."""
REMEMBERED: Final = 10_000
"""Operations remembered, so that pressing the same again gives the same."""


class Flight(Generic[T]):
    """One POST under way. While ``committed`` it outlives its callers; before that, it ends with the last of them."""

    def __init__(
        self,
        work: Callable[[Flight[T]], Coroutine[None, None, T]],
        *,
        press: ButtonPress | None,
        keep_unclaimed: Callable[[T], None],
    ) -> None:
        self.committed = False
        self._press = press
        self._callers = 0
        self._claimed = False
        self._keep_unclaimed = keep_unclaimed
        self.task = asyncio.create_task(work(self))
        self.task.add_done_callback(lambda _: self._settle())

    @property
    def dropped(self) -> bool:
        """True once it was ended because nobody waits for it any more."""
        return self.task.cancelling() > 0

    async def join(self) -> T:
        """Wait for the outcome. A caller that leaves takes nothing from the others."""
        self._callers += 1
        try:
            await asyncio.wait([self.task])
            self._claimed = True
        finally:
            self._callers -= 1
            self._settle()
        return self._outcome()

    def drop_if_idle(self) -> None:
        """End it where nobody waits and nothing is on its way."""
        if not self._callers and not self.committed:
            self.task.cancel()

    def _outcome(self) -> T:
        if self.task.cancelled():
            if self.committed:
                message = "the session was closed before AKOOL's reply came"
                raise OutcomeUnknownError(message).about(press=self._press)
            raise SessionClosedError("the session was closed before this was sent; nothing was spent")
        error = self.task.exception()
        if isinstance(error, AkoolError):
            raise error.fresh() from error.__cause__
        return self.task.result()

    def _settle(self) -> None:
        if not self.task.done():
            self.drop_if_idle()
        elif not self._callers and not self._claimed and not self.task.cancelled():
            self._claimed = True
            error = self.task.exception()
            if error is None:
                self._keep_unclaimed(self.task.result())
            else:
                logger.warning("a POST whose callers had all left failed: %s", error)


class Spender:
    """All POSTs of a session that spend credits."""

    def __init__(self, api: Api, slots: Slots, watcher: Watcher, *, repress: bool) -> None:
        self._api = api
        self._slots = slots
        self._watcher = watcher
        self._repress = repress
        self._closed = False
        self._presses: dict[ButtonPress, Flight[list[Operation]]] = {}
        self._prompts: set[Flight[list[Operation]]] = set()
        self._operations: OrderedDict[ButtonPress, Operation] = OrderedDict()
        self.unclaimed: deque[Operation] = deque(maxlen=REMEMBERED)

    async def press(self, press: ButtonPress, webhook_url: str | None) -> Operation:
        """The one operation of this press: remembered, under way, or begun now."""
        self._check_open()
        if press in self._operations:
            self._operations.move_to_end(press)
            return self._operations[press]
        flight = self._presses.get(press)
        if flight is None:
            flight = Flight(
                lambda flight: self._press(flight, press, webhook_url),
                press=press,
                keep_unclaimed=self.unclaimed.extend,
            )
            self._presses[press] = flight
            flight.task.add_done_callback(lambda _: self._forget_flight(press, flight))
        try:
            return (await flight.join())[0]
        finally:
            if flight.dropped:
                self._forget_flight(press, flight)

    async def create(self, request: PromptRequest | SourcePromptRequest) -> list[Operation]:
        """The operations of a prompt, one for each image."""
        self._check_open()
        flight = Flight(lambda flight: self._create(flight, request), press=None, keep_unclaimed=self.unclaimed.extend)
        self._prompts.add(flight)
        flight.task.add_done_callback(lambda _: self._prompts.discard(flight))
        return await flight.join()

    async def reconcile(self, press: ButtonPress) -> bool | None:
        """Ask the source image what became of a press: True taken, False not taken, None not to be told."""
        taken = await self._is_used(press)
        if taken is False:
            await asyncio.sleep(RECONCILE_GAP)
            taken = await self._is_used(press)
        return taken

    async def aclose(self, patience: float) -> None:
        """Drop what was not sent, let what was sent end within ``patience`` seconds."""
        self._closed = True
        flights = [*self._presses.values(), *self._prompts]
        for flight in flights:
            if not flight.committed:
                flight.task.cancel()
        if flights:
            _, late = await asyncio.wait([flight.task for flight in flights], timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _press(
        self, flight: Flight[list[Operation]], press: ButtonPress, webhook_url: str | None
    ) -> list[Operation]:
        slot = await self._slots.acquire(press.button)
        try:
            created = await self._post(flight, lambda: self._api.create_by_button(press, webhook_url), press)
        except BaseException:
            slot.release()
            raise
        operation = self._adopt(created, slot, press.button, press.image_id)
        self._operations[press] = operation
        if len(self._operations) > REMEMBERED:
            self._operations.popitem(last=False)
        return [operation]

    async def _create(
        self, flight: Flight[list[Operation]], request: PromptRequest | SourcePromptRequest
    ) -> list[Operation]:
        batch = request.batch_quantity if isinstance(request, SourcePromptRequest) else 1
        slots = await self._slots.acquire_batch(batch)
        try:
            images = await self._post(flight, lambda: self._api.create_by_prompt(request), None)
        except BaseException:
            for slot in slots:
                slot.release()
            raise
        operations = []
        for image, slot in zip_longest(images, slots):  # AKOOL may make fewer or more than were asked for
            if image is None:
                slot.release()
            else:
                operations.append(self._adopt(image, slot or Slot(), None, None))
        return operations

    async def _post(
        self, flight: Flight[list[Operation]], send: Callable[[], Awaitable[T]], press: ButtonPress | None
    ) -> T:
        """Send until accepted or refused; raise :class:`OutcomeUnknownError` where neither can be told."""
        retry = PostRetry()
        doubts = 0
        while True:
            flight.committed = True
            try:
                return await send()
            except AkoolError as error:
                last = error
            if judge_spending_post(last) is Verdict.UNKNOWN:
                doubts += 1
                await self._require_not_taken(press, last, doubts)
                continue
            pause = retry.pause_after(last, asyncio.get_running_loop().time())
            if pause is None or self._closed:
                if doubts:
                    raise _refused_after_doubt(last) from last
                raise last
            flight.committed = doubts > 0
            flight.drop_if_idle()
            await asyncio.sleep(pause)

    async def _require_not_taken(self, press: ButtonPress | None, lost: AkoolError, doubts: int) -> None:
        """Return where AKOOL surely did not take the press, so that it may be sent again; raise otherwise."""
        if press is None:
            raise OutcomeUnknownError(f"{lost}; whether AKOOL accepted it cannot be told") from lost
        try:
            taken = await self.reconcile(press)
        except AkoolError as error:
            message = f"the reply was lost ({lost}) and the source image could not be read ({error})"
            raise OutcomeUnknownError(message).about(press=press) from lost
        if taken:
            message = "the reply was lost, and the button is used since: it was charged, its new id is not known"
            raise OutcomeUnknownError(f"{message} ({lost})", charged=True).about(press=press) from lost
        if taken is None or not self._repress or doubts >= MOST_DOUBTS:
            message = "the reply was lost, and the button is neither used nor offered"
            if taken is False:
                message = "the reply was lost, and the button is still offered; it was not pressed again"
            raise OutcomeUnknownError(f"{message} ({lost})").about(press=press) from lost

    async def _is_used(self, press: ButtonPress) -> bool | None:
        source = await read_patiently(lambda: self._api.get_image_result(press.image_id), tries=RECONCILE_TRIES)
        if press.button in source.used_buttons:
            return True
        return False if press.button in source.buttons else None

    def _adopt(self, created: ImageResult, slot: Slot, button: Button | None, source_image_id: str | None) -> Operation:
        watch = self._watcher.adopt(created, button, slot)
        return Operation(created.id, button, source_image_id, watch=watch, watcher=self._watcher)

    def _forget_flight(self, press: ButtonPress, flight: Flight[list[Operation]]) -> None:
        if self._presses.get(press) is flight:
            del self._presses[press]

    def _check_open(self) -> None:
        if self._closed:
            raise SessionClosedError


def _refused_after_doubt(last: AkoolError) -> OutcomeUnknownError:
    """A reply was lost, the press seemed not taken, and another try was refused: the first may have been taken."""
    if isinstance(last, NotOperableError):
        message = f"a reply was lost, and the button is used since: it was charged, its new id is not known ({last})"
        return OutcomeUnknownError(message, charged=True).about(press=last.press)
    return OutcomeUnknownError(f"a reply was lost, and another try failed ({last})").about(press=last.press)
