"""Workers in separate processes, and what tests of durable runs need around them."""

import asyncio
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress

from sqlalchemy import make_url

from akool_async import ButtonPress
from akool_async.durable import DurableFanOut, JobState, WorkerTiming
from akool_async.emulator import Fault
from tests.support import commands
from tests.support.schedules import FAST, QUICK

SHORT = WorkerTiming().scaled(1 / 200)
"""The timing of workers in the test's process, for an emulator that is 200 times as fast as AKOOL."""


def open_jobs(emulator, store, **options):
    """Return a durable fan-out for an emulator."""
    fast = {"polling": FAST, "timing": QUICK, "lost_reply_timeout": 0.1, "worker_timing": SHORT}
    return DurableFanOut(emulator.api_key, store, base_url=emulator.base_url, **{**fast, **options})


@asynccontextmanager
async def worker(emulator, store, folder, *options):
    """Start a worker process. If it is still running at the end of the block, it is killed."""
    process = await commands.start(
        "worker",
        "--store",
        store,
        "--quiet",
        "--lost-reply-timeout=5",
        *options,
        cwd=folder,
        environment=emulator.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def outcomes_of(jobs, presses=None):
    """Return all outcomes in the order in which they were yielded."""
    return [outcome async for outcome in jobs.outcomes(presses)]


async def an_unknown_job(emulator, jobs):
    """Carry out a press whose reply is lost. Return the press, and the id, which only the emulator knows."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    await jobs.submit([press])
    await jobs.run()
    assert (await jobs.job(press)).state is JobState.UNKNOWN
    (post,) = [post for post in emulator.ledger.posts if post.image_id == press.image_id]
    return press, post.new_ids[0]


class TimedCounter(Counter):
    """A counter of requests for the ledger, which records the time of each request."""

    def __init__(self):
        super().__init__()
        self.times = []

    def __setitem__(self, endpoint, number):
        self.times.append(time.monotonic())
        super().__setitem__(endpoint, number)


class Line:
    """A TCP proxy for a PostgreSQL server, whose connections can be cut, stalled and restored."""

    def __init__(self, store):
        self._url = make_url(store)
        self._socket = f"{self._url.query['host']}/.s.PGSQL.{self._url.port or 5432}"
        self._ends = []
        self._is_cut = False
        self._flows = asyncio.Event()
        self._flows.set()
        self.refused = self.made = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.store = f"postgresql://{self._url.username}@127.0.0.1:{port}/{self._url.database}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()
        self._flows.set()
        await self._server.wait_closed()

    def cut(self):
        """Abort all connections, and refuse new ones."""
        self._is_cut = True
        for end in self._ends:
            end.transport.abort()

    def stall(self):
        """Stop passing data on, without any error."""
        self._flows.clear()

    def mend(self):
        """Accept new connections, and pass on stalled data."""
        self._is_cut = False
        self._flows.set()

    async def _connect(self, reader, writer):
        if self._is_cut:
            self.refused += 1
            writer.transport.abort()
            return
        self.made += 1
        beyond, to_beyond = await asyncio.open_unix_connection(self._socket)
        self._ends += (writer, to_beyond)
        await asyncio.gather(self._carry(reader, to_beyond), self._carry(beyond, writer))

    async def _carry(self, reader, writer):
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
