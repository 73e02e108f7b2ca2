"""The items of a batch in a store: those that are recorded, and the outcomes of all as workers carry them out."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from attrs import field, frozen

from akool_async import BudgetError, ButtonPress
from akool_async._limits.credits import as_price
from akool_async.cli.batch.input_file import node_of
from akool_async.cli.batch.levels import levels_of
from akool_async.cli.outcomes.line import NodeId

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from datetime import datetime

    from akool_async import Outcome
    from akool_async.cli.batch.input_file import Batch
    from akool_async.durable import DurableFanOut, Job
    from akool_async.items import Branch, Item


@frozen
class StoredItems:
    """The items of a batch that a store holds before a run."""

    sizes: Counter[NodeId] = field(factory=Counter)
    """The roots that are recorded, with the number of prompts and presses recorded in their trees.

    Roots that were over a budget are left out: this run records them again, which opens them again."""
    presses: tuple[ButtonPress, ...] = ()
    """Presses on the finished images of these trees that are not recorded yet."""
    later: tuple[Branch, ...] = ()
    """Presses on the images of these trees that are not finished yet."""
    waiting: Counter[str] = field(factory=Counter)
    """Open presses and prompts of the whole store that AKOOL has not accepted, by kind of price."""
    committed: tuple[tuple[float | None, Counter[str]], ...] = ()
    """For each budget of earlier submissions: the credits that it has left (None without a limit), and the presses and
    prompts that may still be sent under it, by kind of price."""
    prices: tuple[tuple[str, float], ...] = ()
    """The kind of price and the credits of each finished image of these trees, the latest last."""

    @classmethod
    async def read(cls, store: DurableFanOut | None, batch: Batch) -> Self:
        """Read the items from the store; without a store there are none."""
        if store is None:
            return cls()
        waiting: Counter[str] = Counter()
        left: dict[str | None, float | None] = {}
        unsent: dict[str | None, Counter[str]] = defaultdict(Counter)
        async for job in store.jobs("open"):
            waiting[job.item.kind] += job.operation_id is None
            unsent[job.budget][job.item.kind] += job.operation_id is None
            for level in levels_of((), job.then):
                unsent[job.budget] += level.counts
            left[job.budget] = job.budget_left
        trees = _Trees(store)
        await trees.read(batch)
        prices = sorted(trees.prices)
        return cls(
            sizes=trees.sizes,
            presses=tuple(trees.presses),
            later=tuple(trees.later),
            waiting=waiting,
            committed=tuple((left[budget], counts) for budget, counts in unsent.items()),
            prices=tuple((kind, price) for _, kind, price in prices),
        )


@frozen
class _Trees:
    """Reads the recorded trees of a batch, level by level. Presses are recorded once their source image is there."""

    _store: DurableFanOut
    sizes: Counter[NodeId] = field(factory=Counter)
    presses: list[ButtonPress] = field(factory=list)
    later: list[Branch] = field(factory=list)
    prices: list[tuple[datetime, str, float]] = field(factory=list)

    async def read(self, batch: Batch) -> None:
        """Read all levels."""
        items = {entry.node: entry.item for entry in batch.entries}
        found = await self._find(items.values())
        level = [(node, found[node], item.then) for node, item in items.items() if node in found]
        while level:
            below: dict[NodeId, tuple[NodeId, ButtonPress]] = {}
            for root, job, branches in level:
                self._count(root, job)
                if job.state == "open":
                    self.later.extend(branches)
                elif job.state == "done" and job.operation_id is not None:
                    presses = [ButtonPress(job.operation_id, branch.button, then=branch.then) for branch in branches]
                    below |= {NodeId.of_press(press): (root, press) for press in presses}
            found = await self._find([press for _, press in below.values()])
            self.presses.extend(press for node, (_, press) in below.items() if node not in found)
            level = [(root, found[node], press.then) for node, (root, press) in below.items() if node in found]

    def _count(self, root: NodeId, job: Job) -> None:
        self.sizes[root] += 1
        result = None if job.outcome is None else job.outcome.result
        price = None if result is None else as_price(result.deduction_credit)
        if price is not None and job.ended_at is not None:
            self.prices.append((job.ended_at, job.item.kind, price))

    async def _find(self, items: Iterable[Item]) -> dict[NodeId, Job]:
        """Return the recorded jobs of items, without those that were over a budget."""
        jobs = await self._store.find(items)
        return {node_of(job.item): job for job in jobs if not _is_over_budget(job)}


def _is_over_budget(job: Job) -> bool:
    return job.outcome is not None and isinstance(job.outcome.error, BudgetError)


async def carry_out(
    store: DurableFanOut, new: list[Item], recorded: list[Item], max_credits: float | None
) -> AsyncGenerator[Outcome, None]:
    """Record items, work on them together with other workers, and yield the outcomes of their trees.

    Args:
        store: The store.
        new: Items to record.
        recorded: Items of the batch that are recorded already, perhaps with fewer presses on their results.
        max_credits: Credits that the new items may cost, whichever worker carries them out; None without a limit.

    Raises:
        AkoolError: The work cannot continue. Open items stay recorded.
    """
    await store.submit([*new, *(item for item in recorded if item.then)], max_credits=max_credits)
    items = new + recorded
    working = asyncio.create_task(store.run(until_empty=False))
    try:
        async with aclosing(store.outcomes(items)) as outcomes:
            while True:
                next_outcome = asyncio.ensure_future(anext(outcomes))
                try:
                    await asyncio.wait({next_outcome, working}, return_when=asyncio.FIRST_COMPLETED)
                    if not next_outcome.done():
                        working.result()  # raises, since a run ends only with an error
                    yield next_outcome.result()
                except StopAsyncIteration:
                    return
                finally:
                    next_outcome.cancel()
                    await asyncio.wait({next_outcome})
    finally:
        working.cancel()
        await asyncio.wait({working})
