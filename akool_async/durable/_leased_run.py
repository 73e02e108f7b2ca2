"""The work of one lease: batches from the queue go through the fan-out of a session, and their ends into the store."""

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
from akool_async.durable._endings import Fate, end_of, fate_of, item_of, reason_to_stop
from akool_async.durable._group_writer import GroupWriter
from akool_async.durable._notifications import listen
from akool_async.durable._store import Store
from akool_async.durable._store_checks import OpenedFile
from akool_async.durable._store_journal import LostLeaseError
from akool_async.durable._store_url import StoreError
from akool_async.polling import AdaptivePolling, ExponentialPolling

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
"""Presses that one worker has under way."""
MISSED_BEATS: Final = 4
"""Heartbeats that a worker may miss before others take its jobs over."""
BEATS_BETWEEN_SEARCHES: Final = 20
"""Heartbeats between two searches through all open jobs for those that no worker has; each searches claimed ones."""
IDLE_SECONDS: Final = 5.0
"""After so long without open jobs DBOS is stopped, since it polls the database for as long as it runs."""
MIN_CYCLE: Final = 0.05
"""Seconds between two times that a worker asks the store what has changed."""
ACCESS_ERRORS: Final = (AuthenticationError, AccountBannedError)
"""Errors with which AKOOL answers every request. With other errors of the account, results can still be read."""
TRANSIENT_DB_ERRORS: Final = (StoreError, SQLAlchemyError, OSError)
"""Errors of a store that cannot be used at the moment."""

logger = logging.getLogger("akool_async")


@frozen(kw_only=True)
class WorkerSetup:
    """What every worker of a durable fan-out works with."""

    store_url: StoreUrl
    account: str
    make_session: Callable[..., WorkerSession]
    """Takes a writer and a lease, and options that replace those of the user."""
    has_own_polling: bool
    """True if the user has chosen the schedule of polls."""
    limits: Limits
    max_requests_per_second: float | None
    timing: WorkerTiming


@define(eq=False)
class _Batch:
    """A batch whose jobs this worker has."""

    left: int
    """Jobs that have not ended."""
    ended: asyncio.Future[None] = field(factory=lambda: asyncio.get_running_loop().create_future())


@define(eq=False)
class _Others:
    """The beats of the other workers, and since when each of them stands still, on this machine's clock."""

    _seen: dict[int, tuple[int, float]] = field(factory=dict)

    def find_dead(self, beats: dict[int, int], now: float, timeout: float) -> dict[int, int]:
        """Those that have stood still for so many seconds, with their beats."""
        self._seen = {
            lease: seen if (seen := self._seen.get(lease)) is not None and seen[0] == beat else (beat, now)
            for lease, beat in beats.items()
        }
        return {lease: beat for lease, (beat, since) in self._seen.items() if now - since > timeout}


async def _pull(items: asyncio.Queue[Item]) -> AsyncGenerator[Item, None]:
    while True:
        yield await items.get()


