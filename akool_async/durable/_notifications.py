"""Notifications that another process has changed a store: by LISTEN, or by the version of an SQLite file.

A notification can be lost with its connection, so workers also poll slowly.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from hashlib import sha256
from typing import TYPE_CHECKING

import psycopg
import sqlalchemy as sa

from akool_async.durable._store_url import SERVER_SETTINGS
from akool_async.durable._tables import is_postgresql

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._worker_timing import WorkerTiming

logger = logging.getLogger("akool_async")


def notify(connection: sa.Connection, account: str) -> None:
    """Notify all workers of an account when this transaction commits. On SQLite they notice it by themselves."""
    if is_postgresql(connection):
        connection.execute(sa.select(sa.func.pg_notify(_channel(account), "")))


async def listen(store_url: StoreUrl, account: str, timing: WorkerTiming, on_change: Callable[[], None]) -> None:
    """Call ``on_change`` whenever the store has changed. Runs until it is cancelled."""
    if store_url.file is not None:
        await _watch_file(store_url.file, timing.file_poll_interval, on_change)
        return
    while True:
        try:
            await _listen_once(store_url.address, _channel(account), timing.listen_timeout, on_change)
        except (psycopg.Error, TimeoutError) as error:
            logger.debug("notifications from the store are interrupted: %s", error)
        await asyncio.sleep(timing.poll_interval)


async def _listen_once(address: str, channel: str, connect_timeout: float, on_change: Callable[[], None]) -> None:
    async with asyncio.timeout(connect_timeout):
        connection = await psycopg.AsyncConnection.connect(address, autocommit=True)
    async with connection:
        await connection.execute(SERVER_SETTINGS)
        await connection.execute(f"LISTEN {channel}".encode())
        on_change()  # for changes before this connection listened
        async for _ in connection.notifies():
            on_change()


async def _watch_file(file: Path, interval: float, on_change: Callable[[], None]) -> None:
    """Poll the version of an SQLite file. https://www.sqlite.org/pragma.html#pragma_data_version."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
        seen = None
        while True:
            try:
                (version,) = connection.execute("PRAGMA data_version").fetchone()
            except sqlite3.Error as error:
                logger.debug("the version of the store cannot be read: %s", error)
            else:
                if version != seen:
                    seen = version
                    on_change()
            await asyncio.sleep(interval)


def _channel(account: str) -> str:
    return "akool_" + sha256(account.encode()).hexdigest()[:16]
