"""What a state keeps of each job, and how its tables are made and brought up to date.

DBOS keeps the queue and who works on what (:mod:`._engine`); here stands what a press has come to. It is a table of our
own, since DBOS's record of a step can be found neither by an operation's id, which is what a webhook tells, nor be
written again where the disk was full.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from akool_async import ConfigurationError

FORMAT: Final = 2
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
    sa.Column("unknown_since", sa.BigInteger),
)
"""Moments are whole microseconds since the epoch, by one clock for all who share the state."""
sa.Index("akool_jobs_by_state", JOBS.c.account, JOBS.c.state, JOBS.c.job)
sa.Index("akool_jobs_by_end", JOBS.c.account, JOBS.c.ended_at, JOBS.c.job)
IS_RUN: Final = JOBS.c.run_id.is_not(None) & JOBS.c.ended_at.is_(None)
sa.Index("akool_jobs_by_run", JOBS.c.run_id, postgresql_where=IS_RUN, sqlite_where=IS_RUN)


def are_there(connection: sa.Connection) -> bool:
    """Whether the tables have been made."""
    return sa.inspect(connection).has_table(FORMATS.name)


def prepare(connection: sa.Connection) -> None:
    """Make the tables where there are none.

    Raises:
        ConfigurationError: they are of a newer version of this library.
    """
    if connection.dialect.name == "postgresql":  # where CREATE TABLE IF NOT EXISTS fails for one of two at once
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(FORMATS.name))))
    METADATA.create_all(connection)
    newest = connection.execute(sa.select(sa.func.max(FORMATS.c.format))).scalar()
    if newest is None or newest < FORMAT:
        if newest is not None:  # a state of before: format 2 tells since when a job's id is looked for
            connection.execute(sa.text("ALTER TABLE akool_jobs ADD COLUMN unknown_since BIGINT"))
        dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
        connection.execute(dialect.insert(FORMATS).values(format=FORMAT).on_conflict_do_nothing())
    elif newest > FORMAT:
        raise ConfigurationError(
            f"state is of format {newest}, and this version of akool_async knows up to {FORMAT}: install a newer one"
        )
