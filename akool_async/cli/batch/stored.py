"""The presses of a batch in a store: which are there, and their outcomes as workers carry them out."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from akool_async import ButtonPress, Outcome
    from akool_async.cli.batch.input_file import Batch
    from akool_async.durable import DurableFanOut


@frozen
class StoredPresses:
    """What a store holds before a run."""

    presses: frozenset[ButtonPress] = frozenset()
    """Those of the batch."""
    waiting: Counter[str] = field(factory=Counter)
    """Those that are open and not made yet, of the batch or not, by kind."""

    @classmethod
    async def read(cls, store: DurableFanOut | None, batch: Batch) -> Self:
        """Read them; without a store there are none."""
        if store is None:
            return cls()
        presses = frozenset(job.press for job in await store.find(entry.press for entry in batch.entries))
        waiting: Counter[str] = Counter()
        async for job in store.jobs("open"):
            waiting[job.press.button.kind] += job.operation_id is None
        return cls(presses, waiting)


async def carry_out(
    store: DurableFanOut, new: list[ButtonPress], recorded: list[ButtonPress], max_credits: float | None
) -> AsyncGenerator[Outcome, None]:
    """Record presses and work on them, together with other workers: their outcomes as they come.

    Args:
        store: Where they are recorded.
        new: Presses to record.
        recorded: Presses of the batch that are recorded there already.
        max_credits: What the new ones may cost, whoever carries them out; None for no limit.

    Raises:
        AkoolError: the work cannot go on; what is open stays recorded.
    """
    await store.submit(new, max_credits=max_credits)
    presses = new + recorded
    working = asyncio.create_task(store.run(until_empty=False))
    try:
        async with aclosing(store.outcomes(presses)) as outcomes:
            while True:
                coming = asyncio.ensure_future(anext(outcomes))
                try:
                    await asyncio.wait({coming, working}, return_when=asyncio.FIRST_COMPLETED)
                    if not coming.done():
                        working.result()  # which raises: it does not end by itself
                    yield coming.result()
                except StopAsyncIteration:
                    return
                finally:
                    coming.cancel()
                    await asyncio.wait({coming})
    finally:
        working.cancel()
        await asyncio.wait({working})
