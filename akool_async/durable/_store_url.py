"""The URL of a store: an SQLite file or a PostgreSQL database."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote, urlencode

import portalocker
import psycopg
from attrs import frozen
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, create_engine, event, make_url
from sqlalchemy.dialects import plugins
from sqlalchemy.engine import CreateEnginePlugin
from sqlalchemy.exc import ArgumentError

from akool_async import AkoolError, ConfigurationError
from akool_async.durable._sqlite import CLOCK_PLUGIN, check_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine import ExceptionContext

EXAMPLES: Final = "such as 'sqlite:///akool.db' or 'postgresql://user:password@host/database'"
POSTGRESQL_SCHEMES: Final = {"postgresql", "postgres", "postgresql+psycopg"}
"""The spellings of libpq, of many hosting services and of SQLAlchemy."""
URL_PARTS: Final = {"user": "username", "host": "host", "port": "port"}
"""Options that repeat a part of the URL, with SQLAlchemy's name of that part. Giving both is refused."""
REFUSED_OPTIONS: Final = {
    "dbname": "name the database in the path of the URL",  # DBOS reads it there
    "service": "name the server and the database in the URL",  # the file of services differs between machines
}
SECRET_PARAMETERS: Final = ("password", "sslpassword")
"""Parameters in the query of a URL that are secret."""
OPENING_INTERVAL: Final = 0.05
"""Seconds between two tries to lock an SQLite file in order to create its tables."""
HELD_ERRNOS: Final = {errno.EAGAIN, errno.EACCES}
"""Error numbers with which the operating system reports that another process holds a lock."""
WRITE_LOCK_TIMEOUT: Final = 5.0
"""Seconds that a statement waits while another connection writes to an SQLite file."""
CONNECTION_PARAMETERS: Final = {
    "connect_timeout": "10",
    "tcp_user_timeout": "20000",
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "target_session_attrs": "read-write",
}
"""Parameters for libpq; those in the URL override them. Connecting may take 10 seconds, and a dead connection is
detected after about 20 seconds. A read-only server counts as unavailable: it may stay read-only after a failover.
https://www.postgresql.org/docs/current/libpq-connect.html"""
SERVER_SETTINGS: Final = """
    SELECT set_config('idle_in_transaction_session_timeout', '10s', false),
        set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '5', false),
        set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '20s', false)
"""
"""Settings with which PostgreSQL frees the locks of a host that vanished within 20 seconds. The timeout ends idle
transactions, and keepalives end running statements. By default, keepalives begin only after two hours.
https://www.postgresql.org/docs/current/runtime-config-connection.html"""
SETTINGS_PLUGIN: Final = "akool_settings"
"""The name of a plugin in a database URL. SQLAlchemy uses it in every engine of that URL, including DBOS's."""
READ_ONLY_SQLSTATE: Final = "25006"
"""PostgreSQL's code for a write in a read-only transaction.
https://www.postgresql.org/docs/current/errcodes-appendix.html"""
PRIMARY_CODE_MASK: Final = 0xFF
"""The bits of SQLite's error codes that name the primary error. https://www.sqlite.org/rescode.html"""
READ_ONLY_OPTION: Final = "akool_reads"
"""The execution option of connections that only read."""


class StoreError(AkoolError):
    """The store could not be read or written in time. Everything recorded before is safe.

    If the database did not answer, the change may still take effect. It is safe to repeat the call.
    """


