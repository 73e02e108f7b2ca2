"""A worker. It runs in a thread with a separate event loop, since DBOS takes over the loop that it runs in."""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from akool_async.durable._leased_run import LeasedRun

if TYPE_CHECKING:
    from akool_async.durable._leased_run import WorkerSetup


class Worker:
    """One call of ``DurableFanOut.run``."""

    def __init__(self, setup: WorkerSetup, *, until_empty: bool) -> None:
        self._setup = setup
        self._until_empty = until_empty
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()  # belongs to the worker's loop
        self._was_stopped = False
        self._ended: asyncio.Future[None] | None = None

    async def run(self) -> None:
        """Work until the end. Cancelling this stops the worker and waits for it; a second time it does not wait."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="akool-worker")
        self._ended = asyncio.get_running_loop().run_in_executor(thread, asyncio.run, self._work())
        thread.shutdown(wait=False)  # the thread ends with its work
        try:
            await asyncio.shield(self._ended)
        except asyncio.CancelledError:
            await self.stop()
            raise

    @property
    def is_running(self) -> bool:
        """True until the worker has ended, even if nobody waits for it."""
        return self._ended is not None and not self._ended.done()

    async def stop(self) -> None:
        """Stop the worker, and return once it has handed over its jobs."""
        self._was_stopped = True
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: the worker has ended
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self._ended is not None:
            await asyncio.wait([self._ended])
            self._ended.exception()  # marks an error as retrieved: the jobs are recorded

    async def _work(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._was_stopped:
            self._stopping.set()
        runs: list[LeasedRun] = []
        name = f"{socket.gethostname()}-{os.getpid()}"
        while not self._stopping.is_set():
            run = LeasedRun(self._setup, name, self._stopping, until_empty=self._until_empty)
            runs.append(run)  # DBOS's tasks refer to it until this loop ends
            if await run.run():
                return
