"""The journal of a worker's session. It keeps claims, ids and counts in the store, for all workers together."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager, suppress
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from akool_async import AkoolError, ButtonPress, ResponseError, SessionClosedError
from akool_async._limits.credits import EXPECTED_PRICES
from akool_async._limits.journal import Claim, MemoryJournal
from akool_async.durable._changes import AcceptJob, ClaimJob, SearchForId, WithdrawClaim
from akool_async.session import AkoolSession

if TYPE_CHECKING:
    from collections.abc import Iterator

    from akool_async.durable._changes import JobChange
    from akool_async.durable._group_writer import GroupWriter
    from akool_async.durable._job import LeasedJob
    from akool_async.items import Item
    from akool_async.models import ImageResult
    from akool_async.polling import Polling

logger = logging.getLogger("akool_async")

MAX_POSTS: Final = 32
"""The most POSTs of each kind that one worker has under way; if it is killed, their ids are lost. POSTs that start
trees are counted separately, since they may have to wait for open trees."""


class LostLeaseError(SessionClosedError):
    """Another worker has taken over the job."""


@define(eq=False)
class StoreJournal(MemoryJournal):
    """The journal of one lease. It knows the jobs that this worker holds."""

    _writer: GroupWriter[JobChange] = field(kw_only=True)
    _lease: int = field(kw_only=True)
    _jobs: dict[Item, LeasedJob] = field(factory=dict, init=False)
    _claimed: dict[Item, LeasedJob] = field(factory=dict, init=False)
    """The jobs whose POSTs are under way, even after another worker has taken them over."""
    _posts: dict[tuple[str, bool], asyncio.Semaphore] = field(
        factory=lambda: {each: asyncio.Semaphore(MAX_POSTS) for each in product(EXPECTED_PRICES, (False, True))},
        init=False,
    )
    """Semaphores by kind of POST, and by whether it starts a tree with upscales."""
    _posting: dict[Item, asyncio.Semaphore] = field(factory=dict, init=False)

    def add(self, job: LeasedJob) -> None:
        """Add a job that this worker now holds."""
        self._jobs[job.item] = job
        # Forget an earlier outcome of the same press: somebody has settled the job since.
        self._operation_ids.pop(job.item, None)
        if isinstance(job.item, ButtonPress):
            self._lost.pop(job.item, None)
        if job.reported_id is not None:
            self._accepted.pop(job.reported_id, None)
        if job.operation_id is not None:
            self._operation_ids[job.item] = job.operation_id

    def job(self, item: Item) -> LeasedJob:
        """Return the job of an item that this worker holds."""
        return self._jobs[item]

    def remove(self, item: Item) -> None:
        """Remove a job that has ended or that another worker has."""
        self._jobs.pop(item, None)

    async def claim(self, item: Item) -> Claim:
        """Wait until the shared caps and budgets allow a press, and record its claim before the POST.

        Raises:
            LostLeaseError: Another worker has the job.
            BudgetError: The budget is spent.
        """
        if item not in self._jobs:
            raise LostLeaseError
        job = self._jobs[item]
        if not job.may_be_sent:  # settling a press in doubt takes long, and must not block others
            posts = self._posts[item.kind, job.opens_tree]
            await posts.acquire()
            self._posting[item] = posts
        try:
            is_mine = await self._writer.put(ClaimJob(job, self._lease))
        except BaseException:
            self._end_post(job.item)
            if not job.is_claimed:  # the claim may have been written just now
                self._writer.put(WithdrawClaim(job, self._lease))
            raise
        if not is_mine:
            self._end_post(job.item)
            raise LostLeaseError
        self._claimed[item] = job
        job.is_claimed = True
        return Claim(
            correlation_id=job.correlation_id,
            may_be_sent=job.may_be_sent,
            reported_id=job.reported_id,
            seconds_searched=job.seconds_searched,
        )

    def release(self, item: Item, claim: Claim, *, may_be_accepted: bool) -> None:  # noqa: ARG002 - the base class needs it
        """End a claim without an id. If AKOOL may have accepted the press, it counts until its job ends."""
        job = self._claimed_job(item)
        del self._claimed[item]
        self._end_post(job.item)
        if may_be_accepted:
            job.may_be_sent = True
        else:
            job.is_claimed = False
            self._writer.put(WithdrawClaim(job, self._lease))

    async def record(self, item: Item, images: list[ImageResult]) -> list[ImageResult]:
        """Record the id that AKOOL returned for a press, and return its image.

        Raises:
            ResponseError: The id belongs to another job.
        """
        new = await super().record(item, images)
        job = self._claimed_job(item)
        image, *others = new
        for other in others:
            logger.warning(
                "AKOOL returned a further image for the same POST, which is not recorded: %s of %s", other.id, item
            )
        if not await self._writer.put(AcceptJob(job, image.id, image.deduction_credit)):
            raise ResponseError(f"AKOOL's reply has the id of another press, {image.id}")
        del self._claimed[item]
        self._end_post(job.item)
        job.operation_id, job.credits = image.id, image.deduction_credit
        return new

    @contextmanager
    def searching(self, item: Item, seconds_searched: float) -> Iterator[None]:
        """Record how long this block searches for a lost id. Other POSTs may be sent in the meantime."""
        job = self._claimed_job(item)
        self._end_post(job.item)
        loop = asyncio.get_running_loop()
        began = loop.time() - seconds_searched
        self._writer.put(SearchForId(job, self._lease, seconds_searched))
        try:
            yield
        finally:
            self._writer.put(SearchForId(job, self._lease, loop.time() - began))

    def _claimed_job(self, item: Item) -> LeasedJob:
        return self._claimed[item]

    def _end_post(self, item: Item) -> None:
        if item in self._posting:
            self._posting.pop(item).release()


class WorkerSession(AkoolSession):
    """The session of a worker, with a journal in the store."""

    _journal: StoreJournal

    def __init__(self, writer: GroupWriter[JobChange], lease: int, *args: Any, **options: Any) -> None:  # noqa: ANN401 - a session's
        self._new_journal = partial(StoreJournal, writer=writer, lease=lease)
        super().__init__(*args, **options)

    def limit_requests(self, rate: float) -> None:
        """Change the maximum number of requests per second."""
        self._rate_limiter.rate = rate

    @property
    def journal(self) -> StoreJournal:
        """The journal of the presses."""
        return self._journal

    @property
    def polling(self) -> Polling:
        """The schedule of polls of this session."""
        return self._settings.polling

    async def is_used(self, press: ButtonPress) -> bool:
        """Return whether AKOOL reports a button as used; False if the source image cannot be read."""
        with suppress(AkoolError):
            return await self.reconcile(press.image_id, press.button) is True
        return False

    def _make_journal(self) -> StoreJournal:
        return self._new_journal(self._slots, self._settings.timing.price_timeout)
