"""What a worker does for one job: press once, whatever happened to earlier workers, and wait for the end."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from akool_async import (
    AkoolError,
    APIError,
    ImageStatus,
    NotOperableError,
    OperationFailedError,
    Outcome,
    OutcomeUnknownError,
    PollingError,
    SessionClosedError,
    WebhookEvent,
)
from akool_async._http.origin import contradiction, made_by
from akool_async._http.retry import is_account_error, is_transient
from akool_async._submit.decision import Reply, reply_of
from akool_async.durable._database import pauses

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from akool_async import ButtonPress, Operation
    from akool_async.durable._database import Database
    from akool_async.durable._job import Claim
    from akool_async.durable._jobs import Jobs
    from akool_async.durable._session import WorkerSession
    from akool_async.durable._timing import WorkerTiming

T = TypeVar("T")

MOST_PRESSING: Final = 8
"""POSTs of a kind that one worker has under way at once: their ids are lost where it is killed."""

logger = logging.getLogger("akool_async")


class Carrier:
    """Carries out jobs with one session; ``run_id`` marks its intents, and any other one is of a worker that died."""

    def __init__(
        self,
        akool: WorkerSession,
        database: Database,
        jobs: Jobs,
        run_id: str,
        *,
        lost_reply_timeout: float,
        timing: WorkerTiming,
    ) -> None:
        self._akool = akool
        self._database = database
        self._jobs = jobs
        self._run_id = run_id
        self._lost_reply_patience = lost_reply_timeout
        self._timing = timing
        self._pressing = {kind: asyncio.Semaphore(MOST_PRESSING) for kind in ("upscale", "variation")}
        self._draining = asyncio.Event()
        self.in_hand: dict[str, asyncio.Event] = {}
        """The jobs that are being carried out, each with its end."""
        self._unrecorded: dict[str, str] = {}
        """The operations of those that are not recorded yet."""
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._heard: set[tuple[str, str, int]] = set()
        self.stopped_by: AkoolError | None = None
        """What makes all further presses pointless."""

    async def carry_out(self, job: str) -> None:
        """Bring a job to its end. Where it is left to another worker, this never returns."""
        while job in self.in_hand:  # others have missed this worker for a while, and put its jobs back
            await self.in_hand[job].wait()
        ended = self.in_hand[job] = asyncio.Event()
        self._is_idle.clear()
        try:
            await self._carry_out(job)
        except _Left:
            pass
        else:
            return
        finally:
            del self.in_hand[job]
            ended.set()
            if not self.in_hand:
                self._is_idle.set()
        await asyncio.get_running_loop().create_future()

    async def deliver_webhooks(self) -> None:
        """Tell the session what webhooks told of its operations, at whichever process they came in."""
        told = await self._database.read(lambda state: self._jobs.heard(state, self._run_id))
        for word, operation_id, status in set(told) - self._heard:
            self._akool.notify(WebhookEvent(id=operation_id, status=status), correlation_id=word)
        self._heard = set(told)

    async def drain(self) -> None:
        """No new presses; POSTs under way end and are recorded; what runs at AKOOL is left to other workers."""
        self._draining.set()
        await self._akool.aclose()
        try:
            async with asyncio.timeout(self._timing.drain_timeout):
                await self._is_idle.wait()
        except TimeoutError:
            logger.warning("%d jobs could not be recorded as left to others", len(self.in_hand))
            for job, operation_id in self._unrecorded.items():
                logger.warning("%s was accepted as %s, which could not be recorded", job, operation_id)

    async def _carry_out(self, job: str) -> None:
        press = self._jobs.press_of(job)
        operation: Operation | None = None
        try:
            operation_id = await self._id_of(job, press)
            if operation_id is None:
                return
            operation = self._akool.operation(operation_id)
            outcome = await self._wait(press, operation)
        except AkoolError as error:
            outcome = Outcome(press, operation, error=error.about(press=press))
        except _Left:
            raise
        except Exception as error:
            logger.exception("%s: this should not have happened", press)
            unknown = OutcomeUnknownError(f"not told ({error!r})", charged=None)
            if operation is None and job in self._unrecorded:  # pragma: no cover - by another mistake of ours
                operation = self._akool.operation(self._unrecorded[job])
            outcome = Outcome(press, operation, error=unknown.about(press=press))
        await self._record(lambda state: self._jobs.end(state, job, self._run_id, outcome))

    async def _id_of(self, job: str, press: ButtonPress) -> str | None:
        """The id of the press, however it came to be known; None where the job is over."""
        try:
            return await self._outlast(lambda: self._press(job, press), _was_not_accepted)
        except OutcomeUnknownError as error:
            return await self._find_id(job, error)

    async def _press(self, job: str, press: ButtonPress) -> str | None:
        """The id of the press, which is on disk when this returns; None where the job is over.

        Raises:
            TransportError, RateLimitedError: AKOOL surely did not take it, and no intent to press is on disk any more.
        """
        async with self._pressing[press.button.kind]:
            self._require_work()
            claim = await self._record(lambda state: self._jobs.claim(state, job, self._run_id))
            if claim is None:
                return None
            if claim.operation_id is not None:
                return claim.operation_id
            if not claim.in_doubt:
                return await self._post(job, press, claim)
        await self._rule_out_an_earlier(press)  # however long that takes, others press meanwhile
        if not await self._record(lambda state: self._jobs.press_anew(state, job)):
            return await self._record(lambda state: self._jobs.known_id(state, job))
        async with self._pressing[press.button.kind]:
            self._require_work()
            return await self._post(job, press, claim)

    def _require_work(self) -> None:
        if self._draining.is_set() or self.stopped_by is not None:
            raise _Left

    async def _post(self, job: str, press: ButtonPress, claim: Claim) -> str:
        try:
            operation = await self._create(job, press, claim.word)
        except APIError as error:
            if not claim.in_doubt or is_account_error(error) or _was_not_accepted(error):
                raise
            if isinstance(error, NotOperableError):
                raise _charged(f"another worker pressed before ({error})") from error
            message = f"an earlier press was under way, and another try was refused ({error})"
            raise OutcomeUnknownError(message, charged=None) from error
        except OutcomeUnknownError as error:
            if self._draining.is_set() and not error.charged:
                raise _Left from None  # there was no time to ask, which the next worker has
            raise
        self._unrecorded[job] = operation.id
        reported = None if operation.latest is None else operation.latest.deduction_credit
        await self._record(lambda state: self._jobs.accept(state, job, operation.id, reported))
        del self._unrecorded[job]
        return operation.id

    async def _create(self, job: str, press: ButtonPress, word: str) -> Operation:
        try:
            self._akool.expect(press, word)
            return await self._akool.create_by_button(press.image_id, press.button)
        except AkoolError as error:
            if isinstance(error, SessionClosedError) or is_account_error(error) or _was_not_accepted(error):
                await self._record(lambda state: self._jobs.release(state, job, self._run_id))
            raise

    async def _rule_out_an_earlier(self, press: ButtonPress) -> None:
        """Return where the worker before surely did not press.

        Raises:
            OutcomeUnknownError: it did, or may have.
        """
        why = "AKOOL does not tell"
        try:
            taken = await self._outlast(lambda: self._akool.reconcile(press.image_id, press.button), _may_pass)
        except AkoolError as error:
            taken, why = None, str(error)
        if taken:
            raise _charged("an earlier press was accepted, and its new id is lost")
        if taken is None:
            message = f"an earlier press was under way, and whether it was accepted cannot be told ({why})"
            raise OutcomeUnknownError(message, charged=None)

    async def _find_id(self, job: str, unknown: OutcomeUnknownError) -> str:
        """The id of a press that was or may have been accepted, where another worker or a webhook tells it.

        Its slot is held meanwhile, since AKOOL may be at work on it.

        Raises:
            OutcomeUnknownError: nobody told it.
        """
        loop = asyncio.get_running_loop()
        counted = loop.time()
        looked = await self._record(lambda state: self._jobs.look(state, job, 0.0))
        while (told := await self._record(lambda state: self._jobs.known_id(state, job))) is None:
            left = self._lost_reply_patience - looked
            if left <= 0:
                raise unknown
            await self._pause(min(left, self._timing.lost_id_poll_interval))
            # What follows is measured from Python 3.12 on: 3.11 loses track after a time-out within.
            seconds, counted = loop.time() - counted, loop.time()  # pragma: no cover
            looked = await self._record(lambda state: self._jobs.look(state, job, seconds))  # noqa: B023 - awaited here
        return told

    async def _wait(self, press: ButtonPress, operation: Operation) -> Outcome:
        result = await self._outlast(lambda: operation.wait_until_complete(raise_on_failure=False), _may_pass)
        if contradiction(result, press) is not None:  # who told the id may have mixed it up
            message = f"the id {operation.id} is that of {made_by(result)}, not of {press}"
            raise OutcomeUnknownError(message, charged=None)
        failure = OperationFailedError(result) if result.status == ImageStatus.FAILED else None
        return Outcome(press, operation, result, failure)

    async def _outlast(self, ask: Callable[[], Awaitable[T]], passes: Callable[[AkoolError], bool]) -> T:
        """Ask until there is an answer; trouble of the account, not of the job, leaves it to other workers."""
        waits = pauses(self._timing.first_retry_pause, self._timing.max_retry_pause)
        while True:
            try:
                return await ask()
            except SessionClosedError:
                raise _Left from None
            except AkoolError as error:
                if is_account_error(error):
                    self.stopped_by = self.stopped_by or error
                    raise _Left from None
                if not passes(error):
                    raise
                logger.info("trying again: %s", error)
            await self._pause(next(waits))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()
                raise _Left

    async def _record(self, work: Callable[[Connection], T]) -> T:
        """What must be written is written, however long the database is away or the disk full."""
        return await self._database.write(work, timeout=math.inf)


def _may_pass(error: AkoolError) -> bool:
    """True for an error of a read or a wait that a job outlasts: it is asked again for as long as it takes."""
    return is_transient(error) or isinstance(error, PollingError)


def _was_not_accepted(error: AkoolError) -> bool:
    """True for a press that never arrived, or that was refused for its pace alone: it is made again."""
    return reply_of(error) in {Reply.NOT_DELIVERED, Reply.THROTTLED}


def _charged(reason: str) -> OutcomeUnknownError:
    return OutcomeUnknownError(f"{reason}; the button is used, so that it was charged", charged=True)


class _Left(Exception):  # noqa: N818 - not an error
    """The job is left to another worker."""
