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
    read_items,
    read_one,
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

    from akool_async import ApiKey, ClientCredentials, Outcome, WebhookEvent
    from akool_async._fan_out.items import AnyItem, Items
    from akool_async._http.auth import Credentials
    from akool_async.durable._changes import JobChange
    from akool_async.durable._group_writer import GroupWriter
    from akool_async.session import SessionOptions


SHORTEST: Final = 1e-9
"""Seconds. A session's waits are above 0, and ``lost_reply_timeout=0`` is allowed."""


class DurableFanOut:
    """Presses and prompts that are recorded in a store before they are sent, and survive every process that sends them.

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
        """Record presses and prompts, and return how many of them are new; nothing is sent here.

        (image id, button) identifies a press forever, and its ``key`` a prompt: what anybody submitted before stays the
        same job, whatever became of it. Only what ended as over its budget, and so was not sent, is opened again.
        What is pressed on a result (``then``) is recorded in the transaction that records the result. If the same item
        is submitted again with a longer ``then``, what is missing is added; an open job that has a budget keeps it.

        A prompt without a key gets one: its content, and how often the same came before in ``items``. So the same input
        is the same jobs. Each image of a batch (v4) is a job of its own.

        Items are recorded by the thousand, and the rest when the input ends or when an item is bad.

        Args:
            items: Each a :class:`ButtonPress`, an ``(image_id, button)`` pair, a :class:`Prompt` or a
                :class:`SourcePrompt`.
            max_credits: What those that are new, and what is pressed on their results, may cost in all, whoever carries
                them out. What could pass it is not sent: its job fails with :class:`BudgetError`.

        Raises:
            ValueError: One of the items is bad, or a prompt has the key of another one; those before it are recorded,
                by the thousand.
        """
        store = self._entered()
        budget = None
        if max_credits is not None:
            budget = await store.open_budget(_validate.amount("max_credits", max_credits))
        new = 0
        async with aclosing(batches_of(items, budget)) as batches:
            async for batch in batches:
                new += await self._entered().submit(batch)
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
        self, item: AnyItem | Job | str, *, operation_id: str | None = None, retry: bool = False, abandon: bool = False
    ) -> None:
        """Settle a job whose outcome is unknown, in one of three ways.

        Args:
            item: The job, or what it is for: the press, the pair (image id, button), the prompt, or its key.
            operation_id: The id that you found: the job is followed to its end. Also possible while a worker waits for
                the id.
            retry: Press again, unless the id has become known or AKOOL says that the button is used. A prompt is sent
                again, which may cost its credits twice. Also possible for a job that AKOOL refused, or that was
                abandoned. A worker with ``resubmit_lost=False`` presses no button again.
            abandon: Count the job as failed.

        Raises:
            ValueError: Not exactly one of the three, a job that cannot be settled so, or an id that cannot be this
                item's.
        """
        resolution = read_resolution(item, operation_id, retry=retry, abandon=abandon)
        if not await self._entered().resolve(resolution):
            job = await self.job(resolution.job_item.item)
            state = "was not submitted" if job is None else f"is {job.state}"
            raise ValueError(f"item: {resolution.job_item.item} {state}; only an unknown outcome can be resolved")

    # --- reading ---

    async def outcomes(self, items: Iterable[AnyItem] | None = None) -> AsyncGenerator[Outcome, None]:
        """Yield the outcome of each job, those of earlier processes first, until no job is open.

        Outcomes know their ``parent``. If a job made no image, all that was to be pressed on it comes out after it,
        with :class:`NotPressedError` or :class:`BudgetError`. An outcome's ``operation`` is detached from any session,
        as an unpickled one is. Outcomes pruned before they are yielded are skipped.

        Args:
            items: Yield the outcomes of these alone and of what is pressed on their results, until all have ended.

        Raises:
            ValueError: One of ``items`` was not submitted, or is pruned.
        """
        store = self._entered()
        reader = OutcomeReader(store, poll_interval=self._setup.timing.outcomes_poll_interval)
        ended = (
            reader.all() if items is None else reader.of([job_item async for job_item, _ in read_items("items", items)])
        )
        async with aclosing(ended) as outcomes:
            async for outcome in outcomes:
                yield outcome

    async def job(self, item: AnyItem | Job | str) -> Job | None:
        """Return the job of an item, or of the prompt with a key; None if it was not submitted.

        Of a batch this is the job of its first image. Those of the others have the keys ``KEY#2``, ``KEY#3``, ...
        """
        found = await self._entered().find([self._entered().job_id(read_one("item", item))])
        return found[0] if found else None

    async def find(self, items: Iterable[AnyItem]) -> list[Job]:
        """Return the jobs of items as they are now; those that were not submitted are left out."""
        found: list[Job] = []
        store = self._entered()
        for page in pages([store.job_id(job_item) async for job_item, _ in read_items("items", items)]):
            found += await store.find(page)
        return found

    async def jobs(self, *states: JobState | str) -> AsyncGenerator[Job, None]:
        """Yield the jobs in these states, or all: prompts in the order of their keys, then presses by image and button.

        Raises:
            ValueError: There is no such state.
        """
        wanted = [read_state(state) for state in states] or list(JobState)
        last: str | None = None
        while page := await self._entered().page(wanted, last):
            for job in page:
                yield job
            last = page[-1].job_id

    async def status(self) -> JobCounts:
        """Count the jobs in each state, and sum up what AKOOL charged for them."""
        return await self._entered().count()

    async def prune(self, older_than: timedelta) -> int:
        """Delete the jobs that ended as done or failed longer ago than this, and return how many.

        If the same press is submitted again, it is a new job, which AKOOL refuses because its button is used. A prompt
        that is submitted again is made again, and paid for again, with all that is pressed on its result. Jobs whose
        outcome is unknown stay until they are resolved.

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
