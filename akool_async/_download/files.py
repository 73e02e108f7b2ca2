"""Checks pictures on disk, and gives whole ones their final names without overwriting a file."""

from __future__ import annotations

import errno
import filecmp
import os
from typing import TYPE_CHECKING, Final

from akool_async._download.formats import HEAD_SIZE, is_whole, suffix_of
from akool_async._download.hosts import TransientError
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


class OtherPictureError(DownloadError):
    """Another picture has the name of a picture, and is not overwritten."""


def sniff(head: bytes) -> str:
    """Return the suffix for a picture that begins with ``head``. The URL does not matter."""
    suffix = suffix_of(head)
    if suffix is None:
        raise TransientError("the pictures' host sent something other than a picture (PNG, JPEG, GIF or WebP)")
    return suffix


def raise_unless_whole(part: Path) -> None:
    """Raise unless the picture is whole by its format: some hosts send no length, or a wrong one."""
    with part.open("rb") as file:
        suffix = sniff(file.read(HEAD_SIZE))
        if not is_whole(file, suffix):
            raise TransientError(f"the picture was cut short at {file.seek(0, os.SEEK_END)} bytes")


def publish(part: Path, directory: Path, stem: str) -> Path:
    """Rename a whole picture to its final name, and return that. If an equal picture has that name, it is kept."""
    with part.open("rb") as file:
        target = directory / (stem + sniff(file.read(HEAD_SIZE)))
    try:
        _link(part, target)
    except FileExistsError:
        if not target.stat().st_size:  # reserved by `_link` of a program that was killed
            part.replace(target)
        elif not filecmp.cmp(part, target, shallow=False):
            raise OtherPictureError(f"{target} exists and is another picture; it was not overwritten") from None
    return target


def _link(part: Path, target: Path) -> None:
    """Rename; unlike `os.rename`, fail if the target exists."""
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        with target.open("xb"):  # reserves the name on a file system without hard links
            pass
        part.replace(target)
