"""The fan-out that outlives its process."""

from __future__ import annotations

import math
import os
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self, Unpack

from sqlalchemy.exc import OperationalError

from akool_async import AkoolError, AkoolSession, ConfigurationError, NotFoundError
from akool_async._limits.timing import Timing, read_scale
from akool_async.durable._arguments import (
    batches_of,
    check_account,
    check_age,
    pages,
    read_id,
    read_press,
    read_presses,
    read_state,
)
from akool_async.durable._database import Database
from akool_async.durable._engine import OUTSIDE, Engine
from akool_async.durable._job import Job, JobCounts, JobState
from akool_async.durable._jobs import Jobs
from akool_async.durable._outcomes import Outcomes
from akool_async.durable._store_url import StoreError, StoreUrl
from akool_async.durable._tables import are_there, prepare
from akool_async.durable._timing import WorkerTiming
from akool_async.durable._worker import Setup, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
    from datetime import timedelta
    from types import TracebackType
    from typing import TypeVar

    from sqlalchemy import Connection

    from akool_async import ApiKey, ButtonPress, ClientCredentials, Outcome, WebhookEvent
    from akool_async.durable._arguments import Press
    from akool_async.session import SessionOptions

    T = TypeVar("T")


class DurableFanOut:
    """Presses that are recorded in a state before they are made, and survive every process that makes them.

    ``state`` is ``sqlite:///FILE``, for one machine, or ``postgresql://...``, for as many as you like. ``auth`` and
    the ``options`` are those of :class:`AkoolSession`, but ``http``: a worker has an event loop of its own, in which
    an ``observer`` is called too. ``max_concurrent_upscales`` and ``max_requests_per_second`` hold over all processes
    that share the state, for this account: give all the same, since the cap of the last to :meth:`run` counts, and each
    takes its share of its own rate. ``account`` names the account where its key may change; else the key does. A state
    that does not exist is made, but with ``create=False``.

    A press whose reply was lost, with its worker or on its way, may run at AKOOL although nobody knows its id: for
    ``lost_reply_timeout`` seconds, over all workers, it keeps its slot, and a webhook may tell the id, before it is
    told as unknown. The default is that of the session's ``timing``, 60: AKOOL's jobs hardly ever take longer.
    ``worker_timing`` says how often a worker looks for what has changed, and how long it waits for a database.

    Use it as an async context manager. Any number of processes may :meth:`submit`, :meth:`run` and read
    :meth:`outcomes` at once. All methods raise :class:`StoreError` where the state cannot be used.

    Raises:
        ConfigurationError: a state that cannot be used, and as :class:`AkoolSession`.
        ValueError: an argument that is wrong in itself.
    """

    def __init__(
        self,
        auth: ApiKey | ClientCredentials | str | None = None,
        store: str = "sqlite:///akool.db",
        *,
        account: str | None = None,
        create: bool = True,
        max_concurrent_upscales: int = 4,
        max_requests_per_second: float | None = None,
        lost_reply_timeout: float | None = None,
        worker_timing: WorkerTiming | None = None,
        **options: Unpack[SessionOptions],
    ) -> None:
        if options.get("http") is not None:
            raise ValueError("http cannot be given: a worker has an event loop of its own")
        if account is not None:
            check_account(account)
        scale = read_scale(os.environ)
        if worker_timing is None:
            worker_timing = WorkerTiming().scaled(scale)
        elif not isinstance(worker_timing, WorkerTiming):
            raise ValueError(f"worker_timing must be a WorkerTiming, not {worker_timing!r}")
        self._auth = auth
        self._timing = worker_timing
        self._store_url = StoreUrl.read(store)
        self._create = create
        self._options = options
        self._max_concurrent_upscales = max_concurrent_upscales
        self._max_requests_per_second = max_requests_per_second
        checked = self._make_session()
        if lost_reply_timeout is None:
            lost_reply_timeout = (options.get("timing") or Timing().scaled(scale)).lost_reply_timeout
        elif not isinstance(lost_reply_timeout, int | float) or not 0 <= lost_reply_timeout < math.inf:
            raise ValueError(f"lost_reply_timeout must be a number of seconds, not {lost_reply_timeout!r}")
        self._lost_reply_timeout = lost_reply_timeout
        self._jobs = Jobs(account or checked.account_id)
        self._outcomes = Outcomes(self._jobs, self._require_entered, poll_interval=worker_timing.outcomes_poll_interval)
        self._engine = Engine(self._store_url, self._jobs.account)
        self._database: Database | None = None
        self._workers: set[Worker] = set()

    async def __aenter__(self) -> Self:
        if self._database is not None:
            raise ConfigurationError("DurableFanOut is entered already: make another one")
        database = Database(self._store_url.engine(), f"state {self._store_url}", self._timing)
        try:
            await database.attempt(lambda: self._open(database), longest=self._timing.opening_timeout)
        except BaseException:
            database.close()
            raise
        self._database = database
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        database, self._database = self._database, None
        try:
            for worker in list(self._workers):
                await worker.stop()
        finally:
            if database is not None:
                with suppress(StoreError):
                    await database.attempt(self._engine.close)
                database.close()

    # --- submitting and carrying out ---

    async def submit(self, presses: Iterable[Press] | AsyncIterable[Press]) -> int:
        """Record presses, and return how many of them are new; nothing is pressed here.

        (image id, button) names a job for good: one that was submitted before, by anyone, is that job still, whatever
        became of it. They are recorded by the thousand, and the rest when there are no more, or when one is bad.
        """
        self._require_entered()
        new = 0
        async with aclosing(batches_of(presses)) as batches:
            async for batch in batches:
                new += await self._submit(batch)
        return new

    async def run(self, *, until_empty: bool = True) -> None:
        """Carry out jobs, until none is open, or for ever.

        Cancelling it, or leaving the block of ``async with``, upon which it returns, hands over what it has in hand:
        POSTs under way end, and what runs at AKOOL is waited for by other workers, or the next. What a worker had in
        hand that died is taken over after a few seconds.

        Raises:
            AuthenticationError, AccountBannedError: no job would fare better; they stay open.
            InsufficientCreditError, NotPermittedError (1004): the same, once what was paid for has ended.
            ConfigurationError: another one runs in this process.
        """
        self._require_entered()
        setup = Setup(
            state=self._store_url,
            jobs=self._jobs,
            engine=self._engine,
            make_session=self._make_session,
            max_concurrent_upscales=self._max_concurrent_upscales,
            max_requests_per_second=self._max_requests_per_second,
            lost_reply_timeout=self._lost_reply_timeout,
            timing=self._timing,
        )
        worker = Worker(setup, until_empty=until_empty)
        self._workers.add(worker)
        try:
            await worker.run()
        finally:
            self._workers = {some for some in self._workers if some.is_at_work}

    async def notify(self, event: WebhookEvent, *, word: str | None = None) -> bool:
        """Take in a webhook, at any process: whichever worker has its job looks at once.

        One that tells the id of a press whose reply was lost settles it. True where it concerns a job of this state.
        Pass this object as the session to a ``webhook_handler`` or a ``WebhookApp``.
        """
        known = word if word is not None and word.isascii() and word.isprintable() else None  # it is not signed

        def hear(state: Connection) -> list[str]:
            told = self._jobs.hear(state, event, known)
            for job in told:
                self._reopen(state, job, event.id)
            return told

        return bool(await self._write(hear))

    async def resolve(
        self, press: Press, *, operation_id: str | None = None, retry: bool = False, abandon: bool = False
    ) -> None:
        """Settle a job whose outcome is unknown, by one of three.

        Its ``operation_id``, where you found it, also while a worker looks for it: the job is followed to its end.
        ``retry``: it is pressed, unless its id has come to be known, or AKOOL says that the button is used; also
        for a job that AKOOL refused, or that was given up. ``abandon``: it counts as failed.

        Raises:
            ValueError: not one of the three, no job that can be settled so, or an id that cannot be this press's.
        """
        wanted = read_press(press)
        if [operation_id is not None, retry, abandon].count(True) != 1:
            raise ValueError("resolve takes one of operation_id, retry=True and abandon=True")
        job = self._jobs.job_of(wanted)
        told = None if operation_id is None else read_id(operation_id, wanted)

        def settle(state: Connection) -> bool:
            other = None if told is None else self._jobs.job_with(state, told)
            if other not in (None, job):
                raise ValueError(f"operation_id: {told} is that of {self._jobs.press_of(other)}")
            if abandon:
                return self._jobs.abandon(state, job)
            if self._reopen(state, job, told or _known_id(self._jobs.find(state, [wanted]))):
                return True
            return told is not None and self._jobs.tell_id(state, job, told)

        if not await self._write(settle):
            known = await self.job(wanted)
            standing = "was not submitted" if known is None else f"is {known.state}"
            raise ValueError(f"press: {wanted} {standing}; only an unknown outcome can be resolved")

    # --- reading ---

    async def outcomes(self, presses: Iterable[Press] | None = None) -> AsyncGenerator[Outcome, None]:
        """The outcome of each job, those of earlier processes first, until no job is open; or of these presses alone.

        An outcome's ``operation`` is detached from any session, as one that was unpickled. What is pruned before it is
        told is not told.

        Raises:
            ValueError: one of the presses was not submitted, or is pruned.
        """
        if presses is None:
            told = self._outcomes.all()
        else:
            told = self._outcomes.of([press async for press in read_presses(presses)])
        async with aclosing(told) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def job(self, press: Press) -> Job | None:
        """How a press stands, without waiting; None where it was not submitted."""
        found = await self.find([press])
        return found[0] if found else None

    async def find(self, presses: Iterable[Press]) -> list[Job]:
        """How presses stand, without waiting; those that were not submitted are not among them."""
        found: list[Job] = []
        for some in pages([press async for press in read_presses(presses)]):
            found += await self._read(lambda state: self._jobs.find(state, some))  # noqa: B023 - awaited here
        return found

    async def jobs(self, *states: JobState | str) -> AsyncGenerator[Job, None]:
        """The jobs in these states, or all, ordered by image and button.

        Raises:
            ValueError: no such state.
        """
        wanted = [read_state(state) for state in states] or list(JobState)
        last: ButtonPress | None = None
        while page := await self._page(wanted, last):
            for job in page:
                yield job
            last = page[-1].press

    async def status(self) -> JobCounts:
        """How many jobs stand how, and what AKOOL charged for them."""
        return await self._read(self._jobs.count)

    async def prune(self, older_than: timedelta) -> int:
        """Forget the jobs that were done or had failed so long ago, and return how many.

        The same press would be a new job then, which AKOOL refuses, as its button is used. Unknown outcomes stay until
        they are resolved.
        """
        before = datetime.now(UTC) - check_age(older_than)
        pruned = 0
        while old := await self._read(lambda state: self._jobs.ended_before(state, before)):
            await self._require_entered().attempt(lambda: self._engine.forget(old))
            pruned += await self._write(lambda state: self._jobs.forget(state, old, before))
        return pruned

    def _open(self, database: Database) -> None:
        try:
            if not self._create:
                self._require_there(database)
            with self._store_url.opening(self._timing.opening_timeout):
                with database.engine.begin() as connection:
                    prepare(connection)
                self._engine.open(database.engine)
        except (AkoolError, OperationalError):  # the latter may pass, as when a server starts
            raise
        except Exception as error:
            if getattr(error, "connection_invalidated", False):  # as where a server can only be read for a while
                raise
            reason = getattr(error, "orig", None) or error
            raise ConfigurationError(f"state {self._store_url} cannot be used ({reason})") from error

    def _require_there(self, database: Database) -> None:
        if self._store_url.file is None or self._store_url.file.exists():  # to look into a file would make it
            with database.engine.begin() as connection:
                if are_there(connection):
                    return
        raise ConfigurationError(f"state {self._store_url} does not exist: nothing was recorded there")

    def _make_session(self) -> AkoolSession:
        return AkoolSession(
            self._auth,
            max_concurrent_upscales=self._max_concurrent_upscales,
            max_requests_per_second=self._max_requests_per_second,
            **self._options,
        )

    def _require_entered(self) -> Database:
        if self._database is None:
            raise ConfigurationError(OUTSIDE)
        return self._database

    async def _read(self, work: Callable[[Connection], T]) -> T:
        return await self._require_entered().read(work)

    async def _write(self, work: Callable[[Connection], T]) -> T:
        return await self._require_entered().write(work)

    async def _submit(self, batch: list[ButtonPress]) -> int:
        def submit(state: Connection) -> int:
            new = self._jobs.add(state, batch)
            self._engine.enqueue(state, new)
            return len(new)

        return await self._write(submit)

    def _reopen(self, state: Connection, job: str, operation_id: str | None) -> bool:
        entry = self._jobs.reopen(state, job, operation_id)
        if entry is not None:
            self._engine.enqueue(state, [entry])
        return entry is not None

    async def _page(self, states: list[JobState], last: ButtonPress | None) -> list[Job]:
        return await self._read(lambda state: self._jobs.page(state, states, last))


def _known_id(found: list[Job]) -> str | None:
    """The id that was recorded of a job, unless AKOOL does not know it."""
    for job in found:
        is_stray = job.outcome is not None and isinstance(job.outcome.error, NotFoundError)
        return None if is_stray else job.operation_id
    return None
