"""One paid POST, from queueing to its outcome: a state machine. ``decision`` decides what to do after each reply."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from enum import Enum
from typing import TYPE_CHECKING, Generic, TypeVar

from attrs import evolve, frozen

from akool_async._http.codec import TOO_MANY_REQUESTS
from akool_async._http.event_loop import Waiters
from akool_async._http.request_body import SendGate
from akool_async._http.retry import is_account_error
from akool_async._limits.journal import Made
from akool_async._submit.decision import (
    REPORTED,
    FindOut,
    Reply,
    Retry,
    Source,
    Unknown,
    after_finding_out,
    after_reply,
    reply_of,
)
from akool_async._submit.delivery import DeliveryRetry
from akool_async._submit.reconcile import reconcile
from akool_async.errors import (
    AkoolError,
    OutcomeUnknownError,
    RateLimitedError,
    ResponseError,
    SessionClosedError,
)
from akool_async.events import Deferred, OutcomeUnknown, Queued, Refused, Sending, Throttled
from akool_async.items import press_of, prompt_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from akool_async._http.endpoints import Endpoints
    from akool_async._limits.journal import Claim, Journal
    from akool_async._limits.ramp import Ramp
    from akool_async._limits.slots import Slot
    from akool_async._limits.timing import Timing
    from akool_async._submit.acceptance import Acceptance
    from akool_async._submit.decision import Decision
    from akool_async._submit.recovery import Callback, Recovery
    from akool_async.events import Reporter
    from akool_async.items import Item
    from akool_async.models import ImageResult
    from akool_async.operations import Operation

logger = logging.getLogger("akool_async")


Images = TypeVar("Images")
Result = TypeVar("Result")


class Phase(Enum):
    """The phase of a submission."""

    QUEUED = "queued"
    """It waits for its slots and its turn. Nothing was sent."""
    SENT = "sent"
    """It is being sent, or waits for the reply."""
    BACKING_OFF = "backing off"
    """AKOOL did not accept it, and it will be sent again."""
    IN_DOUBT = "in doubt"
    """The reply was lost, and the submission finds out whether AKOOL accepted it."""
    ENDED = "ended"
    """It is over, with a result or an error."""


@frozen
class SubmissionServices:
    """The parts of a session that its submissions share."""

    endpoints: Endpoints
    journal: Journal
    ramp: Ramp
    acceptance: Acceptance
    recovery: Recovery
    reporter: Reporter
    timing: Timing
    resubmit_lost: bool


class Submission(ABC, Generic[Images, Result]):
    """One paid POST, for any number of callers. After AKOOL may have accepted it, it runs to its end without them."""

    def __init__(self, services: SubmissionServices, item: Item, webhook_url: str | None) -> None:
        self.item = item
        self.press, self.prompt = press_of(item), prompt_of(item)
        self.phase = Phase.QUEUED
        self._services = services
        self._webhook_url = webhook_url
        self._gate = SendGate()
        self._lost_replies = 0
        self._is_taken = False
        """True if a caller got the outcome, or the journal keeps it because there was no caller."""
        self._is_closing = False
        self.is_dropped = False
        """True if it was cancelled, because all callers were cancelled or the session closes."""
        self._delivery: DeliveryRetry | None = None
        self._waiters: Waiters[Result | BaseException] = Waiters()
        self._outcome: Result | BaseException | None = None
        """The result or the error; None before the end."""
        self.task = asyncio.create_task(self.run())
        self.task.add_done_callback(self._end)

    @property
    def may_be_accepted(self) -> bool:
        """True while a POST of unknown outcome may have reached AKOOL."""
        return self._lost_replies > 0 or (self.phase is Phase.SENT and self._gate.is_passed)

    @property
    def is_unsent(self) -> bool:
        """True while no POST is under way and the outcome is not known."""
        return self.phase is not Phase.ENDED and not self.may_be_accepted

    # --- callers ---

    async def join(self) -> Result:
        """Wait for the outcome. Cancelling one caller does not disturb the others."""
        waiter = self._waiters.add()
        try:
            outcome = await waiter
            self._is_taken = True
        finally:
            self._waiters.remove(waiter)
            if self._outcome is None:
                self._drop_if_unwanted()
            elif not self._waiters and not self._is_taken:
                self._keep(self._outcome)
        if isinstance(outcome, AkoolError):
            raise outcome.fresh() from outcome.__cause__
        if isinstance(outcome, BaseException):  # a bug, here or in an observer
            raise outcome
        return outcome

    def close(self) -> None:
        """Cancel the submission because the session closes, unless AKOOL may have accepted it."""
        self._is_closing = True
        if self.phase in {Phase.QUEUED, Phase.BACKING_OFF} or (self.phase is Phase.SENT and self._gate.close()):
            self._drop()

    def _drop_if_unwanted(self) -> None:
        """Cancel the submission if no caller waits for it and no POST is under way."""
        is_wanted = bool(self._waiters) or self._lost_replies > 0
        if not is_wanted and (self.phase is not Phase.SENT or self._gate.close()):
            self._drop()

    def _drop(self) -> None:
        self.is_dropped = True
        self.task.cancel()

    # --- the POST ---

    async def run(self) -> Result:
        """Wait for the slots, send until the outcome is known, and make the operations."""
        services, claim, callback = self._services, None, None
        services.reporter.report(Queued(press=self.press, prompt=self.prompt))
        try:
            claim = await services.journal.claim(self.item)
            callback = services.recovery.expect(claim, self._webhook_url)
            try:
                if claim.may_be_sent:
                    await self._rule_out_earlier_post(callback)
                images = await self._send(callback)
            except OutcomeUnknownError as error:
                images = await self._find(callback, error)
            finally:
                services.recovery.end(callback)
            return self._accept(images, claim, callback)
        except BaseException as error:
            if claim is not None:
                services.journal.release(self.item, claim, may_be_accepted=self._leaves_doubt(error))
            self._report_failure(error, callback)
            raise

    async def _rule_out_earlier_post(self, callback: Callback) -> None:
        """Check that AKOOL did not accept a POST that another process may have sent.

        Raises:
            OutcomeUnknownError: AKOOL accepted it, or may have.
        """
        decision = await self._find_out(callback)
        if isinstance(decision, Unknown):
            raise self._unknown(decision)
        callback.seconds_searched = 0.0  # that was for the earlier POST
        self.phase = Phase.BACKING_OFF

    async def _send(self, callback: Callback) -> Images:
        """Send until AKOOL accepts or refuses.

        Raises:
            OutcomeUnknownError: It cannot be found out whether AKOOL accepted it.
            AkoolError: AKOOL refused, or could not be reached.
        """
        while True:
            async with self._services.ramp.turn(is_retry=self.phase is not Phase.QUEUED):
                if self._lost_replies and callback.has_id:
                    raise self._unknown(REPORTED)
                self._begin_to_send()
                sent_at = asyncio.get_running_loop().time()
                try:
                    answer: Images | AkoolError = await self._record(await self._post(callback.url))
                except AkoolError as error:
                    answer = error
                reply = reply_of(answer if isinstance(answer, AkoolError) else None)
                wait = self._wait_after(reply, answer, sent_at)
            decision = after_reply(
                reply,
                lost_replies=self._lost_replies,
                can_retry=wait is not None and not self._is_closing,
                is_press=self.press is not None,
            )
            if isinstance(decision, FindOut):
                decision = await self._find_out(callback)
            if not isinstance(decision, Retry):
                return self._conclude(decision, answer)
            self.phase = Phase.BACKING_OFF
            if self.prompt is not None:
                self._services.reporter.report(Deferred(prompt=self.prompt))
            self._drop_if_unwanted()
            await asyncio.sleep(wait or 0.0)

    def _begin_to_send(self) -> None:
        if self._is_closing:
            raise self._closed_error()
        self._gate = SendGate()
        self.phase = Phase.SENT
        if self.prompt is not None:
            self._services.reporter.report(Sending(prompt=self.prompt))

    def _wait_after(self, reply: Reply, answer: Images | AkoolError, sent_at: float) -> float | None:
        """Return the seconds to wait, besides the turn, before the POST is sent again; None if it is not sent again."""
        ramp = self._services.ramp
        if reply is Reply.NOT_DELIVERED:
            self._delivery = self._delivery or DeliveryRetry(self._services.timing, sent_at)
            return self._delivery.next_wait(asyncio.get_running_loop().time())
        self._delivery = None
        if not isinstance(answer, AkoolError):
            ramp.on_success()
        elif isinstance(answer, RateLimitedError):
            pause = ramp.on_throttled(answer)
            if pause is not None and answer.http_status != TOO_MANY_REQUESTS:  # the transport has reported a 429
                self._services.reporter.report(Throttled(code=answer.code, seconds=pause))
            return None if pause is None else 0.0
        elif is_account_error(answer):
            ramp.on_account_error()
        return None

    async def _find_out(self, callback: Callback) -> Decision:
        """After a lost reply, find out whether AKOOL accepted the POST, and decide what to do."""
        self.phase = Phase.IN_DOUBT
        self._lost_replies += 1
        problem = None
        try:
            source = Source.REPORTED if callback.has_id else await self._read_source()
        except AkoolError as error:
            source, problem = Source.UNREADABLE, error
        can_retry = self._services.resubmit_lost and not self._is_closing
        decision = after_finding_out(source, lost_replies=self._lost_replies, can_retry=can_retry)
        if problem is not None and isinstance(decision, Unknown):
            decision = evolve(decision, reason=f"{decision.reason} ({problem})", unread=problem)
        return decision

    async def _read_source(self) -> Source:
        if self.press is None:
            return Source.UNREADABLE
        return await reconcile(self._services.endpoints, self.press, self._services.timing.reconcile_gap)

    def _conclude(self, decision: Decision, answer: Images | AkoolError) -> Images:
        if not isinstance(answer, AkoolError):
            return answer
        if isinstance(decision, Unknown):
            raise self._unknown(decision, str(answer)) from answer
        raise answer

    def _unknown(self, decision: Unknown, details: str = "") -> OutcomeUnknownError:
        message = f"{decision.reason} ({details})" if details else decision.reason
        error = OutcomeUnknownError(message, charged=decision.charged, unread=decision.unread)
        return error.about(press=self.press, prompt=self.prompt)

    async def _find(self, callback: Callback, error: OutcomeUnknownError) -> Images:
        """Return the images of a POST of unknown outcome if its webhook reports them in time; else raise ``error``."""
        found = await self._find_reported(callback)
        if not found:
            if callback.rejected is not None:
                message = f"{error.args[0]}; {callback.rejected}"
                raise OutcomeUnknownError(message, charged=error.charged).about(
                    press=self.press, prompt=self.prompt
                ) from error
            if callback.is_expected:
                logger.warning("no webhook came for a POST of unknown outcome; are webhooks refused? %s", error)
            raise error
        if len(found) < self.item.images:
            losses = self._services.journal.lose(self.item, self.item.images - len(found), None)
            self._services.recovery.give_up(self.item, callback, losses)
        return self._choose(found)

    async def _find_reported(self, callback: Callback) -> list[ImageResult]:
        with self._services.journal.searching(self.item, callback.seconds_searched):
            found = await self._services.recovery.find(self.item, callback)
        try:
            return found and await self._services.journal.record(self.item, found)
        except ResponseError as error:
            logger.warning("%s was reported: %s", self.item, error)
            return []

    # --- the end ---

    def _report_failure(self, error: BaseException, callback: Callback | None) -> None:
        """Report that the press or prompt was refused, or that its outcome is unknown."""
        services = self._services
        unknown = error if isinstance(error, OutcomeUnknownError) else None
        if callback is not None and self._leaves_doubt(error):
            losses = services.journal.lose(self.item, self.item.images, unknown)
            services.recovery.give_up(self.item, callback, losses)
            services.recovery.keep_reported(callback)
            services.reporter.report(
                OutcomeUnknown(
                    press=self.press, prompt=self.prompt, charged=None if unknown is None else unknown.charged
                )
            )
        else:
            closed = SessionClosedError() if self._is_closing else None
            services.reporter.report(
                Refused(press=self.press, prompt=self.prompt, error=error if isinstance(error, Exception) else closed)
            )

    def _leaves_doubt(self, error: BaseException) -> bool:
        """Return True if AKOOL may have accepted it although it ended with this error."""
        return isinstance(error, OutcomeUnknownError) if isinstance(error, AkoolError) else self.may_be_accepted

    def _closed_error(self) -> AkoolError:
        if self.may_be_accepted:
            error: AkoolError = OutcomeUnknownError("the session was closed before AKOOL's reply came")
        else:
            error = SessionClosedError("the session was closed before this was sent; nothing was spent")
        return error.about(press=self.press, prompt=self.prompt)

    def _end(self, task: asyncio.Task[Result]) -> None:
        """Hand the result or the error to all callers."""
        error = self._closed_error() if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, AkoolError) and self.may_be_accepted:
            unknown = self._unknown(Unknown("an unexpected error ended it"), repr(error))
            unknown.__cause__ = error
            error = unknown
        self.phase = Phase.ENDED
        self._outcome = task.result() if error is None else error
        self._waiters.notify(self._outcome)
        if not self._waiters:
            self._keep(self._outcome)

    def _keep(self, outcome: Result | BaseException) -> None:
        """Keep an outcome that no caller took, if AKOOL accepted the POST or may have."""
        self._is_taken = True
        if isinstance(outcome, AkoolError):
            self._services.journal.keep_unclaimed_error(outcome)
        elif isinstance(outcome, BaseException):
            logger.error("%s ended with an unexpected error", self.item, exc_info=outcome)
        else:
            self._services.journal.keep_unclaimed(Made(each.id, each.press) for each in self._operations(outcome))

    def _take_over(self, image: ImageResult, slot: Slot, callback: Callback) -> Operation:
        return self._services.acceptance.accept(
            self.item, image, slot, expects_webhook=callback.is_expected, is_new=not callback.has_id
        )

    # --- what differs between a press and a prompt ---

    @abstractmethod
    def _post(self, webhook_url: str | None) -> Awaitable[Images]:
        """Send the POST, once."""

    @abstractmethod
    async def _record(self, images: Images) -> Images:
        """Record the ids of a reply.

        Raises:
            ResponseError: All ids belong to earlier operations.
        """

    @abstractmethod
    def _choose(self, found: list[ImageResult]) -> Images:
        """Convert images that webhooks reported to the type of a reply."""

    @abstractmethod
    def _accept(self, images: Images, claim: Claim, callback: Callback) -> Result:
        """Make operations of the images; they hold the slots."""

    @abstractmethod
    def _operations(self, result: Result) -> Iterable[Operation]:
        """Return the operations of a result."""
