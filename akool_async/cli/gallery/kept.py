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
"""Maximum bytes of the folder."""
MAX_IN_MEMORY: Final = 64 * 2**20
"""Maximum bytes kept in memory if the folder cannot be used."""
MAX_ENTRY: Final = 4 * 2**20
"""Maximum bytes of a thumbnail; a usual one has some 30,000."""
MARGIN: Final = 16
"""Pruning frees 1/MARGIN of the folder, and happens each time as much was written."""
SUFFIX, PART_SUFFIX = ".thumbnail", ".part"
DIGEST_SIZE: Final = 16
UNUSED_DAY: Final = 24 * 3600.0
"""Seconds after which using an entry renews its time stamp."""
DEAD_PART: Final = 3600.0
"""Seconds after which an unfinished file was left by a killed program."""


def cache_folder() -> Path | None:
    """Return the folder of this user's thumbnails; None if there is no place for it."""
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
    """A cache of thumbnails, by a text that identifies the picture. In memory if the folder cannot be used.

    Several processes may use one folder, and several threads one object. Nothing here raises: a thumbnail that cannot
    be kept is drawn again.

    Args:
        folder: None to keep thumbnails in memory.
        max_total: Maximum bytes of the folder.
    """

    _folder: Path | None = field(factory=cache_folder)
    _max_total: int = MAX_TOTAL
    _memory: dict[str, bytes] = field(factory=dict, init=False)
    _in_memory: int = field(default=0, init=False)
    _unpruned: int = field(default=0, init=False)
    """Bytes written since the last pruning."""
    _lock: Lock = field(factory=Lock, init=False)

    def find(self, key: str) -> bytes | None:
        """Return the thumbnail; None if there is none, or it is damaged."""
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
        """Keep a thumbnail for this page and later ones."""
        try:
            if self._folder is not None:
                self._write(self._folder, key, drawn)
                return
        except OSError:
            pass  # such as a full disk, or a folder of another user
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
        """Remove the least recently used thumbnails until the folder is small enough."""
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
    """Return a checksum that detects damage, and an entry of another picture."""
    return hashlib.blake2b(drawn, key=hashlib.sha256(_encode(key)).digest(), digest_size=DIGEST_SIZE).digest()


def _encode(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")  # a file name need not be valid text
