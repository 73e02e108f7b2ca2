"""Wait for a future that many wait for, and leave it without cancelling it for the others."""

from __future__ import annotations

import asyncio
from typing import Any


class Waiter(asyncio.Future[None]):
    """Done once ``shared`` is. ``asyncio.shield(shared)`` would take 0.6 KiB more for each of thousands who wait."""

    __slots__ = ()

    def __init__(self, shared: asyncio.Future[Any]) -> None:
        super().__init__(loop=asyncio.get_running_loop())
        shared.add_done_callback(self.wake)

    def wake(self, _: object) -> None:
        """``shared`` is done."""
        if not self.done():
            self.set_result(None)

    def leave(self, shared: asyncio.Future[Any]) -> None:
        """Wait for ``shared`` no more."""
        shared.remove_done_callback(self.wake)
