"""An unsafe store is refused before anything is recorded in it."""

import asyncio
import errno
import fcntl
import os
from string import ascii_lowercase, digits
from urllib.parse import quote

import portalocker
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import create_engine, text

from akool_async import ConfigurationError
from akool_async.durable import StoreError
from akool_async.durable._store_checks import OpenedFile, check_locks
from akool_async.durable._store_url import StoreUrl
from tests.support.pooler import Pooler
from tests.support.workers import Line, open_jobs

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
IDLE_TIMEOUT = "SHOW idle_in_transaction_session_timeout"


def options_for_sqlalchemy(address):
    """Return the options that SQLAlchemy passes to libpq, as strings."""
    engine = create_engine(address)
    options = engine.dialect.create_connect_args(engine.url)[1]
    del options["context"]  # psycopg's adapters
    return {name: str(value) for name, value in options.items()}


# --- sessions ---


@pytest.mark.parametrize(
    ("sessions", "takes"), [(1, asyncio.LifoQueue), (3, asyncio.LifoQueue), (2, asyncio.Queue), (3, asyncio.Queue)]
)
async def test_a_pooler_in_transaction_mode_is_refused(emulator, postgresql, sessions, takes):
    """It is refused before any table is created, however it assigns its sessions to transactions."""
    store = postgresql()
    async with Pooler(store, sessions=sessions, takes=takes) as pooler:
        with pytest.raises(ConfigurationError, match=r"transaction mode.*connect to PostgreSQL directly.*session mode"):
            await open_jobs(emulator, pooler.store).__aenter__()
    with psycopg.connect(store) as connection:
        assert connection.execute(TABLES).fetchone() == (0,)


async def test_a_store_that_exists_is_refused_behind_a_pooler_too(emulator, databases):
    """The store was created over a direct connection and is opened through a pooler."""
    async with Pooler(databases.new_store()) as pooler:
        with pytest.raises(ConfigurationError, match="transaction mode"):
            await open_jobs(emulator, pooler.store, create=False).__aenter__()


async def test_the_pooler_of_these_tests_works(postgresql):
    """Two clients read and write through it, and share a session."""
    async with Pooler(postgresql()) as pooler:
        one, other = [await psycopg.AsyncConnection.connect(pooler.store, autocommit=True) for _ in range(2)]
        async with one, other:
            async with one.transaction():
                await one.execute("CREATE TABLE things (number int)")
                await one.execute("INSERT INTO things VALUES (%s)", [7])
            cursor = await other.execute("SELECT number, pg_backend_pid() FROM things")
            number, process = await cursor.fetchone()
            cursor = await one.execute("SELECT pg_backend_pid()")
            assert (number, await cursor.fetchone()) == (7, (process,))


async def test_a_proxy_that_keeps_sessions_apart_is_accepted(emulator, postgresql):
    """The proxy has one server connection for each client, like a pooler in session mode."""
    async with Line(postgresql()) as line, open_jobs(emulator, line.store) as jobs:
        assert (await jobs.status()).open == 0


def test_the_connections_that_dbos_makes_of_the_address_have_our_settings(postgresql):
    """DBOS migrates its tables with a separate engine. Options of the user's URL are applied too."""
    store = StoreUrl.read(f"{postgresql()}&options=-c%20work_mem%3D5MB%20-c%20application_name%3Da%5C%20b")
    for engine in (create_engine(store.driver_address), store.engine()):
        with engine.connect() as connection:
            shown = [connection.scalar(text(f"SHOW {name}")) for name in ("work_mem", "application_name")]
            assert (connection.scalar(text(IDLE_TIMEOUT)), *shown) == ("10s", "5MB", "a b")
        engine.dispose()


# --- names and locks of a file ---


async def test_a_file_with_two_names_is_refused(emulator, tmp_path):
    """It is refused under both names, with create=False too. Once one name is deleted, the store opens."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db"):
        pass
    os.link(tmp_path / "a.db", tmp_path / "b.db")
    for name in "ab":
        for create in (True, False):
            with pytest.raises(ConfigurationError, match=r"has several names \(hard links\).*delete all names but one"):
                await open_jobs(emulator, f"sqlite:///{tmp_path}/{name}.db", create=create).__aenter__()
    (tmp_path / "b.db").unlink()
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        assert (await jobs.status()).open == 0


@pytest.mark.parametrize("broken", [(portalocker, "lock"), (fcntl, "fcntl")], ids=["ours", "SQLite's"])
async def test_locks_that_two_can_hold_are_refused(emulator, tmp_path, monkeypatch, broken):
    """Each kind of lock is checked separately, and the store's file is not created."""
    monkeypatch.setattr(*broken, lambda *_: None)
    with pytest.raises(ConfigurationError, match="file locks do not work in its folder: use one on a local disk"):
        await open_jobs(emulator, f"sqlite:///{tmp_path}/a.db").__aenter__()
    assert not (tmp_path / "a.db").exists()


async def test_a_file_system_without_the_locks_of_sqlite_is_refused(emulator, tmp_path, monkeypatch):
    """If the locks fail, the error has the reason. A kernel that cannot test them is accepted."""

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "fcntl", fail)
    number = errno.ENOLCK
    with pytest.raises(ConfigurationError, match=r"cannot be used \(.*No locks available"):
        await open_jobs(emulator, f"sqlite:///{tmp_path}/a.db").__aenter__()
    number = errno.EINVAL
    check_locks(StoreUrl.read(f"sqlite:///{tmp_path}/a.db"))


