"""A worker: a thread with an event loop of its own, since DBOS takes over the loop that it runs in."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from akool_async.durable._database import Database
from akool_async.durable._heartbeat import make_heartbeat
from akool_async.durable._job_runner import JobRunner
from akool_async.durable._supervisor import Supervisor

if TYPE_CHECKING:
    from akool_async.durable._worker_setup import WorkerSetup


class Worker:
    """One run over the open jobs of an account."""

    def __init__(self, setup: WorkerSetup, *, until_empty: bool) -> None:
        self._setup = setup
        self._until_empty = until_empty
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()  # of the worker's own loop
        self._was_stopped = False
        self._ended: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Work until the end. Cancelling this stops the worker; cancelling it twice lets the worker end by itself."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="akool-worker")
        self._ended = asyncio.get_running_loop().run_in_executor(thread, asyncio.run, self._work())
        thread.shutdown(wait=False)  # it ends with its work
        try:
            await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            await self.stop()
            raise

    @property
    def is_running(self) -> bool:
        """True until it has ended, even if nobody waits for it."""
        return self._ended is not None and not self._ended.done()

    async def stop(self) -> None:
        """Stop the worker; its jobs are handed over when this returns."""
        self._was_stopped = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._ended is not None:
            await asyncio.wait([self._ended])
            self._ended.exception()  # nobody has to see it: its jobs are recorded

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._was_stopped:
            self._stopping.set()
        setup = self._setup
        database = Database(setup.store_url, setup.timing)
        heartbeat = make_heartbeat(setup.store_url, setup.store.account, self._name, setup.timing)
        try:
            akool = setup.make_session()
            runner = JobRunner(
                akool,
                database,
                setup.store,
                self._name,
                lost_reply_timeout=setup.lost_reply_timeout,
                timing=setup.timing,
            )
            supervisor = Supervisor(setup, self._name, akool, runner, database, heartbeat, self._stopping)
            try:
                await supervisor.run(until_empty=self._until_empty)
            finally:
                await akool.aclose()
        finally:
            await heartbeat.stop()
            database.close()
        if runner.stopped_by is not None:
            raise runner.stopped_by.fresh()
