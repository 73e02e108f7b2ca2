"""Open a store, and create or upgrade its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from akool_async import AkoolError, ConfigurationError
from akool_async.durable._batch_queue import BATCH_SIZE, TAKEOVER
from akool_async.durable._store_checks import check_locks, check_name, check_sessions
from akool_async.durable._tables import ACCOUNTS, JOBS, create_or_upgrade, insert_into, tables_exist

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from akool_async.durable._batch_queue import BatchQueue
    from akool_async.durable._store_url import StoreUrl


def open_store(
    engine: Engine, store_url: StoreUrl, queue: BatchQueue, account: str, *, create: bool, timeout: float
) -> None:
    """Create or upgrade the tables of a store, and connect its queue.

    Args:
        engine: Connections to the store.
        store_url: The store.
        queue: The batches of the account. It is connected with ``engine``.
        account: The account. A new one is added.
        create: Whether to create a store that does not exist.
        timeout: Seconds to wait for another process that is creating the same tables.

    Raises:
        ConfigurationError: The store does not exist and ``create`` is False, it cannot be used, or it is not safe.
        OperationalError, DBAPIError: It is temporarily unavailable, for example because its server is starting.
        StoreError: Another process did not finish creating the tables in time.
    """
    try:
        check_name(store_url)
        if not create:
            _require_tables(engine, store_url)
        with store_url.opening_lock(timeout):
            check_locks(store_url)
            check_sessions(engine, store_url)
            with engine.begin() as connection:
                was_upgraded = create_or_upgrade(connection)
            queue.migrate()
        queue.connect(engine)
        if was_upgraded:
            queue.delete_those_of_format_3()
        with engine.begin() as connection:
            _open_account(connection, queue, account)
    except (AkoolError, OperationalError):
        raise
    except Exception as error:
        if getattr(error, "connection_invalidated", False):  # for example, a server is read-only after a failover
            raise
        reason = getattr(error, "orig", None) or error
        raise ConfigurationError(f"store {store_url} cannot be used ({reason})") from error


def _open_account(connection: Connection, queue: BatchQueue, account: str) -> None:
    """Create the row of an account. Put open jobs without a batch, from an older format, into batches."""
    row = insert_into(connection, ACCOUNTS).values(account=account, ended_number=0, last_lease=0)
    connection.execute(row.on_conflict_do_nothing())
    without_batch = sa.select(JOBS.c.job_id).where(
        JOBS.c.batch.is_(None), JOBS.c.account == account, JOBS.c.ended_at.is_(None)
    )
    while job_ids := list(connection.execute(without_batch.limit(BATCH_SIZE)).scalars()):
        batch = uuid4().hex
        connection.execute(sa.update(JOBS).where(JOBS.c.job_id.in_(job_ids)).values(batch=batch))
        queue.enqueue(connection, batch, TAKEOVER)


def _require_tables(engine: Engine, store_url: StoreUrl) -> None:
    if store_url.file is None or store_url.file.exists():  # connecting to a missing file would create it
        with engine.begin() as connection:
            if tables_exist(connection):
                return
    raise ConfigurationError(f"store {store_url} does not exist: nothing was recorded there")
