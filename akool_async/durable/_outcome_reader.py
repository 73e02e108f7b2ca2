"""Reads the outcomes of jobs in the order in which they ended, whichever process ended them."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from akool_async.durable._arguments import pages

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from akool_async import ButtonPress, Outcome
    from akool_async.durable._job import Job
    from akool_async.durable._store import Store

LOOKUP_LIMIT: Final = 100
"""Presses that are looked up by their ids. With more, it is cheaper to read whatever has ended."""


class OutcomeReader:
    """Reads the outcomes of an account."""

    def __init__(self, store: Store, *, poll_interval: float) -> None:
        self._store = store
        self._poll_interval = poll_interval

    async def all(self, after: int = 0) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of jobs whose end has a higher number than ``after``, until no job is open."""
        while True:
            is_last = not await self._store.has_open()
            while page := await self._store.ended_after(after):
                for number, job in page:
                    after = number
                    if job.outcome is not None:  # pragma: no branch - it has ended
                        yield job.outcome
            if is_last:
                return
            await asyncio.sleep(self._poll_interval)

    async def of(self, presses: list[ButtonPress]) -> AsyncGenerator[Outcome, None]:
        """Yield the outcomes of these presses, until all of them have ended.

        Raises:
            ValueError: One of them was not submitted, or is pruned.
        """
        left = set(presses)
        while left:
            last_end = await self._store.last_end()
            for page in pages([press for press in dict.fromkeys(presses) if press in left]):
                for job in await self._find(page):
                    if job.outcome is not None:
                        left.remove(job.press)
                        yield job.outcome
            if not left:
                return
            if len(left) <= LOOKUP_LIMIT:
                await asyncio.sleep(self._poll_interval)
                continue
            async with aclosing(self.all(last_end)) as ended:
                async for outcome in ended:  # pragma: no branch - unless what is left is pruned meanwhile
                    if outcome.press in left:
                        left.remove(outcome.press)
                        yield outcome
                    if not left:
                        return

    async def _find(self, presses: list[ButtonPress]) -> list[Job]:
        found = await self._store.find(presses)
        missing = set(presses) - {job.press for job in found}
        if missing:
            raise ValueError(f"presses: {missing.pop()} was not submitted, or is pruned")
        return found
