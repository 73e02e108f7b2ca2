"""The files and folders that a command writes to. They are checked before anything is spent."""

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
    """Make the folder if it does not exist, and check that a file can be written in it.

    Raises:
        OSError: Pictures cannot be saved in the folder.
    """
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try_to_write(folder / f".{uuid4().hex}-{uuid4().hex}.part", b"-")  # as long as the longest name used there


def try_to_write(path: Path, content: bytes) -> None:
    """Write a new file and remove it. If the program is killed meanwhile, the file stays.

    Raises:
        OSError: The file could not be written.
    """
    with path.open("xb") as file:  # on a full disk a file can be made, but not written
        try:
            file.write(content)
            file.flush()
        finally:
            path.unlink()


def require_apart(places: Iterable[tuple[str, Path]]) -> None:
    """Refuse two options that name the same path, since each would overwrite the other.

    Args:
        places: The options with their paths.

    Raises:
        click.ClickException: Two options name the same path.
    """
    known: dict[str, str] = {}
    for name, path in places:
        other = known.setdefault(os.path.realpath(path), name)
        if other != name:
            raise click.ClickException(f"{other} and {name} both name {path}: name another path for one of them")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Make an ``OSError`` name this path of the command line, rather than a file that was tried in it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


@contextmanager
def option_named(option: str) -> Iterator[None]:
    """Make an ``OSError`` name the option of the command line whose value cannot be used, and the remedy.

    Raises:
        click.ClickException: There was an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        reason = str(error)
        if error.strerror:
            reason = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
            reason += "; name another path"
        raise click.ClickException(f"{option}: {reason}") from None
