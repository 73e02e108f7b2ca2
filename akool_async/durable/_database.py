"""Transactions on a store, off the event loop, tried again while the database is unavailable."""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from akool_async import ConfigurationError
from akool_async._limits.backoff import growing_waits
from akool_async.durable._store_url import READ_ONLY_OPTION, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from akool_async.durable._store_url import StoreUrl
    from akool_async.durable._worker_timing import WorkerTiming

T = TypeVar("T")

THREADS: Final = 4
NOT_ENTERED: Final = "DurableFanOut works within its block only: async with DurableFanOut(...) as jobs"

logger = logging.getLogger("akool_async")


class Database:
    """A pool of connections to a store, and the threads that wait for its answers."""

    def __init__(self, store_url: StoreUrl, timing: WorkerTiming) -> None:
        self.engine = store_url.engine()
        self._readers = self.engine.execution_options(**{READ_ONLY_OPTION: True})
        self._name = f"store {store_url}"
        self._timing = timing
        self._is_closed = False
        self._is_unavailable = False  # so that one outage is logged once
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="akool-store")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what ``work`` returns, in a transaction that only reads. Raises as :meth:`write`."""
        return await self.attempt(lambda: _transact(self._readers, work))

    async def write(self, work: Callable[[Connection], T], *, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """Return what ``work`` returns, in one transaction: if it raises, nothing is written.

        Args:
            work: Called in a thread with a connection, once for each try.
            timeout: Seconds; ``database_timeout`` unless given.

        Raises:
            StoreError: It could not be done in time. If the database did not answer, it may still be done.
            ConfigurationError: The database is closed.
        """
        return await self.attempt(lambda: _transact(self.engine, work), timeout)

    async def attempt(
        self,
        work: Callable[[], T],
        timeout: float | None = None,  # noqa: ASYNC109
        *,
        try_timeout: float | None = None,
    ) -> T:
        """Return what ``work`` returns, trying again while the database is unavailable. Raises as :meth:`write`.

        Args:
            work: Called in a thread, once for each try.
            timeout: Seconds; ``database_timeout`` unless given.
            try_timeout: Seconds that one try may take, also beyond ``timeout``.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._timing.database_timeout if timeout is None else timeout)
        waits = growing_waits(self._timing.first_database_pause, self._timing.max_database_pause)
        reason: object = "no answer"  # until a try gives another
        while True:
            try:
                limit = deadline if try_timeout is None else loop.time() + try_timeout
                async with asyncio.timeout_at(limit if limit < math.inf else None):
                    done = await self._run(work)
            except (DBAPIError, NoConnectionError, TimeoutError) as error:
                reason = getattr(error, "orig", None) or str(error) or reason
                pause = next(waits)
                if loop.time() + pause > deadline:
                    raise StoreError(f"{self._name} cannot be used ({reason})") from error
                if not self._is_unavailable:
                    logger.warning("%s cannot be used (%s): trying again", self._name, reason)
                self._is_unavailable = True
            else:
                if self._is_unavailable:
                    logger.warning("%s can be used again", self._name)
                self._is_unavailable = False
                return done
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Close all connections. A thread that is still at work closes its own at its end."""
        self._is_closed = True
        event.listen(self.engine.pool, "checkin", _close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()

    async def _run(self, work: Callable[[], T]) -> T:
        if self._is_closed:
            raise ConfigurationError(NOT_ENTERED)
        try:
            done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The interpreter is ending and starts no threads. What must be recorded still is.
        except RuntimeError:  # pragma: no cover - after coverage is measured
            return work()
        return await done


def _close(connection: DBAPIConnection | None, _: object) -> None:
    if connection is not None:
        connection.close()


def _transact(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)
