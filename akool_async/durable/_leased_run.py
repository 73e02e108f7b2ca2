"""The work of a worker under one lease: carry out batches in a session's fan-out, and record the ends of their jobs."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import AsyncExitStack, aclosing, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define, field, frozen
from sqlalchemy.exc import SQLAlchemyError

from akool_async import AccountBannedError, AkoolError, AuthenticationError, SessionClosedError, WebhookEvent
from akool_async._limits.backoff import growing_waits
from akool_async._limits.timing import read_scale
from akool_async.durable._batch_queue import BatchQueue
from akool_async.durable._changes import AcceptJob, ChangeWriter
from akool_async.durable._database import Database
from akool_async.durable._endings import NextStep, end_of, item_of, next_step, reason_to_stop
from akool_async.durable._group_writer import GroupWriter
from akool_async.durable._notifications import listen
from akool_async.durable._store import Store
from akool_async.durable._store_checks import OpenedFile
from akool_async.durable._store_journal import LostLeaseError
from akool_async.durable._store_url import StoreError
from akool_async.polling import AdaptivePolling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator

    from akool_async import Outcome
    from akool_async.durable._changes import Limits
    from akool_async.durable._job import LeasedJob
    from akool_async.durable._store_journal import WorkerSession
    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._worker_timing import WorkerTiming
    from akool_async.items import Item

T = TypeVar("T")

MAX_IN_FLIGHT: Final = 512
"""The most presses that each fan-out of a worker has under way."""
MISSED_BEATS: Final = 4
"""Heartbeats that a worker may miss before others take over its jobs."""
BEATS_BETWEEN_SEARCHES: Final = 20
"""Heartbeats between two searches of all open jobs for lost batches. Each heartbeat searches the claimed jobs."""
IDLE_SECONDS: Final = 5.0
"""Seconds without open jobs after which DBOS is stopped, since it polls the database while it runs."""
MIN_CYCLE: Final = 0.05
"""The least seconds between two reads of what has changed in the store."""
ACCESS_ERRORS: Final = (AuthenticationError, AccountBannedError)
"""Errors that AKOOL returns to every request. With other account errors, results can still be read."""
TRANSIENT_DB_ERRORS: Final = (StoreError, SQLAlchemyError, OSError)
"""Errors of a store that is temporarily unavailable."""

logger = logging.getLogger("akool_async")


@frozen(kw_only=True)
class WorkerSetup:
    """The settings of all workers of a durable fan-out."""

    store_url: StoreUrl
    account: str
    make_session: Callable[..., WorkerSession]
    """Called with a writer, a lease, and options that replace the user's."""
    has_own_polling: bool
    """True if the user has chosen the schedule of polls."""
    limits: Limits
    max_requests_per_second: float | None
    """For all workers together; None for no limit."""
    timing: WorkerTiming


@define(eq=False)
class _Batch:
    """A batch whose jobs this worker holds."""

    unfinished: int
    """The number of jobs that this worker has not finished."""
    ended: asyncio.Future[None] = field(factory=lambda: asyncio.get_running_loop().create_future())


@define(eq=False)
class _OtherWorkers:
    """The heartbeat counts of the other workers, each with the time (by this machine) at which it last changed."""

    _seen: dict[int, tuple[int, float]] = field(factory=dict)

    def find_dead(self, beats: dict[int, int], now: float, timeout: float) -> dict[int, int]:
        """Return the workers whose count has not changed for more than ``timeout`` seconds, with their counts."""
        self._seen = {
            lease: seen if (seen := self._seen.get(lease)) is not None and seen[0] == beat else (beat, now)
            for lease, beat in beats.items()
        }
        return {lease: beat for lease, (beat, since) in self._seen.items() if now - since > timeout}


async def _pull(items: asyncio.Queue[Item]) -> AsyncGenerator[Item, None]:
    while True:
        yield await items.get()


