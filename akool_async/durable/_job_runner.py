"""Runs one job in a worker: press once, whatever happened to earlier workers, and wait for the end."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from akool_async import (
    AkoolError,
    APIError,
    OperationFailedError,
    Outcome,
    OutcomeUnknownError,
    PollingError,
    SessionClosedError,
    WebhookEvent,
)
from akool_async._http.origin import contradiction, made_by
from akool_async._http.retry import is_account_error, is_transient
from akool_async._limits.backoff import growing_waits
from akool_async._submit.decision import Reply, Unknown, after_reply, reply_of
from akool_async.durable._job import BUTTON_KINDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy import Connection

    from akool_async import ButtonPress, Operation
    from akool_async.durable._database import Database
    from akool_async.durable._job import Claim
    from akool_async.durable._job_store import JobStore
    from akool_async.durable._session import WorkerSession
    from akool_async.durable._worker_timing import WorkerTiming

T = TypeVar("T")

MAX_CONCURRENT_POSTS: Final = 8
"""POSTs of each kind that one worker has under way. If it is killed, their ids are lost."""

logger = logging.getLogger("akool_async")


class JobRunner:
    """Runs the jobs of one worker with one session.

    Claims carry the worker's name: a claim with another name is of a worker that died.
    """

    def __init__(
        self,
        akool: WorkerSession,
        database: Database,
        store: JobStore,
        worker: str,
        *,
        lost_reply_timeout: float,
        timing: WorkerTiming,
    ) -> None:
        self._akool = akool
        self._database = database
        self._store = store
        self._worker = worker
        self._lost_reply_timeout = lost_reply_timeout
        self._timing = timing
        self._posts = {kind: asyncio.Semaphore(MAX_CONCURRENT_POSTS) for kind in BUTTON_KINDS}
        self._draining = asyncio.Event()
        self.running: dict[str, asyncio.Event] = {}
        """The ids of the jobs that are running here, each with an event that is set at its end."""
        self._unrecorded: dict[str, str] = {}
        """Jobs that AKOOL accepted, with the operation ids that are not recorded yet."""
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._delivered: set[tuple[str, str, int]] = set()
        self.stopped_by: AkoolError | None = None
        """The error of the account after which no other press would fare better."""

    async def run(self, job_id: str) -> None:
        """Run a job to its end. If it is handed over to another worker, this never returns."""
        while job_id in self.running:  # others took this worker for dead, and put its jobs back into the queue
            await self.running[job_id].wait()
        ended = self.running[job_id] = asyncio.Event()
        self._is_idle.clear()
        try:
            await self._run(job_id)
        except _HandedOver:
            pass
        else:
            return
        finally:
            del self.running[job_id]
            ended.set()
            if not self.running:
                self._is_idle.set()
        await asyncio.get_running_loop().create_future()

    async def deliver_webhooks(self) -> None:
        """Pass recorded webhooks to the session, whichever process received them."""
        recorded = set(await self._database.read(lambda connection: self._store.webhooks_for(connection, self._worker)))
        for correlation_id, operation_id, status in recorded - self._delivered:
            self._akool.notify(WebhookEvent(id=operation_id, status=status), correlation_id=correlation_id)
        self._delivered = recorded

    async def drain(self) -> None:
        """Make no new presses, wait until POSTs under way are recorded, and hand over what is running at AKOOL."""
        self._draining.set()
        await self._akool.aclose()
        try:
            async with asyncio.timeout(self._timing.drain_timeout):
                await self._is_idle.wait()
        except TimeoutError:
            logger.warning("the hand-over of %d jobs could not be recorded", len(self.running))
            for job_id, operation_id in self._unrecorded.items():
                logger.warning("%s was accepted as %s, which could not be recorded", job_id, operation_id)

    async def _run(self, job_id: str) -> None:
        press = self._store.press_of(job_id)
        operation: Operation | None = None
        try:
            operation_id = await self._find_or_press(job_id, press)
            if operation_id is None:
                return
            operation = self._akool.operation(operation_id)
            outcome = await self._wait(press, operation)
        except AkoolError as error:
            outcome = Outcome(press, operation, error=error.about(press=press))
        except _HandedOver:
            raise
        except Exception as error:
            logger.exception("%s: unexpected error", press)
            unknown = OutcomeUnknownError(f"unexpected error ({error!r})", charged=None)
            if operation is None and job_id in self._unrecorded:  # pragma: no cover - by another mistake of ours
                operation = self._akool.operation(self._unrecorded[job_id])
            outcome = Outcome(press, operation, error=unknown.about(press=press))
        await self._record(lambda connection: self._store.end(connection, job_id, self._worker, outcome))

    # --- pressing ---

    async def _find_or_press(self, job_id: str, press: ButtonPress) -> str | None:
        """Return the operation's id, pressing if nobody has; None if the job has ended."""
        try:
            return await self._retry(lambda: self._press(job_id, press), _may_resend)
        except OutcomeUnknownError as error:
            return await self._await_lost_id(job_id, error)

    async def _press(self, job_id: str, press: ButtonPress) -> str | None:
        """Return the operation's id, once it is recorded; None if the job has ended.

        Raises:
            TransportError, RateLimitedError: AKOOL surely did not take the press, and the claim is withdrawn.
        """
        async with self._posts[press.button.kind]:
            self._raise_if_stopped()
            claim = await self._record(lambda connection: self._store.claim(connection, job_id, self._worker))
            if claim is None:
                return None
            if claim.operation_id is not None:
                return claim.operation_id
            if not claim.in_doubt:
                return await self._post(job_id, press, claim)
        await self._rule_out_earlier_press(press)  # this may take long; others press meanwhile
        if not await self._record(lambda connection: self._store.clear_doubt(connection, job_id)):
            return await self._record(lambda connection: self._store.known_id(connection, job_id))
        async with self._posts[press.button.kind]:
            self._raise_if_stopped()
            return await self._post(job_id, press, claim)

    def _raise_if_stopped(self) -> None:
        if self._draining.is_set() or self.stopped_by is not None:
            raise _HandedOver

    async def _post(self, job_id: str, press: ButtonPress, claim: Claim) -> str:
        try:
            operation = await self._create(job_id, press, claim.correlation_id)
        except APIError as error:
            if not claim.in_doubt or is_account_error(error) or _may_resend(error):
                raise
            decision = after_reply(reply_of(error), lost_replies=1, can_retry=False, is_press=True)
            if isinstance(decision, Unknown):
                raise OutcomeUnknownError(f"{decision.reason} ({error})", charged=decision.charged) from error
            raise  # pragma: no cover - a reply that finds an earlier one lost is no plain refusal
        except OutcomeUnknownError as error:
            if self._draining.is_set() and not error.charged:
                raise _HandedOver from None  # this worker had no time to ask AKOOL; the next one has
            raise
        self._unrecorded[job_id] = operation.id
        reported = None if operation.latest is None else operation.latest.deduction_credit
        await self._record(lambda connection: self._store.accept(connection, job_id, operation.id, reported))
        del self._unrecorded[job_id]
        return operation.id

    async def _create(self, job_id: str, press: ButtonPress, correlation_id: str) -> Operation:
        try:
            return await self._akool.press(press, correlation_id)
        except AkoolError as error:
            if isinstance(error, SessionClosedError) or is_account_error(error) or _may_resend(error):
                await self._record(lambda connection: self._store.withdraw_claim(connection, job_id, self._worker))
            raise

    async def _rule_out_earlier_press(self, press: ButtonPress) -> None:
        """Return if the worker before surely did not press.

        Raises:
            OutcomeUnknownError: It did, or may have.
        """
        try:
            decision = await self._retry(lambda: self._akool.find_out(press), _may_retry)
        except AkoolError as error:
            message = f"an earlier press was under way, and the source image could not be read ({error})"
            raise OutcomeUnknownError(message, charged=None) from error
        if isinstance(decision, Unknown):
            raise OutcomeUnknownError(f"an earlier press was under way: {decision.reason}", charged=decision.charged)

    async def _await_lost_id(self, job_id: str, unknown: OutcomeUnknownError) -> str:
        """Return the id of a press that was or may have been accepted, if a worker, a webhook or a person records it.

        The job keeps its slot meanwhile, since AKOOL may be working on it.

        Raises:
            OutcomeUnknownError: Nobody recorded it within ``lost_reply_timeout``.
        """
        loop = asyncio.get_running_loop()
        counted_until = loop.time()
        waited = await self._record(lambda connection: self._store.add_search_time(connection, job_id, 0.0))
        while (known := await self._record(lambda connection: self._store.known_id(connection, job_id))) is None:
            left = self._lost_reply_timeout - waited
            if left <= 0:
                raise unknown
            await self._pause(min(left, self._timing.lost_id_poll_interval))
            # Coverage sees what follows from Python 3.12 on: 3.11 loses track after a time-out within.
            seconds, counted_until = loop.time() - counted_until, loop.time()  # pragma: no cover
            waited = await self._record(lambda connection: self._store.add_search_time(connection, job_id, seconds))  # noqa: B023 - awaited here
        return known

    # --- waiting ---

    async def _wait(self, press: ButtonPress, operation: Operation) -> Outcome:
        failure: OperationFailedError | None = None
        try:
            result = await self._retry(operation.wait_until_complete, _may_retry)
        except OperationFailedError as error:
            result, failure = error.result, error
        if contradiction(result, press) is not None:  # whoever reported the id may have mixed it up
            message = f"the id {operation.id} is that of {made_by(result)}, not of {press}"
            raise OutcomeUnknownError(message, charged=None)
        return Outcome(press, operation, result, failure)

    async def _retry(self, ask: Callable[[], Awaitable[T]], may_retry: Callable[[AkoolError], bool]) -> T:
        """Ask until there is an answer, or an error that may not be tried again.

        Raises:
            _HandedOver: This worker stops, or the account is in trouble, which says nothing about the job.
        """
        waits = growing_waits(self._timing.first_retry_pause, self._timing.max_retry_pause)
        while True:
            try:
                return await ask()
            except SessionClosedError:
                raise _HandedOver from None
            except AkoolError as error:
                if is_account_error(error):
                    self.stopped_by = self.stopped_by or error
                    raise _HandedOver from None
                if not may_retry(error):
                    raise
                logger.info("trying again: %s", error)
            await self._pause(next(waits))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._draining.wait()
                raise _HandedOver

    async def _record(self, work: Callable[[Connection], T]) -> T:
        """Write, however long the database is unavailable or the disk full."""
        return await self._database.write(work, timeout=math.inf)


def _may_retry(error: AkoolError) -> bool:
    """True for an error of a read or a wait that is tried again for as long as it takes."""
    return is_transient(error) or isinstance(error, PollingError)


def _may_resend(error: AkoolError) -> bool:
    """True for a press that never arrived, or that AKOOL refused only for its pace."""
    return reply_of(error) in {Reply.NOT_DELIVERED, Reply.THROTTLED}


class _HandedOver(Exception):  # noqa: N818 - not an error
    """The job is left to another worker."""
