"""A connection pooler in transaction mode, like PgBouncer, in front of a PostgreSQL server."""

import asyncio
import struct
from contextlib import suppress
from itertools import count

from sqlalchemy import make_url

PROTOCOL = 3 << 16
ENCRYPTION_REQUESTS = (80877103, 80877104)  # the request codes of TLS and GSSAPI
AUTHENTICATED = b"R" + struct.pack("!ii", 8, 0)
READY = b"Z" + struct.pack("!i", 5) + b"I"
ROLLBACK = b"Q" + struct.pack("!i", 13) + b"ROLLBACK\0"
IDLE = b"I"


class Pooler:
    """Runs the transactions of all its clients on a few connections to the server.

    Args:
        store: The URL of the database.
        sessions: The number of connections to the server.
        takes: ``asyncio.LifoQueue`` to give a transaction the connection that was used last, as PgBouncer does by
            default, or ``asyncio.Queue`` for the one that has been idle longest, like its ``server_round_robin``.
    """

    def __init__(self, store, *, sessions=1, takes=asyncio.LifoQueue):
        self._url = make_url(store)
        self._socket = f"{self._url.query['host']}/.s.PGSQL.{self._url.port or 5432}"
        self._sessions = sessions
        self._free = takes()
        self._tasks = set()
        self._writers = []
        self._numbers = count(1)

    async def __aenter__(self):
        for _ in range(self._sessions):
            await self._connect()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.store = f"postgresql://{self._url.username}@127.0.0.1:{port}/{self._url.database}"
        return self

    async def __aexit__(self, *_):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _connect(self):
        """Log in to the server without a password, and keep the parameters that it reports for the clients."""
        reader, writer = await asyncio.open_unix_connection(self._socket)
        self._writers.append(writer)
        names = f"user\0{self._url.username}\0database\0{self._url.database}\0\0".encode()
        writer.write(struct.pack("!ii", 8 + len(names), PROTOCOL) + names)
        self._parameters = b""
        while (message := await _read(reader))[:1] != b"Z":
            if message[:1] == b"S":
                self._parameters += message
        self._free.put_nowait((reader, writer))

    async def _serve(self, reader, writer):
        self._tasks.add(asyncio.current_task())
        self._writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._greet(reader, writer)
            while await self._carry_transaction(reader, writer):
                pass
        writer.close()

    async def _greet(self, reader, writer):
        """Accept any client, with a process number that the pooler assigns."""
        kind = None
        while kind != PROTOCOL:
            length, kind = struct.unpack("!ii", await reader.readexactly(8))
            await reader.readexactly(length - 8)
            if kind in ENCRYPTION_REQUESTS:
                writer.write(b"N")
        key = b"K" + struct.pack("!iii", 12, next(self._numbers), 0)
        writer.write(AUTHENTICATED + self._parameters + key + READY)

    async def _carry_transaction(self, reader, writer):
        """Give a client a connection until the server is idle again. Return False if the client has disconnected."""
        message = await _read(reader)
        if message[:1] == b"X":
            return False
        session, to_session = server = await self._free.get()
        state = None
        try:
            while state != IDLE:
                to_session.write(message)
                if message[:1] in b"QS":  # after these the server reports its state
                    state = await _carry_answer(session, writer)
                if state != IDLE:
                    message = await _read(reader)
                    if message[:1] == b"X":
                        raise ConnectionAbortedError
        except (ConnectionError, asyncio.IncompleteReadError):
            to_session.write(ROLLBACK)
            await _carry_answer(session, None)
            raise
        finally:
            self._free.put_nowait(server)
        return True


async def _carry_answer(session, writer):
    """Pass on all messages until the server is ready, and return its state."""
    while True:
        message = await _read(session)
        if writer is not None:
            writer.write(message)
        if message[:1] == b"Z":
            return message[-1:]


async def _read(reader):
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