async def test_a_deleted_or_replaced_file_is_noticed(emulator, tmp_path):
    """Otherwise, a worker would go on in a file that nobody else can see."""
    file = tmp_path / "a.db"
    async with open_jobs(emulator, f"sqlite:///{file}"):
        opened = OpenedFile.of(StoreUrl.read(f"sqlite:///{file}"))
        opened.check_still_there()
        file.rename(tmp_path / "moved.db")
        with pytest.raises(StoreError, match="its file was deleted or replaced while it was in use"):
            opened.check_still_there()
        file.touch()
        with pytest.raises(StoreError, match="its file was deleted or replaced while it was in use"):
            opened.check_still_there()
        (tmp_path / "moved.db").rename(file)
        opened.check_still_there()


def test_postgresql_has_no_file_to_lose():
    """The check of the file accepts every PostgreSQL store."""
    OpenedFile.of(StoreUrl.read("postgresql://user@host/akool")).check_still_there()


# --- URLs ---


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("me@host/db?dbname=other", "the option 'dbname' is refused: name the database in the path"),
        ("host?dbname=db", "store must name a database"),
        ("host/db?service=other", "the option 'service' is refused: name the server"),
        ("me@host/db?user=you", "the user is given twice"),
        ("host/db?host=other", "the host is given twice"),
        ("host:1/db?port=2", "the port is given twice"),
        ("/db?host=a&host=b", "read the option 'host' differently"),
        ("/db?host=a:1", "read the option 'host' differently"),
        ("%2Ftmp/db", r"read the option 'host' differently.*host=/folder"),
        ("a,b:2/db", "read the option 'port' differently"),
        ("/db?host=a,b&port=1,x", "cannot read the URL"),
        ("host/db?sslmode=require&sslmode=disable", "read the option 'sslmode' differently"),
        ("host/db?application_name=a+b", r"read the option 'application_name' differently.*%20 for a space"),
        ("host/db?options=-c+work_mem%3D5MB", "read the option 'options' differently"),
        ("host/db?bogus=1", "has no option 'bogus'"),
        ("host/db?plugin=akool_settings", "has no option 'plugin'"),
        ("host/db?prepare_threshold=0", "has no option 'prepare_threshold'"),
        ("host/db?ssl=true", "has no option 'ssl'"),
        ("host/db?sslmode", "cannot read the URL"),
        ("me:se%FFcret@host/db", "cannot read the URL"),
    ],
)
def test_a_url_that_can_be_read_in_two_ways_is_refused(rest, reason):
    """The error names the option and never contains the password."""
    with pytest.raises(ConfigurationError, match=reason) as caught:
        StoreUrl.read(f"postgresql://{rest}")
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("/db?host=/tmp/a%20b&port=5433", {"host": "/tmp/a b", "port": "5433"}),
        ("host/db?sslmode=verify-full&sslrootcert=/a.crt", {"sslmode": "verify-full", "sslrootcert": "/a.crt"}),
        ("host/db?target_session_attrs=any", {"target_session_attrs": "any"}),
        ("host/db?hostaddr=10.0.0.1", {"host": "host", "hostaddr": "10.0.0.1"}),
        ("host/db?application_name=a%20b%2Bc", {"application_name": "a b+c"}),
        ("host/db?options=-c%20work_mem%3D5MB", {"options": "-c work_mem=5MB"}),
        ("a,b/db", {"host": "a,b"}),
        ("/db?host=a,b", {"host": "a,b"}),
        ("/db?host=a,b&port=1,2", {"host": "a,b", "port": "1,2"}),
        ("[::1]:5433/db", {"host": "::1", "port": "5433"}),
        ("me:p%40s%20s%2B@host/db", {"user": "me", "password": "p@s s+"}),
        ("me@host/db?password=p%40s", {"user": "me", "password": "p@s"}),
    ],
)
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_url_that_is_read_in_one_way_is_accepted(scheme, rest, expected):
    """Sockets, TLS, several hosts and spaces in names: libpq gets the same options from us and from SQLAlchemy."""
    store = StoreUrl.read(f"{scheme}://{rest}")
    for options in (conninfo_to_dict(store.address), options_for_sqlalchemy(store.driver_address)):
        assert expected.items() <= options.items()
        assert options["dbname"] == "db"


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
DATABASES = st.text(ascii_lowercase + digits + "_-", min_size=1)
"""Other characters would be percent-encoded. SQLAlchemy 2.0 does not decode them, so such a URL is refused."""
HOSTS = st.text(ascii_lowercase + digits + ".-", min_size=1) | st.ip_addresses(v=6).map(str)


@given(user=TEXTS, password=TEXTS, host=HOSTS, port=st.integers(1, 65535), database=DATABASES, name=TEXTS)
def test_both_libraries_read_the_same(user, password, host, port, database, name):
    """Every user, password, host, port, database and option reaches libpq unchanged in both ways."""
    expected = {"user": user, "password": password, "host": host, "port": str(port), "dbname": database}
    user, password, database, name_in_url = (quote(part, safe="") for part in (user, password, database, name))
    host = f"[{host}]" if ":" in host else host
    store = StoreUrl.read(f"postgresql://{user}:{password}@{host}:{port}/{database}?application_name={name_in_url}")
    by_us, by_sqlalchemy = conninfo_to_dict(store.address), options_for_sqlalchemy(store.driver_address)
    assert by_us == by_sqlalchemy
    assert {**expected, "application_name": name}.items() <= by_us.items()
