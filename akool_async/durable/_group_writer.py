"""Commit the changes of a worker in groups. A group holds all changes that arrived during the previous commit.

Each caller waits for its own change. A thousand durable writes per second take only some tens of commits.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from attrs import define
from sqlalchemy.exc import DataError, IntegrityError, ProgrammingError

from akool_async._limits.backoff import growing_waits
from akool_async.durable._database import UNAVAILABLE, reason_of
from akool_async.durable._store_url import StoreError
from akool_async.durable._tables import prefer_indexes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from akool_async.durable._database import Database

HAS_TO_WAIT: Final = object()
"""The result of a change that needs free capacity, such as a claim while the cap is reached. It is retried later."""
REFUSED: Final = (DataError, IntegrityError, ProgrammingError)
"""Errors that a change itself causes, and would cause in any group."""


class Change(Protocol):
    """A change to write to the store."""

    @property
    def frees_capacity(self) -> bool:
        """True if a change that had to wait may succeed after this one."""

    @property
    def is_optional(self) -> bool:
        """True if the change is dropped once nobody waits for its result."""


C = TypeVar("C", bound=Change)


@define(eq=False)
class _Entry(Generic[C]):
    change: C
    done: asyncio.Future[object]


class GroupWriter(Generic[C]):
    """Writes changes in a thread that has its own connection."""

    def __init__(
        self,
        database: Database,
        write_all: Callable[[Connection, Sequence[C], bool], Sequence[object]],
    ) -> None:
        self._database = database
        self._write_all = write_all
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._incoming: list[_Entry[C]] = []
        self._writing: list[_Entry[C]] = []
        self._waiting: list[_Entry[C]] = []
        self._writing_since: float | None = None
        self._is_woken = False
        self._is_closing = False
        self._is_given_up = threading.Event()
        self._has_ended = asyncio.Event()
        self._connection: Connection | None = None
        threading.Thread(target=self._run, name="akool-writer", daemon=True).start()

    def put(self, change: C) -> asyncio.Future[object]:
        """Queue a change and return a future of its result. Cancelling the future drops an optional change."""
        entry = _Entry(change, self._loop.create_future())
        with self._changed:
            self._incoming.append(entry)
            self._changed.notify()
        return entry.done

    def wake(self) -> None:
        """Retry the changes that had to wait: another process may have freed capacity."""
        with self._changed:
            self._is_woken = True
            self._changed.notify()

    def is_stuck(self, seconds: float) -> bool:
        """Return whether the database has not answered for more than ``seconds``."""
        since = self._writing_since
        return since is not None and time.monotonic() - since > seconds

    async def aclose(self, timeout: float) -> list[C]:  # noqa: ASYNC109
        """Write the remaining changes within ``timeout`` seconds, and return those that could not be written."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        try:
            async with asyncio.timeout(timeout):
                await self._has_ended.wait()
        except TimeoutError:
            self._is_given_up.set()
        return [entry.change for entry in (*self._writing, *self._incoming)]

    # --- in the thread ---

    def _run(self) -> None:
        try:
            while (group := self._next_group()) is not None:
                self._writing_since = time.monotonic()
                results = self._commit(group)
                self._writing_since = None
                waiting = [entry for entry, result in zip(group, results, strict=True) if result is HAS_TO_WAIT]
                self._waiting = waiting + self._waiting
                self._writing = []
                self._call(partial(_deliver, group, results))
        finally:
            self._disconnect()
            self._call(self._has_ended.set)

    def _next_group(self) -> list[_Entry[C]] | None:
        """Wait for changes and return them as a group; return None when the writer closes."""
        with self._changed:
            while not (self._incoming or self._is_closing or (self._waiting and self._is_woken)):
                self._is_woken = False
                self._changed.wait()
            if self._is_closing and not self._incoming:
                return None
            group, self._incoming = self._incoming, []
            if self._is_woken or any(entry.change.frees_capacity for entry in group):
                group, self._waiting = self._waiting + group, []
            group = [entry for entry in group if not (entry.change.is_optional and entry.done.done())]
            self._is_woken = False
            self._writing = group
            return group

    def _commit(self, group: list[_Entry[C]]) -> Sequence[object]:
        """Return the results once they are on disk. Wait while the database is unavailable or the disk is full."""
        timing, availability = self._database.timing, self._database.availability
        waits = growing_waits(timing.first_database_pause, timing.max_database_pause)
        is_retry = False
        while not self._is_given_up.is_set():
            try:
                results = self._write(group, is_retry=is_retry)
            except REFUSED as error:
                self._disconnect()
                if len(group) == 1:
                    return [error]
                return [result for entry in group for result in self._commit([entry])]
            except UNAVAILABLE as error:
                self._disconnect()
                is_retry = True  # the commit may have succeeded and only its answer been lost
                availability.on_failure(reason_of(error))
                self._is_given_up.wait(next(waits))
            except Exception as error:  # noqa: BLE001 - one change caused it: write the others without it
                self._disconnect()
                if len(group) == 1:
                    return [error]
                return [result for entry in group for result in self._commit([entry])]
            else:
                availability.on_success()
                return results
        return [StoreError(f"{availability.name} could not be written in time")] * len(group)

    def _write(self, group: list[_Entry[C]], *, is_retry: bool) -> Sequence[object]:
        if not group:
            return []
        if self._connection is None:
            self._connection = self._database.engine.connect()
            prefer_indexes(self._connection)
        with self._connection.begin():
            return self._write_all(self._connection, [entry.change for entry in group], is_retry)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # the connection is already lost
                connection.invalidate()
                connection.close()

    def _call(self, deliver: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            self._loop.call_soon_threadsafe(deliver)


def _deliver(group: list[_Entry[Any]], results: Sequence[object]) -> None:
    for entry, result in zip(group, results, strict=True):
        if entry.done.done() or result is HAS_TO_WAIT:
            continue
        if isinstance(result, BaseException):
            entry.done.set_exception(result)
            entry.done.exception()  # marks it as retrieved, in case nobody waits
        else:
            entry.done.set_result(result)
