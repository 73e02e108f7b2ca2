"""Opens a gallery in the browser of a desktop."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

import click

from akool_async.cli.output.terminal import is_terminal

if TYPE_CHECKING:
    from pathlib import Path

DISPLAYS: Final = ("DISPLAY", "WAYLAND_DISPLAY")


def open_in_browser(page: Path) -> None:
    """Open a page, if a person watches this program on a desktop; otherwise do nothing."""
    if is_terminal(sys.stderr) and _has_desktop():
        click.launch(str(page.resolve()))


def _has_desktop() -> bool:
    if "SSH_CONNECTION" in os.environ:  # the browser would open on the other machine
        return False
    return sys.platform in {"darwin", "win32"} or any(os.environ.get(name) for name in DISPLAYS)
