"""Opens a store: makes or upgrades its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from akool_async import AkoolError, ConfigurationError
from akool_async.durable._batch_queue import BATCH_SIZE, LEFT
from akool_async.durable._store_checks import check_locks, check_name, check_sessions
from akool_async.durable._tables import ACCOUNTS, JOBS, create_or_upgrade, insert_into, tables_exist

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from akool_async.durable._batch_queue import BatchQueue
    from akool_async.durable._store_url import StoreUrl


def open_store(
    engine: Engine, store_url: StoreUrl, queue: BatchQueue, account: str, *, create: bool, timeout: float
) -> None:
    """Make or upgrade the tables of a store, and open its queue.

    Args:
        engine: Connections to the store.
        store_url: The store.
        queue: The batches of the account. Connected to the store by the same connections.
        account: It is made if it is new.
        create: Whether to make a store that does not exist.
        timeout: Seconds to wait for another process that makes the same tables.

    Raises:
        ConfigurationError: It does not exist and is not to be made, it cannot be used, or it would not be safe.
        OperationalError, DBAPIError: It cannot be used now, for example because its server is starting.
        StoreError: Another process has been making the tables for too long.
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
        if getattr(error, "connection_invalidated", False):  # as when a server is read-only for a while
            raise
        reason = getattr(error, "orig", None) or error
        raise ConfigurationError(f"store {store_url} cannot be used ({reason})") from error


def _open_account(connection: Connection, queue: BatchQueue, account: str) -> None:
    """Make the row of an account, and put open jobs that an older format recorded into batches."""
    row = insert_into(connection, ACCOUNTS).values(account=account, ended_number=0, last_lease=0)
    connection.execute(row.on_conflict_do_nothing())
    without = sa.select(JOBS.c.job_id).where(
        JOBS.c.batch.is_(None), JOBS.c.account == account, JOBS.c.ended_at.is_(None)
    )
    while job_ids := list(connection.execute(without.limit(BATCH_SIZE)).scalars()):
        batch = uuid4().hex
        connection.execute(sa.update(JOBS).where(JOBS.c.job_id.in_(job_ids)).values(batch=batch))
        queue.enqueue(connection, batch, LEFT)


def _require_tables(engine: Engine, store_url: StoreUrl) -> None:
    if store_url.file is None or store_url.file.exists():  # to connect to a missing file would make it
        with engine.begin() as connection:
            if tables_exist(connection):
                return
    raise ConfigurationError(f"store {store_url} does not exist: nothing was recorded there")
