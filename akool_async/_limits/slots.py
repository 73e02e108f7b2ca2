"""The caps: a slot is held from before the POST until the *server* is done, whoever awaits, or nobody."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from akool_async.items import Button


class Cap(asyncio.Semaphore):
    """So many places and no more."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit

    @property
    def held(self) -> int:
        """Places that are taken."""
        return self.limit - self._value


class Slot:
    """The places one operation holds, given back together and only once."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: tuple[Cap, ...] = ()

    def __bool__(self) -> bool:
        """True while it holds a place."""
        return bool(self._held)

    async def take(self, caps: tuple[Cap, ...]) -> None:
        """Wait for a place in each, in this order; a failure gives back what was taken."""
        try:
            for count, cap in enumerate(caps, start=1):
                await cap.acquire()
                self._held = caps[:count]  # all of a tuple is that tuple: thousands of slots share one
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Give back what is held; a second call does nothing."""
        held, self._held = self._held, ()
        for cap in held:
            cap.release()


class Slots:
    """At most ``max_upscales`` U1-U4 and ``max_operations`` of any kind run at once; None is no cap."""

    def __init__(self, *, max_upscales: int, max_operations: int | None) -> None:
        self.upscales = Cap(max_upscales)
        self.operations = None if max_operations is None else Cap(max_operations)
        # The upscale's place comes first: an upscale that waits for it must not hold up variations.
        self._caps = () if self.operations is None else (self.operations,)
        self._upscale_caps = (self.upscales, *self._caps)
        self._one_batch = asyncio.Lock()

    async def acquire(self, button: Button | None) -> Slot:
        """A slot for a press, or for one image of a prompt (None)."""
        slot = Slot()
        await slot.take(self._upscale_caps if button is not None and button.is_upscale else self._caps)
        return slot

    async def acquire_batch(self, images: int) -> list[Slot]:
        """A slot for each image of a prompt. One batch gathers at a time, so that two never wait for each other."""
        slots: list[Slot] = []
        async with self._one_batch:
            try:
                for _ in range(images):
                    slots.append(await self.acquire(None))  # noqa: PERF401 - what is held must be known on failure
            except BaseException:
                for slot in slots:
                    slot.release()
                raise
        return slots
