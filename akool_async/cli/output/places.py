"""Where a command writes: tried before anything is spent, since what was paid for needs a place."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is not there, and write a file in it, which is removed again.

    Raises:
        OSError: pictures could not be saved there.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder / f".{uuid4().hex}-{uuid4().hex}.part", b"-")  # no name that is used there is longer


def try_to_write(path: Path, content: bytes) -> None:
    """Write a new file and remove it. If this program is killed meanwhile, the file stays."""
    with path.open("xb") as file:  # a full disk lets files be made, and nothing be written to them
        try:
            file.write(content)
            file.flush()
        finally:
            path.unlink()


def require_apart(places: Iterable[tuple[str, Path]]) -> None:
    """Refuse two options that name one place: each would overwrite the other.

    Raises:
        click.ClickException: there are two.
    """
    known: dict[str, str] = {}
    for name, path in places:
        other = known.setdefault(os.path.realpath(path), name)
        if other != name:
            raise click.ClickException(f"{other} and {name} both name {path}: name another place for one of them")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an error name the place that the command was given, rather than a file that is tried in it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
