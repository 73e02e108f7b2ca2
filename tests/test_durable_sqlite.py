"""One SQLite store is used with old and new versions of SQLite, and by different Pythons."""

import sqlite3
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from typing import Final

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import OperationalError

from akool_async import ConfigurationError
from akool_async.durable import DurableFanOut
from akool_async.durable._store_url import StoreUrl
from tests.support.durable_faults import BY_3_11, BY_3_12, hand_over, read_submission_time
from tests.support.workers import open_jobs


def knows_no_subsec(connection, _):
    """Imitate SQLite 3.38 to 3.41."""
    connection.create_function("unixepoch", 1, lambda _: None)


def knows_no_unixepoch(connection, _):
    """Imitate SQLite before 3.38."""
    connection.create_function("unixepoch", 1, lambda _: [])  # SQLite cannot store a list, so the statement fails


def distrusts_tables(connection, _):
    """Imitate an SQLite build in which tables can use only built-in functions."""
    connection.execute("PRAGMA trusted_schema=OFF")


OLD: Final = [(knows_no_subsec,), (knows_no_unixepoch,), (knows_no_subsec, distrusts_tables)]


@contextmanager
def sqlite_that(*lacks):
    """Make each new SQLAlchemy connection in this block imitate such an SQLite, including those of DBOS."""
    with ExitStack() as stack:
        for lack in lacks:
            event.listen(Engine, "connect", lack)
            stack.callback(event.remove, Engine, "connect", lack)
        yield


@pytest.mark.parametrize(("lacks", "clock"), [(OLD[0], BY_3_11), *((lacks, BY_3_12) for lacks in OLD)])
async def test_a_store_works_with_an_older_sqlite_whichever_python_created_it(emulator, tmp_path, lacks, clock):
    """Jobs submitted with a newer SQLite are carried out with an older one and read with the newer one."""
    store = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([(emulator.add_image(), "U1")])
    hand_over(tmp_path / "a.db", clock)
    with sqlite_that(*lacks):
        async with open_jobs(emulator, store) as jobs:
            await jobs.submit([(emulator.add_image(), "V1")])
            await jobs.run()
    async with open_jobs(emulator, store) as jobs:
        assert [outcome.ok async for outcome in jobs.outcomes()] == [True, True]
    assert emulator.ledger.accepted == 2


async def test_an_older_sqlite_can_create_a_store(emulator, tmp_path):
    """If SQLite has no unixepoch(), tables are still created and a press is carried out."""
    with sqlite_that(knows_no_unixepoch):
        async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
            await jobs.submit([(emulator.add_image(), "U1")])
            await jobs.run()
            assert [outcome.ok async for outcome in jobs.outcomes()] == [True]


async def test_an_older_sqlite_has_the_clock_of_a_newer_one(emulator, tmp_path):
    """The time of a submission is correct, in whole milliseconds."""
    before = datetime.now(UTC).timestamp()
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db"):
        hand_over(tmp_path / "a.db", BY_3_12)
    with sqlite_that(knows_no_subsec):
        async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
            await jobs.submit([(emulator.add_image(), "U1")])
    kind, created = read_submission_time(tmp_path / "a.db")
    assert kind == "integer"
    assert before - 0.001 <= created / 1000 <= datetime.now(UTC).timestamp() + 0.001


def test_the_connections_that_dbos_makes_of_the_address_have_the_clock_too(tmp_path):
    """DBOS migrates its tables with a separate engine. Arguments that no table uses raise an error."""
    with sqlite_that(knows_no_unixepoch):
        engine = create_engine(StoreUrl.read(f"sqlite:///{tmp_path}/a.db").driver_address)
        with closing(engine.connect()) as connection:
            assert connection.scalar(text("SELECT unixepoch('subsec')")) > 0
            with pytest.raises(OperationalError):
                connection.scalar(text("SELECT unixepoch('2000-01-01')"))
        engine.dispose()


def test_an_sqlite_that_is_too_old_for_any_store_is_reported_with_the_remedy(tmp_path, monkeypatch):
    """SQLite before 3.35 has no RETURNING. The error is raised before a file is opened."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(
        ConfigurationError, match=r"SQLite 3\.35 or newer is needed, .*: use a newer Python, or PostgreSQL"
    ):
        DurableFanOut("sk-test-key", f"sqlite:///{tmp_path}/a.db")
    DurableFanOut("sk-test-key", "postgresql://user@host/akool")
