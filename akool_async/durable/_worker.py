"""A worker: jobs carried out in a thread with a loop of its own, since DBOS takes over the loop that it runs in."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

import psycopg
from attrs import frozen
from sqlalchemy.exc import SQLAlchemyError

from akool_async import AccountBannedError, AkoolError, AuthenticationError
from akool_async.durable._alive import sign_of_life
from akool_async.durable._carrier import Carrier
from akool_async.durable._database import Database
from akool_async.durable._job import Entry
from akool_async.durable._store_url import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from akool_async.durable._alive import Alive
    from akool_async.durable._engine import Engine
    from akool_async.durable._jobs import Jobs
    from akool_async.durable._session import WorkerSession
    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._timing import WorkerTiming

UNANSWERED: Final = (AuthenticationError, AccountBannedError)
"""Errors with which AKOOL answers every request; with other trouble of the account, results can still be read."""

AWAY: Final = (StoreError, SQLAlchemyError, psycopg.Error, OSError)
"""How a state that cannot be used at the moment shows."""

logger = logging.getLogger("akool_async")


@frozen(kw_only=True)
class Setup:
    """What a worker works with."""

    state: StoreUrl
    jobs: Jobs
    engine: Engine
    make_session: Callable[[], WorkerSession]
    max_concurrent_upscales: int
    max_requests_per_second: float | None
    lost_reply_timeout: float
    timing: WorkerTiming


class Worker:
    """One run over what is open."""

    def __init__(self, setup: Setup, *, until_empty: bool) -> None:
        self._setup = setup
        self._sharing = 1  # workers among which the rate is divided
        self._timing = setup.timing
        self._until_done = until_empty
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._was_stopped = False
        self._was_told = False
        self._missing: set[str] = set()
        self._ended: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Let it work; cancelling this is :meth:`stop`, and a second time leaves it to end by itself."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="akool-worker")
        self._ended = asyncio.get_running_loop().run_in_executor(thread, asyncio.run, self._work())
        thread.shutdown(wait=False)  # it ends with its work
        try:
            await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            await self.stop()
            raise

    @property
    def is_at_work(self) -> bool:
        """Also where nobody waits for it any more."""
        return self._ended is not None and not self._ended.done()

    async def stop(self) -> None:
        """End it: what is in hand is handed over when this returns."""
        self._was_stopped = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._ended is not None:
            await asyncio.wait([self._ended])
            self._ended.exception()  # told where it matters: its jobs are on record

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        setup = self._setup
        database = Database(setup.state.engine(), f"state {setup.state}", setup.timing)
        alive = sign_of_life(setup.state, setup.jobs.account, self._name, setup.timing)
        try:
            akool = setup.make_session()
            carrier = Carrier(
                akool,
                database,
                setup.jobs,
                self._name,
                lost_reply_timeout=setup.lost_reply_timeout,
                timing=setup.timing,
            )
            try:
                if await self._start(akool, carrier, database, alive):
                    try:
                        await self._supervise(akool, carrier, database, alive)
                    finally:
                        await carrier.drain()
                        await self._hand_over(database)
            finally:
                await akool.aclose()
        finally:
            await alive.end()
            database.close()
        if carrier.stopped_by is not None:
            raise carrier.stopped_by.fresh()

    async def _start(self, akool: WorkerSession, carrier: Carrier, database: Database, alive: Alive) -> bool:
        """Let jobs come; False where it was stopped before."""
        while not self._was_stopped:
            try:
                await alive.show()
                await self._join(akool, alive)
                await self._check_key(akool)
                self._setup.engine.launch(
                    self._name,
                    carrier.carry_out,
                    database.engine,
                    max_concurrent_upscales=self._setup.max_concurrent_upscales,
                    poll_interval=self._timing.queue_poll_interval,
                )
            except AWAY as error:
                self._tell(error)
                await self._pause(self._timing.poll_interval)
            else:
                return True
        return False

    async def _check_key(self, akool: WorkerSession) -> None:
        """A wrong key is no account's: there would be no job for it, for ever. AKOOL being away is no reason to end."""
        try:
            async with asyncio.timeout(self._timing.key_timeout):
                await akool.get_credit()
        except UNANSWERED:
            raise
        except (AkoolError, TimeoutError) as error:
            logger.info("AKOOL does not tell whether the key is right: %s", error)

    async def _join(self, akool: WorkerSession, alive: Alive) -> None:
        """Take a share of the rate, once all others have made room for it."""
        if self._setup.max_requests_per_second is not None and await self._share_rate(akool, alive) > 1:
            await self._pause(self._timing.heartbeat_interval + self._timing.poll_interval)

    async def _share_rate(self, akool: WorkerSession, alive: Alive) -> int:
        workers = max(await alive.count(), 1)
        rate = self._setup.max_requests_per_second
        if rate is not None and workers != self._sharing:
            self._sharing = workers
            akool.limit_requests(rate / workers)
        return workers

    async def _supervise(self, akool: WorkerSession, carrier: Carrier, database: Database, alive: Alive) -> None:
        beat = 0.0
        while not (self._was_stopped or _is_pointless(carrier)):
            try:
                if self._loop_time() >= beat:  # pragma: no branch - workers of tests beat at every look
                    await alive.show()
                    beat = self._loop_time() + self._timing.heartbeat_interval
                    await self._share_rate(akool, alive)
                    await self._take_over_from_the_dead(database, alive)
                    if carrier.stopped_by is None:  # else it is this worker that does not take them up
                        await self._take_up_what_was_dropped(carrier, database)
                await carrier.deliver_webhooks()
                if self._until_done and not await database.read(self._setup.jobs.has_open):
                    return
                self._was_told = False
            except AWAY as error:
                self._tell(error)
            await self._pause(self._timing.poll_interval)

    async def _take_over_from_the_dead(self, database: Database, alive: Alive) -> None:
        others = await database.read(self._setup.engine.workers) - {self._name}
        dead = await alive.dead(others)
        if dead:
            taken = await database.write(lambda state: self._setup.engine.take_over(state, dead))
            logger.info("%d jobs of workers that ended are taken over: %s", taken, ", ".join(sorted(dead)))

    async def _take_up_what_was_dropped(self, carrier: Carrier, database: Database) -> None:
        """Jobs that DBOS says run here, and do not, as where its answer was lost; and those that it has given up."""
        jobs, engine = self._setup.jobs, self._setup.engine
        mine, given_up = await database.read(
            lambda state: (engine.in_hand(state, self._name), engine.without_workflow(state, jobs.taken_up(state)))
        )
        missing = {workflow for workflow in mine if Entry.job_of(workflow) not in carrier.in_hand}
        dropped = missing & self._missing  # at two looks: one may be about to begin, or to be ended
        self._missing = missing - dropped

        def take_up(state: Connection) -> int:
            jobs.doubt(state, [Entry.job_of(workflow) for workflow in dropped])
            left = engine.without_workflow(state, jobs.taken_up(state))
            anew = [again for entry in left if (again := jobs.put_back(state, entry))]
            engine.enqueue(state, anew)
            return engine.let_go(state, self._name, dropped) + len(anew)

        if dropped or given_up:
            logger.info("%d jobs that nobody carried out are taken up", await database.write(take_up))

    async def _hand_over(self, database: Database) -> None:
        try:
            await database.attempt(self._setup.engine.stop, self._timing.drain_timeout)
            await database.write(
                lambda state: self._setup.engine.take_over(state, [self._name]),
                timeout=self._timing.hand_over_timeout,
            )
        except StoreError as error:
            logger.warning("what was in hand is handed over when this worker is missed: %s", error)

    def _tell(self, error: Exception) -> None:
        if not (self._was_told or isinstance(error, StoreError)):  # which was told as it began
            reason = getattr(error, "orig", error)
            logger.warning("state %s cannot be used (%s): trying again", self._setup.state, reason)
        self._was_told = True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()

    def _loop_time(self) -> float:
        return asyncio.get_running_loop().time()


def _is_pointless(carrier: Carrier) -> bool:
    """True if nothing is left to be done: where results can be read, what was paid for before is waited for."""
    if carrier.stopped_by is None:
        return False
    return isinstance(carrier.stopped_by, UNANSWERED) or not carrier.in_hand
