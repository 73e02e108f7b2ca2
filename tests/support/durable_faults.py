"""Functions that change a durable store as a killed worker, a lost answer or another version would, or that read it.

The library itself has no way to cause these states on demand.
"""

import json
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import create_engine, make_url, text

HOUR: Final = 3_600_000_000
"""In microseconds, the unit of a store."""
BY_3_11, BY_3_12 = "(strftime('%s','now') * 1000)", "(unixepoch('subsec') * 1000)"
"""The clocks of DBOS's tables, as created by Python 3.11, and by 3.12 or newer."""


@contextmanager
def _opened(store):
    url = make_url(store)
    is_sqlite = url.drivername == "sqlite"
    engine = create_engine(url if is_sqlite else url.set(drivername="postgresql+psycopg"))
    workflows = "workflow_status" if is_sqlite else "dbos.workflow_status"
    try:
        with engine.begin() as connection:
            yield lambda statement, **values: connection.execute(text(statement.format(workflows=workflows)), values)
    finally:
        engine.dispose()


def _change(store, statement, **values):
    with _opened(store) as execute:
        return execute(statement, **values).rowcount


def _read(store, query, **values):
    with _opened(store) as execute:
        return execute(query, **values).scalar()


def _names(press):
    return {"image": press.image_id, "button": press.button.value}


# --- workers that died, or were cut off ---


def mark_all_in_doubt(store):
    """Mark all jobs as if their workers had been killed with POSTs under way."""
    assert _change(store, "UPDATE akool_jobs SET in_doubt = true")


def lose_an_earlier_press(store):
    """Change the only job as if its worker had been killed during its POST, and others had searched for an hour."""
    assert _change(store, "UPDATE akool_jobs SET search_time = :hour, in_doubt = true", hour=HOUR) == 1


def search_for_an_hour(store):
    """Add an hour to the time for which workers have searched for ids."""
    assert _change(store, "UPDATE akool_jobs SET search_time = coalesce(search_time, 0) + :hour", hour=HOUR)


def record_late(store, operation_id):
    """Record an id like a worker that was cut off while AKOOL accepted, and that now ends without following it."""
    assert _change(store, "UPDATE akool_jobs SET operation_id = :id", id=operation_id) == 1


def garble_the_id(store):
    """Record an id that the session refuses, which causes an error that no worker expects."""
    assert _change(store, "UPDATE akool_jobs SET operation_id = ''") == 1


def take_over_from_the_living(store):
    """End all leases and free their jobs, as other workers do if heartbeats are only late."""
    assert _change(store, "DELETE FROM akool_leases")
    assert _change(store, "UPDATE akool_jobs SET lease = NULL WHERE ended_at IS NULL")


# --- the queue ---


def drop_workflow(store, press):
    """Delete the workflow of this job's batch, as if DBOS had abandoned it."""
    with _opened(store) as execute:
        batch = "SELECT batch FROM akool_jobs WHERE image_id = :image AND button = :button"
        assert execute(f"DELETE FROM {{workflows}} WHERE workflow_uuid = ({batch})", **_names(press)).rowcount == 1


def lose_a_dequeue(store, press):
    """Give this job's batch to the only worker, as if the database's answer to the worker had been lost."""
    batch = "SELECT batch FROM akool_jobs WHERE image_id = :image AND button = :button"
    executor = "SELECT account || ':' || number FROM akool_leases"
    taken = _change(
        store,
        f"UPDATE {{workflows}} SET status = 'PENDING', executor_id = ({executor}) "
        f"WHERE status = 'ENQUEUED' AND workflow_uuid = ({batch})",
        **_names(press),
    )
    assert taken == 1


def count_batches_waiting(store):
    """Count the batches that wait in the queue."""
    return _read(store, "SELECT count(*) FROM {workflows} WHERE status = 'ENQUEUED'")


def count_workers(store):
    """Count the workers that hold a lease."""
    return _read(store, "SELECT count(*) FROM akool_leases")


def count_leased(store):
    """Count the open jobs that a worker has."""
    return _read(store, "SELECT count(*) FROM akool_jobs WHERE lease IS NOT NULL AND ended_at IS NULL")


def count_claimed_with_ids(store):
    """Count the open jobs whose operation ids are recorded."""
    return _read(store, "SELECT count(*) FROM akool_jobs WHERE operation_id IS NOT NULL AND ended_at IS NULL")


def is_locked(store):
    """Return whether a process is writing to an SQLite file just now."""
    url = make_url(store)
    if url.drivername != "sqlite":
        return False
    with closing(sqlite3.connect(url.database, isolation_level=None, timeout=0)) as database:
        try:
            database.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
    return False


# --- clocks and transactions ---


def set_the_clock_back_for_ends(store):
    """Make the store record each further end with a time long ago (SQLite)."""
    _change(
        store,
        "CREATE TRIGGER back AFTER UPDATE OF ended_at ON akool_jobs WHEN new.ended_at > 1 "
        "BEGIN UPDATE akool_jobs SET ended_at = 1; END",
    )


