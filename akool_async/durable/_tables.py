"""The tables in which a store keeps what became of each press, and their upgrades from older formats.

DBOS keeps the queue and who works on what (:mod:`._work_queue`). What became of a press is in a table of our own, since
DBOS's record of a step can neither be found by an operation id, which is what a webhook carries, nor be written again
after the disk was full.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from akool_async import ConfigurationError

FORMAT: Final = 3
"""The format of the tables, raised with each change that an older version of this library cannot work with."""

METADATA: Final = sa.MetaData()
FORMATS: Final = sa.Table("akool_format", METADATA, sa.Column("format", sa.Integer, primary_key=True))
JOBS: Final = sa.Table(
    "akool_jobs",
    METADATA,
    sa.Column("job", sa.Text, primary_key=True, key="job_id"),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("image_id", sa.Text, nullable=False),
    sa.Column("button", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("submitted_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("run_id", sa.Text, key="worker"),
    sa.Column("in_doubt", sa.Boolean, nullable=False),
    sa.Column("word", sa.Text, nullable=False, unique=True, key="correlation_id"),
    sa.Column("operation_id", sa.Text, index=True),
    sa.Column("told_id", sa.Text, key="webhook_id"),
    sa.Column("told_status", sa.Integer, key="webhook_status"),
    sa.Column("outcome", sa.Text),
    sa.Column("looked_for", sa.BigInteger, key="search_time"),
    sa.Column("ended_number", sa.BigInteger),
    sa.Column("charged", sa.Boolean),
    sa.Column("credits", sa.Double),
    sa.Column("estimate", sa.Double),
)
"""A ``key`` is the name in Python of a column that older versions named in SQL.

``..._at``: whole microseconds since the epoch, for people and for pruning, since clocks may be set back;
``worker``: the last one that claimed the job; ``in_doubt``: true if another worker may have pressed;
``webhook_id``, ``webhook_status``: what the latest webhook reported; ``search_time``: microseconds for which workers
have waited for a lost id; ``ended_number``: see :data:`ENDS`; ``charged``: true once AKOOL is known to have accepted
the press; ``credits``, ``estimate``: see :mod:`._charges`."""
ENDS: Final = sa.Table(
    "akool_ends",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""The number of the latest end of an account. The transaction that ends a job raises it, and locks the row until it
commits. So numbers become visible in order: whoever has read up to one has missed none before it."""
PRICES: Final = sa.Table(
    "akool_prices",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("credits", sa.Double, nullable=False),
)
"""Credits charged for the last press of a kind that ended with a result."""
sa.Index("akool_jobs_by_state", JOBS.c.account, JOBS.c.state, JOBS.c.job_id)
sa.Index("akool_jobs_by_end", JOBS.c.account, JOBS.c.ended_at, JOBS.c.job_id)
IS_CLAIMED: Final = JOBS.c.worker.is_not(None) & JOBS.c.ended_at.is_(None)
sa.Index("akool_jobs_by_run", JOBS.c.worker, postgresql_where=IS_CLAIMED, sqlite_where=IS_CLAIMED)
IS_REPORTED: Final = JOBS.c.credits.is_not(None)
"""AKOOL reported what it charged."""
IS_ESTIMATED: Final = JOBS.c.estimate.is_not(None) & JOBS.c.credits.is_(None)
"""AKOOL charged, or may have, and has not reported how much."""
LATER_INDEXES: Final = (
    sa.Index("akool_jobs_by_number", JOBS.c.account, JOBS.c.ended_number),
    sa.Index(
        "akool_jobs_by_credits",
        *(JOBS.c.account, JOBS.c.credits),
        postgresql_where=IS_REPORTED,
        sqlite_where=IS_REPORTED,
    ),
    sa.Index(
        "akool_jobs_by_estimate",
        *(JOBS.c.account, JOBS.c.charged, JOBS.c.estimate, JOBS.c.operation_id, JOBS.c.webhook_id, JOBS.c.credits),
        postgresql_where=IS_ESTIMATED,
        sqlite_where=IS_ESTIMATED,
    ),
)
"""Indexes that older formats lack."""

