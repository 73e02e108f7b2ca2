"""Draws the pictures of the command in the READMEs, from runs against the emulator: `python -m tests.support.pictures`.

The picture of the gallery needs Chromium.
"""

import asyncio
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from akool_async.emulator import Emulator, Fault

PICTURES = Path(__file__).parents[1] / "pictures"
NEW_FRAME = "\x1b[2K"
SHOWN_AT = "14/20"
DEMO, DEMO_WIDTH = ("demo", "--speed", "12", "--no-open"), 84
BATCH_WIDTH = 112
BATCH = (
    *("fan-out", "prompts.txt", "--then", "U* V1>U*", "--yes", "-o", "done.jsonl", "--max-credits", "100"),
    *("--gallery", "page.html"),
)


async def main() -> None:
    """Run the demo and a batch on terminals; keep the end of the first, a frame of the second, and its gallery."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Emulator(speed=8) as emulator:
            (folder / "prompts.txt").write_text("A lighthouse in a storm, oil on canvas\nA red fox in the snow\n")
            emulator.faults.script("create_by_button", *[None] * 14, Fault.fails("content policy"))
            environment = emulator.environment()
            demo = await asyncio.to_thread(run_on_terminal, DEMO, DEMO_WIDTH, folder, {})
            batch = await asyncio.to_thread(run_on_terminal, BATCH, BATCH_WIDTH, folder, environment)
        draw_terminal(DEMO[:1], last_frame(demo).replace(str(folder), "/home/me"), DEMO_WIDTH, PICTURES / "demo.svg")
        draw_terminal(BATCH, half_way(batch), BATCH_WIDTH, PICTURES / "progress.svg")
        draw_page(folder / "page.html", PICTURES / "gallery.png")


def run_on_terminal(arguments: tuple[str, ...], width: int, folder: Path, environment: dict[str, str]) -> str:
    """Return all that a command writes on a terminal."""
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": str(width), "HOME": str(folder), **environment}
    command = (sys.executable, "-m", "akool_async", *arguments)
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = "".join(iter(lambda: _read(ours), ""))
    process.wait()
    return shown


def last_frame(shown: str) -> str:
    """Return what stays on the terminal after the progress."""
    return shown.rsplit(NEW_FRAME, maxsplit=1)[-1].strip()


def half_way(shown: str) -> str:
    """Return the plan, and the progress about half way."""
    frames = shown.split(NEW_FRAME)
    plan = next(frame for frame in frames if "Plan for" in frame)
    return plan.strip() + "\n" + next(frame for frame in frames if SHOWN_AT in frame)


def _read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 2**16).decode(errors="replace")
    except OSError:  # on Linux: the other end is closed
        return ""


def draw_terminal(arguments: tuple[str, ...], shown: str, width: int, path: Path) -> None:
    """Save a picture of a terminal after a command."""
    console = Console(record=True, width=width, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115
    console.print(Text(f"$ akool {shlex.join(arguments)}", "bold"))
    console.print(Text.from_ansi(shown.replace("\r", "")))
    picture = console.export_svg(title=f"akool {arguments[0]}")
    path.write_text(re.sub(r"@font-face {.*?}\s*", "", picture, flags=re.DOTALL))  # fonts from the web


def draw_page(page: Path, path: Path) -> None:
    """Save a page as Chromium shows it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.stderr.write("no Chromium here: the picture of the gallery is unchanged\n")
        return
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1240,1000")
    subprocess.run((browser, *options, f"--screenshot={path}", page.as_uri()), check=True, capture_output=True)


if __name__ == "__main__":
    asyncio.run(main())
