"""Heartbeats: every worker holds a lock that ends with its process, however that ends."""

from __future__ import annotations

import asyncio
import glob
import os
from typing import TYPE_CHECKING, Final, Protocol

import portalocker
import psycopg

from akool_async.durable._store_url import SERVER_SETTINGS

if TYPE_CHECKING:
    from io import TextIOWrapper
    from pathlib import Path

    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._worker_timing import WorkerTiming

SUFFIX: Final = ".alive"
"""Of lock files; earlier versions look for the same."""

# Two numbers, of the account and of the worker, make one lock. A server that a failover has left behind is read-only,
# and no other worker looks for locks there.
TAKE_LOCK: Final = """
    SELECT pg_try_advisory_lock(hashtext(%s), hashtext(%s)), current_setting('transaction_read_only') = 'on'
"""
LOCKS: Final = """
    FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database AND datname = current_database()
    WHERE locktype = 'advisory' AND granted AND classid::bigint = hashtext(%s)::bigint & 4294967295
"""
COUNT_LOCKS: Final = "SELECT count(*)" + LOCKS
LOCK_NUMBERS: Final = "SELECT objid::bigint" + LOCKS
WORKER_NUMBERS: Final = "SELECT worker, hashtext(worker)::bigint & 4294967295 FROM unnest(%s::text[]) AS worker"

_DESCRIPTORS: Final[set[int]] = set()
"""The files and connections that hold locks of this process."""


class Heartbeat(Protocol):
    """The heartbeat of one worker, which also finds workers of the account that no longer have one."""

    async def beat(self) -> None:
        """Take the lock, or check that this worker still holds it and take it again if not."""

    async def count_workers(self) -> int:
        """Count the workers of this account that have a heartbeat."""

    async def find_dead(self, workers: set[str]) -> set[str]:
        """Return those of ``workers`` that have surely ended."""

    async def stop(self) -> None:
        """Release the lock."""


def make_heartbeat(store_url: StoreUrl, account: str, worker: str, timing: WorkerTiming) -> Heartbeat:
    """A lock file beside an SQLite file, an advisory lock in PostgreSQL."""
    if store_url.file is not None:
        return FileHeartbeat(store_url.file, account, worker)
    return AdvisoryLockHeartbeat(store_url.address, account, worker, timing)


class FileHeartbeat:
    """A locked file for each worker: the kernel unlocks it when the process ends."""

    def __init__(self, store_file: Path, account: str, worker: str) -> None:
        self._folder = store_file.parent
        self._prefix = f"{store_file.name}.{account}."
        self._path = self._path_of(worker)
        self._file: TextIOWrapper | None = None

    async def beat(self) -> None:
        """Create and lock the file, again if somebody has removed it."""
        if self._file is not None and not self._is_in_place(self._file):
            self._close(self._file)
        if self._file is None:
            new = self._path.with_suffix(".new")
            file = new.open("w")
            try:
                _lock(file)
                new.replace(self._path)  # under this name, which others check, it was never unlocked
            except BaseException:
                file.close()
                raise
            self._file = file
            _DESCRIPTORS.add(file.fileno())

    async def count_workers(self) -> int:
        """Count locked files, and remove those that are not locked."""
        files = self._folder.glob(f"{glob.escape(self._prefix)}*{SUFFIX}")
        return sum(not _remove_if_unlocked(path) for path in files)

    async def find_dead(self, workers: set[str]) -> set[str]:
        """Return those whose file nobody has locked."""
        return {worker for worker in workers if _remove_if_unlocked(self._path_of(worker))}

    async def stop(self) -> None:
        """Unlock and remove the file."""
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._close(self._file)

    def _is_in_place(self, file: TextIOWrapper) -> bool:
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False

    def _close(self, file: TextIOWrapper) -> None:
        _DESCRIPTORS.discard(file.fileno())
        file.close()
        self._file = None

    def _path_of(self, worker: str) -> Path:
        return self._folder / f"{self._prefix}{worker}{SUFFIX}"


class AdvisoryLockHeartbeat:
    """An advisory lock on a connection of its own: PostgreSQL frees it when the connection ends.

    A connection can end while its worker lives, for example when PostgreSQL is restarted. So a worker counts as dead
    only if its lock is free at two checks; in between, a living worker takes its lock again.
    """

    def __init__(self, address: str, account: str, worker: str, timing: WorkerTiming) -> None:
        self._address = address
        self._account = account
        self._worker = worker
        self._timeout = timing.lock_timeout
        self._connection: psycopg.AsyncConnection[tuple[object, ...]] | None = None
        self._descriptor = -1
        self._missing: set[str] = set()

    async def beat(self) -> None:
        """Take the lock. A second try follows an error, since a lost connection may still have held the lock."""
        try:
            await self._take_lock()
        except psycopg.Error:
            await self._take_lock()

    async def count_workers(self) -> int:
        """Count the locks of this account."""
        ((count,),) = await self._query(COUNT_LOCKS, self._account)
        return int(str(count))

    async def find_dead(self, workers: set[str]) -> set[str]:
        """Return those whose lock is free now and was free at the check before."""
        held = {number for (number,) in await self._query(LOCK_NUMBERS, self._account)}
        numbers = await self._query(WORKER_NUMBERS, list(workers))
        missing = {str(worker) for worker, number in numbers if number not in held}
        dead = missing & self._missing
        self._missing = missing
        return dead

    async def stop(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _DESCRIPTORS.discard(self._descriptor)
            await connection.close()

    async def _take_lock(self) -> None:
        ((_, is_read_only),) = await self._query(TAKE_LOCK, self._account, self._worker)
        if is_read_only:
            await self.stop()
            raise psycopg.OperationalError("the server is read-only")

    async def _query(self, query: str, *values: object) -> list[tuple[object, ...]]:
        try:
            async with asyncio.timeout(self._timeout):
                if self._connection is None:
                    self._connection = await psycopg.AsyncConnection.connect(self._address, autocommit=True)
                    self._descriptor = self._connection.fileno()
                    _DESCRIPTORS.add(self._descriptor)
                    await self._connection.execute(SERVER_SETTINGS)
                cursor = await self._connection.execute(query.encode(), values)
                return await cursor.fetchall()
        except TimeoutError:
            await self.stop()
            raise psycopg.OperationalError("no answer in time") from None
        except psycopg.Error:
            await self.stop()
            raise


def _close_in_child() -> None:
    """Close the locks that a forked child has inherited, or it would keep them after its parent has died."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in _DESCRIPTORS:
        os.dup2(nothing, descriptor)  # pragma: no cover - in a worker that is killed before it is measured
    os.close(nothing)
    _DESCRIPTORS.clear()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows does not have it
    os.register_at_fork(after_in_child=_close_in_child)


def _remove_if_unlocked(path: Path) -> bool:
    """Remove a file that no process has locked; True if it is gone."""
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
