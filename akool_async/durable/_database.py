"""Transactions on a store. They run in threads, and are retried while the database is unavailable."""

from __future__ import annotations

import asyncio
import logging
import math
import threading
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeVar

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

P = ParamSpec("P")
T = TypeVar("T")

NOT_ENTERED: Final = "DurableFanOut works within its block only: async with DurableFanOut(...) as jobs"
UNAVAILABLE: Final = (DBAPIError, NoConnectionError, TimeoutError)
"""Errors after which a transaction is retried."""

logger = logging.getLogger("akool_async")


class Availability:
    """Remembers whether a store can be used, so that each outage is logged once."""

    def __init__(self, store_url: StoreUrl) -> None:
        self.name = f"store {store_url}"
        self._is_unavailable = False

    def on_failure(self, reason: object) -> None:
        """Log the start of an outage. A transaction failed and will be retried."""
        if not self._is_unavailable:
            logger.warning("%s cannot be used (%s): retrying", self.name, reason)
        self._is_unavailable = True

    def on_success(self) -> None:
        """Log the end of an outage, if there was one. A transaction succeeded."""
        if self._is_unavailable:
            logger.warning("%s can be used again", self.name)
        self._is_unavailable = False


class Database:
    """A pool of connections to a store."""

    def __init__(self, store_url: StoreUrl, timing: WorkerTiming) -> None:
        self.engine = store_url.engine()
        self.timing = timing
        self.availability = Availability(store_url)
        self._readers = self.engine.execution_options(**{READ_ONLY_OPTION: True})
        self._is_closed = False

    async def read(self, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``query`` with a connection and these arguments in a read-only transaction, and return its result.

        Raises:
            StoreError: The transaction did not succeed within ``database_timeout``.
            ConfigurationError: The database is closed.
        """
        return await self.attempt(partial(_transact, self._readers, query, *args, **kwargs))

    async def write(self, change: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call ``change`` with a connection and these arguments in one transaction, and return its result.

        Nothing is written if ``change`` raises.

        Raises:
            StoreError: The transaction did not succeed within ``database_timeout``. If the database did not answer, it
                may still succeed.
            ConfigurationError: The database is closed.
        """
        return await self.attempt(partial(_transact, self.engine, change, *args, **kwargs))

    async def attempt(
        self,
        work: Callable[[], T],
        timeout: float | None = None,  # noqa: ASYNC109
        *,
        try_timeout: float | None = None,
    ) -> T:
        """Return the result of ``work``, retrying while the database is unavailable. Raises the same as :meth:`write`.

        Args:
            work: Called in a thread, once for each try.
            timeout: Seconds for all tries. Default: ``database_timeout``.
            try_timeout: Seconds for one try, even if that exceeds ``timeout``. Default: the rest of ``timeout``.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self.timing.database_timeout if timeout is None else timeout)
        waits = growing_waits(self.timing.first_database_pause, self.timing.max_database_pause)
        reason: object = "no answer"  # until a try fails with a reason
        while True:
            if self._is_closed:
                raise ConfigurationError(NOT_ENTERED)
            try:
                limit = deadline if try_timeout is None else loop.time() + try_timeout
                async with asyncio.timeout_at(limit if limit < math.inf else None):
                    done = await in_thread(work)
            except UNAVAILABLE as error:
                reason = reason_of(error) or reason
                pause = next(waits)
                if loop.time() + pause > deadline:
                    raise StoreError(f"{self.availability.name} cannot be used ({reason})") from error
                self.availability.on_failure(reason)
            else:
                self.availability.on_success()
                return done
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Close all connections. A thread that is still working closes its connection when it finishes."""
        self._is_closed = True
        event.listen(self.engine.pool, "checkin", _close)
        self.engine.dispose()


def reason_of(error: BaseException) -> object:
    """Return the database's own message for an error."""
    return getattr(error, "orig", None) or str(error)


async def in_thread(work: Callable[[], T]) -> T:
    """Run ``work`` in a daemon thread and return its result. A silent database then cannot block the program's exit."""
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller
            done.set_exception(error)

    try:
        threading.Thread(target=run, name="akool-store", daemon=True).start()
    # The interpreter is shutting down and starts no threads, and an accepted press must still be recorded.
    except RuntimeError:  # pragma: no cover - coverage has been measured by then
        run()
    return await asyncio.wrap_future(done)


def _transact(engine: Engine, work: Callable[..., T], *args: object, **kwargs: object) -> T:
    with engine.begin() as connection:
        return work(connection, *args, **kwargs)


def _close(connection: DBAPIConnection | None, _: object) -> None:
    if connection is not None:
        connection.close()
