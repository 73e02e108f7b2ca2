"""POSTs that spend credits: each is accepted, refused or of unknown outcome, and none is sent again on doubt.

Such a POST runs as a :class:`Submission`. (image id, button) names a press for good, so all who press the same share
one submission and one operation. A prompt has no such name.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

from akool_async._http.retry import is_account_error
from akool_async._limits.credits import price_kind
from akool_async._limits.recent import CACHE_SIZE, Recent
from akool_async._limits.slots import Slot
from akool_async._submit.reconcile import require_not_taken, tell_refused_after_doubt, tell_unknown
from akool_async._submit.recovery import Recovery
from akool_async._submit.submission import Submission
from akool_async._submit.verdict import UndeliveredRetry, Verdict, judge_spending_post
from akool_async.errors import (
    AkoolError,
    OutcomeUnknownError,
    RateLimitedError,
    ResponseError,
    SessionClosedError,
)
from akool_async.events import Accepted, OutcomeUnknown, Queued, Refused, Throttled
from akool_async.models import ButtonPress, SourcePromptRequest
from akool_async.operations import Operation

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from akool_async._http.endpoints import Endpoints
    from akool_async._http.event_loop import HomeLoop
    from akool_async._limits.credits import Account
    from akool_async._limits.ramp import Ramp
    from akool_async._limits.slots import Slots
    from akool_async._limits.timing import Timing
    from akool_async._poll.poller import Poller
    from akool_async._submit.recovery import Callback
    from akool_async.events import Reporter
    from akool_async.models import ImageResult, PromptRequest

    Send = Callable[[Callable[[], None]], Awaitable[list[ImageResult]]]

logger = logging.getLogger("akool_async")

MOST_DOUBTS: Final = 3
"""Lost replies to one press before it is told as unknown, though after each AKOOL was found not to have taken it."""


class Submitter:
    """All POSTs of a session that spend credits."""

    def __init__(
        self,
        api: Endpoints,
        slots: Slots,
        ramp: Ramp,
        poller: Poller,
        reporter: Reporter,
        home: HomeLoop,
        account: Account,
        timing: Timing,
        *,
        resubmit_lost: bool,
        webhook_url: str | None,
    ) -> None:
        self._endpoints = api
        self._slots = slots
        self._ramp = ramp
        self._poller = poller
        self._reporter = reporter
        self._home = home
        self._account = account
        self._timing = timing
        self._resubmit_lost = resubmit_lost
        self.recovery = Recovery(api, webhook_url, timing.lost_reply_timeout, self._recover)
        self._closed = False
        self._presses: dict[ButtonPress, Submission[list[Operation]]] = {}
        self._prompts: set[Submission[list[Operation]]] = set()
        self._operations: Recent[ButtonPress, Operation] = Recent()
        self._accepted: Recent[str, None] = Recent()
        self._charged: Recent[ButtonPress, OutcomeUnknownError] = Recent()
        self.unclaimed: deque[Operation] = deque(maxlen=CACHE_SIZE)
        self.unclaimed_errors: deque[OutcomeUnknownError] = deque(maxlen=CACHE_SIZE)

    @property
    def waiting(self) -> int:
        """Presses and prompts of which nothing was sent yet."""
        return sum(not submission.committed for submission in (*self._presses.values(), *self._prompts))

    def has_sent(self, press: ButtonPress) -> bool:
        """True where its POST is on its way, or its outcome is remembered."""
        submission = self._presses.get(press)
        return press in self._operations or press in self._charged or (submission is not None and submission.committed)

    def knows(self, press: ButtonPress) -> bool:
        """True where pressing the same again sends nothing: it is under way, or its outcome is remembered."""
        return press in self._operations or press in self._presses or press in self._charged

    async def press(self, press: ButtonPress, webhook_url: str | None, *, word: str | None = None) -> Operation:
        """The one operation of this press: remembered, under way, or begun now.

        ``word`` is what the webhook is to be known by.
        """
        self._check_open()
        if press in self._operations:
            self._operations.move_to_end(press)
            return self._operations[press]
        if press in self._charged:
            raise self._charged[press].fresh()
        submission = self._presses.get(press)
        if submission is None or submission.dropped:
            submission = self._begin(press, webhook_url, word)
        return (await submission.join())[0]

    async def create(self, request: PromptRequest | SourcePromptRequest) -> list[Operation]:
        """The operations of a prompt, one for each image."""
        self._check_open()
        submission = Submission(
            lambda submission: self._create(submission, request),
            press=None,
            leave=self.keep_unclaimed,
            forget=self._prompts.discard,
        )
        self._prompts.add(submission)
        return await submission.join()

    def keep_unclaimed(self, outcome: list[Operation] | AkoolError) -> None:
        """Keep what was accepted, or may have been, and found no caller any more."""
        if isinstance(outcome, list):
            self.unclaimed.extend(outcome)
        elif isinstance(outcome, OutcomeUnknownError):
            self.unclaimed_errors.append(_bare(outcome))
            logger.warning("a POST whose callers had all left: %s", outcome)
        else:
            logger.debug("a POST whose callers had all left was not accepted: %s", outcome)

    async def aclose(self, patience: float) -> None:
        """Drop what was not sent, let what was sent end within ``patience`` seconds."""
        self._closed = True
        submissions = [*self._presses.values(), *self._prompts]
        for submission in submissions:
            if not submission.committed:
                submission.task.cancel()
        try:
            await self.recovery.aclose()
            if submissions:
                await asyncio.wait([submission.task for submission in submissions], timeout=patience)
        finally:
            for submission in submissions:
                submission.task.cancel()
        await asyncio.gather(*(submission.task for submission in submissions), return_exceptions=True)

    def _begin(self, press: ButtonPress, webhook_url: str | None, word: str | None) -> Submission[list[Operation]]:
        submission = self._presses[press] = Submission(
            lambda submission: self._press(submission, press, webhook_url, word),
            press=press,
            leave=self.keep_unclaimed,
            forget=self._forget_press,
        )
        return submission

    async def _press(
        self,
        submission: Submission[list[Operation]],
        press: ButtonPress,
        webhook_url: str | None,
        word: str | None,
    ) -> list[Operation]:
        self._reporter.report(Queued(press=press))
        slot, callback = Slot(), None
        try:
            slot = await self._slots.acquire(press.button)
            callback = self.recovery.expect(webhook_url, price_kind(press), word)
            (created,) = await self._make(
                submission,
                lambda commit: self._endpoints.create_by_button(press, callback.url, commit),
                press,
                callback,
            )
        except BaseException as error:
            slot.release()
            self._report_end(submission, callback, 1, error)
            raise
        operation = self._adopt(created, slot, press, callback)
        self._operations[press] = operation
        return [operation]

    async def _create(
        self, submission: Submission[list[Operation]], request: PromptRequest | SourcePromptRequest
    ) -> list[Operation]:
        batch = request.batch_quantity if isinstance(request, SourcePromptRequest) else 1
        self._reporter.report(Queued(press=None))
        slots: list[Slot] = []
        callback = None
        try:
            slots = await self._slots.acquire_batch(batch)
            callback = self.recovery.expect(request.webhook_url, price_kind(request))
            images = await self._make(
                submission,
                lambda commit: self._endpoints.create_by_prompt(request, callback.url, commit),
                None,
                callback,
                images=batch,
            )
        except BaseException as error:
            for slot in slots:
                slot.release()
            self._report_end(submission, callback, batch, error)
            raise
        operations = []
        for image, slot in zip_longest(images, slots):  # AKOOL may make fewer or more than were asked for
            if image is None:
                slot.release()
            else:
                operations.append(self._adopt(image, slot or Slot(), None, callback))
        return operations

    async def _make(
        self,
        submission: Submission[list[Operation]],
        send: Send,
        press: ButtonPress | None,
        callback: Callback,
        *,
        images: int = 1,
    ) -> list[ImageResult]:
        """The images of one POST; those of a lost reply are found again where a webhook tells their ids."""
        try:
            return await self._post(submission, send, press, callback)
        except OutcomeUnknownError as error:
            found = await self.recovery.find(callback, press, images)
            if found:
                callback.losses = self._account.lose(callback.kind, images - len(found), charged=None)
                return found
            if error.charged and press is not None:
                self._charged[press] = _bare(error)
            if callback.word is not None:
                logger.warning("no webhook came for a POST of unknown outcome; are webhooks refused? %s", error)
            raise
        finally:
            self.recovery.end(callback)

    def _recover(self, image: ImageResult, press: ButtonPress | None, callback: Callback) -> None:
        """A webhook came after its POST was told as unknown: that turns into its operation after all."""
        if press in self._operations or any(known.id == image.id for known in self.unclaimed):
            return  # AKOOL repeats its webhooks
        if callback.losses:
            self._account.find(callback.losses.pop())
        operation = self._adopt(image, Slot(), press, callback)
        self.unclaimed.append(operation)
        if press is not None:
            still_unknown = [error for error in self.unclaimed_errors if error.press != press]
            self.unclaimed_errors = deque(still_unknown, maxlen=CACHE_SIZE)
            self._charged.pop(press, None)
            self._operations[press] = operation

    async def _post(
        self,
        submission: Submission[list[Operation]],
        send: Send,
        press: ButtonPress | None,
        callback: Callback,
    ) -> list[ImageResult]:
        """Send until accepted or refused; raise :class:`OutcomeUnknownError` where neither can be told."""
        clock = asyncio.get_running_loop().time
        undelivered = UndeliveredRetry(self._timing, clock())
        doubts = 0
        while True:
            try:
                created = await self._send_at_pace(submission, send, in_doubt=doubts > 0)
                created = self._only_new(created)
            except AkoolError as error:
                verdict = judge_spending_post(error)
                pause = undelivered.pause(clock()) if verdict is Verdict.NOT_DELIVERED and not self._closed else None
                if verdict is Verdict.UNKNOWN:
                    doubts += 1
                    await self._require_not_taken(press, error, doubts, callback)
                elif pause is None and doubts:
                    tell_refused_after_doubt(press, error)
                elif pause is None:
                    raise
            else:
                return created
            submission.committed = doubts > 0
            submission.drop_if_idle()
            await asyncio.sleep(pause or 0.0)

    async def _send_at_pace(
        self, submission: Submission[list[Operation]], send: Send, *, in_doubt: bool
    ) -> list[ImageResult]:
        """Send, and again for as long as AKOOL only asks for a slower pace."""
        async with self._ramp as ramp:
            while True:
                try:
                    created = await send(lambda: self._commit(submission))
                except RateLimitedError as error:
                    pause = ramp.refused(error)
                    if pause is None or self._closed:
                        raise
                    if error.http_status != 429:  # noqa: PLR2004 - of which the transport has told already
                        self._reporter.report(Throttled(code=error.code, seconds=pause))
                    asked_for = error.retry_after is not None
                except AkoolError as error:
                    if is_account_error(error):
                        ramp.narrow()
                    raise
                else:
                    ramp.accepted()
                    return created
                submission.committed = in_doubt
                submission.drop_if_idle()
                await ramp.rest(pause, exactly=asked_for)

    def _commit(self, submission: Submission[list[Operation]]) -> None:
        """The POST goes out now: from here on it may have been accepted."""
        # A cancellation is on its way to the submission, while aiohttp writes in its own task: it would lose the id.
        if submission.dropped or (self._closed and not submission.committed):
            raise SessionClosedError("the session was closed before this was sent; nothing was spent")
        submission.committed = True

    async def _require_not_taken(
        self, press: ButtonPress | None, lost: AkoolError, doubts: int, callback: Callback
    ) -> None:
        if callback.has_told:
            tell_unknown(press, f"{lost}; a webhook told that it was accepted", True, lost)
        may_press_again = self._resubmit_lost and doubts < MOST_DOUBTS
        await require_not_taken(
            self._endpoints,
            press,
            lost,
            gap=self._timing.reconcile_gap,
            may_press_again=lambda: may_press_again and not self._closed,
        )

    def _report_end(
        self, submission: Submission[list[Operation]], callback: Callback | None, images: int, error: BaseException
    ) -> None:
        """A press or a prompt that queued was not accepted, as far as is known."""
        is_cancelled = isinstance(error, asyncio.CancelledError)
        was_sent = submission.committed if is_cancelled else isinstance(error, OutcomeUnknownError)
        if callback is not None and was_sent:
            charged = error.charged if isinstance(error, OutcomeUnknownError) else None
            callback.losses = self._account.lose(callback.kind, images, charged=charged)
            self._reporter.report(OutcomeUnknown(press=submission.press, charged=charged))
        else:
            reason = error if isinstance(error, Exception) else SessionClosedError() if self._closed else None
            self._reporter.report(Refused(press=submission.press, error=reason))

    def _only_new(self, created: list[ImageResult]) -> list[ImageResult]:
        """An id that AKOOL gave before is the answer to an earlier POST, such as a cache may give again."""
        new = [image for image in created if image.id not in self._accepted]
        if not new:
            raise ResponseError(f"a reply with the id of an earlier operation, {created[0].id}")
        return new

    def _adopt(self, created: ImageResult, slot: Slot, press: ButtonPress | None, callback: Callback) -> Operation:
        button, source_image_id = (None, None) if press is None else (press.button, press.image_id)
        self._accepted[created.id] = None
        self._account.accept(created.id, callback.kind, created.deduction_credit)
        self._reporter.report(Accepted(operation_id=created.id, press=press, credits=created.deduction_credit))
        tracked = self._poller.track(
            created, button, slot, expects_webhook=callback.word is not None, is_new=not callback.has_told
        )
        return Operation(created.id, button, source_image_id, tracked=tracked, poller=self._poller)

    def _forget_press(self, submission: Submission[list[Operation]]) -> None:
        if submission.press is not None and self._presses.get(submission.press) is submission:
            del self._presses[submission.press]

    def _check_open(self) -> None:
        self._home.require()
        if self._closed:
            raise SessionClosedError


def _bare(error: OutcomeUnknownError) -> OutcomeUnknownError:
    """A copy to keep, without the traceback and the cause: they hold every frame they went through, with its body."""
    kept = error.fresh()
    kept.__cause__ = None
    return kept
