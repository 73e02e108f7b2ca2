"""What can befall a durable store behind the library's back, and what it records: one function for each.

Nothing of the library's own leads to these: they are what a killed worker, a lost answer or an older version leave.
"""

import json
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import psycopg
from sqlalchemy import create_engine, make_url, text

HOUR: Final = 3_600_000_000
"""In microseconds, as a store counts."""
BY_3_11, BY_3_12 = "(strftime('%s','now') * 1000)", "(unixepoch('subsec') * 1000)"
"""The clock of DBOS's tables, if Python 3.11 made them, and if 3.12 or newer did."""


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
    """Make the workers that had claimed these jobs look killed with their POSTs under way."""
    assert _change(store, "UPDATE akool_jobs SET in_doubt = true")


def lose_an_earlier_press(store):
    """Make a worker look killed with its POST under way, and let others have waited an hour for the id."""
    assert _change(store, "UPDATE akool_jobs SET search_time = :hour, in_doubt = true", hour=HOUR) == 1


def search_for_an_hour(store):
    """Let other workers have waited an hour for the id."""
    assert _change(store, "UPDATE akool_jobs SET search_time = coalesce(search_time, 0) + :hour", hour=HOUR)


def record_late(store, operation_id):
    """Let a worker that was cut off while AKOOL accepted return, record the id, and end before it can follow it."""
    assert _change(store, "UPDATE akool_jobs SET operation_id = :id", id=operation_id) == 1


def garble_the_id(store):
    """Record an id that the session refuses, as a bug of ours would: no worker expects this error."""
    assert _change(store, "UPDATE akool_jobs SET operation_id = ''") == 1


def take_over_from_the_living(store):
    """Make other workers take over jobs of live workers that were not seen for a while."""
    assert _change(store, "DELETE FROM akool_leases")
    assert _change(store, "UPDATE akool_jobs SET lease = NULL WHERE ended_at IS NULL")


# --- the queue ---


def drop_workflow(store, press):
    """Let DBOS abandon the workflow of this job's batch."""
    with _opened(store) as execute:
        batch = "SELECT batch FROM akool_jobs WHERE image_id = :image AND button = :button"
        assert execute(f"DELETE FROM {{workflows}} WHERE workflow_uuid = ({batch})", **_names(press)).rowcount == 1


def lose_a_dequeue(store, press):
    """Let the only worker take this job's batch from the queue, and never get the answer."""
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
    """Return the number of batches in the queue."""
    return _read(store, "SELECT count(*) FROM {workflows} WHERE status = 'ENQUEUED'")


def count_workers(store):
    """Return the number of workers that hold a lease."""
    return _read(store, "SELECT count(*) FROM akool_leases")


def count_leased(store):
    """Return the number of open jobs that a worker has claimed."""
    return _read(store, "SELECT count(*) FROM akool_jobs WHERE lease IS NOT NULL AND ended_at IS NULL")


def is_locked(store):
    """Return True if a process is writing to an SQLite file."""
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
    """Let each end be recorded with a time long ago from now on (SQLite)."""
    _change(
        store,
        "CREATE TRIGGER back AFTER UPDATE OF ended_at ON akool_jobs WHEN new.ended_at > 1 "
        "BEGIN UPDATE akool_jobs SET ended_at = 1; END",
    )


def set_the_clock_back_after_ends(store):
    """Move the recorded ends as if a clock had been five minutes ahead, and were right again."""
    assert _change(store, "UPDATE akool_jobs SET ended_at = ended_at + :hour / 12 WHERE ended_at > 0", hour=HOUR)


def hold_up_the_end_of(connection, button):
    """Let the COMMIT of the end of a press of this button wait for lock 15, as with a slow disk (PostgreSQL)."""
    connection.execute("""
        CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(15); RETURN NULL; END $$
    """)
    connection.execute(f"""
        CREATE CONSTRAINT TRIGGER held_up AFTER UPDATE OF ended_at ON akool_jobs DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.button = '{button}' AND NEW.ended_at IS NOT NULL) EXECUTE FUNCTION hold_up()
    """)


def hold_up_the_end_of_leases(connection):
    """Let a worker that returns its lease wait for lock 15 (PostgreSQL)."""
    connection.execute("""
        CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock_shared(15); RETURN OLD; END $$
    """)
    connection.execute("CREATE TRIGGER held_up BEFORE DELETE ON akool_leases FOR EACH ROW EXECUTE FUNCTION hold_up()")


@contextmanager
def lock_15(store):
    """Hold lock 15 until ``unlock()`` (PostgreSQL), on a connection that counts the waiters for a lock."""
    with psycopg.connect(store, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(15)")
        yield Lock15(connection)


class Lock15:
    """The lock that the triggers above wait for."""

    def __init__(self, connection):
        self.connection = connection

    def count_waiting(self, event="advisory"):
        """Return the number of waiters for the lock; with "transactionid", for the end of another transaction."""
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = %s"
        return self.connection.execute(waits, [event]).fetchone()[0]

    def unlock(self):
        self.connection.execute("SELECT pg_advisory_unlock(15)")


# --- the records of the only job ---


def seconds_searched(store):
    """Return the seconds that workers waited for the press's id; None if they did not."""
    search_time = _read(store, "SELECT search_time FROM akool_jobs")
    return None if search_time is None else search_time / 1_000_000


def correlation_id_of(store):
    """Return the correlation id with which a webhook can report the press's id."""
    return _read(store, "SELECT correlation_id FROM akool_jobs")


def learned_in(store):
    """Return what workers of the account "a" have learned about durations."""
    return json.loads(_read(store, "SELECT learned FROM akool_accounts WHERE account = 'a'"))


def count_in_doubt(store):
    """Return the number of jobs that an earlier worker may have pressed."""
    return _read(store, "SELECT count(*) FROM akool_jobs WHERE in_doubt")


# --- other versions of the library ---

STORES: Final = Path(__file__).parents[1] / "stores"
"""What versions of the library left that made these formats."""
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
    """Fill an empty store with the dump of an older version. ``ids`` replace the names in it."""
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
    """Make the store look as if a version with this format had made or upgraded it."""
    assert _change(store, "UPDATE akool_format SET format = :number", number=number) == 1


def format_of(store):
    """Return the format that the store has recorded."""
    return _read(store, "SELECT max(format) FROM akool_format")


def record_half_an_emoji(store):
    """Put half an emoji into AKOOL's replies. JSON can contain it, and no database accepts it as a text."""
    assert _change(store, """UPDATE akool_jobs SET outcome = replace(outcome, '"raw"', '"half":"\\ud800","raw"')""")


def hand_over(file, clock):
    """Make the tables of an SQLite file those that another Python would have made."""
    (other,) = {BY_3_11, BY_3_12} - {clock}
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA writable_schema=ON")
        database.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (other, clock))
        tables = " ".join(sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL"))
    assert clock in tables
    assert other not in tables


def read_moment_of_submission(file):
    """Return the type and the value, in milliseconds, of the time at which the only job was submitted."""
    with closing(sqlite3.connect(file)) as database:
        return database.execute("SELECT typeof(created_at), created_at FROM workflow_status").fetchone()