def set_the_clock_back_after_ends(store):
    """Change all recorded ends as if the clock had been five minutes ahead until now."""
    assert _change(store, "UPDATE akool_jobs SET ended_at = ended_at + :hour / 12 WHERE ended_at > 0", hour=HOUR)


def hold_up_the_end_of(connection, button):
    """Make the COMMIT that ends a press of this button wait for lock 15, like a slow disk (PostgreSQL)."""
    connection.execute("""
        CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(15); RETURN NULL; END $$
    """)
    connection.execute(f"""
        CREATE CONSTRAINT TRIGGER held_up AFTER UPDATE OF ended_at ON akool_jobs DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.button = '{button}' AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION hold_up()
    """)


def hold_up_the_end_of_leases(connection):
    """Make workers wait for lock 15 when they end their lease (PostgreSQL)."""
    connection.execute("""
        CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(15); RETURN OLD; END $$
    """)
    connection.execute("CREATE TRIGGER held_up BEFORE DELETE ON akool_leases FOR EACH ROW EXECUTE FUNCTION hold_up()")


@contextmanager
def lock_15(store):
    """Hold lock 15 until ``unlock()`` is called (PostgreSQL)."""
    with psycopg.connect(store, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(15)")
        yield Lock15(connection)


class Lock15:
    """The lock that the triggers above wait for."""

    def __init__(self, connection):
        self.connection = connection

    def count_waiting(self, event="advisory"):
        """Count the transactions that wait for this lock, or with "transactionid" for another transaction."""
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = %s"
        return self.connection.execute(waits, [event]).fetchone()[0]

    def unlock(self):
        self.connection.execute("SELECT pg_advisory_unlock(15)")


# --- reading the only job of a store ---


def seconds_searched(store):
    """Return for how many seconds workers have searched for its id; None if they did not."""
    search_time = _read(store, "SELECT search_time FROM akool_jobs")
    return None if search_time is None else search_time / 1_000_000


def correlation_id_of(store):
    """Return the correlation id with which a webhook can report its id."""
    return _read(store, "SELECT correlation_id FROM akool_jobs")


def learned_in(store):
    """Return the durations that workers of the account "a" have learned."""
    return json.loads(_read(store, "SELECT learned FROM akool_accounts WHERE account = 'a'"))


def count_in_doubt(store):
    """Count the jobs whose POST an earlier worker may have sent."""
    return _read(store, "SELECT count(*) FROM akool_jobs WHERE in_doubt")


# --- other versions of the library ---

STORES: Final = Path(__file__).parents[1] / "stores"
"""Dumps of stores that older versions of the library created."""
_OLDER: Final = {
    2: [
        "DROP INDEX akool_jobs_by_number",
        "ALTER TABLE akool_jobs DROP COLUMN ended_number",
        "ALTER TABLE akool_jobs RENAME COLUMN looked_for TO unknown_since",
        "DROP TABLE akool_ends",
        "DROP TABLE akool_prices",
        "DROP INDEX akool_jobs_by_credits",
        "DROP INDEX akool_jobs_by_estimate",
        *(f"ALTER TABLE akool_jobs DROP COLUMN {column}" for column in ("charged", "credits", "estimate")),
    ],
    1: ["ALTER TABLE akool_jobs DROP COLUMN unknown_since"],
}


def load_store(store, number, ids):
    """Fill an empty store with the dump of an older format, and replace the names in it by ``ids``."""
    url = make_url(store)
    kind = "sqlite" if url.drivername == "sqlite" else "postgresql"
    text = (STORES / f"format-{max(number, 3)}-{kind}.sql").read_text()
    for name, image_id in ids.items():
        text = text.replace(name, image_id)
    if kind == "sqlite":
        with closing(sqlite3.connect(url.database)) as database:
            database.executescript(text)
    else:
        with psycopg.connect(store, autocommit=True) as connection:
            connection.execute(text)
    for older in range(2, number - 1, -1):
        for statement in _OLDER[older]:
            _change(store, statement)
    if number < 3:
        set_format(store, number)


def set_format(store, number):
    """Set the format of a store, as if a version with this format had created or upgraded it."""
    assert _change(store, "UPDATE akool_format SET format = :number", number=number) == 1


def format_of(store):
    """Return the format of a store."""
    return _read(store, "SELECT max(format) FROM akool_format")


def record_half_an_emoji(store):
    """Put half of an emoji into the outcomes, as if AKOOL had sent it. JSON can contain it; a database text cannot."""
    assert _change(store, """UPDATE akool_jobs SET outcome = replace(outcome, '"raw"', '"half":"\\ud800","raw"')""")


def hand_over(file, clock):
    """Change DBOS's tables in an SQLite file as if another Python had created them."""
    (other,) = {BY_3_11, BY_3_12} - {clock}
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (other, clock))
        tables = " ".join(sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
    assert clock in tables
    assert other not in tables


def read_submission_time(file):
    """Return the SQLite type and the value (in milliseconds) of the time at which the only batch was submitted."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT typeof(created_at), created_at FROM workflow_status").fetchone()
