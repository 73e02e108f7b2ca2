"""The items that a run sends and presses: the planned ones, and later presses on images that are fetched meanwhile."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from akool_async.cli.batch.nodes import NodeIndex
    from akool_async.cli.batch.plan import Task
    from akool_async.items import Item


@define(eq=False)
class Feed:
    """A queue of tasks. It ends when no fetch is running that may add more."""

    _index: NodeIndex
    _fetches: int = 0
    """Fetches that are running."""
    _tasks: asyncio.Queue[Task | None] = field(factory=asyncio.Queue, init=False)

    def add(self, tasks: Iterable[Task]) -> None:
        """Add tasks."""
        for task in tasks:
            self._index.add(task.item, task.node)
            self._tasks.put_nowait(task)

    def begin_fetches(self, number: int) -> None:
        """Count fetches that begin. Their results may have buttons to press."""
        self._fetches += number

    def end_fetch(self) -> None:
        """Count one fetch as ended, after its tasks were added."""
        self._fetches -= 1
        self.close_if_over()

    def close_if_over(self) -> None:
        """End the queue if no fetch is running."""
        if not self._fetches:
            self._tasks.put_nowait(None)

    async def items(self) -> AsyncGenerator[Item, None]:
        """Yield each item as it is added, until the queue ends."""
        while (task := await self._tasks.get()) is not None:
            yield task.item
        self._tasks.put_nowait(None)  # a second iteration ends as well

    def take_available(self) -> list[Item]:
        """Remove and return the items that were added so far, without waiting."""
        found = []
        while not self._tasks.empty():
            if (task := self._tasks.get_nowait()) is None:
                self._tasks.put_nowait(None)
                break
            found.append(task.item)
        return found
