"""The fan-out that outlives its process."""

from __future__ import annotations

import os
from contextlib import aclosing, suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, Unpack

from attrs import evolve

from akool_async import ConfigurationError, _validate
from akool_async._limits.timing import Timing, read_scale
from akool_async.durable._arguments import (
    batches_of,
    check_account,
    check_age,
    check_lost_reply_timeout,
    check_worker_timing,
    pages,
    read_presses,
    read_resolution,
    read_state,
)
from akool_async.durable._batch_queue import BatchQueue
from akool_async.durable._changes import Limits
from akool_async.durable._database import NOT_ENTERED, Database
from akool_async.durable._job import Job, JobCounts, JobState, write_moment
from akool_async.durable._leased_run import WorkerSetup
from akool_async.durable._opening import open_store
from akool_async.durable._outcome_reader import OutcomeReader
from akool_async.durable._store import Store
from akool_async.durable._store_journal import WorkerSession
from akool_async.durable._store_url import StoreError, StoreUrl
from akool_async.durable._worker import Worker
from akool_async.durable._worker_timing import WorkerTiming
from akool_async.session import AkoolSession

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from datetime import timedelta
    from types import TracebackType

    from akool_async import ApiKey, ButtonPress, ClientCredentials, Outcome, WebhookEvent
    from akool_async._fan_out.items import Items
    from akool_async._http.auth import Credentials
    from akool_async.durable._arguments import Press
    from akool_async.durable._changes import JobChange
    from akool_async.durable._group_writer import GroupWriter
    from akool_async.session import SessionOptions


SHORTEST: Final = 1e-9
"""Seconds. A session's waits are above 0, and ``lost_reply_timeout=0`` is allowed."""