@frozen
class StoreUrl:
    """The checked URL of a store."""

    url: URL
    file: Path | None
    """The SQLite file; None for PostgreSQL."""

    def __str__(self) -> str:
        return _without_secrets(self.url)

    @property
    def address(self) -> str:
        """The URL of a PostgreSQL database for libpq, including the password.

        It has only query options, the same that SQLAlchemy passes to libpq: SQLAlchemy writes spaces and plus signs in
        URLs in a way that libpq reads differently.
        """
        return f"postgresql://?{urlencode(_connection_options(self._url_with_timeouts), safe='', quote_via=quote)}"

    @property
    def driver_address(self) -> str:
        """The URL for SQLAlchemy, including the password."""
        return self._driver_url.render_as_string(hide_password=False)

    @classmethod
    def read(cls, url: str) -> Self:
        """Check a URL.

        Raises:
            ConfigurationError: It is neither an SQLite file nor a PostgreSQL database, or libpq and SQLAlchemy read it
                differently.
        """
        try:
            parts = make_url(url)
        except (ArgumentError, TypeError, AttributeError, ValueError):
            raise ConfigurationError(f"store must be a URL {EXAMPLES}") from None
        if "@" in (parts.host or ""):
            raise ConfigurationError("store must be a URL with %40 for each @ in the user or the password")
        if parts.drivername in POSTGRESQL_SCHEMES:
            parts = parts.set(drivername="postgresql")
            _check_options(url, parts)
            return cls(parts, None)
        shown = repr(_without_secrets(parts))
        if parts.drivername != "sqlite":
            raise ConfigurationError(f"store must be a URL {EXAMPLES}, not {shown}")
        if not parts.database or parts.database.startswith((":memory:", "file:")) or parts.query:
            raise ConfigurationError(f"store must name a file that outlives the process, {EXAMPLES}, not {shown}")
        check_sqlite()
        file = Path(parts.database).resolve()  # SQLite follows links too
        if not file.parent.is_dir():
            raise ConfigurationError(f"store: the folder {file.parent} does not exist")
        return cls(parts.set(database=str(file)), file)

    def engine(self) -> Engine:
        """Create a pool of connections."""
        if self.file is None:
            engine = create_engine(self._driver_url, pool_pre_ping=True)
        else:
            engine = create_engine(self._driver_url, connect_args={"timeout": WRITE_LOCK_TIMEOUT})
            event.listen(engine, "connect", _set_up_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        event.listen(engine, "handle_error", _discard_if_read_only)
        return engine

    @property
    def lock_file(self) -> Path:
        """The file beside an SQLite file that is locked while its tables are created."""
        return Path(f"{self.file}.lock")

    @contextmanager
    def opening_lock(self, timeout: float) -> Iterator[None]:
        """Keep other processes from creating the tables of an SQLite file concurrently: both could fail.

        PostgreSQL has its own locks for this.

        Args:
            timeout: Seconds to wait for another process.

        Raises:
            StoreError: Another process takes longer than that, or the file system has no file locks.
        """
        if self.file is None:
            yield
            return
        lock = portalocker.Lock(self.lock_file, timeout=timeout, check_interval=OPENING_INTERVAL)
        try:
            lock.acquire()
        except portalocker.LockException as error:
            reason = error.args[0] if error.args else None
            if isinstance(reason, OSError) and reason.errno not in HELD_ERRNOS:
                raise StoreError(
                    f"store {self}: file locks do not work in its folder ({reason.strerror}): use a local disk"
                ) from None
            raise StoreError(f"store {self}: another process has been creating its tables for too long") from None
        try:
            yield
        finally:
            lock.release()

    @property
    def _driver_url(self) -> URL:
        if self.file is not None:
            return self.url.update_query_dict({"plugin": CLOCK_PLUGIN})
        url = self._url_with_timeouts.set(drivername="postgresql+psycopg")
        return url.update_query_dict({"plugin": SETTINGS_PLUGIN})

    @property
    def _url_with_timeouts(self) -> URL:
        return self.url.update_query_dict({**CONNECTION_PARAMETERS, **self.url.query})


def _without_secrets(url: URL) -> str:
    return url.difference_update_query(SECRET_PARAMETERS).render_as_string(hide_password=True)


def _check_options(url: str, parts: URL) -> None:
    """Raise ``ConfigurationError`` if libpq reads a PostgreSQL URL differently from SQLAlchemy."""
    if not parts.database:  # DBOS would create a database with the name "None"
        raise ConfigurationError(f"store must name a database, {EXAMPLES}")
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    for name in parts.query:
        if name not in known:
            raise ConfigurationError(f"store: PostgreSQL's libpq has no option {name!r}: remove it from the URL")
        if name in REFUSED_OPTIONS:
            raise ConfigurationError(f"store: the option {name!r} is refused: {REFUSED_OPTIONS[name]}")
        if name in URL_PARTS and getattr(parts, URL_PARTS[name]):
            raise ConfigurationError(
                f"store: the {name} is given twice, in the URL and as the option {name!r}: give it once"
            )
    try:
        by_libpq = _without_defaults(conninfo_to_dict(f"postgresql:{url.partition(':')[2]}"))
        by_sqlalchemy = _connection_options(make_url(parts.render_as_string(hide_password=False)))
    except (psycopg.Error, ArgumentError, ValueError):  # the messages of these errors may hold the password
        raise ConfigurationError(
            "store: PostgreSQL's libpq or SQLAlchemy cannot read the URL: check its options and the percent-encoding"
        ) from None
    for name in sorted(by_libpq.keys() | by_sqlalchemy.keys()):
        if by_libpq.get(name) != by_sqlalchemy.get(name):
            raise ConfigurationError(
                f"store: libpq and SQLAlchemy read the option {name!r} differently: give it once, with %20 for a space "
                "and %2B for a plus, a socket's folder as ?host=/folder, and several hosts as ?host=a,b&port=1,2"
            )


def _connection_options(url: URL) -> dict[str, str]:
    """Return the options that SQLAlchemy passes to libpq."""
    dialect = url.set(drivername="postgresql+psycopg").get_dialect()()
    return _without_defaults(dialect.create_connect_args(url)[1])


def _without_defaults(options: Mapping[str, object]) -> dict[str, str]:
    """Remove options whose value is the same for libpq as no option."""
    texts = {name: str(value) for name, value in options.items()}
    if not texts.get("port", "").strip(","):  # commas only: the default port for each of several hosts
        texts.pop("port", None)
    return {name: value for name, value in texts.items() if value}


class SettingsPlugin(CreateEnginePlugin):
    """Applies ``SERVER_SETTINGS`` to each connection.

    libpq's ``options`` cannot do this: PgBouncer and others refuse connections that start with such settings.
    https://www.pgbouncer.org/config.html#ignore_startup_parameters
    """

    def update_url(self, url: URL) -> URL:
        """Return the URL unchanged: the plugin has no options in it."""
        return url

    def engine_created(self, engine: Engine) -> None:
        """Apply the settings to every new connection."""
        event.listen(engine, "connect", _set_up_postgresql)


plugins.register(SETTINGS_PLUGIN, SettingsPlugin.__module__, SettingsPlugin.__qualname__)


def _set_up_postgresql(connection: Any, _: object) -> None:  # noqa: ANN401 - DB-API's, which has no type
    connection.execute(SERVER_SETTINGS)
    connection.commit()


def _discard_if_read_only(context: ExceptionContext) -> None:
    """Discard the pool's connections if one of them is read-only.

    It may stay read-only forever: its server was replaced in a failover, or its file was opened while it was read-only.
    """
    error = context.original_exception
    is_read_only_file = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE_MASK == sqlite3.SQLITE_READONLY
    if is_read_only_file or getattr(error, "sqlstate", None) == READ_ONLY_SQLSTATE:
        context.is_disconnect = True


def _set_up_sqlite(connection: Any, _: object) -> None:  # noqa: ANN401 - DB-API's, which has no type
    # Python's driver begins a transaction only at the first write, so values read before it may be outdated. DBOS
    # counts running workflows before it takes one: two that count concurrently would exceed the limit.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")  # synchronous=FULL, the default, puts every commit on disk
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    only_reads = connection.get_execution_options().get(READ_ONLY_OPTION)
    connection.exec_driver_sql("BEGIN" if only_reads else "BEGIN IMMEDIATE")
