"""Real workers, in processes of their own."""

import asyncio
import sys
from contextlib import asynccontextmanager, suppress

from sqlalchemy import make_url

from akool_async import ExponentialPolling
from akool_async.durable import DurableFanOut
from tests import commands

FAST = ExponentialPolling(initial=0.01, max_interval=0.05)
LOOKS, PAUSE = 1_200, 0.05


def open_jobs(emulator, state, **options):
    """A durable fan-out on an emulator."""
    return DurableFanOut(
        emulator.api_key, state, base_url=emulator.base_url, **{"polling": FAST, "lost_reply_patience": 0.1, **options}
    )


@asynccontextmanager
async def worker(emulator, state, folder, *options):
    """A worker that is killed at the end, where it still works."""
    process = await commands.start(
        "worker",
        "--state",
        state,
        "--quiet",
        "--lost-reply-patience=5",
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


async def until(is_so):
    """Look until something is so that another process brings about."""
    for _ in range(LOOKS):
        answer = is_so()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return
        await asyncio.sleep(PAUSE)
    raise AssertionError("it never came about")


class Line:
    """A TCP line to a PostgreSQL server, which can be cut and mended."""

    def __init__(self, state):
        self._url = make_url(state)
        self._socket = f"{self._url.query['host']}/.s.PGSQL.{self._url.port or 5432}"
        self._ends = []
        self._is_cut = False

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.state = f"postgresql://{self._url.username}@127.0.0.1:{port}/{self._url.database}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        self.cut()
        await self._server.wait_closed()

    def cut(self):
        """Nothing passes any more."""
        self._is_cut = True
        for end in self._ends:
            end.transport.abort()

    def mend(self):
        """What connects from now on gets through."""
        self._is_cut = False

    async def _connect(self, reader, writer):
        if self._is_cut:
            writer.transport.abort()
            return
        beyond, to_beyond = await asyncio.open_unix_connection(self._socket)
        self._ends += (writer, to_beyond)
        await asyncio.gather(_carry(reader, to_beyond), _carry(beyond, writer))


async def _carry(reader, writer):
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
