"""Small pictures that a page can hold in itself."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Final

from PIL import Image, UnidentifiedImageError

if TYPE_CHECKING:
    from pathlib import Path

SIDE: Final = 480
QUALITY: Final = 78
LARGEST: Final = 200_000_000
"""Pixels; a 4K picture has some 15 million."""


def thumbnail(picture: Path) -> str | None:
    """A data URI of a small copy; None where the file is no picture that can be read."""
    try:
        with Image.open(picture) as opened:
            if opened.width * opened.height > LARGEST:
                return None
            opened.thumbnail((SIDE, SIDE), reducing_gap=2.0)
            buffer = io.BytesIO()
            opened.convert("RGB").save(buffer, "WEBP", quality=QUALITY)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError):
        return None
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
