"""Terminals: whether a stream is one that can redraw, and how wide it is."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Final

from rich.text import Text

from akool_async.cli.output.broken_pipe import PipeAwareConsole

if TYPE_CHECKING:
    from rich.console import Console

FILE_WIDTH: Final = 10_000
"""A row, a reason or a URL is one line in a file or a pipe, where it is searched for and copied."""
MIN_WIDTH: Final = 16


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether it is one, whatever the environment says of colours; a stream that is closed or missing is not."""
    with suppress(ValueError):
        return stream is not None and stream.isatty()
    return False


def can_redraw(console: Console) -> bool:
    """Whether what was written can be written over: not in a file, even a coloured one, and not if TERM is dumb."""
    return is_terminal(console.file) and console.is_interactive and not console.is_dumb_terminal


def open_console(*, stderr: bool = False) -> Console:
    """The console of a stream; a file or a pipe is so wide that nothing is wrapped."""
    console = PipeAwareConsole(stderr=stderr)
    if not is_terminal(console.file):
        console.width = FILE_WIDTH
    return console


def print_whole(console: Console, text: str, *, label: str = "", indent: int = 0) -> None:
    """Print a text that wraps between words, and leave a longer word, such as a name or a URL, in one piece.

    The label is put before it, within the indent of all its lines.
    """
    width = max(console.width - indent, MIN_WIDTH) if is_terminal(console.file) else len(text) + 1
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    for place, line in enumerate(lines):
        before = Text(("" if place else label).ljust(indent), "dim")
        console.print(before.append(line, "not dim"), crop=False, overflow="ignore")
