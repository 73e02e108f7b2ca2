"""PostgreSQL fails over. Connections made in the meantime lead to a server that stays read-only forever."""

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import DBAPIError

from akool_async import Button
from akool_async.durable import StoreError, WorkerTiming
from akool_async.durable._store_url import StoreUrl
from tests.support.looks import look_until
from tests.support.workers import Line, open_jobs

PID = text("SELECT pg_backend_pid()")
UNSCALED = WorkerTiming()
"""The default timing: DBOS retries after a second, and has to experience the failover too."""


class Failover(Line):
    """A line to a PostgreSQL database that fails over."""

    def __init__(self, store):
        super().__init__(store)
        self._owner = psycopg.connect(store, autocommit=True)
        self._name = make_url(store).database

    async def __aexit__(self, *_):
        await super().__aexit__(*_)
        self._owner.close()

    def begin(self):
        """End all connections, and make all new ones read-only for as long as they exist."""
        self._owner.execute(f"ALTER DATABASE {self._name} SET default_transaction_read_only = on")
        self.cut()
        self.mend()

    def end(self):
        """Let new connections write."""
        self._owner.execute(f"ALTER DATABASE {self._name} RESET default_transaction_read_only")

    @asynccontextmanager
    async def under_way(self, connections):
        """Fail over in this block. It ends only after this number of further connections were made."""
        made = self.made
        self.begin()
        try:
            yield
            await look_until(lambda: self.made >= made + connections)
        finally:
            self.end()


@pytest.fixture(params=["", "?target_session_attrs=any"], ids=["as we connect", "as a user may connect"])
async def failover(request, postgresql):
    """A failover, with a URL that leaves ``target_session_attrs`` to us and with one that accepts any server."""
    async with Failover(postgresql()) as failover:
        failover.store += request.param
        yield failover


async def test_a_run_goes_on_after_a_failover(emulator, failover):
    """The worker gets new, writable connections and makes the remaining presses, each once."""
    async with open_jobs(emulator, failover.store, max_concurrent_upscales=1, worker_timing=UNSCALED) as jobs:
        await jobs.submit([(emulator.add_image(), button) for button in Button])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 1)
        async with failover.under_way(connections=20):
            pass
        await running
        assert (await jobs.status()).done == 8
    assert emulator.ledger.accepted == 8


async def test_a_caller_goes_on_after_a_failover(emulator, failover):
    """Calls during the failover succeed once a connection can write, and none raises an error."""
    press = (emulator.add_image(), "V1")
    async with open_jobs(emulator, failover.store) as jobs:
        await jobs.status()
        async with failover.under_way(connections=4):
            submitting = asyncio.create_task(jobs.submit([press]))
        assert await submitting == 1
        assert (await jobs.job(press)).outcome is None


async def test_a_store_can_be_opened_during_a_failover(emulator, failover):
    """A new store is created, and an existing one is opened, as soon as a connection can write."""
    for _ in range(2):
        jobs = open_jobs(emulator, failover.store)
        async with failover.under_way(connections=2):
            entering = asyncio.create_task(jobs.__aenter__())
        await entering
        assert (await jobs.status()).open == 0
        await jobs.__aexit__(None, None, None)


async def test_a_store_that_stays_read_only_is_reported(emulator, postgresql):
    """Within the timeout, a caller gets an error that says why the store cannot be written."""
    timing = WorkerTiming(database_timeout=3)
    async with Failover(postgresql()) as failover, open_jobs(emulator, failover.store, worker_timing=timing) as jobs:
        failover.begin()
        with pytest.raises(StoreError, match=r"cannot be used \(.*read-only"):
            await jobs.submit([(emulator.add_image(), "V1")])
        failover.end()
        assert await jobs.submit([(emulator.add_image(), "V1")]) == 1


def test_connections_to_a_server_that_became_read_only_are_discarded(postgresql):
    """If a connection that could write becomes read-only, all connections of the pool are discarded."""
    store = postgresql()
    engine = StoreUrl.read(store).engine()
    with engine.begin() as one, engine.begin() as another:
        before = {one.scalar(PID), another.scalar(PID)}
        for connection in (one, another):
            connection.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
    with pytest.raises(DBAPIError, match="read-only transaction"), engine.begin() as connection:
        connection.execute(text("CREATE TABLE anything (number int)"))
    with engine.begin() as one, engine.begin() as another:
        one.execute(text("CREATE TABLE anything (number int)"))
        after = {one.scalar(PID), another.scalar(PID)}
    assert not before & after
    engine.dispose()


def test_a_file_that_was_read_only_is_opened_again(tmp_path):
    """A connection that SQLite opened read-only stays read-only forever, so it is discarded."""
    engine = StoreUrl.read(f"sqlite:///{tmp_path}/a.db").engine()
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only = on")
    with pytest.raises(DBAPIError, match="readonly database"), engine.begin() as connection:
        connection.execute(text("CREATE TABLE anything (number int)"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE anything (number int)"))
    engine.dispose()


def test_a_silent_machine_does_not_keep_its_locks(postgresql):
    """PostgreSQL ends idle transactions, since other workers wait for their locks."""
    engine = StoreUrl.read(postgresql()).engine()
    with engine.connect() as connection:
        assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "10s"
    engine.dispose()
