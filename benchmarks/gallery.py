"""Measure the time to write a gallery of many pictures, without and with cached thumbnails. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from akool_async import AkoolSession
from akool_async.cli.gallery.contents import Contents
from akool_async.cli.gallery.page import write_gallery
from akool_async.cli.outcomes.line import OutcomeLine

SIDE = 2048
MAX_SECONDS = 3.0
"""Seconds that the second page may take."""
BUTTONS = ("U1", "U2", "U3", "U4")


def make_pictures(folder: Path, number: int) -> list[OutcomeLine]:
    """Save different grainy gradients as JPEG files of about 800 KB, and return them as upscales.

    Args:
        folder: The folder of the files.
        number: The number of pictures.
    """
    noise, gradient = Image.effect_noise((SIDE, SIDE), 12), Image.linear_gradient("L").resize((SIDE, SIDE))
    lines = []
    for index in range(number):
        file = folder / f"{index}.jpg"
        grain = Image.blend(noise.rotate(90 * (index % 4)), gradient, 0.5)
        channels = (grain, gradient.rotate(index), gradient)
        Image.merge("RGB", channels).save(file, quality=90)
        press = {"image_id": f"prompt{index // len(BUTTONS)}", "button": BUTTONS[index % len(BUTTONS)]}
        lines.append(OutcomeLine(**press, ok=True, id=f"id{index}", status=3, files=(str(file),)))
    return lines


async def measure(folder: Path, lines: list[OutcomeLine]) -> float:
    """Return the seconds that one page takes. Its prompts are not completed, so the session sends nothing to AKOOL."""
    prompts = [OutcomeLine(image_id=None, button=None, key=line.image_id, prompt="a prompt") for line in lines]
    presses = {prompt.node.child(str(line.button)): line for prompt, line in zip(prompts, lines, strict=True)}
    contents = Contents(title="a page", roots=[], lines={prompt.node: prompt for prompt in prompts} | presses)
    async with AkoolSession("key-that-is-not-used") as akool:
        began = time.perf_counter()
        await write_gallery(folder / "page.html", akool, contents)
        return time.perf_counter() - began


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=300, help="number of pictures on the page")
    number = parser.parse_args().pictures
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        lines = make_pictures(folder, number)
        first, second = (asyncio.run(measure(folder, lines)) for _ in range(2))
        size = (folder / "page.html").stat().st_size
    print(f"{number} JPEG pictures of {SIDE} x {SIDE}, a page of {size / 2**20:.1f} MiB, {os.cpu_count()} cores")
    print(f"first page  {first:6.2f} s\nsecond page {second:6.2f} s")
    print(f"{'kept  ' if second <= MAX_SECONDS else 'MISSED'} second page at most {MAX_SECONDS:g} s")
    return 0 if second <= MAX_SECONDS else 1


if __name__ == "__main__":
    raise SystemExit(main())
