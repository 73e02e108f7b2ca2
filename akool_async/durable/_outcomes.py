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
    from akool_async.durable._job import End, Job
    from akool_async.durable._jobs import Jobs

LOOK_INTERVAL: Final = 0.5
"""Seconds between two looks for what has ended."""
FEW: Final = 100
"""Presses that are asked for by name; of more, it is cheaper to see what has ended at all."""
OVERLAP: Final = 60_000_000
"""Microseconds by which ended jobs are read again: a transaction is seen some time after the moment that it notes."""


class Outcomes:
    """Read from the ``database`` of a fan-out, for as long as it is entered."""

    def __init__(self, jobs: Jobs, database: Callable[[], Database]) -> None:
        self._jobs = jobs
        self._database = database

    async def all(self, since: int = 0) -> AsyncGenerator[Outcome, None]:
        """Of jobs that ended since then, in microseconds since the epoch, until none is open."""
        recent: set[End] = set()
        while True:
            is_last = not await self._database().read(self._jobs.has_open)
            place: End = (since - OVERLAP, "")
            while page := await self._ends(place):
                place = page[-1]
                new = [job for moment, job in page if (moment, job) not in recent]
                recent = {end for end in (*recent, *page) if end[0] >= place[0] - OVERLAP}
                for job in await self._named(new):
                    if job.outcome is not None:  # it was not opened again meanwhile
                        yield job.outcome
            if is_last:
                return
            since = max(since, place[0])
            await asyncio.sleep(LOOK_INTERVAL)

    async def of(self, presses: list[ButtonPress]) -> AsyncGenerator[Outcome, None]:
        """Of these, until all are told.

        Raises:
            ValueError: one of them was not submitted, or is pruned.
        """
        left = set(presses)
        while left:
            began = await self._database().read(self._jobs.now)
            for some in pages([press for press in dict.fromkeys(presses) if press in left]):
                for job in await self._find(some):
                    if job.outcome is not None:
                        left.remove(job.press)
                        yield job.outcome
            if not left:
                return
            if len(left) <= FEW:
                await asyncio.sleep(LOOK_INTERVAL)
                continue
            async with aclosing(self.all(began)) as ended:
                async for outcome in ended:
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

    async def _ends(self, after: End) -> list[End]:
        return await self._database().read(lambda state: self._jobs.ends(state, after))

    async def _named(self, names: list[str]) -> list[Job]:
        return await self._database().read(lambda state: self._jobs.named(state, names)) if names else []
