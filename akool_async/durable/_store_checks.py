"""Checks that a store is safe: one name for its file, file locks that work, and sessions that last."""

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

# Beside the number of the process is the start of its server: two servers may use the same numbers.
MARK_SESSION: Final = text(
    "SELECT set_config('akool.mark', :mark, false), pg_backend_pid(), pg_postmaster_start_time()"
)
READ_SESSION: Final = text("SELECT current_setting('akool.mark', true), pg_backend_pid(), pg_postmaster_start_time()")


def check_name(store_url: StoreUrl) -> None:
    """Check that an SQLite file has one name: SQLite names the file of the latest changes after it.

    Raises:
        ConfigurationError: It has several, and processes that use different ones would corrupt it.
    """
    if store_url.file is not None and store_url.file.is_file() and store_url.file.stat().st_nlink > 1:
        raise ConfigurationError(
            f"store {store_url} has several names (hard links), and using it under two of them would corrupt it: stop "
            "all workers, and delete all names but one"
        )


def check_locks(store_url: StoreUrl) -> None:
    """Check that a lock beside an SQLite file keeps others out, both of our kind and of SQLite's.

    Raises:
        ConfigurationError: Two can hold the same lock, as in some network file systems.
        OSError: There are no locks of SQLite's kind.
    """
    if store_url.file is None:
        return
    # Not in the store itself: to close it would release the locks that SQLite holds on it in this process.
    with store_url.lock_file.open("a+b") as one, store_url.lock_file.open("a+b") as other:
        for lock in (_lock, _lock_as_sqlite):
            if lock(one) and lock(other):
                raise ConfigurationError(
                    f"store {store_url}: file locks do not work in its folder: use one on a local disk, or PostgreSQL"
                )


def check_sessions(engine: Engine, store_url: StoreUrl) -> None:
    """Check that each connection to PostgreSQL has a session of its own, which outlives its transactions.

    A pooler in transaction mode gives each transaction any session that is free. Locks of a session, its settings and
    LISTEN then concern other clients.

    Raises:
        ConfigurationError: There is such a pooler.
    """
    if store_url.file is not None:
        return
    engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # so that each statement is a transaction
    with engine.connect() as one, engine.connect() as other:
        marked = [(each, each.execute(MARK_SESSION, {"mark": uuid4().hex}).one()) for each in (one, other)]
        # Each connection is used twice in a row, and both in turn: one of them changes its session then, whether the
        # pooler prefers the one that was used last or the one that has rested longest.
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
    """The SQLite file that a store was when it was opened. PostgreSQL has none, and nothing to check."""

    _store_url: StoreUrl
    _status: os.stat_result | None

    @classmethod
    def of(cls, store_url: StoreUrl) -> Self:
        """Remember the file of an open store."""
        return cls(store_url, None if store_url.file is None else store_url.file.stat())

    def check_still_there(self) -> None:
        """Check that the file is still in its place. A connection must be open, or a new file may get its number.

        Raises:
            StoreError: It was deleted or replaced.
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
    """Lock a file as we do, which is with flock on POSIX systems; False if it is locked."""
    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.AlreadyLocked:
        return False
    return True


def _lock_as_sqlite(file: IO[bytes]) -> bool:
    """Lock a file as SQLite does, which is with fcntl; False if it is locked, or if that cannot be tried here.

    SQLite's locks belong to a process, and exclude other processes only. Linux has the same locks for an open file, and
    file systems treat both alike. https://man7.org/linux/man-pages/man2/F_OFD_SETLK.2const.html
    """
    if sys.platform != "linux":
        return False  # pragma: no cover - other systems
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
    except OSError as error:
        if error.errno in HELD_ERRNOS or error.errno == errno.EINVAL:  # this kernel does not have them
            return False
        raise
    return True