class LeasedRun:
    """Works until it is stopped, AKOOL refuses the account, no job is open, or other workers declare it dead."""

    def __init__(self, setup: WorkerSetup, worker: str, stopping: asyncio.Event, *, until_empty: bool) -> None:
        self._setup = setup
        self._timing = setup.timing
        self._worker = worker
        self._stopping = stopping
        self._until_empty = until_empty
        self._database = Database(setup.store_url, setup.timing)
        self._queue = BatchQueue(setup.store_url, setup.account)
        self._store = Store(setup.account, self._database, self._queue)
        self._writer = GroupWriter(self._database, ChangeWriter(setup.account, setup.limits, self._queue).write_all)
        self._lease = 0
        self._never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._akool: WorkerSession
        self._file: OpenedFile
        self._changed = asyncio.Event()
        """Set when the store may have changed, or when this worker has to check whether to stop."""
        self._new: asyncio.Queue[Item] = asyncio.Queue()
        self._claimed: asyncio.Queue[Item] = asyncio.Queue()
        """Presses that already count against the caps."""
        self._opening: asyncio.Queue[Item] = asyncio.Queue()
        """Jobs that start trees. Each of these three queues has its own fan-out. In a shared one, jobs that wait for
        capacity would block the jobs that will free it."""
        self._batches: dict[str, _Batch | None] = {}
        """Batches that DBOS gave to this worker, by id. The value is None while the jobs are being leased."""
        self._batch_of: dict[Item, _Batch] = {}
        """The batch of each job that this worker has under way."""
        self._endings: set[asyncio.Future[None]] = set()
        self._waits: dict[Item, Iterator[float]] = {}
        self._delivered: set[tuple[str, str, int]] = set()
        self._others = _OtherWorkers()
        self._rate_divisor = 1  # the number of workers that share the request rate
        self._maybe_lost: set[str] = set()
        self._beats = 0
        self._is_queue_started = False
        self._is_lost = False
        self._has_more = False
        self._is_drained = False
        self._learned: str | None = None
        self._stopped_by: AkoolError | None = None
        """The error that stopped this worker from pressing; None if there is none."""

    async def run(self) -> bool:
        """Work until the end and hand over the remaining jobs. Return False if the worker needs a new lease to go on.

        Raises:
            AkoolError: AKOOL refuses the account, or the file of the store is gone.
        """
        try:
            with self._queue.as_only_worker():
                await self._begin()
                self._file = OpenedFile.of(self._setup.store_url)
                if self._lease:
                    await self._work()
                    await self._check_for_new_jobs()
        finally:
            await self._writer.aclose(0.0)  # in case _drain was not reached
            self._database.close()
        if self._stopped_by is not None:
            raise self._stopped_by.fresh()
        return not (self._is_lost or self._has_more)

    # --- start, work and end ---

    async def _check_for_new_jobs(self) -> None:
        """Check whether jobs were submitted while this worker was ending."""
        if self._until_empty and self._stopped_by is None and not (self._stopping.is_set() or self._is_lost):
            with suppress(*TRANSIENT_DB_ERRORS):
                self._has_more = await self._store.has_open()

    async def _begin(self) -> None:
        """Open the store and take a lease."""
        await self._retry_until_stopped(self._database.attempt, partial(self._queue.connect, self._database.engine))
        if not self._stopping.is_set():
            self._lease = await self._retry_until_stopped(self._store.open_lease, self._worker) or 0

    async def _work(self) -> None:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._hand_over)
            self._akool = await self._open_session()
            closing.push_async_callback(self._drain)
            await self._check_key()
            await self._join()
            await self._run_tasks(
                self._supervise_and_drain(),
                self._send_heartbeats(),
                self._fan_out(self._claimed),
                self._fan_out(self._opening),
                self._fan_out(self._new),
                listen(self._setup.store_url, self._setup.account, self._timing, self._changed.set),
                self._wake_when_stopped(),
            )

    async def _run_tasks(self, main: Coroutine[None, None, None], *others: Coroutine[None, None, None]) -> None:
        """Run ``main`` until it returns, and the others until then. An error in any of them ends all."""
        tasks = [asyncio.create_task(each) for each in (main, *others)]
        try:
            while not tasks[0].done():
                done, _ = await asyncio.wait(
                    [task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _open_session(self) -> WorkerSession:
        options: dict[str, object] = {}
        if not self._setup.has_own_polling:
            with suppress(
                *TRANSIENT_DB_ERRORS, ValueError
            ):  # another version may have saved a format that this one cannot read
                self._learned = await self._store.learned()
                if self._learned is not None:
                    options["polling"] = AdaptivePolling.from_json(self._learned).scaled(read_scale(os.environ))
        return self._setup.make_session(self._writer, self._lease, **options)

    async def _check_key(self) -> None:
        """Raise if AKOOL refuses the key. A wrong key has no jobs, so the worker would wait forever."""
        try:
            async with asyncio.timeout(self._timing.key_timeout):
                await self._akool.get_credit()
        except ACCESS_ERRORS:
            raise
        except (AkoolError, TimeoutError) as error:  # AKOOL may be unavailable for a while
            logger.info("AKOOL did not confirm the key: %s", error)

    async def _join(self) -> None:
        """Take a share of the request rate. If there are other workers, first give them time to reduce their shares."""
        if self._setup.max_requests_per_second is not None:
            beats = await self._retry_until_stopped(self._store.renew, self._lease)
            self._share_rate(len(beats or ()))
            if self._rate_divisor > 1:
                await self._pause(self._timing.heartbeat_interval + self._timing.poll_interval)

    async def _supervise_and_drain(self) -> None:
        """Work, and then wait for POSTs under way. Heartbeats go on until both are done."""
        await self._supervise()
        await self._drain()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        while not (self._stopping.is_set() or self._is_lost or self._is_useless()):
            await self._pause(MIN_CYCLE)  # under load the store changes all the time
            self._changed.clear()
            try:
                if self._batches:
                    idle_since = loop.time()
                    await self._deliver_webhooks()
                    self._writer.wake()
                elif await self._store.has_open():
                    idle_since = loop.time()
                    self._start_queue()
                elif self._until_empty:
                    return
                elif loop.time() - idle_since > IDLE_SECONDS:
                    await self._stop_queue()
            except TRANSIENT_DB_ERRORS as error:
                logger.debug("the store cannot be used: %s", error)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._timing.poll_interval):
                    await self._changed.wait()

    def _is_useless(self) -> bool:
        """Return whether AKOOL refuses all presses and no result is left to wait for."""
        if self._stopped_by is None:
            return False
        return isinstance(self._stopped_by, (*ACCESS_ERRORS, StoreError)) or not self._batch_of

    def _start_queue(self) -> None:
        if not self._is_queue_started:
            self._queue.start(
                self._lease, self._run_batch, self._database.engine, poll_interval=self._timing.queue_poll_interval
            )
            self._is_queue_started = True

    async def _stop_queue(self) -> None:
        if self._is_queue_started:
            await self._database.attempt(self._queue.stop, self._timing.drain_timeout)
            self._is_queue_started = False

    async def _drain(self) -> None:
        """Make no new presses, and wait until the POSTs under way have ended and are recorded."""
        if self._is_drained:
            return
        self._is_drained = True
        with suppress(*TRANSIENT_DB_ERRORS):
            await self._save_learned()
        closing = asyncio.create_task(self._akool.aclose())
        await asyncio.wait([closing], timeout=self._timing.drain_timeout)
        if self._writer.is_stuck(self._timing.drain_timeout / 2):
            closing.cancel()  # accepted presses cannot be recorded, and are logged below
        await asyncio.gather(closing, return_exceptions=True)
        for change in await self._writer.aclose(self._timing.drain_timeout):
            if isinstance(change, AcceptJob):
                logger.warning("%s", change)

    async def _hand_over(self) -> None:
        try:
            await self._stop_queue()
            async with asyncio.timeout(self._timing.hand_over_timeout):
                await self._store.end_lease(self._lease)
                await self._database.attempt(self._queue.close)
        except (*TRANSIENT_DB_ERRORS, TimeoutError) as error:
            logger.warning(
                "the jobs could not be handed over (%s): other workers take them over when heartbeats are missing",
                error,
            )

    # --- batches ---

    async def _run_batch(self, batch: str) -> None:
        """Carry out a batch from DBOS. If another worker has to go on with it, this never returns."""
        self._batches[batch] = None
        jobs = await self._retry_until_stopped(self._store.lease_batch, batch, self._lease)
        if jobs is not None:
            under_way = self._batches[batch] = _Batch(len(jobs))
            for job in jobs:
                self._batch_of[job.item] = under_way
                self._begin_job(job)
            if jobs:
                await under_way.ended
            has_open = await self._retry_until_stopped(self._store.has_open_in, batch)
            if has_open is False:
                del self._batches[batch]
                return
        del self._batches[batch]
        await self._never

    def _begin_job(self, job: LeasedJob) -> None:
        self._akool.journal.add(job)
        self._send_again(job.item)

    def _send_again(self, item: Item) -> None:
        if item not in self._batch_of:  # the job was dropped in the meantime
            return
        job = self._akool.journal.job(item)
        if job.is_claimed or job.operation_id is not None:
            self._claimed.put_nowait(item)
        else:
            (self._opening if job.opens_tree else self._new).put_nowait(item)

    async def _fan_out(self, items: asyncio.Queue[Item]) -> None:
        outcomes = self._akool.fan_out(_pull(items), preflight=False, max_in_flight=MAX_IN_FLIGHT)
        with suppress(SessionClosedError):
            async with aclosing(outcomes):
                async for outcome in outcomes:
                    self._handle_outcome(outcome)

    def _handle_outcome(self, outcome: Outcome) -> None:
        """Record the end of a job, retry it later, or drop it for another worker."""
        item = item_of(outcome)
        match next_step(outcome, until_empty=self._until_empty):
            case NextStep.END:
                ending = asyncio.ensure_future(self._end(outcome))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)
            case NextStep.RETRY:
                logger.info("retrying: %s", outcome.error)
                waits = self._waits.setdefault(
                    item, growing_waits(self._timing.first_retry_pause, self._timing.max_retry_pause)
                )
                asyncio.get_running_loop().call_later(next(waits), self._send_again, item)
            case NextStep.STOP:
                self._stopped_by = self._stopped_by or reason_to_stop(outcome)
                self._drop(item)
            case NextStep.HAND_OVER:
                if isinstance(outcome.error, LostLeaseError):  # another worker has ended the job or takes it over
                    self._count_down(item)
                self._drop(item)

    async def _end(self, outcome: Outcome) -> None:
        item = item_of(outcome)
        job = self._akool.journal.job(item)
        try:
            has_ended = await self._writer.put(await end_of(outcome, job, self._lease, self._akool))
        except Exception:
            logger.exception("the end of %s could not be recorded; it stays open for another worker", item)
            self._drop(item)
            return
        known = None if has_ended else await self._retry_until_stopped(self._store.find_leased, job.job_id, self._lease)
        if known is not None:  # the lost id has become known: follow it
            self._begin_job(known)
        else:
            self._count_down(item)
            self._drop(item)

    def _count_down(self, item: Item) -> None:
        """Count a job of a batch as finished here: it has ended, or another worker has it."""
        batch = self._batch_of.get(item)
        if batch is not None:
            batch.unfinished -= 1
            if not batch.unfinished:
                batch.ended.set_result(None)

    def _drop(self, item: Item) -> None:
        self._akool.journal.remove(item)
        self._waits.pop(item, None)
        self._batch_of.pop(item, None)
        if not self._batch_of:
            self._changed.set()

    async def _deliver_webhooks(self) -> None:
        """Pass webhooks to the session, whichever process received them."""
        recorded = await self._store.webhooks_for(self._lease)
        for correlation_id, operation_id, status in recorded - self._delivered:
            self._akool.notify(WebhookEvent(id=operation_id, status=status), correlation_id=correlation_id)
        self._delivered = recorded

    # --- heartbeats ---

    async def _send_heartbeats(self) -> None:
        """Show that this worker is alive, and take over the jobs of workers that are not."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                self._file.check_still_there()
            except StoreError as error:
                self._stopped_by = error
                self._changed.set()
                return
            try:
                beats = await self._store.renew(self._lease)
                if beats is None:
                    logger.warning(
                        "other workers missed this worker's heartbeat and took over its jobs: it starts again"
                    )
                    self._is_lost = True
                    self._changed.set()
                    return
                self._share_rate(len(beats))
                others = {lease: beat for lease, beat in beats.items() if lease != self._lease}
                timeout = MISSED_BEATS * self._timing.heartbeat_interval
                for lease, beat in self._others.find_dead(others, loop.time(), timeout).items():
                    taken_over = await self._store.end_lease(lease, beat)
                    if taken_over is not None:
                        logger.info("took over %d jobs of a worker whose heartbeat was missing", taken_over)
                await self._requeue_lost(set(others))
                await self._save_learned()
            except TRANSIENT_DB_ERRORS as error:
                logger.debug("the heartbeat failed: %s", error)
            await asyncio.sleep(self._timing.heartbeat_interval)

    def _share_rate(self, workers: int) -> None:
        rate = self._setup.max_requests_per_second
        if rate is not None and workers not in (0, self._rate_divisor):
            self._rate_divisor = workers
            self._akool.limit_requests(rate / workers)

    async def _requeue_lost(self, others: set[int]) -> None:
        """Requeue open jobs that no worker has and that are not in the queue.

        This happens if DBOS gave their batch to this worker and the answer was lost, if DBOS abandoned the batch, or if
        a worker died while it took over the batch.
        """
        self._beats += 1
        is_idle = self._is_queue_started and not self._batches
        search_all = is_idle or self._beats % BEATS_BETWEEN_SEARCHES == 0
        lost = await self._store.find_lost(others, only_claimed=not search_all)
        lost -= self._batches.keys()
        lost_twice = lost & self._maybe_lost  # in two checks in a row: after one, a worker may be about to begin
        self._maybe_lost = lost - lost_twice
        if lost_twice:
            await self._store.requeue(lost_twice)
            logger.info("requeued %d batches that no worker was running", len(lost_twice))

    async def _save_learned(self) -> None:
        polling = self._akool.polling
        if not self._setup.has_own_polling and isinstance(polling, AdaptivePolling):
            learned = polling.to_json()
            if learned != self._learned:
                await self._store.save_learned(learned)
                self._learned = learned

    # --- waits ---

    async def _retry_until_stopped(self, ask: Callable[..., Awaitable[T]], *args: object) -> T | None:
        """Return the result of ``ask``, retrying while the store is unavailable; None if this worker stops first."""
        while not (self._stopping.is_set() or self._is_lost):
            try:
                return await ask(*args)
            except TRANSIENT_DB_ERRORS as error:
                logger.debug("the store cannot be used: %s", error)
            await self._pause(self._timing.poll_interval)
        return None

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    async def _wake_when_stopped(self) -> None:
        await self._stopping.wait()
        self._changed.set()
