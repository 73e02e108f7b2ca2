"""Reads the outcomes of jobs in the order in which they ended, whichever process ended them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from attrs import evolve

from akool_async import ButtonPress
from akool_async._fan_out.tree import outcomes_below
from akool_async._limits.recent import Recent
from akool_async.durable._arguments import pages
from akool_async.durable._job_items import JobItem

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from akool_async import Outcome
    from akool_async.durable._job import Job
    from akool_async.durable._store import Store

LOOKUP_LIMIT: Final = 100
"""Jobs that are looked up by their ids. With more, it is cheaper to read whatever has ended."""


class OutcomeReader:
    """Reads the outcomes of an account."""

    def __init__(self, store: Store, *, poll_interval: float) -> None:
        self._store = store
        self._poll_interval = poll_interval
        self._parents: Recent[str, Outcome] = Recent()
        """Outcomes of jobs on whose results others are pressed."""

    async def all(self) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of all jobs, until no job is open."""
        async with aclosing(self._ended(0)) as ended:
            async for job in ended:
                for outcome in await self._outcomes_of(job):
                    yield outcome

    async def of(self, job_items: Iterable[JobItem]) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of these jobs and of all that is pressed on their results, until all of them have ended.

        Raises:
            ValueError: One of them was not submitted, or is pruned.
        """
        wanted = _Wanted(self._store, job_items)
        while wanted.left:
            last_end, before = await self._store.last_end(), len(wanted.seen)
            for page in pages(list(wanted.left)):
                for outcome in await self._taken(wanted, await wanted.find(page)):
                    yield outcome
            if len(wanted.seen) > before:  # what is pressed on their results may have ended long ago
                continue
            if len(wanted.left) <= LOOKUP_LIMIT:
                await asyncio.sleep(self._poll_interval)
                continue
            async with aclosing(self._ended(last_end)) as ended:
                async for job in ended:  # pragma: no branch - unless what is left is pruned meanwhile
                    for outcome in await self._taken(wanted, [job]):
                        yield outcome
                    if not wanted.left:
                        return

    async def _taken(self, wanted: _Wanted, jobs: list[Job]) -> list[Outcome]:
        """The outcomes of those among these jobs that are wanted and have ended."""
        return [outcome for job in jobs if wanted.take(job) for outcome in await self._outcomes_of(job)]

    async def _ended(self, after: int) -> AsyncGenerator[Job, None]:
        """Yield the jobs whose end has a higher number than ``after``, until no job is open."""
        while True:
            is_last = not await self._store.has_open()
            while page := await self._store.ended_after(after):
                for number, job in page:
                    after = number
                    yield job
            if is_last:
                return
            await asyncio.sleep(self._poll_interval)

    async def _outcomes_of(self, job: Job) -> list[Outcome]:
        """The outcome of a job, and those of all that cannot be pressed because it made no image."""
        outcome = job.outcome
        if outcome is None:  # pragma: no cover - somebody has opened it again just now
            return []
        if job.parent_id is not None:
            outcome = evolve(outcome, parent=await self._parent(job.parent_id))
        if job.then and outcome.ok:
            self._parents[job.job_id] = outcome
        return [outcome] if outcome.ok else [outcome, *outcomes_below(outcome, job.then)]

    async def _parent(self, job_id: str) -> Outcome | None:
        """The outcome of a job with its own parents; None if it is pruned."""
        if job_id not in self._parents:
            for job in await self._store.find([job_id]):
                await self._outcomes_of(job)
        return self._parents.get(job_id)


class _Wanted:
    """The jobs of which outcomes are wanted."""

    def __init__(self, store: Store, job_items: Iterable[JobItem]) -> None:
        self._store = store
        self._asked_for = {store.job_id(job_item): job_item for job_item in job_items}
        self.left = dict.fromkeys(self._asked_for)
        """Those that have not ended, in order."""
        self.seen: set[str] = set()

    async def find(self, page: list[str]) -> list[Job]:
        """These jobs as they are now.

        Raises:
            ValueError: One that was asked for was not submitted, or is pruned.
        """
        found = await self._store.find(page)
        for missing in set(page) - {job.job_id for job in found}:
            if missing in self._asked_for:
                raise ValueError(f"items: {self._asked_for[missing].item} was not submitted, or is pruned")
            del self.left[missing]
        return found

    def take(self, job: Job) -> bool:
        """True if a job is wanted and has ended. What is pressed on its result is wanted then, too."""
        if job.outcome is None or job.job_id not in self.left:
            return False
        del self.left[job.job_id]
        self.seen.add(job.job_id)
        if job.outcome.ok and job.operation_id is not None:
            for branch in job.then:
                below = self._store.job_id(JobItem(ButtonPress(job.operation_id, branch.button)))
                if below not in self.seen:
                    self.left[below] = None
        return True
