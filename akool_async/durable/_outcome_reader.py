"""Read the outcomes of jobs in the order in which they ended, whichever process carried them out."""

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
"""The most jobs that are looked up by id. With more, reading all new ends is cheaper."""


class OutcomeReader:
    """Reads the outcomes of an account."""

    def __init__(self, store: Store, *, poll_interval: float) -> None:
        self._store = store
        self._poll_interval = poll_interval
        self._parents: Recent[str, Outcome] = Recent()
        """Outcomes of jobs that have further jobs below them, by job id."""

    async def all(self) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of all jobs, until no job is open."""
        async with aclosing(self._ended(0)) as ended:
            async for job in ended:
                for outcome in await self._outcomes_of(job):
                    yield outcome

    async def of(self, job_items: Iterable[JobItem]) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of these jobs and of the jobs below them, until all have ended.

        Raises:
            ValueError: One of the jobs was not submitted, or was pruned.
        """
        wanted = _Wanted(self._store, job_items)
        while wanted.left:
            last_end, before = await self._store.last_end(), len(wanted.seen)
            for page in pages(list(wanted.left)):
                for outcome in await self._take_outcomes(wanted, await wanted.find(page)):
                    yield outcome
            if len(wanted.seen) > before:  # the jobs below them may have ended long ago
                continue
            if len(wanted.left) <= LOOKUP_LIMIT:
                await asyncio.sleep(self._poll_interval)
                continue
            async with aclosing(self._ended(last_end)) as ended:
                async for job in ended:  # pragma: no branch - unless the rest is pruned in the meantime
                    for outcome in await self._take_outcomes(wanted, [job]):
                        yield outcome
                    if not wanted.left:
                        return

    async def _take_outcomes(self, wanted: _Wanted, jobs: list[Job]) -> list[Outcome]:
        """Return the outcomes of those jobs that are wanted and have ended."""
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
        """Return the outcome of a job. If it made no image, add those of the presses that are therefore not made."""
        outcome = job.outcome
        if outcome is None:  # pragma: no cover - it was reopened just now
            return []
        if job.parent_id is not None:
            outcome = evolve(outcome, parent=await self._parent(job.parent_id))
        if job.then and outcome.ok:
            self._parents[job.job_id] = outcome
        return [outcome] if outcome.ok else [outcome, *outcomes_below(outcome, job.then)]

    async def _parent(self, job_id: str) -> Outcome | None:
        """Return the outcome of a job, with its parents; None if the job was pruned."""
        if job_id not in self._parents:
            for job in await self._store.find([job_id]):
                await self._outcomes_of(job)
        return self._parents.get(job_id)


class _Wanted:
    """The jobs whose outcomes are wanted."""

    def __init__(self, store: Store, job_items: Iterable[JobItem]) -> None:
        self._store = store
        self._asked_for = {store.job_id(job_item): job_item for job_item in job_items}
        self.left = dict.fromkeys(self._asked_for)
        """The ids of jobs that have not ended, in order."""
        self.seen: set[str] = set()

    async def find(self, page: list[str]) -> list[Job]:
        """Return the current jobs with these ids.

        Raises:
            ValueError: A requested job was not submitted, or was pruned.
        """
        found = await self._store.find(page)
        for missing in set(page) - {job.job_id for job in found}:
            if missing in self._asked_for:
                raise ValueError(f"items: {self._asked_for[missing].item} was not submitted, or was pruned")
            del self.left[missing]
        return found

    def take(self, job: Job) -> bool:
        """Return whether a job is wanted and has ended. If so, the jobs below it become wanted too."""
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
