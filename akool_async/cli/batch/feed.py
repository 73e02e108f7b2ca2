"""The items that a run passes on: what is planned, and later what is pressed on images that earlier runs have begun."""

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
    """Tasks as they turn up, until no fetch is under way that may bring more."""

    _index: NodeIndex
    _fetches: int = 0
    _tasks: asyncio.Queue[Task | None] = field(factory=asyncio.Queue, init=False)

    def add(self, tasks: Iterable[Task]) -> None:
        """More to send and press."""
        for task in tasks:
            self._index.add(task.item, task.node)
            self._tasks.put_nowait(task)

    def begin_fetches(self, number: int) -> None:
        """So many fetches begin, whose results may be pressed on."""
        self._fetches += number

    def end_fetch(self) -> None:
        """One has ended, and what it brought was added."""
        self._fetches -= 1
        self.close_if_over()

    def close_if_over(self) -> None:
        """If nothing else can turn up, let the items end."""
        if not self._fetches:
            self._tasks.put_nowait(None)

    async def items(self) -> AsyncGenerator[Item, None]:
        """Each item, until there will be no more."""
        while (task := await self._tasks.get()) is not None:
            yield task.item
        self._tasks.put_nowait(None)  # so that asking again ends as well

    def at_hand(self) -> list[Item]:
        """The items that have turned up so far; the rest is left in the feed."""
        found = []
        while not self._tasks.empty():
            if (task := self._tasks.get_nowait()) is None:
                self._tasks.put_nowait(None)
                break
            found.append(task.item)
        return found