class LeasedRun:
    """Works until it is stopped, its account is in trouble, no job is open, or others took it for dead."""

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
        """Set whenever there may be something to do."""
        self._new: asyncio.Queue[Item] = asyncio.Queue()
        self._claimed: asyncio.Queue[Item] = asyncio.Queue()
        """Presses that count against the caps already."""
        self._opening: asyncio.Queue[Item] = asyncio.Queue()
        """Jobs that open trees. Each queue has a fan-out of its own: what waits for room must not keep what it waits
        for from being pressed and followed."""
        self._batches: dict[str, _Batch | None] = {}
        """Those that DBOS gave to this worker; None while its jobs are being leased."""
        self._batch_of: dict[Item, _Batch] = {}
        """The jobs that are under way here."""
        self._endings: set[asyncio.Future[None]] = set()
        self._waits: dict[Item, Iterator[float]] = {}
        self._delivered: set[tuple[str, str, int]] = set()
        self._others = _Others()
        self._sharers = 1  # workers among which the rate is divided
        self._missed: set[str] = set()
        self._beats = 0
        self._is_queue_started = False
        self._is_lost = False
        self._has_more = False
        self._is_drained = False
        self._learned: str | None = None
        self._stopped_by: AkoolError | None = None
        """The error after which no other press would fare better."""

    async def run(self) -> bool:
        """Work to the end, and hand over what is left. False if another lease has to go on.

        Raises:
            AkoolError: The account is in trouble, or the store is gone.
        """
        try:
            with self._queue.as_only_worker():
                await self._begin()
                self._file = OpenedFile.of(self._setup.store_url)
                if self._lease:
                    await self._work()
                    await self._look_again()
        finally:
            await self._writer.aclose(0.0)  # if there was nothing to drain
            self._database.close()
        if self._stopped_by is not None:
            raise self._stopped_by.fresh()
        return not (self._is_lost or self._has_more)

    # --- its course ---

    async def _look_again(self) -> None:
        """Jobs may have been submitted while this worker ended because there were none."""
        if self._until_empty and self._stopped_by is None and not (self._stopping.is_set() or self._is_lost):
            with suppress(*TRANSIENT_DB_ERRORS):
                self._has_more = await self._store.has_open()

    async def _begin(self) -> None:
        """Open the store, and take a lease."""
        await self._patiently(self._database.attempt, partial(self._queue.connect, self._database.engine))
        if not self._stopping.is_set():
            self._lease = await self._patiently(self._store.open_lease, self._worker) or 0

    async def _work(self) -> None:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._hand_over)
            self._akool = await self._open_session()
            closing.push_async_callback(self._drain)
            await self._check_key()
            await self._join()
            await self._run_tasks(
                self._supervise_and_drain(),
                self._beat(),
                self._fan_out(self._claimed),
                self._fan_out(self._opening),
                self._fan_out(self._new),
                listen(self._setup.store_url, self._setup.account, self._timing, self._changed.set),
                self._wake_when_stopped(),
            )

    async def _run_tasks(self, main: Coroutine[None, None, None], *others: Coroutine[None, None, None]) -> None:
        """Run ``main`` to its end, and the others until then. The first error of any of them ends all."""
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
            with suppress(*TRANSIENT_DB_ERRORS, ValueError):  # what another version has learned may be unreadable
                self._learned = await self._store.learned()
                if self._learned is not None:
                    fallback = ExponentialPolling().scaled(read_scale(os.environ))
                    options["polling"] = AdaptivePolling.from_json(self._learned, fallback=fallback)
        return self._setup.make_session(self._writer, self._lease, **options)

    async def _check_key(self) -> None:
        """Raise if the key is wrong: it belongs to no account, so the worker would wait forever for jobs."""
        try:
            async with asyncio.timeout(self._timing.key_timeout):
                await self._akool.get_credit()
        except ACCESS_ERRORS:
            raise
        except (AkoolError, TimeoutError) as error:  # AKOOL may be unavailable for a while
            logger.info("AKOOL did not confirm the key: %s", error)

    async def _join(self) -> None:
        """Take a share of the request rate, after all other workers have reduced theirs."""
        if self._setup.max_requests_per_second is not None:
            beats = await self._patiently(self._store.renew, self._lease)
            self._share_rate(len(beats or ()))
            if self._sharers > 1:
                await self._pause(self._timing.heartbeat_interval + self._timing.poll_interval)

    async def _supervise_and_drain(self) -> None:
        """Work, and show that this worker is alive until its POSTs have ended."""
        await self._supervise()
        await self._drain()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        idle_since = loop.time()
        while not (self._stopping.is_set() or self._is_lost or self._is_useless()):
            await self._pause(MIN_CYCLE)  # under load there is always some change
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
        """True once no press would be accepted and no result is left to wait for."""
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
        """Make no new presses, and wait until POSTs under way are recorded."""
        if self._is_drained:
            return
        self._is_drained = True
        with suppress(*TRANSIENT_DB_ERRORS):
            await self._keep_learned()
        closing = asyncio.create_task(self._akool.aclose())
        await asyncio.wait([closing], timeout=self._timing.drain_timeout)
        if self._writer.is_stuck(self._timing.drain_timeout / 2):
            closing.cancel()  # what was accepted cannot be recorded, and is logged below
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
            logger.warning("other workers take over once they miss this worker's heartbeat: %s", error)

    # --- batches ---

    async def _run_batch(self, batch: str) -> None:
        """Carry out a batch that DBOS gave to this worker. If it is left to another, this never returns."""
        self._batches[batch] = None
        jobs = await self._patiently(self._store.lease_batch, batch, self._lease)
        if jobs is not None:
            under_way = self._batches[batch] = _Batch(len(jobs))
            for job in jobs:
                self._batch_of[job.item] = under_way
                self._begin_job(job)
            if jobs:
                await under_way.ended
            is_left = await self._patiently(self._store.has_open_in, batch)
            if is_left is False:
                del self._batches[batch]
                return
        del self._batches[batch]
        await self._never

    def _begin_job(self, job: LeasedJob) -> None:
        self._akool.journal.add(job)
        self._send_again(job.item)

    def _send_again(self, item: Item) -> None:
        if item not in self._batch_of:  # it was left meanwhile
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
                    self._settle(outcome)

    def _settle(self, outcome: Outcome) -> None:
        """Record an end, press or wait again later, or leave the job to the next worker."""
        item = item_of(outcome)
        match fate_of(outcome, until_empty=self._until_empty):
            case Fate.END:
                ending = asyncio.ensure_future(self._end(outcome))
                self._endings.add(ending)
                ending.add_done_callback(self._endings.discard)
            case Fate.AGAIN:
                logger.info("trying again: %s", outcome.error)
                waits = self._waits.setdefault(
                    item, growing_waits(self._timing.first_retry_pause, self._timing.max_retry_pause)
                )
                asyncio.get_running_loop().call_later(next(waits), self._send_again, item)
            case Fate.STOP:
                self._stopped_by = self._stopped_by or reason_to_stop(outcome)
                self._leave(item)
            case Fate.LEAVE:
                if isinstance(outcome.error, LostLeaseError):  # another worker has recorded its end, or takes it over
                    self._count(item)
                self._leave(item)

    async def _end(self, outcome: Outcome) -> None:
        item = item_of(outcome)
        job = self._akool.journal.job(item)
        try:
            has_ended = await self._writer.put(await end_of(outcome, job, self._lease, self._akool))
        except Exception:
            logger.exception("the end of %s could not be recorded", item)
            self._leave(item)
            return
        known = None if has_ended else await self._patiently(self._store.find_leased, job.job_id, self._lease)
        if known is not None:  # the id of a press that was lost has come to be known: go on with it
            self._begin_job(known)
        else:
            self._count(item)
            self._leave(item)

    def _count(self, item: Item) -> None:
        """A job of this worker's has ended, or is another worker's."""
        batch = self._batch_of.get(item)
        if batch is not None:
            batch.left -= 1
            if not batch.left:
                batch.ended.set_result(None)

    def _leave(self, item: Item) -> None:
        self._akool.journal.remove(item)
        self._waits.pop(item, None)
        self._batch_of.pop(item, None)
        if not self._batch_of:
            self._changed.set()

    async def _deliver_webhooks(self) -> None:
        """Pass what was reported to the session, whichever process received it."""
        recorded = await self._store.webhooks_for(self._lease)
        for correlation_id, operation_id, status in recorded - self._delivered:
            self._akool.notify(WebhookEvent(id=operation_id, status=status), correlation_id=correlation_id)
        self._delivered = recorded

    # --- its heartbeat ---

    async def _beat(self) -> None:
        """Show that this worker is alive, and take over from those that are not."""
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
                    logger.warning("other workers took this worker for dead and took over its jobs; it starts again")
                    self._is_lost = True
                    self._changed.set()
                    return
                self._share_rate(len(beats))
                others = {lease: beat for lease, beat in beats.items() if lease != self._lease}
                timeout = MISSED_BEATS * self._timing.heartbeat_interval
                for lease, beat in self._others.find_dead(others, loop.time(), timeout).items():
                    left = await self._store.end_lease(lease, beat)
                    if left is not None:
                        logger.info("took over %d jobs of a worker that ended", left)
                await self._requeue_lost(set(others))
                await self._keep_learned()
            except TRANSIENT_DB_ERRORS as error:
                logger.debug("no heartbeat: %s", error)
            await asyncio.sleep(self._timing.heartbeat_interval)

    def _share_rate(self, workers: int) -> None:
        rate = self._setup.max_requests_per_second
        if rate is not None and workers not in (0, self._sharers):
            self._sharers = workers
            self._akool.limit_requests(rate / workers)

    async def _requeue_lost(self, others: set[int]) -> None:
        """Requeue open jobs that no worker has, and that are not in the queue.

        DBOS gave their batch to this worker and the answer was lost, it has abandoned the batch, or a worker died while
        it took the batch over.
        """
        self._beats += 1
        is_idle = self._is_queue_started and not self._batches
        look_at_all = is_idle or self._beats % BEATS_BETWEEN_SEARCHES == 0
        lost = await self._store.find_lost(others, only_claimed=not look_at_all)
        lost -= self._batches.keys()
        again = lost & self._missed  # at two checks in a row: one may be about to begin
        self._missed = lost - again
        if again:
            await self._store.requeue(again)
            logger.info("requeued %d batches that no worker was running", len(again))

    async def _keep_learned(self) -> None:
        polling = self._akool.polling
        if not self._setup.has_own_polling and isinstance(polling, AdaptivePolling):
            learned = polling.to_json()
            if learned != self._learned:
                await self._store.keep_learned(learned)
                self._learned = learned

    # --- waiting ---

    async def _patiently(self, ask: Callable[..., Awaitable[T]], *args: object) -> T | None:
        """What the store answers, however long it is unavailable; None if this worker is stopped before."""
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
