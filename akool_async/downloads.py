"""Results to disk: whole or not at all, and never over something else."""

from __future__ import annotations

import asyncio
import filecmp
import os
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from akool_async.errors import DownloadError, ResultExpiredError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from akool_async.models import ImageResult

AT_ONCE: Final = 4
LARGEST_PICTURE: Final = 256 * 2**20
_SIGNATURES: Final = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"RIFF": ".webp",
}
_HEAD: Final = 16


async def download(fetch: Callable[[str], AsyncIterator[bytes]], result: ImageResult, directory: Path) -> list[Path]:
    """Save every picture of a result into ``directory``, a few at once; see ``AkoolSession.download``."""
    if result.expires_at is not None and datetime.now(UTC) >= result.expires_at:
        raise ResultExpiredError(f"AKOOL deleted this result at {result.expires_at}").about(operation_id=result.id)
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"the folder could not be made ({error})").about(operation_id=result.id) from error
    places = asyncio.Semaphore(AT_ONCE)

    async def save(index: int, url: str) -> Path | DownloadError:
        async with places:
            # The id comes from AKOOL and becomes a file name: nothing in it may lead elsewhere.
            stem = f"{re.sub(r'[^A-Za-z0-9_-]', '_', result.id)}-{index}"
            try:
                return await _save(fetch(url), directory, stem)
            except DownloadError as error:  # the other pictures go on
                return error.about(operation_id=result.id)
            except OSError as error:
                return DownloadError(f"a picture could not be saved ({error})").about(operation_id=result.id)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(save(index, url)) for index, url in enumerate(result.urls, start=1)]
    saved = [task.result() for task in tasks]
    for outcome in saved:
        if isinstance(outcome, DownloadError):
            raise outcome
    return [path for path in saved if not isinstance(path, DownloadError)]


async def _save(chunks: AsyncIterator[bytes], directory: Path, stem: str) -> Path:
    part = directory / f".{stem}-{uuid4().hex}.part"
    try:
        # Opened and removed right here: in a thread, a cancellation could come between the deed and its knowledge.
        with part.open("xb") as file:
            size = 0
            async for chunk in chunks:
                size += len(chunk)
                if size > LARGEST_PICTURE:
                    raise DownloadError(f"a picture of more than {LARGEST_PICTURE} bytes")
                await asyncio.to_thread(file.write, chunk)
        return await asyncio.to_thread(_publish, part, directory, stem)
    finally:
        part.unlink(missing_ok=True)


def _publish(part: Path, directory: Path, stem: str) -> Path:
    target = directory / (stem + _suffix_of(part))
    try:
        os.link(part, target)  # unlike a rename, fails where the name is taken
    except FileExistsError:
        if not filecmp.cmp(part, target, shallow=False):
            raise DownloadError(f"{target} exists and is another picture; it was not overwritten") from None
    return target


def _suffix_of(picture: Path) -> str:
    with picture.open("rb") as file:
        head = file.read(_HEAD)
    for signature, suffix in _SIGNATURES.items():
        if head.startswith(signature):
            return suffix
    raise DownloadError("what the pictures' host sent is not a picture (PNG, JPEG, GIF or WebP)")
