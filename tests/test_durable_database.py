"""The connections of a durable fan-out to its store."""

import asyncio
import sqlite3
import threading

import pytest

from akool_async.durable import WorkerTiming
from akool_async.durable._database import Database
from akool_async.durable._store_url import StoreUrl


async def test_a_thread_that_is_still_working_when_the_database_closes_closes_its_connection(tmp_path):
    """close() does not wait for a thread in a transaction, and the thread's connection does not stay open."""
    database = Database(StoreUrl.read(f"sqlite:///{tmp_path}/akool.db"), WorkerTiming())
    has_begun, may_end = threading.Event(), threading.Event()
    used = []

    def work(connection):
        used.append(connection.connection.dbapi_connection)
        has_begun.set()
        may_end.wait(30)

    working = asyncio.create_task(database.write(work))
    await asyncio.to_thread(has_begun.wait, 30)
    database.close()
    may_end.set()
    await asyncio.gather(working, return_exceptions=True)
    with pytest.raises(sqlite3.ProgrammingError, match="closed database"):
        used[0].execute("SELECT 1")