_SET_REPORTED_CREDITS: Final = {
    "sqlite": """
        UPDATE akool_jobs SET credits = reported.credits FROM (
            SELECT job, json_extract(outcome, '$.image.deduction_credit') AS credits FROM akool_jobs
        ) AS reported WHERE reported.job = akool_jobs.job AND reported.credits > 0
    """,
    # PostgreSQL's JSON functions refuse any text that holds half of an emoji.
    "postgresql": """
        UPDATE akool_jobs SET credits = reported.credits FROM (
            SELECT job, CAST(substring(outcome FROM '"deduction_credit".([0-9.]+)') AS double precision) AS credits
            FROM akool_jobs
        ) AS reported WHERE reported.job = akool_jobs.job AND reported.credits > 0
    """,
}
UPGRADES: Final[dict[int, list[str | dict[str, str]]]] = {
    1: ["ALTER TABLE akool_jobs ADD COLUMN unknown_since BIGINT"],
    2: [
        "ALTER TABLE akool_jobs RENAME COLUMN unknown_since TO looked_for",  # from a moment to a duration
        "UPDATE akool_jobs SET looked_for = 0 WHERE looked_for IS NOT NULL",
        "ALTER TABLE akool_jobs ADD COLUMN ended_number BIGINT",
        """
        UPDATE akool_jobs SET ended_number = ends.number FROM (
            SELECT job, row_number() OVER (PARTITION BY account ORDER BY ended_at, job) AS number
            FROM akool_jobs WHERE ended_at IS NOT NULL
        ) AS ends WHERE ends.job = akool_jobs.job
        """,
        """
        INSERT INTO akool_ends SELECT account, max(ended_number) FROM akool_jobs
        WHERE ended_number IS NOT NULL GROUP BY account
        """,
        "ALTER TABLE akool_jobs ADD COLUMN charged BOOLEAN",
        "ALTER TABLE akool_jobs ADD COLUMN credits DOUBLE PRECISION",
        "ALTER TABLE akool_jobs ADD COLUMN estimate DOUBLE PRECISION",
        """
        UPDATE akool_jobs SET charged = true
        WHERE state <> 'unknown' AND (operation_id IS NOT NULL OR told_id IS NOT NULL)
        OR state = 'unknown' AND outcome LIKE '%"charged"_true%'
        """,
        """
        UPDATE akool_jobs SET estimate = 2
        WHERE charged OR state = 'unknown' OR looked_for IS NOT NULL
        OR ended_at IS NULL AND (in_doubt OR run_id IS NOT NULL)
        """,
        _SET_REPORTED_CREDITS,
    ],
}
"""The statements that upgrade a store from each older format to the next. A dict has one for each kind of database."""


def is_postgresql(connection: sa.Connection) -> bool:
    """False for SQLite."""
    return connection.dialect.name == postgresql.dialect.name


def insert_into(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can have an ON CONFLICT clause."""
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


def tables_exist(connection: sa.Connection) -> bool:
    """Whether the tables have been made."""
    return sa.inspect(connection).has_table(FORMATS.name)


def create_or_upgrade(connection: sa.Connection) -> None:
    """Make the tables if they are missing, and upgrade those of older versions.

    Raises:
        ConfigurationError: A newer version of this library made them.
    """
    if is_postgresql(connection):  # two concurrent CREATE TABLE IF NOT EXISTS may fail there
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(FORMATS.name))))
    found = connection.execute(sa.select(sa.func.max(FORMATS.c.format))).scalar() if tables_exist(connection) else None
    if found is not None and found > FORMAT:
        raise ConfigurationError(
            f"store is of format {found}, and this version of akool_async knows up to {FORMAT}: install a newer one"
        )
    METADATA.create_all(connection)
    if found is not None and found < FORMAT:
        _upgrade(connection, found)
    connection.execute(insert_into(connection, FORMATS).values(format=FORMAT).on_conflict_do_nothing())


def _upgrade(connection: sa.Connection, found: int) -> None:
    for older, statements in UPGRADES.items():
        if found <= older:
            for statement in statements:
                text = statement if isinstance(statement, str) else statement[connection.dialect.name]
                connection.execute(sa.text(text))
    for index in LATER_INDEXES:
        index.create(connection, checkfirst=True)
