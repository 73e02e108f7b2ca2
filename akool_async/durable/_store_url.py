"""Where jobs are kept: one SQLite file, or a PostgreSQL database."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import portalocker
from attrs import frozen
from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from akool_async import AkoolError, ConfigurationError
from akool_async.durable._sqlite import CLOCK, check_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

EXAMPLES: Final = "such as 'sqlite:///akool.db' or 'postgresql://user:password@host/database'"
POSTGRESQL: Final = {"postgresql", "postgres", "postgresql+psycopg"}
"""As it is written by its own library, by many hosts and by SQLAlchemy."""
SECRETS: Final = ("password", "sslpassword")
"""That the query of a URL may hold."""
OPENING_INTERVAL: Final = 0.05
"""Seconds between two tries to be the one that makes the tables of an SQLite file."""
HELD: Final = {errno.EAGAIN, errno.EACCES}
"""What a lock says that another process has."""
LOCK_PATIENCE: Final = 5.0
"""Seconds to wait, each time, for another writer of an SQLite file."""
CONNECTION: Final = {
    "connect_timeout": "10",
    "tcp_user_timeout": "20000",
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "target_session_attrs": "read-write",
}
"""How long a connection is waited for, and how soon one is known to be dead that nobody has closed: some 20 seconds.
A server that cannot be written to counts as away: during a failover it may stay read-only for ever.
What the URL itself says counts before it. https://www.postgresql.org/docs/current/libpq-connect.html"""
LOCKED_FOR: Final = "10s"
"""How long PostgreSQL waits in the middle of a transaction for a machine that says no more, as one that lost its power:
others wait for what the transaction has locked."""
READ_ONLY: Final = "25006"
"""PostgreSQL's SQLSTATE. https://www.postgresql.org/docs/current/errcodes-appendix.html"""
PRIMARY_CODE: Final = 0xFF
"""The part of SQLite's error codes that tells the kind. https://www.sqlite.org/rescode.html"""
READS: Final = "akool_reads"
"""Execution option of connections that only read."""


class StoreError(AkoolError):
    """The state could not be read or written in time. What was recorded before stands.

    Where it did not answer, what was asked for may still happen, and can be asked for again.
    """


@frozen
class StoreUrl:
    """A state's address."""

    url: URL
    file: Path | None
    """The SQLite file; None for PostgreSQL."""

    def __str__(self) -> str:
        return _show(self.url)

    @property
    def address(self) -> str:
        """The whole address, password and all, as PostgreSQL's own library takes it."""
        return self._patient_url.render_as_string(hide_password=False)

    @property
    def driver_address(self) -> str:
        """The same, as SQLAlchemy takes it."""
        return self._driver_url.render_as_string(hide_password=False)

    @classmethod
    def read(cls, url: str) -> Self:
        """Check an address.

        Raises:
            ConfigurationError: it is none of the two kinds.
        """
        try:
            parts = make_url(url)
        except (ArgumentError, TypeError, AttributeError, ValueError):
            raise ConfigurationError(f"state must be a URL {EXAMPLES}") from None
        if "@" in (parts.host or ""):
            raise ConfigurationError("state must be a URL with %40 for each @ in the user or the password")
        if parts.drivername in POSTGRESQL:
            return cls(parts.set(drivername="postgresql"), None)
        told = repr(_show(parts))
        if parts.drivername != "sqlite":
            raise ConfigurationError(f"state must be a URL {EXAMPLES}, not {told}")
        if not parts.database or parts.database.startswith((":memory:", "file:")) or parts.query:
            raise ConfigurationError(f"state must name a file that outlives the process, {EXAMPLES}, not {told}")
        check_sqlite()
        file = Path(parts.database).resolve()  # as SQLite itself follows links
        if not file.parent.is_dir():
            raise ConfigurationError(f"state: the folder {file.parent} does not exist")
        return cls(parts.set(database=str(file)), file)

    def engine(self) -> Engine:
        """A pool of connections."""
        if self.file is None:
            engine = create_engine(self._driver_url, pool_pre_ping=True)
            event.listen(engine, "connect", _set_up_postgresql)
            event.listen(engine, "handle_error", _leave_what_is_read_only)
            return engine
        engine = create_engine(self._driver_url, connect_args={"timeout": LOCK_PATIENCE})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "handle_error", _leave_what_is_read_only)
        return engine

    @contextmanager
    def opening(self, timeout: float) -> Iterator[None]:
        """One at a time: two that make the tables of one SQLite file at once may both fail; PostgreSQL has locks.

        Raises:
            StoreError: another process has kept this one waiting for ``timeout`` seconds, or there are no locks.
        """
        if self.file is None:
            yield
        else:
            lock = portalocker.Lock(f"{self.file}.lock", timeout=timeout, check_interval=OPENING_INTERVAL)
            try:
                lock.acquire()
            except portalocker.LockException as error:
                reason = error.args[0] if error.args else None
                if isinstance(reason, OSError) and reason.errno not in HELD:
                    raise StoreError(f"state {self}: its folder has no file locks ({reason.strerror})") from None
                raise StoreError(f"state {self}: another process has been making it for too long") from None
            try:
                yield
            finally:
                lock.release()

    @property
    def _driver_url(self) -> URL:
        if self.file is not None:
            return self.url.update_query_dict({"plugin": CLOCK})
        return self._patient_url.set(drivername="postgresql+psycopg")

    @property
    def _patient_url(self) -> URL:
        return self.url.update_query_dict({**CONNECTION, **self.url.query})


def _show(url: URL) -> str:
    """Without its secrets."""
    return url.difference_update_query(SECRETS).render_as_string(hide_password=True)


def _set_up_postgresql(connection: Any, _: object) -> None:  # noqa: ANN401 - DB-API's, which has no type
    connection.execute(f"SET idle_in_transaction_session_timeout = '{LOCKED_FOR}'")
    connection.commit()


def _leave_what_is_read_only(context: ExceptionContext) -> None:
    """Give up the connections of one that turns out to be read-only, for it may be so for ever: a server that was left
    behind by a failover, or a file that was opened while it could only be read.
    """
    error = context.original_exception
    is_read_only_file = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE == sqlite3.SQLITE_READONLY
    if is_read_only_file or getattr(error, "sqlstate", None) == READ_ONLY:
        context.is_disconnect = True


def _set_up_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - DB-API's, which has no type
    # Python's driver begins a transaction at the first write, so that what was read before it may be old: DBOS counts
    # what runs, and then takes a job, and two that counted at once would pass the cap.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")  # with synchronous=FULL, the default: every commit is on disk
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get(READS)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
