"""The ids of images: MongoDB's ObjectIds."""

from __future__ import annotations

import secrets

SECONDS = 2**32
COUNTS = 2**24


class ObjectIds:
    """Makes ids of four bytes of creation time in seconds, five random bytes per emulator, and a counter of three."""

    def __init__(self) -> None:
        self._emulator = secrets.token_hex(5)
        self._count = secrets.randbelow(COUNTS)

    def new(self, created_at: float) -> str:
        """Return the next id, as 24 hexadecimal digits; ``created_at`` is in seconds since the epoch."""
        self._count = (self._count + 1) % COUNTS
        return f"{int(created_at) % SECONDS:08x}{self._emulator}{self._count:06x}"
