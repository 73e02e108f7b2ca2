"""Terminals: whether a stream is a terminal and can redraw, and printing to its width."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

from rich.text import Text

from akool_async.cli.output.broken_pipe import PipeAwareConsole

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH: Final = 10_000
"""The width of a console in a file or pipe, in characters: rows, reasons and URLs stay on one line there."""
MIN_WIDTH: Final = 16
"""The least width in characters to which text is wrapped."""


def is_terminal(stream: IO[str] | None) -> bool:
    """Return whether a stream is a terminal. A closed or missing stream is none, and FORCE_COLOR changes nothing."""
    with suppress(ValueError):
        return stream is not None and stream.isatty()
    return False


def can_redraw(console: Console) -> bool:
    """Return whether written text can be overwritten: only on a terminal, and not if TERM is dumb."""
    return is_terminal(console.file) and console.is_interactive and not console.is_dumb_terminal


def open_console(*, stderr: bool = False) -> Console:
    """Open the console of stdout or stderr. In a file or pipe nothing is wrapped."""
    console = PipeAwareConsole(stderr=stderr)
    if not is_terminal(console.file):
        console.width = FILE_WIDTH
    return console


def print_whole(console: Console, text: str, *, label: str = "", indent: int = 0) -> None:
    """Print a text that wraps between words. A word longer than a line, such as a URL, stays in one piece.

    Args:
        console: Where to print.
        text: The text.
        label: Printed before the first line, within its indent.
        indent: Blanks before each line.
    """
    width = max(console.width - indent, MIN_WIDTH) if is_terminal(console.file) else len(text) + 1
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    for index, line in enumerate(lines):
        before = Text(("" if index else label).ljust(indent), "dim")
        console.print(before.append(line, "not dim"), crop=False, overflow="ignore")
