"""Pictures on disk: what they are, whether they are whole, and a place that is nobody else's."""

from __future__ import annotations

import errno
import filecmp
import os
from typing import TYPE_CHECKING, Final

from akool_async._download.formats import ENOUGH_TO_SNIFF, is_whole, suffix_of
from akool_async._download.hosts import BrokenOffError
from akool_async.errors import DownloadError

if TYPE_CHECKING:
    from pathlib import Path

_NO_HARD_LINKS: Final = (
    errno.EPERM,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOSYS,
    errno.EMLINK,
    errno.EACCES,
    errno.EINVAL,
)


def sniff(head: bytes) -> str:
    """The suffix for a picture that begins so, whatever its address says."""
    suffix = suffix_of(head)
    if suffix is None:
        raise BrokenOffError("what the pictures' host sent is not a picture (PNG, JPEG, GIF or WebP)")
    return suffix


def require_whole(part: Path) -> None:
    """A picture ends as its format does: not every host sends a length, and not every length that is sent is true."""
    with part.open("rb") as file:
        suffix = sniff(file.read(ENOUGH_TO_SNIFF))
        if not is_whole(file, suffix):
            raise BrokenOffError(f"the picture was cut short at {file.seek(0, os.SEEK_END)} bytes")


def publish(part: Path, directory: Path, stem: str) -> Path:
    """Give a whole picture its name; a picture that has the name already stays, and is returned where it is equal."""
    with part.open("rb") as file:
        target = directory / (stem + sniff(file.read(ENOUGH_TO_SNIFF)))
    try:
        _link(part, target)
    except FileExistsError:
        if not target.stat().st_size:  # a name that was taken below by a program that was killed
            part.replace(target)
        elif not filecmp.cmp(part, target, shallow=False):
            raise DownloadError(f"{target} exists and is another picture; it was not overwritten") from None
    return target


def _link(part: Path, target: Path) -> None:
    """Unlike a rename, fails where the name is taken."""
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        with target.open("xb"):  # takes the name, on a file system without hard links
            pass
        part.replace(target)