class DurableFanOut:
    """Presses that are recorded in a store before they are made, and survive every process that makes them.

    Use it as an async context manager. Any number of processes may :meth:`submit`, :meth:`run` and read
    :meth:`outcomes` concurrently. All methods raise :class:`StoreError` if the store cannot be used.

    If the reply to a press is lost, with its worker or on its way, AKOOL may be working on it although nobody knows its
    id. Such a job keeps its slot for ``lost_reply_timeout`` seconds, counted over all workers. If no webhook brings the
    id within that time, its outcome is unknown.

    Args:
        auth: As of :class:`AkoolSession`.
        store: ``sqlite:///FILE`` for one machine, or ``postgresql://...`` for any number of machines.
        account: A fixed name for the account (ASCII letters and digits), for keys that rotate. Default: derived from
            the key.
        create: Whether to make a store that does not exist.
        max_concurrent_upscales: The cap of all workers of the account together. Start every worker with the same: the
            most recently started worker's cap applies to all.
        max_requests_per_second: The rate of all workers of the account together, divided evenly. Start every worker
            with the same.
        max_credits_per_day: What all workers of the account together may spend in a day (UTC). Once it is spent, jobs
            stay open until the next day. Start every worker with the same: the most recent press's applies to all.
        lost_reply_timeout: In seconds. Default: that of the session's ``timing``, 60 seconds; AKOOL's jobs hardly ever
            take longer.
        worker_timing: How often workers and readers poll the store, and how long they wait for it.
        session_options: Those of :class:`AkoolSession`, except ``http``: a worker has its own event loop. It calls an
            ``observer`` there.

    Raises:
        ConfigurationError: The store's address cannot be used, or as :class:`AkoolSession` raises it.
        ValueError: An argument is wrong in itself.
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
        max_credits_per_day: float | None = None,
        lost_reply_timeout: float | None = None,
        worker_timing: WorkerTiming | None = None,
        **session_options: Unpack[SessionOptions],
    ) -> None:
        if session_options.get("http") is not None:
            raise ValueError("http cannot be given: a worker has an event loop of its own")
        if account is not None:
            check_account(account)
        scale = read_scale(os.environ)
        timing = WorkerTiming().scaled(scale) if worker_timing is None else check_worker_timing(worker_timing)
        store_url = StoreUrl.read(store)
        options: dict[str, Any] = {
            **session_options,
            "max_concurrent_upscales": max_concurrent_upscales,
            "max_requests_per_second": max_requests_per_second,
        }
        account_of_key = AkoolSession(auth, **options).account_id  # which checks the session's arguments too
        session_timing = session_options.get("timing") or Timing().scaled(scale)
        if lost_reply_timeout is not None:
            seconds = check_lost_reply_timeout(lost_reply_timeout)
            options["timing"] = session_timing = evolve(session_timing, lost_reply_timeout=seconds or SHORTEST)
        if max_credits_per_day is not None:
            _validate.amount("max_credits_per_day", max_credits_per_day)
        self._account = account or account_of_key
        self._setup = WorkerSetup(
            store_url=store_url,
            account=self._account,
            make_session=partial(_make_session, auth, options),
            has_own_polling=session_options.get("polling") is not None,
            limits=Limits(
                max_upscales=max_concurrent_upscales,
                max_operations=session_options.get("max_concurrent_operations"),
                max_credits_per_day=max_credits_per_day,
                price_timeout=session_timing.price_timeout,
            ),
            max_requests_per_second=max_requests_per_second,
            timing=timing,
        )
        self._queue = BatchQueue(store_url, self._account)
        self._create = create
        self._database: Database | None = None
        self._store: Store | None = None
        self._workers: set[Worker] = set()

    async def __aenter__(self) -> Self:
        if self._database is not None:
            raise ConfigurationError("DurableFanOut is entered already: make another one")
        setup, timeout = self._setup, self._setup.timing.opening_timeout
        database = Database(setup.store_url, setup.timing)
        try:
            await database.attempt(
                partial(
                    open_store,
                    *(database.engine, setup.store_url, self._queue, self._account),
                    create=self._create,
                    timeout=timeout,
                ),
                try_timeout=timeout,
            )
        except BaseException:
            database.close()
            raise
        self._database, self._store = database, Store(self._account, database, self._queue)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        database, self._database, self._store = self._database, None, None
        try:
            for worker in list(self._workers):
                await worker.stop()
        finally:
            if database is not None:
                with suppress(StoreError):
                    await database.attempt(self._queue.close)
                database.close()

    # --- submitting and carrying out ---

    async def submit(self, items: Items, *, max_credits: float | None = None) -> int:
        """Record presses, and return how many of them are new; nothing is pressed here.

        (image id, button) identifies a job forever: a press that anybody submitted before stays the same job, whatever
        became of it. Only what ended as over its budget, and so was not pressed, is opened again. Presses are recorded
        by the thousand, and the rest when the input ends or when a press is bad.

        Args:
            items: Each a :class:`ButtonPress` or an ``(image_id, button)`` pair.
            max_credits: What those that are new may cost in all, whoever carries them out. A press that could pass it
                is not made: its job fails with :class:`BudgetError`.

        Raises:
            ValueError: One of the items is bad; those before it are recorded.
        """
        store = self._entered()
        budget = None
        if max_credits is not None:
            budget = await store.open_budget(_validate.amount("max_credits", max_credits))
        new = 0
        async with aclosing(batches_of(items)) as batches:
            async for batch in batches:
                new += await self._entered().submit(batch, budget)
        return new

    async def run(self, *, until_empty: bool = True) -> None:
        """Carry out jobs in this process.

        If this is cancelled or the block of ``async with`` is left, the worker hands its jobs over: POSTs under way end
        and are recorded, and other workers, or the next one, wait for what is running at AKOOL. If a worker dies,
        others take over its jobs within seconds.

        Args:
            until_empty: Whether to return when no job is open. Otherwise, this runs until it is cancelled.

        Raises:
            AuthenticationError, AccountBannedError: No other job would fare better; they stay open.
            InsufficientCreditError, NotPermittedError (1004): The same, once the jobs that were paid for have ended.
            BudgetError: The same, if ``max_credits_per_day`` is spent and ``until_empty`` is True.
            StoreError: The file of the store was deleted or replaced.
            ConfigurationError: Another worker runs in this process.
        """
        self._entered()
        worker = Worker(self._setup, until_empty=until_empty)
        self._workers.add(worker)
        try:
            await worker.run()
        finally:
            self._workers = {some for some in self._workers if some.is_running}

    async def notify(self, event: WebhookEvent, *, correlation_id: str | None = None) -> bool:
        """Record a webhook, in any process: the worker that has its job polls immediately.

        If it brings the id of a press whose reply was lost, the job is followed to its end. Pass this object as the
        session to a ``webhook_handler`` or a ``WebhookApp``.

        Args:
            event: As a :class:`~akool_async.webhooks.WebhookVerifier` returns it.
            correlation_id: The ``akool_press`` of the query that the webhook was sent to.

        Returns:
            True if it concerns a job of this account.
        """
        if correlation_id is not None and not (correlation_id.isascii() and correlation_id.isprintable()):
            correlation_id = None  # nobody signs it, and not every text can be stored
        return await self._entered().record_webhook(event, correlation_id)

    async def resolve(
        self, press: Press, *, operation_id: str | None = None, retry: bool = False, abandon: bool = False
    ) -> None:
        """Settle a job whose outcome is unknown, in one of three ways.

        Args:
            press: The press, or the pair (image id, button).
            operation_id: The id that you found: the job is followed to its end. Also possible while a worker waits for
                the id.
            retry: Press again, unless the id has become known or AKOOL says that the button is used. Also possible for
                a job that AKOOL refused, or that was abandoned. A worker with ``resubmit_lost=False`` does not do so.
            abandon: Count the job as failed.

        Raises:
            ValueError: Not exactly one of the three, a job that cannot be settled so, or an id that cannot be this
                press's.
        """
        resolution = read_resolution(press, operation_id, retry=retry, abandon=abandon)
        if not await self._entered().resolve(resolution):
            job = await self.job(resolution.press)
            state = "was not submitted" if job is None else f"is {job.state}"
            raise ValueError(f"press: {resolution.press} {state}; only an unknown outcome can be resolved")

    # --- reading ---

    async def outcomes(self, presses: Iterable[Press] | None = None) -> AsyncGenerator[Outcome, None]:
        """Yield the outcome of each job, those of earlier processes first, until no job is open.

        An outcome's ``operation`` is detached from any session, as an unpickled one is. Outcomes pruned before they are
        yielded are skipped.

        Args:
            presses: Yield the outcomes of these alone, until all of them have ended.

        Raises:
            ValueError: One of ``presses`` was not submitted, or is pruned.
        """
        interval = self._setup.timing.outcomes_poll_interval
        reader = OutcomeReader(self._entered(), poll_interval=interval)
        ended = (
            reader.all() if presses is None else reader.of([press async for press in read_presses("presses", presses)])
        )
        async with aclosing(ended) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def job(self, press: Press) -> Job | None:
        """Return the job of a press as it is now; None if it was not submitted."""
        found = await self.find([press])
        return found[0] if found else None

    async def find(self, presses: Iterable[Press]) -> list[Job]:
        """Return the jobs of presses as they are now; presses that were not submitted are left out."""
        found: list[Job] = []
        for page in pages([press async for press in read_presses("presses", presses)]):
            found += await self._entered().find(page)
        return found

    async def jobs(self, *states: JobState | str) -> AsyncGenerator[Job, None]:
        """Yield the jobs in these states, or all jobs, ordered by image id and button.

        Raises:
            ValueError: There is no such state.
        """
        wanted = [read_state(state) for state in states] or list(JobState)
        last: ButtonPress | None = None
        while page := await self._entered().page(wanted, last):
            for job in page:
                yield job
            last = page[-1].press

    async def status(self) -> JobCounts:
        """Count the jobs in each state, and sum up what AKOOL charged for them."""
        return await self._entered().count()

    async def prune(self, older_than: timedelta) -> int:
        """Delete the jobs that ended as done or failed longer ago than this, and return how many.

        If the same press is submitted again, it is a new job, which AKOOL refuses because its button is used. Jobs
        whose outcome is unknown stay until they are resolved.

        Raises:
            ValueError: ``older_than`` is negative, or more than 36,500 days.
        """
        before = write_moment(datetime.now(UTC) - check_age(older_than))
        pruned = 0
        while page := await self._entered().prune(before):
            pruned += page
        return pruned

    def _entered(self) -> Store:
        if self._store is None:
            raise ConfigurationError(NOT_ENTERED)
        return self._store


def _make_session(
    auth: Credentials | str | None,
    options: dict[str, Any],
    writer: GroupWriter[JobChange],
    lease: int,
    **others: object,
) -> WorkerSession:
    return WorkerSession(writer, lease, auth, **{**options, **others})
