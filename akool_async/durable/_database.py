"""Transactions on a state, off the event loop, and tried again while the database is away."""

from __future__ import annotations

import asyncio
import logging
import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

import backoff
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from akool_async.durable._store_url import READS, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection

    from akool_async.durable._worker_timing import WorkerTiming

T = TypeVar("T")

THREADS: Final = 4

logger = logging.getLogger("akool_async")


def pauses(first: float, longest: float) -> Iterator[float]:
    """Seconds between tries: ever longer, and never the same for two who began together."""
    waits = backoff.expo(factor=first, max_value=longest)
    next(waits)  # backoff's generators yield an empty value first
    return map(backoff.full_jitter, waits)


class Database:
    """One pool of connections, with threads that wait for it."""

    def __init__(self, engine: Engine, name: str, timing: WorkerTiming) -> None:
        self.engine = engine
        self._readers = engine.execution_options(**{READS: True})
        self._name = name
        self._timing = timing
        self._is_closed = False
        self._is_away = False  # so that one outage is told once
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="akool-state")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """What ``work`` returns of what it reads. Raises as :meth:`write`."""
        return await self.attempt(lambda: _do(self._readers, work))

    async def write(self, work: Callable[[Connection], T], *, timeout: float | None = None) -> T:  # noqa: ASYNC109
        """What ``work`` returns in a transaction; where it raises, nothing of it happened.

        Raises:
            StoreError: it could not be done within ``timeout`` (``database_timeout``); without an answer, it may
                still be.
        """
        return await self.attempt(lambda: _do(self.engine, work), timeout)

    async def attempt(
        self,
        work: Callable[[], T],
        timeout: float | None = None,  # noqa: ASYNC109
        *,
        longest: float | None = None,
    ) -> T:
        """What ``work`` returns when the database lets it; one try may take ``longest``. Raises as :meth:`write`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + (self._timing.database_timeout if timeout is None else timeout)
        waits = pauses(self._timing.first_database_pause, self._timing.max_database_pause)
        reason: object = "no answer"  # what a try said, until a later one says something else
        while True:
            try:
                limit = deadline if longest is None else loop.time() + longest
                async with asyncio.timeout_at(limit if limit < math.inf else None):
                    done = await self.run(work)
            except (DBAPIError, NoConnectionError, TimeoutError) as error:
                reason = getattr(error, "orig", None) or str(error) or reason
                pause = next(waits)
                if loop.time() + pause > deadline:
                    raise StoreError(f"{self._name} cannot be used ({reason})") from error
                if not self._is_away:
                    logger.warning("%s cannot be used (%s): trying again", self._name, reason)
                self._is_away = True
            else:
                if self._is_away:
                    logger.warning("%s can be used again", self._name)
                self._is_away = False
                return done
            await asyncio.sleep(pause)

    async def run(self, work: Callable[[], T]) -> T:
        """What ``work`` returns in one of the threads."""
        try:
            done = asyncio.get_running_loop().run_in_executor(self._threads, work)
        # The interpreter ends, where no thread can be begun; what must be recorded still is.
        except RuntimeError:  # pragma: no cover - where nothing is measured any more
            if self._is_closed:
                raise
            return work()
        return await done

    def close(self) -> None:
        """Let go of everything; a thread that is still at work closes its connection itself."""
        self._is_closed = True
        event.listen(self.engine.pool, "checkin", _close)
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.engine.dispose()


def _close(connection: DBAPIConnection | None, _: object) -> None:
    if connection is not None:
        connection.close()


def _do(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)
