"""The outcomes of jobs, in the order in which they ended, at whichever process."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from akool_async.durable._arguments import pages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from akool_async import ButtonPress, Outcome
    from akool_async.durable._database import Database
    from akool_async.durable._job import Job
    from akool_async.durable._job_store import Jobs

FEW: Final = 100
"""Presses that are asked for by name; of more, it is cheaper to see what has ended at all."""


class Outcomes:
    """Read from the ``database`` of a fan-out, for as long as it is entered."""

    def __init__(self, jobs: Jobs, database: Callable[[], Database], *, poll_interval: float) -> None:
        self._jobs = jobs
        self._database = database
        self._poll_interval = poll_interval

    async def all(self, after: int = 0) -> AsyncGenerator[Outcome, None]:
        """Of jobs whose ends are numbered higher than this, until no job is open."""
        while True:
            is_last = not await self._database().read(self._jobs.has_open)
            while page := await self._ended_after(after):
                for number, job in page:
                    after = number
                    if job.outcome is not None:  # pragma: no branch - it has ended
                        yield job.outcome
            if is_last:
                return
            await asyncio.sleep(self._poll_interval)

    async def of(self, presses: list[ButtonPress]) -> AsyncGenerator[Outcome, None]:
        """Of these, until all are told.

        Raises:
            ValueError: one of them was not submitted, or is pruned.
        """
        left = set(presses)
        while left:
            began = await self._database().read(self._jobs.last_end)
            for some in pages([press for press in dict.fromkeys(presses) if press in left]):
                for job in await self._find(some):
                    if job.outcome is not None:
                        left.remove(job.press)
                        yield job.outcome
            if not left:
                return
            if len(left) <= FEW:
                await asyncio.sleep(self._poll_interval)
                continue
            async with aclosing(self.all(began)) as ended:
                async for outcome in ended:  # pragma: no branch - unless what is left is pruned meanwhile
                    if outcome.press in left:
                        left.remove(outcome.press)
                        yield outcome
                    if not left:
                        return

    async def _find(self, presses: list[ButtonPress]) -> list[Job]:
        found = await self._database().read(lambda state: self._jobs.find(state, presses))
        missing = set(presses) - {job.press for job in found}
        if missing:
            raise ValueError(f"presses: {missing.pop()} was not submitted, or is forgotten")
        return found

    async def _ended_after(self, number: int) -> list[tuple[int, Job]]:
        return await self._database().read(lambda state: self._jobs.ended_after(state, number))
