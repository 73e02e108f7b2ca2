"""What a state keeps of each job, and how its tables are made and brought up to date.

DBOS keeps the queue and who works on what (:mod:`._work_queue`); here stands what a press has come to. It is a table of
our own, since DBOS's record of a step can be found neither by an operation's id, which is what a webhook tells, nor be
written again where the disk was full.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from akool_async import ConfigurationError

FORMAT: Final = 3
"""Of what is kept: raised where an older version of this library could not go on with it."""

METADATA: Final = sa.MetaData()
FORMATS: Final = sa.Table("akool_format", METADATA, sa.Column("format", sa.Integer, primary_key=True))
JOBS: Final = sa.Table(
    "akool_jobs",
    METADATA,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("image_id", sa.Text, nullable=False),
    sa.Column("button", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("submitted_at", sa.BigInteger, nullable=False),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("run_id", sa.Text),
    sa.Column("in_doubt", sa.Boolean, nullable=False),
    sa.Column("word", sa.Text, nullable=False, unique=True),
    sa.Column("operation_id", sa.Text, index=True),
    sa.Column("told_id", sa.Text),
    sa.Column("told_status", sa.Integer),
    sa.Column("outcome", sa.Text),
    sa.Column("looked_for", sa.BigInteger),
    sa.Column("ended_number", sa.BigInteger),
    sa.Column("charged", sa.Boolean),
    sa.Column("credits", sa.Double),
    sa.Column("estimate", sa.Double),
)
"""Moments (``..._at``) are whole microseconds since the epoch, for people and for pruning: a clock may be set back.
``looked_for``: microseconds for which workers have looked for a lost id; ``ended_number``: see :data:`ENDS`;
``charged``: true once AKOOL is known to have accepted the press; ``credits``, ``estimate``: see :mod:`._charges`."""
ENDS: Final = sa.Table(
    "akool_ends",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, nullable=False),
)
"""The number of the latest end of an account. The transaction that ends a job raises it, and locks the row until it
commits: so numbers are seen in their order, and whoever has read up to one has missed none before it."""
PRICES: Final = sa.Table(
    "akool_prices",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("credits", sa.Double, nullable=False),
)
"""Credits for the last press of a kind that ended with a result."""
sa.Index("akool_jobs_by_state", JOBS.c.account, JOBS.c.state, JOBS.c.job)
sa.Index("akool_jobs_by_end", JOBS.c.account, JOBS.c.ended_at, JOBS.c.job)
IS_RUN: Final = JOBS.c.run_id.is_not(None) & JOBS.c.ended_at.is_(None)
sa.Index("akool_jobs_by_run", JOBS.c.run_id, postgresql_where=IS_RUN, sqlite_where=IS_RUN)
IS_REPORTED: Final = JOBS.c.credits.is_not(None)
"""AKOOL reported what it charged."""
IS_ESTIMATED: Final = JOBS.c.estimate.is_not(None) & JOBS.c.credits.is_(None)
"""AKOOL charged, or may have, and has not reported how much."""
ADDED: Final = (
    sa.Index("akool_jobs_by_number", JOBS.c.account, JOBS.c.ended_number),
    sa.Index(
        "akool_jobs_by_credits",
        *(JOBS.c.account, JOBS.c.credits),
        postgresql_where=IS_REPORTED,
        sqlite_where=IS_REPORTED,
    ),
    sa.Index(
        "akool_jobs_by_estimate",
        *(JOBS.c.account, JOBS.c.charged, JOBS.c.estimate, JOBS.c.operation_id, JOBS.c.told_id, JOBS.c.credits),
        postgresql_where=IS_ESTIMATED,
        sqlite_where=IS_ESTIMATED,
    ),
)
"""Indexes that older formats do not have."""

_REPORTED: Final = {
    "sqlite": """
        UPDATE akool_jobs SET credits = reported.credits FROM (
            SELECT job, json_extract(outcome, '$.image.deduction_credit') AS credits FROM akool_jobs
        ) AS reported WHERE reported.job = akool_jobs.job AND reported.credits > 0
    """,
    # Its functions for JSON refuse a text with half of an emoji, wherever it stands.
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
        "ALTER TABLE akool_jobs RENAME COLUMN unknown_since TO looked_for",  # a moment, which is counted anew
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
        _REPORTED,
    ],
}
"""What brings a state from each older format to the next: a statement, or one for each kind of database."""


def are_there(connection: sa.Connection) -> bool:
    """Whether the tables have been made."""
    return sa.inspect(connection).has_table(FORMATS.name)


def prepare(connection: sa.Connection) -> None:
    """Make the tables where there are none, and bring those of older versions up to date.

    Raises:
        ConfigurationError: they are of a newer version of this library.
    """
    if connection.dialect.name == "postgresql":  # where CREATE TABLE IF NOT EXISTS fails for one of two at once
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(FORMATS.name))))
    found = connection.execute(sa.select(sa.func.max(FORMATS.c.format))).scalar() if are_there(connection) else None
    if found is not None and found > FORMAT:
        raise ConfigurationError(
            f"state is of format {found}, and this version of akool_async knows up to {FORMAT}: install a newer one"
        )
    METADATA.create_all(connection)
    for older, statements in UPGRADES.items():
        if found is not None and found <= older:
            for statement in statements:
                spoken = statement if isinstance(statement, str) else statement[connection.dialect.name]
                connection.execute(sa.text(spoken))
    if found is not None and found < FORMAT:
        for index in ADDED:
            index.create(connection, checkfirst=True)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(FORMATS).values(format=FORMAT).on_conflict_do_nothing())
