"""The file of a page: only another gallery is overwritten, whole or not at all."""

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
"""Bytes at the beginning of a page, in which its generator is named."""


def require_free(page: Path) -> None:
    """Refuse a name that something other than a gallery has; a gallery is replaced.

    Raises:
        FileExistsError: it has.
        OSError: nothing can be there, as behind a link that leads to itself.
    """
    try:
        is_file = stat.S_ISREG(page.stat().st_mode)
    except FileNotFoundError:  # a link to a page that is not there yet included
        return
    if is_file:
        with page.open("rb") as file:
            if GENERATOR in file.read(HEAD_SIZE):
                return
    raise FileExistsError(f"{page} exists and is not a gallery; it was not overwritten")


def prepare_page(page: Path) -> None:
    """Write a page in its place and remove it; a gallery that is there stays as it is.

    Raises:
        OSError: a gallery could not be written there.
    """
    require_free(page)
    place = Path(os.path.realpath(page))
    prepare_folder(place.parent)
    if not place.exists():
        with naming(page):
            try_to_write(place, GENERATOR)  # a page that a killed program leaves is one that may be overwritten


def replace_page(page: Path, text: str) -> None:
    """Write a page whole or not at all. Behind a link, the page that it leads to is written, with its permissions.

    Raises:
        OSError: it could not be written; a page that was there before is as it was.
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
