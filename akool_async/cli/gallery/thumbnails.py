"""Small pictures that a page can hold in itself."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING, Final

from markupsafe import Markup
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

MAX_SIDE: Final = 480
"""Pixels."""
SMALL_SIDE: Final = 240
"""Pixels; for the single pictures beside their grid."""
QUALITY: Final = 78
MAX_PIXELS: Final = 80_000_000
"""Pixels; a 4K picture has some 15 million."""
UNREADABLE: Final = "this picture cannot be read"
TOO_LARGE: Final = "this picture is too large to be shown here"

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is lower


class UnreadableError(Exception):
    """A file cannot be shown as a picture. The page shows the message."""


def thumbnail(picture: Path, side: int = MAX_SIDE) -> bytes:
    """Return a small copy in WebP.

    Args:
        picture: The file.
        side: Maximum width and height in pixels.

    Raises:
        FileNotFoundError, NotADirectoryError: There is no such file.
        UnreadableError: The file is damaged, no picture, or too large.
    """
    try:
        return _draw(picture, side)
    except (FileNotFoundError, NotADirectoryError, UnreadableError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableError(TOO_LARGE) from None
    except Exception as error:  # decoders raise anything for a damaged file
        raise UnreadableError(UNREADABLE) from error


def data_uri(webp: bytes) -> Markup:
    """Return the picture as a data URI, which needs no escaping."""
    return Markup(f"data:image/webp;base64,{base64.b64encode(webp).decode()}")  # noqa: S704 - base64


def _draw(picture: Path, side: int) -> bytes:
    with Image.open(picture) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise UnreadableError(TOO_LARGE)
        opened.thumbnail((side, side), reducing_gap=1.0)  # a JPEG is then decoded at an eighth to a half of its size
        buffer = io.BytesIO()
        opened.convert("RGB").save(buffer, "WEBP", quality=QUALITY, method=2)
        return buffer.getvalue()
