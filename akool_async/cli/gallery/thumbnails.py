"""Small pictures that a page can hold in itself."""

from __future__ import annotations

import base64
import io
import warnings
from typing import TYPE_CHECKING, Final

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

MAX_SIDE: Final = 480
QUALITY: Final = 78
MAX_PIXELS: Final = 80_000_000
"""Pixels; a 4K picture has some 15 million."""
UNREADABLE: Final = "this picture cannot be read"
TOO_LARGE: Final = "this picture is too large to be shown here"

warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is lower


class UnreadableError(Exception):
    """A file is no picture that can be shown; the message says so to people."""


def thumbnail(picture: Path) -> str:
    """A data URI of a small copy.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        UnreadableError: it is damaged, or no picture, or too large.
    """
    try:
        drawn = _draw(picture)
    except (FileNotFoundError, NotADirectoryError, UnreadableError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise UnreadableError(TOO_LARGE) from None
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        raise UnreadableError(UNREADABLE) from error
    return f"data:image/webp;base64,{base64.b64encode(drawn).decode()}"


def _draw(picture: Path) -> bytes:
    with Image.open(picture) as opened:
        if opened.width * opened.height > MAX_PIXELS:
            raise UnreadableError(TOO_LARGE)
        opened.thumbnail((MAX_SIDE, MAX_SIDE), reducing_gap=2.0)
        buffer = io.BytesIO()
        opened.convert("RGB").save(buffer, "WEBP", quality=QUALITY)
        return buffer.getvalue()
