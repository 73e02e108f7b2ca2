"""The file of a page. Only another gallery is overwritten, and never in part."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from akool_async.cli.output.places import naming, prepare_folder, try_to_write

GENERATOR: Final = b'<meta name="generator" content="akool_async">'
HEAD_SIZE: Final = 1024
"""The generator is named within this many bytes from the beginning of a page."""


def require_free(page: Path) -> None:
    """Refuse a path that holds anything other than a gallery.

    Raises:
        FileExistsError: Another file or a folder is there.
        OSError: The path cannot be used, such as a link that leads to itself.
    """
    try:
        is_file = stat.S_ISREG(page.stat().st_mode)
    except FileNotFoundError:  # also for a link to a page that does not exist yet
        return
    if is_file:
        with page.open("rb") as file:
            if GENERATOR in file.read(HEAD_SIZE):
                return
    raise FileExistsError(f"{page} exists and is not a gallery; it was not overwritten")


def prepare_page(page: Path) -> None:
    """Check that a page can be written, by writing one and removing it. An existing gallery is left alone.

    Raises:
        OSError: A gallery could not be written there.
    """
    require_free(page)
    place = Path(os.path.realpath(page))
    prepare_folder(place.parent)
    if not place.exists():
        with naming(page):
            try_to_write(place, GENERATOR)  # if we are killed now, the next run may overwrite it


def replace_page(page: Path, text: str) -> None:
    """Write a page whole or not at all, with the permissions of the one that it replaces. Links are followed.

    Raises:
        OSError: The page could not be written; an earlier version of it is unchanged.
    """
    require_free(page)
    target = Path(os.path.realpath(page))
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{uuid4().hex}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            with suppress(FileNotFoundError):
                shutil.copymode(target, part)
            file.write(text)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
