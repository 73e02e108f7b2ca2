"""Draws distinguishable pictures, JPEG or PNG: a landscape per image, four suns, numerals and labels."""

from __future__ import annotations

import colorsys
import io
import math
import random
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont, ImageOps

if TYPE_CHECKING:
    from akool_async.emulator._images import Image

SINGLE_SIDES = {None: 512, "1080p": 576, "4k": 768}
"""Pixels of the longer side by resolution; the grid of four is twice as large."""
UPSCALE_SIDE = 3840
JPEG_QUALITY = 90
HILLS = 4
STEPS = 64


@dataclass(frozen=True)
class Drawing:
    """Everything that determines a picture. It is drawn relative to its size, so that an upscale shows the same."""

    seed: int
    hue: float
    index: int
    label: str
    scale: str

    def size(self, side: int) -> tuple[int, int]:
        """Return width and height in pixels; the larger is ``side``."""
        width, height = map(int, self.scale.split(":"))
        longer = max(width, height)
        return side * width // longer, side * height // longer


def render(image: Image, index: int) -> bytes:
    """Draw a picture of an image. Index 0 is its ``image`` (the grid, or the upscale); 1 to 4 are its single images."""
    hue, button, scale = image.hue / 360, image.button or "", image.scale.replace("Original", "1:1")
    if image.kind == "upscale":
        drawing = Drawing(image.picture_seed, hue, int(button[1]), f"{button} \N{MIDDLE DOT} 4K", scale)
        return _upscale(drawing, image.picture_format)
    singles = tuple(Drawing(image.picture_seed, hue, number, button, scale) for number in (1, 2, 3, 4))
    side = SINGLE_SIDES[image.resolution]
    return (
        _single(singles[index - 1], side, image.picture_format) if index else _grid(singles, side, image.picture_format)
    )


@lru_cache(maxsize=16)
def _upscale(drawing: Drawing, picture_format: str) -> bytes:
    return _encode(_draw(drawing, UPSCALE_SIDE), picture_format)


@lru_cache(maxsize=64)
def _single(drawing: Drawing, side: int, picture_format: str) -> bytes:
    return _encode(_draw(drawing, side), picture_format)


@lru_cache(maxsize=16)
def _grid(drawings: tuple[Drawing, ...], side: int, picture_format: str) -> bytes:
    singles = [_draw(drawing, side) for drawing in drawings]
    width, height = singles[0].size
    grid = Pillow.new("RGB", (2 * width, 2 * height))
    for number, single in enumerate(singles):
        grid.paste(single, (width * (number % 2), height * (number // 2)))
    return _encode(grid, picture_format)


def _draw(drawing: Drawing, side: int) -> Pillow.Image:
    rng = random.Random(drawing.seed)  # noqa: S311
    width, height = drawing.size(side)
    hue = drawing.hue + 0.06 * (drawing.index - 1)
    sky = Pillow.linear_gradient("L").resize((width, height))
    picture = ImageOps.colorize(sky, _colour(hue, 0.75, 0.35), _colour(hue + 0.12, 0.35, 1.0))
    draw = ImageDraw.Draw(picture)
    sun, position = height * rng.uniform(0.08, 0.14), 0.2 * drawing.index
    centre = (width * position, height * (0.25 + 0.08 * (drawing.index % 2)))
    box = (centre[0] - sun, centre[1] - sun, centre[0] + sun, centre[1] + sun)
    draw.ellipse(box, fill=_colour(hue + 0.5, 0.25, 1.0))
    for hill in range(HILLS):
        waves = [(rng.uniform(0.5, 3.0), rng.uniform(0, math.tau)) for _ in range(2)]
        base = 0.5 + 0.12 * hill
        line = [(width * x / STEPS, height * (base - _wave(waves, x / STEPS))) for x in range(STEPS + 1)]
        draw.polygon([*line, (width, height), (0, height)], fill=_colour(hue + 0.03 * hill, 0.6, 0.6 - 0.13 * hill))
    _write(draw, str(drawing.index), (width * 0.9, height * 0.86), height * 0.16)
    _write(draw, drawing.label, (width * 0.14, height * 0.92), height * 0.07)
    return picture


def _wave(waves: list[tuple[float, float]], x: float) -> float:
    return sum(0.06 * math.sin(pace * math.tau * x + phase) for pace, phase in waves)


def _write(draw: ImageDraw.ImageDraw, text: str, middle: tuple[float, float], size: float) -> None:
    draw.text(middle, text, fill="white", font=ImageFont.load_default(size), anchor="mm")


def _colour(hue: float, saturation: float, value: float) -> str:
    red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue % 1, saturation, value))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _encode(picture: Pillow.Image, picture_format: str) -> bytes:
    buffer = io.BytesIO()
    if picture_format == "png":
        picture.save(buffer, "PNG", compress_level=1)
    else:
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
