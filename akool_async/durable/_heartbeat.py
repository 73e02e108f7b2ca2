"""Who lives: every worker holds a lock that ends with it, however it ends."""

from __future__ import annotations

import asyncio
import glob
import os
from typing import TYPE_CHECKING, Final, Protocol

import portalocker
import psycopg

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._worker_timing import WorkerTiming

# A server hears nothing of a machine that lost its power: it asks, or would hold the lock for hours.
LISTEN: Final = """
    SELECT set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false)
"""
# One lock of two numbers, for the account and the worker; and whether it is where the others look, as a server that was
# left behind by a failover is not.
TAKE: Final = """
    SELECT pg_try_advisory_lock(hashtext(%s), hashtext(%s)), current_setting('transaction_read_only') = 'on'
"""
LOCKS: Final = """
    FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database AND datname = current_database()
    WHERE locktype = 'advisory' AND granted AND classid::bigint = hashtext(%s)::bigint & 4294967295
"""
COUNT: Final = "SELECT count(*)" + LOCKS
LIVING: Final = "SELECT objid::bigint" + LOCKS
NUMBERS: Final = "SELECT worker, hashtext(worker)::bigint & 4294967295 FROM unnest(%s::text[]) AS worker"


_DESCRIPTORS: Final[set[int]] = set()
"""Of the files and connections that show who lives in this process."""


class Alive(Protocol):
    """This worker's sign of life, and a look at those of others."""

    async def show(self) -> None:
        """Show that this worker lives; again where the sign was lost."""

    async def count(self) -> int:
        """How many workers of this account live."""

    async def dead(self, workers: set[str]) -> set[str]:
        """Those of them that are surely gone."""

    async def end(self) -> None:
        """Stop showing it."""


def sign_of_life(state: StoreUrl, account: str, worker: str, timing: WorkerTiming) -> Alive:
    """A lock file beside SQLite, an advisory lock in PostgreSQL."""
    if state.file is not None:
        return AliveFile(state.file, account, worker)
    return AliveLock(state.address, account, worker, timing)


class AliveFile:
    """A locked file per worker: the kernel unlocks it when the process is gone."""

    def __init__(self, state_file: Path, account: str, worker: str) -> None:
        self._folder = state_file.parent
        self._prefix = f"{state_file.name}.{account}."
        self._path = self._path_of(worker)
        self._file: TextIOWrapper | None = None

    async def show(self) -> None:
        """Create and lock it; again where somebody has removed it."""
        if self._file is not None and not self._is_there(self._file):
            self._let_go(self._file)
        if self._file is None:
            new = self._path.with_suffix(".new")
            file = new.open("w")
            try:
                _lock(file)
                new.replace(self._path)  # under the name that others look at it was never free
            except BaseException:
                file.close()
                raise
            self._file = file
            _DESCRIPTORS.add(file.fileno())

    async def count(self) -> int:
        """Files that are locked; others are of the dead, and are removed."""
        return sum(not _is_free(path) for path in self._folder.glob(f"{glob.escape(self._prefix)}*.alive"))

    async def dead(self, workers: set[str]) -> set[str]:
        """Where nobody has the file locked."""
        return {worker for worker in workers if _is_free(self._path_of(worker))}

    async def end(self) -> None:
        """Unlock and remove it."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._let_go(self._file)

    def _is_there(self, file: TextIOWrapper) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _let_go(self, file: TextIOWrapper) -> None:
        _DESCRIPTORS.discard(file.fileno())
        file.close()
        self._file = None

    def _path_of(self, worker: str) -> Path:
        return self._folder / f"{self._prefix}{worker}.alive"


class AliveLock:
    """An advisory lock on a connection of its own: PostgreSQL frees it when the connection is gone.

    A connection can also go while the worker lives, as when PostgreSQL is restarted: so a worker is dead only when its
    lock is free at two looks, with time between them for the living to take theirs again.
    """

    def __init__(self, address: str, account: str, worker: str, timing: WorkerTiming) -> None:
        self._address = address
        self._account = account
        self._worker = worker
        self._timeout = timing.lock_timeout
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._descriptor = -1
        self._missing: set[str] = set()

    async def show(self) -> None:
        """Take the lock, or take it once more: a connection of before, lost, may have had it until now."""
        try:
            await self._take()
        except psycopg.Error:
            await self._take()

    async def count(self) -> int:
        """Locks that are held."""
        ((count,),) = await self._ask(COUNT, self._account)
        return int(str(count))

    async def dead(self, workers: set[str]) -> set[str]:
        """Those whose lock is free now and was at the look before."""
        living = {number for (number,) in await self._ask(LIVING, self._account)}
        missing = {str(worker) for worker, number in await self._ask(NUMBERS, list(workers)) if number not in living}
        dead = missing & self._missing
        self._missing = missing
        return dead

    async def end(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _DESCRIPTORS.discard(self._descriptor)
            await connection.close()

    async def _take(self) -> None:
        ((_, is_read_only),) = await self._ask(TAKE, self._account, self._worker)
        if is_read_only:
            await self.end()
            raise psycopg.OperationalError("the server can only be read")

    async def _ask(self, query: str, *values: object) -> list[tuple[object, ...]]:
        try:
            async with asyncio.timeout(self._timeout):
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(self._address, autocommit=True)
                    self._descriptor = self._connection.fileno()
                    _DESCRIPTORS.add(self._descriptor)
                    await self._connection.execute(LISTEN)
                cursor = await self._connection.execute(query.encode(), values)
                return await cursor.fetchall()
        except TimeoutError:
            await self.end()
            raise psycopg.OperationalError("no answer in time") from None
        except psycopg.Error:
            await self.end()
            raise


def _let_go() -> None:
    """In a child that was forked: it has what its parent has, and would show the parent alive when that is gone."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in _DESCRIPTORS:
        os.dup2(nothing, descriptor)  # pragma: no cover - in a worker that is killed before it is measured
    os.close(nothing)
    _DESCRIPTORS.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows has none
    os.register_at_fork(after_in_child=_let_go)


def _is_free(path: Path) -> bool:
    """True where no process has it locked; it is removed then."""
    try:
        with path.open("r+") as file:
            _lock(file)
            path.unlink(missing_ok=True)
    except FileNotFoundError:
        return True
    except portalocker.LockException:
        return False
    return True


def _lock(file: TextIOWrapper) -> None:
    portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
