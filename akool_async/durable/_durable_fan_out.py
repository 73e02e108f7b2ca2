"""The fan-out that survives the end of its process."""

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
    check_account,
    check_age,
    check_lost_reply_timeout,
    check_worker_timing,
    pages,
    read_batches,
    read_items,
    read_one,
    read_resolution,
    read_state,
)
from akool_async.durable._batch_queue import BatchQueue
from akool_async.durable._changes import Limits
from akool_async.durable._database import NOT_ENTERED, Database
from akool_async.durable._job import Job, JobCounts, JobState, to_microseconds
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
"""Seconds that stand for ``lost_reply_timeout=0``, since a session requires timeouts above 0."""


class DurableFanOut:
    """Presses and prompts that are recorded in a store before they are sent, and survive every process that sends them.

    Use it as an async context manager. Any number of processes may :meth:`submit`, :meth:`run` and read
    :meth:`outcomes` concurrently. All methods raise :class:`StoreError` if the store cannot be used.

    If a worker dies during a press, or the network loses AKOOL's reply, AKOOL may be working on the press although its
    id is not known. Such a job keeps its slot for ``lost_reply_timeout`` seconds, summed over all workers. If no
    webhook reports the id within that time, its outcome is unknown.

    Args:
        auth: The credentials, as for :class:`AkoolSession`.
        store: ``sqlite:///FILE`` for one machine, or ``postgresql://...`` for any number of machines.
        account: A fixed name for the account (ASCII letters and digits), for keys that rotate. Default: derived from
            the key.
        create: Whether to create a store that does not exist.
        max_concurrent_upscales: The most concurrent upscales of all workers of the account together. Start every worker
            with the same value: each applies its own value to the upscales of all workers.
        max_requests_per_second: The most requests per second of all workers of the account together, divided evenly
            among them. Start every worker with the same value.
        max_credits_per_day: The most credits that all workers of the account together may spend in a day (UTC). Once
            they are spent, jobs stay open until the next day. Start every worker with the same value: the budget of the
            worker that pressed last applies.
        lost_reply_timeout: Seconds to wait for the id of a press whose reply was lost. Default: 60, or that of the
            session's ``timing``. AKOOL's jobs rarely take longer.
        worker_timing: How often workers and readers poll the store, and how long they wait for it.
        session_options: The other options of :class:`AkoolSession`, except ``http``: a worker runs in an event loop of
            its own. It calls an ``observer`` in that loop.

    Raises:
        ConfigurationError: The store's URL or the key cannot be used.
        ValueError: An argument is not valid.
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
            raise ValueError(
                "http cannot be given: a worker runs in an event loop of its own, and makes its own HTTP session"
            )
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
        account_of_key = AkoolSession(auth, **options).account_id  # this also checks the session's arguments
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
            raise ConfigurationError("this DurableFanOut is entered already: make another one")
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
        """Record presses and prompts without sending them, and return how many jobs this adds or reopens.

        A press is identified by its image id and button, and a prompt by its ``key``. Submitting one again changes
        nothing, even after it has ended. There are two exceptions: a job that was not sent because it exceeded its
        budget is opened again, and a longer ``then`` adds the missing buttons. An open job that has a budget keeps it.
        The buttons of a ``then`` are recorded in the transaction that records the result that they are pressed on.

        A prompt without a key gets one, made of its content and a count of equal prompts before it in ``items``. So the
        same input always means the same jobs. Each image of a batch (v4) is a separate job.

        Items are recorded in transactions of up to a thousand jobs. The last one commits when the input ends or an item
        is wrong.

        Args:
            items: Each a :class:`ButtonPress`, an ``(image_id, button)`` pair, a :class:`Prompt` or a
                :class:`SourcePrompt`.
            max_credits: The most credits that the new items and the presses on their results may cost together,
                whichever worker carries them out. A job that could exceed this is not sent, and fails with
                :class:`BudgetError`. Default: no limit.

        Raises:
            ValueError: An item is wrong, or a prompt has the key of another prompt. In the first case the items before
                it are recorded, in the second at least the full thousands before it.
        """
        store = self._entered()
        budget = None
        if max_credits is not None:
            budget = await store.open_budget(_validate.amount("max_credits", max_credits))
        new = 0
        async with aclosing(read_batches(items, budget)) as batches:
            async for batch in batches:
                new += await self._entered().submit(batch)
        return new

    async def run(self, *, until_empty: bool = True) -> None:
        """Carry out jobs in this process.

        If this is cancelled or the ``async with`` block ends, the worker hands over its jobs: it finishes and records
        the POSTs under way, and other workers, or the next one, follow the operations that are running at AKOOL. If a
        worker dies, others take over its jobs within seconds.

        Args:
            until_empty: Whether to return when no job is open. Otherwise, this runs until it is cancelled.

        Raises:
            AuthenticationError, AccountBannedError: AKOOL refuses every request of the account. Jobs stay open.
            InsufficientCreditError, NotPermittedError (1004): AKOOL refuses every POST of the account. Raised once the
                jobs that were paid for have ended; the others stay open.
            BudgetError: ``max_credits_per_day`` is spent and ``until_empty`` is True. Jobs stay open.
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
        """Record a webhook that this process received. The worker that has its job then polls immediately.

        If the webhook reports the id of a press whose reply was lost, the job is followed to its end. Pass this object
        as the session to a ``webhook_handler`` or a ``WebhookApp``.

        Args:
            event: The event that a :class:`~akool_async.webhooks.WebhookVerifier` returned.
            correlation_id: The parameter ``akool_press`` of the URL that the webhook was sent to.

        Returns:
            True if the webhook belongs to a job of this account.
        """
        if correlation_id is not None and not (correlation_id.isascii() and correlation_id.isprintable()):
            correlation_id = None  # the URL is not signed, and a database cannot store every text
        return await self._entered().record_webhook(event, correlation_id)

    async def resolve(
        self, item: AnyItem | Job | str, *, operation_id: str | None = None, retry: bool = False, abandon: bool = False
    ) -> None:
        """Settle a job whose outcome is unknown, in one of three ways.

        Args:
            item: The job, its press, its pair ``(image_id, button)``, its prompt or the key of its prompt.
            operation_id: The id of the image that the press or prompt made. A worker follows the job to its end. Also
                allowed while a worker searches for the id.
            retry: Press again, unless the id has become known or AKOOL reports the button as used. A prompt is sent
                again, which may cost its credits twice. Also allowed for a job that AKOOL refused or that was
                abandoned. A worker with ``resubmit_lost=False`` presses no button again.
            abandon: Count the job as failed.

        Raises:
            ValueError: Not exactly one of the three is given, the job is not in a state that allows it, or the id
                cannot be that of this item.
        """
        resolution = read_resolution(item, operation_id, retry=retry, abandon=abandon)
        if not await self._entered().resolve(resolution):
            job = await self.job(resolution.job_item.item)
            state = "was not submitted" if job is None else f"is {job.state}"
            raise ValueError(f"item: {resolution.job_item.item} {state}; only an unknown outcome can be resolved")

    # --- reading ---

    async def outcomes(self, items: Iterable[AnyItem] | None = None) -> AsyncGenerator[Outcome, None]:
        """Yield the outcome of each job in the order in which they ended, until no job is open.

        Outcomes have their ``parent``. If a job made no image, the presses planned on it follow it, each with
        :class:`NotPressedError` or :class:`BudgetError`. An outcome's ``operation`` is detached from any session, like
        an unpickled one. Outcomes pruned before they are yielded are skipped.

        Args:
            items: Yield only the outcomes of these items and of the presses on their results, until all have ended.
                Default: all items of the account.

        Raises:
            ValueError: One of ``items`` was not submitted, or was pruned.
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
        """Return the job of an item, or of the prompt with this key; None if it was not submitted.

        For a batch this is the job of the first image. The other images have the keys ``KEY#2``, ``KEY#3``, and so on.
        """
        found = await self._entered().find([self._entered().job_id(read_one("item", item))])
        return found[0] if found else None

    async def find(self, items: Iterable[AnyItem]) -> list[Job]:
        """Return the current jobs of items. Items that were not submitted are left out."""
        found: list[Job] = []
        store = self._entered()
        for page in pages([store.job_id(job_item) async for job_item, _ in read_items("items", items)]):
            found += await store.find(page)
        return found

    async def jobs(self, *states: JobState | str) -> AsyncGenerator[Job, None]:
        """Yield the jobs in these states, or all jobs: first prompts, sorted by key, then presses, by image and button.

        Raises:
            ValueError: A state does not exist.
        """
        wanted = [read_state(state) for state in states] or list(JobState)
        last: str | None = None
        while page := await self._entered().page(wanted, last):
            for job in page:
                yield job
            last = page[-1].job_id

    async def status(self) -> JobCounts:
        """Count the jobs in each state, and sum up the credits that AKOOL charged for them."""
        return await self._entered().count()

    async def prune(self, older_than: timedelta) -> int:
        """Delete the jobs that ended as done or failed longer ago than this, and return their number.

        A pruned press that is submitted again is a new job. It ends as unknown, because AKOOL reports its button as
        used. A pruned prompt that is submitted again is sent and paid for again, with all presses on its result. Jobs
        whose outcome is unknown are not deleted.

        Raises:
            ValueError: ``older_than`` is negative, or more than 36,500 days.
        """
        before = to_microseconds(datetime.now(UTC) - check_age(older_than))
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
