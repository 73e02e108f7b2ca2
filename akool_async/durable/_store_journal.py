"""The journal of a worker's session: what it remembers and counts is in the store, for all workers together."""

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
"""POSTs of each kind that one worker has under way; those that open trees count apart, since they may have to wait for
presses on images that are there. If it is killed, their ids are lost."""


class LostLeaseError(SessionClosedError):
    """Another worker has taken the job over."""


@define(eq=False)
class StoreJournal(MemoryJournal):
    """The journal of one lease. A press is known to it while its job is this worker's."""

    _writer: GroupWriter[JobChange] = field(kw_only=True)
    _lease: int = field(kw_only=True)
    _jobs: dict[Item, LeasedJob] = field(factory=dict, init=False)
    _claimed: dict[Item, LeasedJob] = field(factory=dict, init=False)
    """Those that are being pressed, also after they were left to another worker."""
    _posts: dict[tuple[str, bool], asyncio.Semaphore] = field(
        factory=lambda: {each: asyncio.Semaphore(MAX_POSTS) for each in product(EXPECTED_PRICES, (False, True))},
        init=False,
    )
    """By kind, and whether they open trees."""
    _posting: dict[Item, asyncio.Semaphore] = field(factory=dict, init=False)

    def add(self, job: LeasedJob) -> None:
        """This worker has a job from now on."""
        self._jobs[job.item] = job
        # What this session remembers of an earlier end does not count: somebody has settled the job since.
        self._operation_ids.pop(job.item, None)
        if isinstance(job.item, ButtonPress):
            self._lost.pop(job.item, None)
        if job.reported_id is not None:
            self._accepted.pop(job.reported_id, None)
        if job.operation_id is not None:
            self._operation_ids[job.item] = job.operation_id

    def job(self, item: Item) -> LeasedJob:
        """The job of an item that this worker has."""
        return self._jobs[item]

    def remove(self, item: Item) -> None:
        """The job has ended, or is another worker's."""
        self._jobs.pop(item, None)

    async def claim(self, item: Item) -> Claim:
        """Wait until the caps and budgets of all workers allow a press, and record that it is about to be made.

        Raises:
            LostLeaseError: Another worker has the job.
            BudgetError: The budget is spent.
        """
        if item not in self._jobs:
            raise LostLeaseError
        job = self._jobs[item]
        if not job.may_be_sent:  # what is in doubt may take long, and holds up no others
            posts = self._posts[item.kind, job.opens_tree]
            await posts.acquire()
            self._posting[item] = posts
        try:
            is_mine = await self._writer.put(ClaimJob(job, self._lease))
        except BaseException:
            self._end_post(job.item)
            if not job.is_claimed:  # it may have been claimed just now
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

    def release(self, item: Item, claim: Claim, *, may_be_accepted: bool) -> None:  # noqa: ARG002 - its job is known
        """The press was not accepted, as far as is known. If it may have been, it counts until its job ends."""
        job = self._claimed_job(item)
        del self._claimed[item]
        self._end_post(job.item)
        if may_be_accepted:
            job.may_be_sent = True
        else:
            job.is_claimed = False
            self._writer.put(WithdrawClaim(job, self._lease))

    async def record(self, item: Item, images: list[ImageResult]) -> list[ImageResult]:
        """Record the id that AKOOL gave a press, and return its image.

        Raises:
            ResponseError: It is the id of another operation.
        """
        new = await super().record(item, images)
        job = self._claimed_job(item)
        image, *others = new
        for other in others:
            logger.warning("AKOOL made a further image %s for %s", other.id, item)
        if not await self._writer.put(AcceptJob(job, image.id, image.deduction_credit)):
            raise ResponseError(f"a reply with the id of another press, {image.id}")
        del self._claimed[item]
        self._end_post(job.item)
        job.operation_id, job.credits = image.id, image.deduction_credit
        return new

    @contextmanager
    def searching(self, item: Item, seconds_searched: float) -> Iterator[None]:
        """In this block the id of a press is waited for: others press meanwhile."""
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
    """The session of a worker."""

    _journal: StoreJournal

    def __init__(self, writer: GroupWriter[JobChange], lease: int, *args: Any, **options: Any) -> None:  # noqa: ANN401 - a session's
        self._new_journal = partial(StoreJournal, writer=writer, lease=lease)
        super().__init__(*args, **options)

    def limit_requests(self, rate: float) -> None:
        """Change the rate of requests."""
        self._rate_limiter.rate = rate

    @property
    def journal(self) -> StoreJournal:
        """What remembers the presses."""
        return self._journal

    @property
    def polling(self) -> Polling:
        """The schedule of this session."""
        return self._settings.polling

    async def is_used(self, press: ButtonPress) -> bool:
        """Whether the source image shows a button as used."""
        with suppress(AkoolError):
            return await self.reconcile(press.image_id, press.button) is True
        return False

    def _make_journal(self) -> StoreJournal:
        return self._new_journal(self._slots, self._settings.timing.price_timeout)
