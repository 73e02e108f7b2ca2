"""Pictures on disk: what they are, whether they are whole, and a place that is nobody else's."""

from __future__ import annotations

import errno
import filecmp
import os
from typing import TYPE_CHECKING, Final

from akool_async._picture_hosts import BrokenOffError
from akool_async.errors import DownloadError

if TYPE_CHECKING:
    from pathlib import Path

_SIGNATURES: Final = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"RIFF": ".webp",
}
_ENDS: Final = {".png": b"IEND\xaeB`\x82", ".jpg": b"\xff\xd9", ".gif": b";"}
ENOUGH_TO_SNIFF: Final = 16
_TAIL: Final = 1024  # some programs leave a few bytes after the end
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
    """The suffix for a picture that begins so, never for what its address says it is."""
    for signature, suffix in _SIGNATURES.items():
        if head.startswith(signature) and (suffix != ".webp" or head[8:12] == b"WEBP"):
            return suffix
    raise BrokenOffError("what the pictures' host sent is not a picture (PNG, JPEG, GIF or WebP)")


def require_whole(part: Path) -> None:
    """A picture ends as its kind does: not every host tells a length, and not every length that is told is true."""
    with part.open("rb") as file:
        head = file.read(ENOUGH_TO_SNIFF)
        suffix = sniff(head)
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        tail = file.read()
    if suffix == ".webp":
        whole = int.from_bytes(head[4:8], "little") + 8 <= size
    else:
        whole = tail.endswith(_ENDS[suffix]) if suffix == ".gif" else _ENDS[suffix] in tail
    if not whole:
        raise BrokenOffError(f"the picture was cut short at {size} bytes")


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
