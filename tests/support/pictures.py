"""The README's pictures of the command: `python -m tests.support.pictures` makes them anew, against the emulator.

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
WIDTH = 112
NEW_FRAME = "\x1b[2K"
SHOWN_AT = "14/20"
COMMAND = (
    *("fan-out", "prompts.txt", "--then", "U* V1>U*", "--yes", "-o", "done.jsonl", "--max-credits", "100"),
    *("--gallery", "page.html"),
)


async def main() -> None:
    """Run a batch on a terminal of its own; keep a moment of its progress, and its gallery."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Emulator(speed=8) as emulator:
            (folder / "prompts.txt").write_text("A lighthouse in a storm, oil on canvas\nA red fox in the snow\n")
            emulator.faults.script("create_by_button", *[None] * 14, Fault.fails("content policy"))
            shown = await asyncio.to_thread(run_on_terminal, folder, emulator.environment())
        draw_terminal(shown, PICTURES / "progress.svg")
        draw_page(folder / "page.html", PICTURES / "gallery.png")


def run_on_terminal(folder: Path, environment: dict[str, str]) -> str:
    """What the terminal shows about half way."""
    ours, theirs = pty.openpty()
    environment = {"TERM": "xterm-256color", "COLUMNS": str(WIDTH), "HOME": str(folder), **environment}
    command = (sys.executable, "-m", "akool_async", *COMMAND)
    process = subprocess.Popen(command, cwd=folder, env=environment, stderr=theirs)
    os.close(theirs)
    shown, half_way = "", ""
    while piece := _read(ours):
        shown += piece
        if not half_way and SHOWN_AT in shown:
            frames = shown.split(NEW_FRAME)
            plan = next(frame for frame in frames if "Plan for" in frame)
            half_way = plan.strip() + "\n" + next(frame for frame in reversed(frames) if SHOWN_AT in frame)
    process.wait()
    return half_way


def _read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 2**16).decode(errors="replace")
    except OSError:  # Linux's word for a terminal that nobody writes to any more
        return ""


def draw_terminal(shown: str, path: Path) -> None:
    """Save it as a picture of a terminal."""
    console = Console(record=True, width=WIDTH, file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115
    console.print(Text(f"$ akool {shlex.join(COMMAND)}", "bold"))
    console.print(Text.from_ansi(shown.replace("\r", "")))
    picture = console.export_svg(title="akool fan-out")
    path.write_text(re.sub(r"@font-face {.*?}\s*", "", picture, flags=re.DOTALL))  # which would come from elsewhere


def draw_page(page: Path, path: Path) -> None:
    """Save it as Chromium shows it."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        sys.stderr.write("no Chromium here: the picture of the gallery stays as it is\n")
        return
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1240,1000")
    subprocess.run((browser, *options, f"--screenshot={path}", page.as_uri()), check=True, capture_output=True)


if __name__ == "__main__":
    asyncio.run(main())
