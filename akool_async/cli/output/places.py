"""Where a command writes: tried before anything is spent, since what was paid for needs a place."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import click

from akool_async.cli.gallery.page import GENERATOR, require_free

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def prepare_folder(folder: Path) -> None:
    """Make the folder if it is not there, and write a file in it, which goes again.

    Raises:
        OSError: pictures could not be saved there.
    """
    with _naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / f".{uuid4().hex}-{uuid4().hex}.part")  # no name that is used there is longer


def prepare_page(page: Path) -> None:
    """Write a page in its place, which goes again; a gallery that is there stays as it is.

    Raises:
        OSError: a gallery could not be written there.
    """
    require_free(page)
    place = Path(os.path.realpath(page))
    prepare_folder(place.parent)
    if not place.exists():
        with _naming(page):
            _write(place)


def require_apart(places: Iterable[tuple[str, Path]]) -> None:
    """Refuse two options that name one place, where each would write over the other.

    Raises:
        click.ClickException: there are two.
    """
    known: dict[str, str] = {}
    for name, path in places:
        other = known.setdefault(os.path.realpath(path), name)
        if other != name:
            raise click.ClickException(f"{other} and {name} both name {path}: name another place for one of them")


def _write(path: Path) -> None:
    with path.open("xb") as file:  # a full disk lets files be made, and nothing be written to them
        try:
            file.write(GENERATOR)  # if this program is killed here, a page that is left is one that may be overwritten
            file.flush()
        finally:
            path.unlink()


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """An error names the place that the command was given, rather than a file that is tried in it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None
