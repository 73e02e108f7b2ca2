"""Opens a store: makes or upgrades its tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from akool_async import AkoolError, ConfigurationError
from akool_async.durable._tables import create_or_upgrade, tables_exist

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._work_queue import WorkQueue


def open_store(engine: Engine, store_url: StoreUrl, queue: WorkQueue, *, create: bool, timeout: float) -> None:
    """Make or upgrade the tables of a store, and open its queue.

    Args:
        engine: Connections to the store.
        store_url: The store.
        queue: Opened with the same connections.
        create: Whether to make a store that does not exist.
        timeout: Seconds to wait for another process that makes the same tables.

    Raises:
        ConfigurationError: It does not exist and is not to be made, or it cannot be used.
        OperationalError, DBAPIError: It cannot be used now, for example because its server is starting.
        StoreError: Another process has been making the tables for too long.
    """
    try:
        if not create:
            _require_tables(engine, store_url)
        with store_url.opening_lock(timeout):
            with engine.begin() as connection:
                create_or_upgrade(connection)
            queue.open(engine)
    except (AkoolError, OperationalError):
        raise
    except Exception as error:
        if getattr(error, "connection_invalidated", False):  # as when a server is read-only for a while
            raise
        reason = getattr(error, "orig", None) or error
        raise ConfigurationError(f"store {store_url} cannot be used ({reason})") from error


def _require_tables(engine: Engine, store_url: StoreUrl) -> None:
    if store_url.file is None or store_url.file.exists():  # to connect to a missing file would make it
        with engine.begin() as connection:
            if tables_exist(connection):
                return
    raise ConfigurationError(f"store {store_url} does not exist: nothing was recorded there")
