"""Terminals: whether a stream is one that can redraw, and how wide it is."""

from __future__ import annotations

import errno
import os
import textwrap
from contextlib import suppress
from typing import IO, Final, NoReturn

from rich.console import Console
from rich.text import Text

WIDTH_OF_A_FILE: Final = 10_000
"""A row, a reason or a URL is one line in a file or a pipe, where it is searched for and copied."""
LEAST_WIDTH: Final = 16


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether it is one, whatever the environment says of colours; a stream that is closed or missing is not."""
    with suppress(ValueError):
        return stream is not None and stream.isatty()
    return False


def can_redraw(console: Console) -> bool:
    """Whether what was written can be written over: not in a file, even a coloured one, and not if TERM is dumb."""
    return is_terminal(console.file) and console.is_interactive and not console.is_dumb_terminal


class _Console(Console):
    """A console to which a write fails with the error of the stream."""

    def on_broken_pipe(self) -> NoReturn:
        """Rich ends the program silently if the reader has gone, and with it go the ids that it was to print."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def open_console(*, stderr: bool = False) -> Console:
    """The console of a stream; a file or a pipe is so wide that nothing is wrapped."""
    console = _Console(stderr=stderr)
    if not is_terminal(console.file):
        console.width = WIDTH_OF_A_FILE
    return console


def print_whole(console: Console, text: str, *, label: str = "", indent: int = 0) -> None:
    """Print a text that wraps between words, and leave a longer word, such as a name or a URL, in one piece.

    The label stands before it, within the indent of all its lines.
    """
    width = max(console.width - indent, LEAST_WIDTH) if is_terminal(console.file) else len(text) + 1
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    for place, line in enumerate(lines):
        before = Text(("" if place else label).ljust(indent), "dim")
        console.print(before.append(line, "not dim"), crop=False, overflow="ignore")
