"""Check that a store is safe: its file has one name, file locks work, and database sessions are kept."""

from __future__ import annotations

import errno
import os
import struct
import sys
from typing import IO, TYPE_CHECKING, Final, Self
from uuid import uuid4

import portalocker
from attrs import frozen
from sqlalchemy import text

from akool_async import ConfigurationError
from akool_async.durable._store_url import HELD_ERRNOS, StoreError

if sys.platform == "linux":  # pragma: no branch - depends on this machine
    import fcntl

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from akool_async.durable._store_url import StoreUrl

# The start time of the server is compared too, since two servers may use the same process number.
MARK_SESSION: Final = text(
    "SELECT set_config('akool.mark', :mark, false), pg_backend_pid(), pg_postmaster_start_time()"
)
READ_SESSION: Final = text("SELECT current_setting('akool.mark', true), pg_backend_pid(), pg_postmaster_start_time()")


def check_name(store_url: StoreUrl) -> None:
    """Check that an SQLite file has only one name, since SQLite derives the name of its log of changes from it.

    Raises:
        ConfigurationError: It has several names. Processes that use different names would corrupt it.
    """
    if store_url.file is not None and store_url.file.is_file() and store_url.file.stat().st_nlink > 1:
        raise ConfigurationError(
            f"store {store_url} has several names (hard links), and using it under two of them would corrupt it: stop "
            "all workers, and delete all names but one"
        )


def check_locks(store_url: StoreUrl) -> None:
    """Check that locks of our kind and of SQLite's kind are exclusive in the folder of an SQLite file.

    Raises:
        ConfigurationError: Two holders can have the same lock, as in some network file systems.
        OSError: The file system does not support SQLite's kind of lock.
    """
    if store_url.file is None:
        return
    # Not on the store itself: closing it would release the locks that SQLite holds on it in this process.
    with store_url.lock_file.open("a+b") as one, store_url.lock_file.open("a+b") as other:
        for lock in (_lock, _lock_as_sqlite):
            if lock(one) and lock(other):
                raise ConfigurationError(
                    f"store {store_url}: file locks do not work in its folder: use one on a local disk, or PostgreSQL"
                )


def check_sessions(engine: Engine, store_url: StoreUrl) -> None:
    """Check that each connection to PostgreSQL keeps the same session between transactions.

    A pooler in transaction mode gives each transaction any free session. Session locks, settings and LISTEN would then
    affect other clients.

    Raises:
        ConfigurationError: The connection goes through such a pooler.
    """
    if store_url.file is not None:
        return
    engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # so that each statement is a transaction
    with engine.connect() as one, engine.connect() as other:
        marked = [(each, each.execute(MARK_SESSION, {"mark": uuid4().hex}).one()) for each in (one, other)]
        # Use each connection twice in a row, and both in turn. A pooler changes a session in this order, whether it
        # prefers the session that was used last or the one that has been idle longest.
        uses = [*marked, *reversed(marked), *marked]
        is_kept = all(each.execute(READ_SESSION).one() == session for each, session in uses)
        processes = {session[1:] for _, session in marked}
    if not is_kept or len(processes) == 1:
        raise ConfigurationError(
            f"store {store_url} is behind a connection pooler in transaction mode, such as PgBouncer, which shares the "
            "sessions that locks, settings and LISTEN need: connect to PostgreSQL directly, or use session mode"
        )


@frozen
class OpenedFile:
    """The identity of the SQLite file at the time when the store was opened. For PostgreSQL, nothing is checked."""

    _store_url: StoreUrl
    _status: os.stat_result | None

    @classmethod
    def of(cls, store_url: StoreUrl) -> Self:
        """Remember the file of an open store."""
        return cls(store_url, None if store_url.file is None else store_url.file.stat())

    def check_still_there(self) -> None:
        """Check that the file is still in its place. Requires an open connection: a new file could reuse its inode.

        Raises:
            StoreError: The file was deleted or replaced.
        """
        if self._store_url.file is None or self._status is None:
            return
        try:
            is_same = os.path.samestat(self._status, self._store_url.file.stat())
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise StoreError(f"store {self._store_url}: its file was deleted or replaced while it was in use")


def _lock(file: IO[bytes]) -> bool:
    """Lock a file as this library does: with flock, on POSIX systems. Return False if it is locked."""
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    return True


def _lock_as_sqlite(file: IO[bytes]) -> bool:
    """Lock a file as SQLite does: with fcntl. Return False if it is locked or if this system cannot test it.

    SQLite's locks belong to a process and exclude only other processes. Linux also has such locks for open files, and
    file systems treat both in the same way. https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html
    """
    if sys.platform != "linux":
        return False  # pragma: no cover - other systems
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except OSError as error:
        if error.errno in HELD_ERRNOS or error.errno == errno.EINVAL:  # EINVAL: this kernel does not have them
            return False
        raise
    return True
