"""The items of a batch in a store: which are there, and their outcomes as workers carry them out."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from attrs import field, frozen

from akool_async import BudgetError, ButtonPress
from akool_async.cli.batch.input_file import node_of
from akool_async.cli.outcomes.line import NodeId

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from akool_async import Outcome
    from akool_async.cli.batch.input_file import Batch
    from akool_async.durable import DurableFanOut, Job
    from akool_async.items import Branch, Item


@frozen
class StoredItems:
    """What a store holds before a run."""

    nodes: frozenset[NodeId] = frozenset()
    """Of the batch, but for those that were over a budget: recorded again, they are opened again."""
    later: tuple[Branch, ...] = ()
    """Presses on the results of these that the store does not hold yet."""
    waiting: Counter[str] = field(factory=Counter)
    """All that is open and not made yet, of the batch or not, by kind."""

    @classmethod
    async def read(cls, store: DurableFanOut | None, batch: Batch) -> Self:
        """Read them; without a store there are none."""
        if store is None:
            return cls()
        waiting: Counter[str] = Counter()
        async for job in store.jobs("open"):
            waiting[job.item.kind] += job.operation_id is None
        wanted = {entry.node: entry.item for entry in batch.entries}
        found = await _find(store, wanted.values())
        found = {node: job for node, job in found.items() if node in wanted and not _is_over_budget(job)}
        later = await _find_later(store, [(job, wanted[node].then) for node, job in found.items()])
        return cls(frozenset(found), tuple(later), waiting)


async def _find_later(store: DurableFanOut, trees: list[tuple[Job, tuple[Branch, ...]]]) -> list[Branch]:
    """What is still to be pressed on the results of jobs: presses are recorded once their source image is there."""
    later: list[Branch] = []
    while trees:
        below: dict[NodeId, tuple[ButtonPress, Branch]] = {}
        for job, branches in trees:
            if job.state == "open":
                later += branches
            elif job.state == "done" and job.operation_id is not None:
                presses = [(ButtonPress(job.operation_id, branch.button), branch) for branch in branches]
                below |= {NodeId.of_press(press): (press, branch) for press, branch in presses}
        found = await _find(store, [press for press, _ in below.values()])
        found = {node: job for node, job in found.items() if not _is_over_budget(job)}
        later += [branch for node, (_, branch) in below.items() if node not in found]
        trees = [(found[node], branch.then) for node, (_, branch) in below.items() if node in found and branch.then]
    return later


async def _find(store: DurableFanOut, items: Iterable[Item]) -> dict[NodeId, Job]:
    return {node_of(job.item): job for job in await store.find(items)}


def _is_over_budget(job: Job) -> bool:
    return job.outcome is not None and isinstance(job.outcome.error, BudgetError)


async def carry_out(
    store: DurableFanOut, new: list[Item], recorded: list[Item], max_credits: float | None
) -> AsyncGenerator[Outcome, None]:
    """Record items and work on them, together with other workers: the outcomes of their trees as they come.

    Args:
        store: Where they are recorded.
        new: Items to record.
        recorded: Items of the batch that are recorded there already, perhaps with fewer presses on their results.
        max_credits: What is new may cost so much, whoever carries it out; None for no limit.

    Raises:
        AkoolError: the work cannot go on; what is open stays recorded.
    """
    await store.submit([*new, *(item for item in recorded if item.then)], max_credits=max_credits)
    items = new + recorded
    working = asyncio.create_task(store.run(until_empty=False))
    try:
        async with aclosing(store.outcomes(items)) as outcomes:
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
