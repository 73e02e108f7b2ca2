"""The caps. An operation holds a slot from before its POST until AKOOL is done, whether a caller waits or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from akool_async.items import Button


class Cap(asyncio.Semaphore):
    """A semaphore that knows its limit."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    @property
    def held(self) -> int:
        """Number of places that are taken."""
        return self.limit - self._value


class Slot:
    """The places that one operation holds. They are released together, and only once."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: tuple[Cap, ...] = ()

    def __bool__(self) -> bool:
        """True while it holds a place."""
        return bool(self._held)

    async def take(self, caps: tuple[Cap, ...]) -> None:
        """Wait for a place in each cap, in this order. A failure releases the places already taken."""
        try:
            for count, cap in enumerate(caps, start=1):
                await cap.acquire()
                self._held = caps[:count]  # a full slice is the tuple itself, so that thousands of slots share one
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Release the places. A second call does nothing."""
        held, self._held = self._held, ()
        for cap in held:
            cap.release()


class Slots:
    """The slots of a session.

    Args:
        max_upscales: Maximum number of concurrent upscales (U1-U4).
        max_operations: Maximum number of concurrent operations of any kind; None for no limit.
    """

    def __init__(self, *, max_upscales: int, max_operations: int | None) -> None:
        self.upscales = Cap(max_upscales)
        self.operations = None if max_operations is None else Cap(max_operations)
        # The upscale's place is taken first, so that an upscale that waits for it does not delay variations.
        self._caps = () if self.operations is None else (self.operations,)
        self._upscale_caps = (self.upscales, *self._caps)
        self._one_batch = asyncio.Lock()

    async def acquire(self, button: Button | None) -> Slot:
        """Wait for a slot for a press, or for one image of a prompt (None)."""
        slot = Slot()
        await slot.take(self._upscale_caps if button is not None and button.is_upscale else self._caps)
        return slot

    async def acquire_batch(self, images: int) -> list[Slot]:
        """Wait for a slot for each image of a prompt. Batches take turns, so that two never wait for each other."""
        slots: list[Slot] = []
        async with self._one_batch:
            try:
                for _ in range(images):
                    slots.append(await self.acquire(None))  # noqa: PERF401 - a failure must release these
            except BaseException:
                for slot in slots:
                    slot.release()
                raise
        return slots
