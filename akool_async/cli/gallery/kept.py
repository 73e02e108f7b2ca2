"""Thumbnails that earlier pages drew, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final
from uuid import uuid4

from attrs import define, field

MAX_TOTAL: Final = 256 * 2**20
"""Bytes of all that is kept in the folder."""
MAX_IN_MEMORY: Final = 64 * 2**20
"""Bytes that are kept for this process if the folder cannot be used."""
MAX_ENTRY: Final = 4 * 2**20
"""Bytes; a thumbnail has some 30 thousand."""
MARGIN: Final = 16
"""The folder is pruned after a MARGIN-th of what it may hold was written, and then has that much room again."""
SUFFIX, PART_SUFFIX = ".thumbnail", ".part"
DIGEST_SIZE: Final = 16
UNUSED_DAY: Final = 24 * 3600.0
"""Seconds; whoever uses an older entry marks it as used."""
DEAD_PART: Final = 3600.0
"""Seconds after which a file that is still being written is what a killed program left."""


def cache_folder() -> Path | None:
    """Where this user's thumbnails are kept; None if there is no such place."""
    named = os.environ.get("LOCALAPPDATA" if os.name == "nt" else "XDG_CACHE_HOME", "")
    place = Path(named)
    if not place.is_absolute():  # as the XDG specification has it
        try:
            place = Path.home() / ".cache"
        except RuntimeError:  # this user has no home
            return None
    return place / "akool_async" / "thumbnails"


@define(eq=False)
class KeptThumbnails:
    """Thumbnails by a text that identifies the picture; in memory if the folder cannot be used.

    Several processes may use one folder, and several threads one object. Nothing here raises: what cannot be kept is
    drawn again.

    Args:
        folder: None to keep them in memory.
        max_total: Bytes of all that is kept in the folder.
    """

    _folder: Path | None = field(factory=cache_folder)
    _max_total: int = MAX_TOTAL
    _memory: dict[str, bytes] = field(factory=dict, init=False)
    _in_memory: int = field(default=0, init=False)
    _unpruned: int = field(default=0, init=False)
    """Bytes written since the folder was pruned last."""
    _lock: Lock = field(factory=Lock, init=False)

    def find(self, key: str) -> bytes | None:
        """The thumbnail; None if it is not there, or damaged."""
        if key in self._memory or self._folder is None:
            return self._memory.get(key)
        place = self._place(self._folder, key)
        try:
            with place.open("rb") as file:
                content = file.read(MAX_ENTRY)
                is_stale = time.time() - os.fstat(file.fileno()).st_mtime > UNUSED_DAY
        except OSError:
            return None
        drawn = content[DIGEST_SIZE:]
        if content[:DIGEST_SIZE] != _digest(key, drawn):
            return None
        if is_stale:
            with suppress(OSError):
                os.utime(place)
        return drawn

    def keep(self, key: str, drawn: bytes) -> None:
        """Keep a thumbnail for this page and those to come."""
        try:
            if self._folder is not None:
                self._write(self._folder, key, drawn)
                return
        except OSError:
            pass  # a full disk, or a folder of somebody else's
        with self._lock:
            if self._in_memory + len(drawn) <= MAX_IN_MEMORY:
                self._in_memory += len(drawn)
                self._memory[key] = drawn

    def _write(self, folder: Path, key: str, drawn: bytes) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = folder / f".{uuid4().hex}{PART_SUFFIX}"
        try:
            part.write_bytes(_digest(key, drawn) + drawn)
            part.replace(self._place(folder, key))
        finally:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        with self._lock:
            self._unpruned += DIGEST_SIZE + len(drawn)
            if self._unpruned * MARGIN > self._max_total:
                self._prune(folder)

    def prune(self) -> None:
        """Remove what was not used for the longest time, until the rest is no larger than it may be."""
        with self._lock:
            if self._folder is not None and self._unpruned:
                self._prune(self._folder)

    def _prune(self, folder: Path) -> None:
        self._unpruned = 0
        found: list[tuple[float, int, str]] = []
        with suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with suppress(OSError):  # another process removed it
                    found.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        left = self._max_total - self._max_total // MARGIN
        dead = time.time() - DEAD_PART
        for used_at, size, path in sorted(found, reverse=True):
            is_dead = path.endswith(PART_SUFFIX) and used_at < dead
            left -= size if path.endswith(SUFFIX) else 0
            if is_dead or (path.endswith(SUFFIX) and left < 0):
                with suppress(OSError):
                    os.unlink(path)  # noqa: PTH108 - as scandir names it

    @staticmethod
    def _place(folder: Path, key: str) -> Path:
        return folder / (hashlib.blake2b(_encode(key), digest_size=DIGEST_SIZE).hexdigest() + SUFFIX)


def _digest(key: str, drawn: bytes) -> bytes:
    """By which damage is noticed, and an entry of another picture."""
    return hashlib.blake2b(drawn, key=hashlib.sha256(_encode(key)).digest(), digest_size=DIGEST_SIZE).digest()


def _encode(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")  # a name of a file may be no text
