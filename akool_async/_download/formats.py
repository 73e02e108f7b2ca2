"""Where a picture ends, by the structure of its format.

What follows the end does not matter, as in browsers: cameras, editors and hosts append bytes. Nothing is decoded, and
a file is read from front to back in small pieces.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

ENOUGH_TO_SNIFF: Final = 16

_SIGNATURES: Final = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"RIFF": ".webp",
}

_PNG_SIGNATURE_SIZE: Final = 8
_PNG_CHUNK_HEAD_SIZE: Final = 8
_PNG_CHECKSUM_SIZE: Final = 4

_JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")
"""Not a stuffed 0xFF of the picture's data (FF 00), not a fill byte (FF FF), not a restart marker (FF D0 to D7)."""
_JPEG_END: Final = 0xD9
_JPEG_WITHOUT_LENGTH: Final = (0x01, 0xD8)
_JPEG_FIRST_PIECE: Final = 2**4
_JPEG_LARGEST_PIECE: Final = 2**18

_GIF_HEAD_SIZE: Final = 13
_GIF_FRAME_HEAD_SIZE: Final = 9
_GIF_HAS_COLOURS: Final = 0x80

_WEBP_SMALLEST: Final = 12
"""Bytes after the first eight: a file that says it has fewer has no picture."""


def suffix_of(head: bytes) -> str | None:
    """The suffix for a picture that begins so, whatever its address says; None if it is no picture."""
    for signature, suffix in _SIGNATURES.items():
        if head.startswith(signature) and (suffix != ".webp" or head[8:12] == b"WEBP"):
            return suffix
    return None


def is_whole(file: BinaryIO, suffix: str) -> bool:
    """True if the picture in ``file``, which has this suffix, is there up to its end."""
    file.seek(0)
    return _REACHES_END[suffix](file)


def _png_reaches_end(file: BinaryIO) -> bool:
    """Walk the chunks up to IEND, checksum included."""
    size = os.fstat(file.fileno()).st_size
    place = _PNG_SIGNATURE_SIZE
    while place < size:
        file.seek(place)
        head = file.read(_PNG_CHUNK_HEAD_SIZE)
        place += _PNG_CHUNK_HEAD_SIZE + int.from_bytes(head[:4], "big") + _PNG_CHECKSUM_SIZE
        if head[4:] == b"IEND":
            return place <= size
    return False


def _jpeg_reaches_end(file: BinaryIO) -> bool:
    """Walk from marker to marker, over segments (a thumbnail in one has an end of its own) and the picture's data."""
    while (marker := _next_jpeg_marker(file)) is not None:
        if marker == _JPEG_END:
            return True
        if marker not in _JPEG_WITHOUT_LENGTH:
            length = int.from_bytes(file.read(2), "big")  # which counts its own two bytes
            file.seek(max(0, length - 2), os.SEEK_CUR)
    return False


def _next_jpeg_marker(file: BinaryIO) -> int | None:
    """The next marker from here on, whatever stands before it; the file then stands behind it."""
    place, size = file.tell(), _JPEG_FIRST_PIECE  # most markers stand right here
    while len(piece := file.read(size)) > 1:
        if found := _JPEG_MARKER.search(piece):
            file.seek(place + found.end())
            return found[1][0]
        place += len(piece) - 1  # a marker may lie across two pieces
        file.seek(place)
        size = min(4 * size, _JPEG_LARGEST_PIECE)
    return None


def _gif_reaches_end(file: BinaryIO) -> bool:
    """Walk the frames and extensions up to the trailer."""
    _skip_gif_colours(file, file.read(_GIF_HEAD_SIZE)[10:11])
    while kind := file.read(1):
        if kind == b";":
            return True
        if kind == b",":
            _skip_gif_colours(file, file.read(_GIF_FRAME_HEAD_SIZE)[8:9])
        if kind in {b",", b"!"}:
            file.read(1)  # the size of a code, or the kind of an extension
            while length := file.read(1):
                if length == b"\0":
                    break
                file.read(length[0])
    return False


def _skip_gif_colours(file: BinaryIO, flags: bytes) -> None:
    if flags and flags[0] & _GIF_HAS_COLOURS:
        file.read(3 * 2 ** ((flags[0] & 7) + 1))


def _webp_reaches_end(file: BinaryIO) -> bool:
    """The head tells how many bytes follow its first eight."""
    told = int.from_bytes(file.read(8)[4:], "little")
    return told >= _WEBP_SMALLEST and told + 8 <= os.fstat(file.fileno()).st_size


_REACHES_END: Final[dict[str, Callable[[BinaryIO], bool]]] = {
    ".png": _png_reaches_end,
    ".jpg": _jpeg_reaches_end,
    ".gif": _gif_reaches_end,
    ".webp": _webp_reaches_end,
}
