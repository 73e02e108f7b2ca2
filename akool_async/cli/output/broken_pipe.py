"""A closed reader of stdout (`akool ... | head`). It is an error like any other, and paid ids then go to stderr."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, Final, NoReturn

import click
from rich.console import Console

MESSAGE: Final = "the reader of stdout has ended (broken pipe)"


class PipeAwareGroup(click.Group):
    """A group of commands that end with a message after a broken pipe. click itself would end silently."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as in click
        """Run a command, and raise a broken pipe as an error with a message."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.ClickException(MESSAGE) from None


class PipeAwareConsole(Console):
    """A console that raises the error of its stream."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise the error. Rich itself would end the program silently, before it has printed all ids."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def release_stdout() -> None:
    """Write what is buffered, or drop it if nobody reads it, so that Python prints no error when it exits."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
