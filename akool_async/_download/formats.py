"""Checks whether a picture is whole, by the structure of its format.

As in browsers, bytes after the end do not matter: cameras, editors and hosts append some. Nothing is decoded, and files
are read from front to back in small pieces.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

HEAD_SIZE: Final = 16
"""Bytes that are enough to recognise every format."""

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
"""Except a stuffed 0xFF of the picture's data (FF 00), a fill byte (FF FF) and a restart marker (FF D0 to D7)."""
_JPEG_END: Final = 0xD9
_JPEG_WITHOUT_LENGTH: Final = (0x01, 0xD8)
_JPEG_MIN_PIECE: Final = 2**4
_JPEG_MAX_PIECE: Final = 2**18

_GIF_HEAD_SIZE: Final = 13
_GIF_FRAME_HEAD_SIZE: Final = 9
_GIF_HAS_COLOURS: Final = 0x80

_WEBP_MIN_SIZE: Final = 12
"""Bytes after the first eight. A file with fewer has no picture."""


def suffix_of(head: bytes) -> str | None:
    """Return the suffix for a picture that begins with ``head``; None if it is not a picture."""
    for signature, suffix in _SIGNATURES.items():
        if head.startswith(signature) and (suffix != ".webp" or head[8:12] == b"WEBP"):
            return suffix
    return None


def is_whole(file: BinaryIO, suffix: str) -> bool:
    """Return True if the picture in ``file``, of the format that ``suffix`` names, is whole."""
    file.seek(0)
    return _REACHES_END[suffix](file)


def _png_reaches_end(file: BinaryIO) -> bool:
    """Walk the chunks up to IEND, checksum included."""
    size = os.fstat(file.fileno()).st_size
    position = _PNG_SIGNATURE_SIZE
    while position < size:
        file.seek(position)
        head = file.read(_PNG_CHUNK_HEAD_SIZE)
        position += _PNG_CHUNK_HEAD_SIZE + int.from_bytes(head[:4], "big") + _PNG_CHECKSUM_SIZE
        if head[4:] == b"IEND":
            return position <= size
    return False


def _jpeg_reaches_end(file: BinaryIO) -> bool:
    """Walk from marker to marker, skipping segments: a thumbnail in one has its own end marker."""
    while (marker := _next_jpeg_marker(file)) is not None:
        if marker == _JPEG_END:
            return True
        if marker not in _JPEG_WITHOUT_LENGTH:
            length = int.from_bytes(file.read(2), "big")  # which counts its own two bytes
            file.seek(max(0, length - 2), os.SEEK_CUR)
    return False


def _next_jpeg_marker(file: BinaryIO) -> int | None:
    """Find the next marker and seek to the byte after it."""
    position, size = file.tell(), _JPEG_MIN_PIECE  # most markers follow immediately
    while len(piece := file.read(size)) > 1:
        if found := _JPEG_MARKER.search(piece):
            file.seek(position + found.end())
            return found[1][0]
        position += len(piece) - 1  # a marker may lie across two pieces
        file.seek(position)
        size = min(4 * size, _JPEG_MAX_PIECE)
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
    """Compare the size in the head, which counts the bytes after the first eight, with that of the file."""
    size = int.from_bytes(file.read(8)[4:], "little")
    return size >= _WEBP_MIN_SIZE and size + 8 <= os.fstat(file.fileno()).st_size


_REACHES_END: Final[dict[str, Callable[[BinaryIO], bool]]] = {
    ".png": _png_reaches_end,
    ".jpg": _jpeg_reaches_end,
    ".gif": _gif_reaches_end,
    ".webp": _webp_reaches_end,
}
