"""Supervises a worker: its start, its heartbeat, jobs that other workers left, and its end."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from akool_async import AccountBannedError, AkoolError, AuthenticationError
from akool_async.durable._job import QueueEntry
from akool_async.durable._job_transactions import JobTransactions
from akool_async.durable._store_url import StoreError

if TYPE_CHECKING:
    from akool_async.durable._database import Database
    from akool_async.durable._heartbeat import Heartbeat
    from akool_async.durable._job_runner import JobRunner
    from akool_async.durable._session import WorkerSession
    from akool_async.durable._worker_setup import WorkerSetup

ACCESS_ERRORS: Final = (AuthenticationError, AccountBannedError)
"""Errors with which AKOOL answers every request. With other errors of the account, results can still be read."""
TRANSIENT_DB_ERRORS: Final = (StoreError, SQLAlchemyError, psycopg.Error, OSError)
"""Errors of a store that cannot be used at the moment."""

logger = logging.getLogger("akool_async")


class Supervisor:
    """Keeps a worker's jobs coming until it is stopped, its account is in trouble or no job is open."""

    def __init__(
        self,
        setup: WorkerSetup,
        worker: str,
        akool: WorkerSession,
        runner: JobRunner,
        database: Database,
        heartbeat: Heartbeat,
        stopping: asyncio.Event,
    ) -> None:
        self._setup = setup
        self._timing = setup.timing
        self._queue = setup.queue
        self._transactions = JobTransactions(setup.store, setup.queue)
        self._worker = worker
        self._akool = akool
        self._sharers = 1  # workers among which the rate is divided
        self._runner = runner
        self._database = database
        self._heartbeat = heartbeat
        self._stopping = stopping
        self._missing: set[str] = set()
        self._is_outage_logged = False

    async def run(self, *, until_empty: bool) -> None:
        """Work until the end, and hand over what is left."""
        if not await self._start():
            return
        try:
            await self._supervise(until_empty=until_empty)
        finally:
            await self._runner.drain()
            await self._hand_over()

    async def _start(self) -> bool:
        """Begin to take jobs; False if the worker was stopped before."""
        while not self._stopping.is_set():
            try:
                await self._heartbeat.beat()
                await self._join()
                await self._check_key()
                self._queue.launch(
                    self._worker,
                    self._runner.run,
                    self._database.engine,
                    max_concurrent_upscales=self._setup.max_concurrent_upscales,
                    poll_interval=self._timing.queue_poll_interval,
                )
            except TRANSIENT_DB_ERRORS as error:
                self._log_outage(error)
                await self._pause(self._timing.poll_interval)
            else:
                return True
        return False

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
        if self._setup.max_requests_per_second is not None and await self._share_rate() > 1:
            await self._pause(self._timing.heartbeat_interval + self._timing.poll_interval)

    async def _share_rate(self) -> int:
        workers = max(await self._heartbeat.count_workers(), 1)
        rate = self._setup.max_requests_per_second
        if rate is not None and workers != self._sharers:
            self._sharers = workers
            self._akool.limit_requests(rate / workers)
        return workers

    async def _supervise(self, *, until_empty: bool) -> None:
        loop = asyncio.get_running_loop()
        next_beat = 0.0
        while not (self._stopping.is_set() or self._is_useless()):
            try:
                if loop.time() >= next_beat:  # pragma: no branch - workers of tests beat at every poll
                    await self._heartbeat.beat()
                    next_beat = loop.time() + self._timing.heartbeat_interval
                    await self._share_rate()
                    await self._take_over_from_the_dead()
                    if self._runner.stopped_by is None:  # else this worker itself leaves its jobs
                        await self._requeue_dropped_jobs()
                await self._runner.deliver_webhooks()
                if until_empty and not await self._database.read(self._setup.store.has_open):
                    return
                self._is_outage_logged = False
            except TRANSIENT_DB_ERRORS as error:
                self._log_outage(error)
            await self._pause(self._timing.poll_interval)

    def _is_useless(self) -> bool:
        """True once no press would be accepted and no result is left to wait for."""
        stopped_by = self._runner.stopped_by
        if stopped_by is None:
            return False
        return isinstance(stopped_by, ACCESS_ERRORS) or not self._runner.running

    async def _take_over_from_the_dead(self) -> None:
        others = await self._database.read(self._queue.workers) - {self._worker}
        dead = await self._heartbeat.find_dead(others)
        if dead:
            taken = await self._database.write(lambda connection: self._queue.take_over(connection, dead))
            logger.info("took over %d jobs of workers that ended: %s", taken, ", ".join(sorted(dead)))

    async def _requeue_dropped_jobs(self) -> None:
        """Requeue jobs that no worker runs.

        DBOS gave them to this worker and the answer was lost, or DBOS has abandoned them.
        """
        recorded, abandoned = await self._database.read(
            lambda connection: (
                self._queue.running(connection, self._worker),
                self._transactions.abandoned(connection),
            )
        )
        missing = {workflow for workflow in recorded if QueueEntry.job_id_of(workflow) not in self._runner.running}
        dropped = missing & self._missing  # at two checks in a row: one may be about to begin or to end
        self._missing = missing - dropped
        if dropped or abandoned:
            requeued = await self._database.write(
                lambda connection: self._transactions.requeue(connection, self._worker, dropped)
            )
            logger.info("requeued %d jobs that no worker was running", requeued)

    async def _hand_over(self) -> None:
        try:
            await self._database.attempt(self._queue.stop, self._timing.drain_timeout)
            await self._database.write(
                lambda connection: self._queue.take_over(connection, [self._worker]),
                timeout=self._timing.hand_over_timeout,
            )
        except StoreError as error:
            logger.warning("other workers take over once they miss this worker's heartbeat: %s", error)

    def _log_outage(self, error: Exception) -> None:
        if not (self._is_outage_logged or isinstance(error, StoreError)):  # the database has logged a StoreError
            reason = getattr(error, "orig", error)
            logger.warning("store %s cannot be used (%s): trying again", self._setup.store_url, reason)
        self._is_outage_logged = True

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
