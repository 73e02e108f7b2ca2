"""A reader of stdout that has gone (`akool ... | head`): an error like any other, after which paid ids go to stderr."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any, Final, NoReturn

import click
from rich.console import Console

MESSAGE: Final = "nobody reads the results any more (broken pipe)"


class PipeAwareGroup(click.Group):
    """Commands that fail with a message. click itself would end the program silently."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as in click
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise click.ClickException(MESSAGE) from None


class PipeAwareConsole(Console):
    """A console to which a write fails with the error of the stream."""

    def on_broken_pipe(self) -> NoReturn:
        """Raise. Rich itself would end the program silently, and with it would go the ids that it was to print."""
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))


def release_stdout() -> None:
    """Write what is left, or drop it: Python would do it at its end, and complain of a reader that has gone."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
