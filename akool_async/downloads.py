"""Results to disk: whole or not at all, and never over something else."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from attrs import define, field

from akool_async._picture_files import publish, require_whole, sniff
from akool_async._picture_formats import ENOUGH_TO_SNIFF
from akool_async._picture_hosts import BrokenOffError, PictureHosts, RefusedError
from akool_async._retry import growing_waits
from akool_async.errors import AkoolError, DownloadError, NotFoundError, ResultExpiredError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path
    from typing import BinaryIO

    from akool_async.models import ImageResult

TRIES: Final = 5
LARGEST_PICTURE: Final = 256 * 2**20


class Downloads:
    """The pictures of one session."""

    def __init__(self, hosts: PictureHosts, read: Callable[[str], Awaitable[ImageResult]]) -> None:
        self._hosts = hosts
        self._read = read
        self._saving: set[asyncio.Task[Path | AkoolError]] = set()

    async def save(self, result: ImageResult, directory: Path) -> list[Path]:
        """Save every picture of a result into ``directory``, a few at once; see ``AkoolSession.download``."""
        try:
            return await self._save_all(result, directory)
        except AkoolError as error:
            error.about(operation_id=result.id)
            raise

    async def _save_all(self, result: ImageResult, directory: Path) -> list[Path]:
        _require_not_expired(result)
        if not result.urls:
            raise DownloadError(f"this result has no pictures (status {result.status})")
        await _make(directory)
        addresses = _Addresses(result, self._read)

        async def save(index: int) -> Path | AkoolError:
            # The id comes from AKOOL and becomes a file name: nothing in it may lead elsewhere.
            stem = f"{re.sub(r'[^A-Za-z0-9_-]', '_', result.id)}-{index + 1}"
            try:
                async with self._hosts.places:
                    return await self._save(addresses, index, directory, stem)
            except AkoolError as error:  # the other pictures go on
                return error
            except OSError as error:
                return DownloadError(f"a picture could not be saved ({error})")

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(save(index)) for index in range(len(result.urls))]
            for task in tasks:
                self._saving.add(task)
                task.add_done_callback(self._saving.discard)
        saved = [SessionClosedError() if task.cancelled() else task.result() for task in tasks]
        for outcome in saved:
            if isinstance(outcome, AkoolError):
                raise outcome
        return [path for path in saved if not isinstance(path, AkoolError)]

    async def aclose(self) -> None:
        """End what is under way (:class:`SessionClosedError`) and close all connections."""
        saving = list(self._saving)
        for task in saving:
            task.cancel()
        await asyncio.gather(*saving, return_exceptions=True)
        await self._hosts.aclose()

    async def _save(self, addresses: _Addresses, index: int, directory: Path, stem: str) -> Path:
        part = directory / f".{stem}-{uuid4().hex}.part"
        try:
            # Opened and removed right here: in a thread, a cancellation could come between the deed and its knowledge.
            with part.open("xb") as file:
                picture = _Picture(self._hosts, part, file)
                try:
                    await picture.fetch(addresses.urls[index])
                except RefusedError as refused:
                    await picture.fetch(await addresses.refresh(index, refused))
            return await asyncio.to_thread(publish, part, directory, stem)
        except (RefusedError, BrokenOffError) as error:
            raise DownloadError(*error.args) from error
        finally:
            part.unlink(missing_ok=True)


@define
class _Picture:
    """One picture on its way to disk."""

    _hosts: PictureHosts
    _part: Path
    _file: BinaryIO
    _version: str | None = None

    async def fetch(self, url: str) -> None:
        """Fetch until whole, going on where an interrupted try ended, where the host allows that."""
        for pause in (*islice(growing_waits(0.5, 8.0), TRIES - 1), None):
            try:
                await self._fetch_rest(url)
                self._file.flush()
                await asyncio.to_thread(require_whole, self._part)
            except BrokenOffError:
                if pause is None:
                    raise
                await asyncio.sleep(pause)
            else:
                return

    async def _fetch_rest(self, url: str) -> None:
        start = self._file.tell()
        version, self._version = self._version, None  # a try that gains nothing is followed by one from the beginning
        async with self._hosts.open(url, start, version) as piece:
            if piece.start != start:
                self._file.seek(0)
                self._file.truncate()
            async for chunk in piece.chunks:
                if not self._file.tell() and len(chunk) >= ENOUGH_TO_SNIFF:
                    sniff(chunk)
                if self._file.tell() + len(chunk) > LARGEST_PICTURE:
                    raise DownloadError(f"a picture of more than {LARGEST_PICTURE} bytes")
                await self._write(chunk)
                self._version = piece.version

    async def _write(self, chunk: bytes) -> None:
        try:
            await asyncio.to_thread(self._file.write, chunk)
        except OSError as error:  # of this disk, not of the host: no other try will mend it
            raise DownloadError(f"a picture could not be saved ({error})") from error


@define
class _Addresses:
    """Where the pictures of a result are; asked of AKOOL again, once, where a host knows them no more."""

    _result: ImageResult
    _read: Callable[[str], Awaitable[ImageResult]]
    _was_asked: bool = False
    _asking: asyncio.Lock = field(factory=asyncio.Lock, init=False)

    @property
    def urls(self) -> tuple[str, ...]:
        """The newest that are known."""
        return self._result.urls

    async def refresh(self, index: int, refused: RefusedError) -> str:
        """The address that AKOOL gives now.

        Raises:
            ResultExpiredError: AKOOL has the result no more.
        """
        async with self._asking:
            if not self._was_asked:
                self._was_asked = True
                try:
                    self._result = await self._read(self._result.id)
                except NotFoundError as error:
                    raise ResultExpiredError(f"AKOOL has this result no more, and {refused.args[0]}") from error
                except SessionClosedError:
                    raise
                except AkoolError as error:
                    raise DownloadError(f"{refused.args[0]}, and no fresh address came: {error.args[0]}") from error
                _require_not_expired(self._result)
        if index >= len(self.urls):
            raise refused
        return self.urls[index]


async def _make(directory: Path) -> None:
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"the folder could not be made ({error})") from error


def _require_not_expired(result: ImageResult) -> None:
    if result.expires_at is not None and datetime.now(UTC) >= result.expires_at:
        raise ResultExpiredError(f"AKOOL deleted this result at {result.expires_at}")
