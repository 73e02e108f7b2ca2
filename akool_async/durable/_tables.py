"""The tables of a store, and their upgrades from older formats.

The table of jobs is the only authority on a press. It records the claim before the POST, the operation id right after
it, and the end. DBOS keeps the queue of batches in separate tables, which this module does not touch.
"""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from akool_async import ConfigurationError

FORMAT: Final = 5
"""The format of the tables. It is increased by each change that older versions of this library cannot read."""

METADATA: Final = sa.MetaData()
FORMATS: Final = sa.Table("akool_format", METADATA, sa.Column("format", sa.Integer, primary_key=True))
JOBS: Final = sa.Table(
    "akool_jobs",
    METADATA,
    sa.Column("job", sa.Text, primary_key=True, key="job_id"),
    sa.Column("account", sa.Text, nullable=False),
    sa.Column("image_id", sa.Text, nullable=False),
    sa.Column("button", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("prompt", sa.Text),
    sa.Column("branches", sa.Text, nullable=False),
    sa.Column("upscales", sa.Integer, nullable=False),
    sa.Column("parent", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("batch", sa.Text),
    sa.Column("lease", sa.BigInteger),
    sa.Column("claimed", sa.Boolean, nullable=False),
    sa.Column("in_doubt", sa.Boolean, nullable=False),
    sa.Column("submitted_at", sa.BigInteger, nullable=False),
    sa.Column("claimed_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Column("ended_number", sa.BigInteger),
    sa.Column("correlation_id", sa.Text, nullable=False, unique=True),
    sa.Column("operation_id", sa.Text, index=True),
    sa.Column("reported_id", sa.Text),
    sa.Column("webhook_status", sa.Integer),
    sa.Column("search_time", sa.BigInteger),
    sa.Column("outcome", sa.Text),
    sa.Column("charged", sa.Boolean),
    sa.Column("credits", sa.Double),
    sa.Column("estimate", sa.Double),
    sa.Column("lost", sa.Double),
    sa.Column("reserved", sa.Double),
    sa.Column("goes_alone", sa.Boolean, nullable=False),
    sa.Column("budget", sa.Text),
    sa.Column("day", sa.Text),
    sa.Column("over_budget", sa.Boolean, nullable=False),
)
"""Jobs. The columns that need an explanation:

- ``image_id``, ``button``: the press; empty for a prompt.
- ``kind``: the kind of image that its price is learned for.
- ``prompt``: the prompt as JSON; NULL for a press.
- ``branches``: the buttons to press on its result, as text; ``upscales``: the number of upscales among them.
- ``parent``: the job whose result this press is on.
- ``batch``: the DBOS workflow that carries out the job.
- ``lease``: the worker that has the job, see :data:`LEASES`.
- ``claimed``: true from before the POST until the end, while the job counts against the cap.
- ``in_doubt``: true if an earlier worker may have sent the POST.
- ``..._at``: microseconds since the epoch. Only for display, pruning and timeouts, since clocks may be set back.
- ``ended_number``: the position of the end among all ends, see :data:`ACCOUNTS`.
- ``operation_id``: the id in AKOOL's reply; ``reported_id``: an id from a webhook or a person, not checked yet.
- ``search_time``: microseconds for which workers have searched for a lost id.
- ``charged``: true once AKOOL is known to have accepted the press.
- ``credits``: the larger of the credits that AKOOL's reply and result reported.
- ``estimate``: the estimated credits while AKOOL may have charged; used if ``credits`` is NULL.
- ``lost``: credits that earlier POSTs of a prompt may have cost, if it was sent again on request.
- ``reserved``: credits reserved in the budgets until the end.
- ``goes_alone``: true while other presses of the same budgets wait for its price.
- ``budget``, ``day``: keys of :data:`BUDGETS`.
- ``over_budget``: true if the job ended without a POST because its budget did not allow it."""
ACCOUNTS: Final = sa.Table(
    "akool_accounts",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("ended_number", sa.BigInteger, nullable=False),
    sa.Column("last_lease", sa.BigInteger, nullable=False),
    sa.Column("learned", sa.Text),
)
"""The numbers of an account's latest end and latest lease, and the durations that its workers have learned (JSON).

Each transaction of a worker locks the row until its commit. So the caps and budgets that it has read still hold when it
commits, and the numbers of ends become visible in order: a reader that has seen one end has missed none before it."""
LEASES: Final = sa.Table(
    "akool_leases",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("number", sa.BigInteger, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("beats", sa.BigInteger, nullable=False),
)
"""The workers that are alive. Each regularly increases its ``beats``. If a worker stops doing so, another one deletes
the row and takes over its jobs. Clocks of different machines are never compared."""
BUDGETS: Final = sa.Table(
    "akool_budgets",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("budget", sa.Text, primary_key=True),
    sa.Column("max_credits", sa.Double, nullable=False),
    sa.Column("spent", sa.Double, nullable=False),
    sa.Column("reserved", sa.Double, nullable=False),
)
"""The most credits that the jobs of one submission, or of one day, may cost. Each transaction that changes the credits
of a job also changes the sums ``spent`` and ``reserved`` of its budgets."""
PRICES: Final = sa.Table(
    "akool_prices",
    METADATA,
    sa.Column("account", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("credits", sa.Double),
    sa.Column("largest", sa.Double, nullable=False),
)
"""Prices for each kind of image, in credits. ``credits`` is the price of the latest result, NULL before the first one.
``largest`` is the largest price that AKOOL has reported."""

KNOWN_ID: Final = sa.func.coalesce(JOBS.c.operation_id, JOBS.c.reported_id)
IS_CLAIMED: Final = JOBS.c.claimed.is_(True)
"""Always use this condition: SQLite uses a partial index only for the condition that it was created with."""
IS_BELOW: Final = JOBS.c.parent.is_not(None) & (JOBS.c.state == sa.literal_column("'open'"))
"""An open press on an image that another job made."""
IS_REPORTED: Final = JOBS.c.credits.is_not(None)
"""AKOOL has reported the credits."""
IS_OVER_BUDGET: Final = JOBS.c.over_budget.is_(True)
IS_LOST: Final = JOBS.c.lost.is_not(None)
"""Earlier POSTs of the prompt may have been charged."""
IS_ESTIMATED: Final = JOBS.c.estimate.is_not(None) & JOBS.c.credits.is_(None)
"""AKOOL has charged or may have charged, and has not reported the credits."""


def _partial_index(name: str, where: sa.ColumnElement[bool], *columns: sa.Column[object]) -> None:
    sa.Index(name, *columns, postgresql_where=where, sqlite_where=where)


sa.Index("akool_jobs_by_state", JOBS.c.account, JOBS.c.state, JOBS.c.job_id)
sa.Index("akool_jobs_by_end", JOBS.c.account, JOBS.c.ended_at, JOBS.c.job_id)
sa.Index("akool_jobs_by_batch", JOBS.c.batch)
sa.Index("akool_jobs_by_number", JOBS.c.account, JOBS.c.ended_number)
_partial_index("akool_jobs_by_lease", JOBS.c.lease.is_not(None), JOBS.c.account, JOBS.c.lease)
_partial_index("akool_jobs_claimed", IS_CLAIMED, JOBS.c.account, JOBS.c.kind)
_partial_index("akool_jobs_below", IS_BELOW, JOBS.c.account, JOBS.c.kind, JOBS.c.upscales)
_partial_index("akool_jobs_by_lost", IS_LOST, JOBS.c.account, JOBS.c.lost)
_partial_index("akool_jobs_over_budget", IS_OVER_BUDGET, JOBS.c.account)
_partial_index("akool_jobs_by_credits", IS_REPORTED, JOBS.c.account, JOBS.c.credits)
_partial_index(
    "akool_jobs_by_estimate",
    IS_ESTIMATED,
    *(JOBS.c.account, JOBS.c.charged, JOBS.c.estimate, JOBS.c.operation_id, JOBS.c.reported_id, JOBS.c.credits),
)

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
        "ALTER TABLE akool_jobs RENAME COLUMN unknown_since TO looked_for",  # from a point in time to a duration
        "UPDATE akool_jobs SET looked_for = 0 WHERE looked_for IS NOT NULL",
        "ALTER TABLE akool_jobs ADD COLUMN ended_number BIGINT",
        """
        UPDATE akool_jobs SET ended_number = ends.number FROM (
            SELECT job, row_number() OVER (PARTITION BY account ORDER BY ended_at, job) AS number
            FROM akool_jobs WHERE ended_at IS NOT NULL
        ) AS ends WHERE ends.job = akool_jobs.job
        """,
        "CREATE TABLE akool_ends (account TEXT PRIMARY KEY, number BIGINT NOT NULL)",
        """
        INSERT INTO akool_ends SELECT account, max(ended_number) FROM akool_jobs
        WHERE ended_number IS NOT NULL GROUP BY account
        """,
        """
        CREATE TABLE akool_prices (
            account TEXT NOT NULL, kind TEXT NOT NULL, credits DOUBLE PRECISION NOT NULL, PRIMARY KEY (account, kind)
        )
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
    3: [
        "DROP INDEX akool_jobs_by_run",
        "DROP INDEX IF EXISTS akool_jobs_by_estimate",
        "ALTER TABLE akool_jobs RENAME COLUMN word TO correlation_id",
        "ALTER TABLE akool_jobs RENAME COLUMN told_id TO reported_id",
        "ALTER TABLE akool_jobs RENAME COLUMN told_status TO webhook_status",
        "ALTER TABLE akool_jobs RENAME COLUMN looked_for TO search_time",
        *(
            f"ALTER TABLE akool_jobs ADD COLUMN {column}"
            for column in (
                *("batch TEXT", "lease BIGINT", "claimed_at BIGINT", "reserved DOUBLE PRECISION"),
                *("budget TEXT", "day TEXT", "claimed BOOLEAN NOT NULL DEFAULT false"),
                *("goes_alone BOOLEAN NOT NULL DEFAULT false", "over_budget BOOLEAN NOT NULL DEFAULT false"),
            )
        ),
        "UPDATE akool_jobs SET claimed = true WHERE ended_at IS NULL AND run_id IS NOT NULL",
        """
        UPDATE akool_jobs SET in_doubt = (
            ended_at IS NULL AND operation_id IS NULL AND (in_doubt OR run_id IS NOT NULL)
            OR state = 'unknown' OR state = 'failed' AND search_time IS NOT NULL
        )
        """,
        "ALTER TABLE akool_jobs DROP COLUMN run_id",
        "ALTER TABLE akool_jobs DROP COLUMN attempt",
        "ALTER TABLE akool_ends RENAME TO akool_accounts",
        "ALTER TABLE akool_accounts RENAME COLUMN number TO ended_number",
        "ALTER TABLE akool_accounts ADD COLUMN last_lease BIGINT NOT NULL DEFAULT 0",
        "ALTER TABLE akool_accounts ADD COLUMN learned TEXT",
        "ALTER TABLE akool_prices RENAME TO akool_last_prices",  # SQLite cannot make a column nullable
        """
        CREATE TABLE akool_prices (
            account TEXT NOT NULL, kind TEXT NOT NULL, credits DOUBLE PRECISION, largest DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (account, kind)
        )
        """,
        "INSERT INTO akool_prices SELECT account, kind, credits, credits FROM akool_last_prices",
        "DROP TABLE akool_last_prices",
    ],
    4: [
        "ALTER TABLE akool_jobs ADD COLUMN kind TEXT NOT NULL DEFAULT 'upscale'",
        "ALTER TABLE akool_jobs ADD COLUMN prompt TEXT",
        "ALTER TABLE akool_jobs ADD COLUMN branches TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE akool_jobs ADD COLUMN upscales INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE akool_jobs ADD COLUMN parent TEXT",
        "ALTER TABLE akool_jobs ADD COLUMN lost DOUBLE PRECISION",
        "UPDATE akool_jobs SET kind = 'variation' WHERE button LIKE 'V%'",
        "DROP INDEX IF EXISTS akool_jobs_claimed",
    ],
}
"""The statements that upgrade a store from each format to the next. A dict has one statement per kind of database."""


def is_postgresql(connection: sa.Connection) -> bool:
    """Return whether the database is PostgreSQL; False for SQLite."""
    return connection.dialect.name == postgresql.dialect.name


def insert_into(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """Return an INSERT that supports ON CONFLICT."""
    return postgresql.insert(table) if is_postgresql(connection) else sqlite.insert(table)


def prefer_indexes(connection: sa.Connection) -> None:
    """Make this connection use indexes, even in a table that has just grown.

    Until PostgreSQL has updated its statistics, it would read the whole table instead.
    """
    if is_postgresql(connection):
        for setting in ("enable_seqscan", "enable_hashjoin", "enable_mergejoin"):
            connection.execute(sa.text(f"SET {setting} = off"))
        connection.commit()


def rows_from_json(is_postgresql: bool, **kinds: sa.types.TypeEngine[Any]) -> sa.FromClause:
    """Return the parameter ``rows`` of a statement, a JSON array of objects, as a table with these columns."""
    rows = sa.bindparam("rows", type_=sa.Text)
    if is_postgresql:
        columns = [sa.column(name, kind) for name, kind in kinds.items()]
        table = sa.func.json_to_recordset(sa.cast(rows, sa.JSON)).table_valued(*columns, name="changed")
        return table.render_derived(with_types=True)
    each = sa.func.json_each(rows).table_valued("value", name="each")
    fields = [
        sa.cast(sa.func.json_extract(each.c.value, f"$.{name}"), kind).label(name) for name, kind in kinds.items()
    ]
    return sa.select(*fields).subquery("changed")


def tables_exist(connection: sa.Connection) -> bool:
    """Return whether the tables exist."""
    return sa.inspect(connection).has_table(FORMATS.name)


def create_or_upgrade(connection: sa.Connection) -> bool:
    """Create missing tables, and upgrade those of older versions. Return whether there was an upgrade.

    Raises:
        ConfigurationError: A newer version of this library created the tables.
    """
    if is_postgresql(connection):  # two concurrent CREATE TABLE IF NOT EXISTS may fail there
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(FORMATS.name))))
    found = connection.execute(sa.select(sa.func.max(FORMATS.c.format))).scalar() if tables_exist(connection) else None
    if found == FORMAT:
        return False
    if found is not None and found > FORMAT:
        raise ConfigurationError(
            f"store has format {found}, and this version of akool_async knows up to {FORMAT}: install a newer version"
        )
    if found is not None:
        _upgrade(connection, found)
    METADATA.create_all(connection)
    for index in JOBS.indexes:
        index.create(connection, checkfirst=True)
    connection.execute(sa.insert(FORMATS).values(format=FORMAT))
    return found is not None


def _upgrade(connection: sa.Connection, found: int) -> None:
    for older, statements in UPGRADES.items():
        if found <= older:
            for statement in statements:
                text = statement if isinstance(statement, str) else statement[connection.dialect.name]
                connection.execute(sa.text(text))
