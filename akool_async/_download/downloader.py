"""Saves the pictures of results. Each is saved whole or not at all, and no file is overwritten."""

from __future__ import annotations

import asyncio
import re
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from attrs import define, field

from akool_async._download.files import publish, raise_unless_whole, sniff
from akool_async._download.formats import HEAD_SIZE
from akool_async._download.hosts import PausedError, PictureHosts, RefusedError, TransientError
from akool_async._limits.backoff import growing_waits
from akool_async.errors import AkoolError, DownloadError, NotFoundError, ResultExpiredError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path
    from typing import BinaryIO

    from akool_async._limits.timing import Timing
    from akool_async.models import ImageResult

MAX_TRIES: Final = 5
"""Failed requests for one picture. A pause that its host asks for is not a failure."""
MAX_PICTURE_SIZE: Final = 256 * 2**20
"""Bytes."""


class Downloader:
    """Saves the pictures of one session."""

    def __init__(self, hosts: PictureHosts, read: Callable[[str], Awaitable[ImageResult]], timing: Timing) -> None:
        self._hosts = hosts
        self._read = read
        self._timing = timing
        self._saving: set[asyncio.Task[Path | AkoolError]] = set()

    async def save(self, result: ImageResult, directory: Path, name: str | None = None) -> list[Path]:
        """Save every picture of a result into ``directory``, a few concurrently; see ``AkoolSession.download``."""
        try:
            return await self._save_all(result, directory, _stems(result, name))
        except AkoolError as error:
            error.about(operation_id=result.id)
            raise

    async def _save_all(self, result: ImageResult, directory: Path, stems: Sequence[str]) -> list[Path]:
        if not result.urls:
            raise DownloadError(f"this result has no pictures (status {result.status})")
        await _make(directory)
        urls = _Urls(result, self._read)

        async def save(index: int) -> Path | AkoolError:
            try:
                async with self._hosts.concurrency:
                    return await self._save(urls, index, directory, stems[index])
            except AkoolError as error:  # the other pictures continue
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
        """Cancel running downloads, which raise :class:`SessionClosedError`, and close all connections."""
        saving = list(self._saving)
        for task in saving:
            task.cancel()
        await asyncio.gather(*saving, return_exceptions=True)
        await self._hosts.aclose()

    async def _save(self, urls: _Urls, index: int, directory: Path, stem: str) -> Path:
        part = directory / f".{stem}-{uuid4().hex}.part"
        try:
            # Opened and removed in the event loop: a cancellation could hide that a thread has just done it.
            with part.open("xb") as file:
                picture = _Picture(self._hosts, part, file, self._timing)
                try:
                    await picture.fetch(urls.current[index])
                except RefusedError as refused:
                    await picture.fetch(await urls.refresh(index, refused))
            return await asyncio.to_thread(publish, part, directory, stem)
        except RefusedError as refused:
            raise urls.explain(refused) from refused
        except (TransientError, PausedError) as error:
            raise DownloadError(*error.args) from error
        finally:
            part.unlink(missing_ok=True)


@define
class _Picture:
    """One picture while it is downloaded."""

    _hosts: PictureHosts
    _part: Path
    _file: BinaryIO
    _timing: Timing
    _version: str | None = None
    _paused: float = 0.0

    async def fetch(self, url: str) -> None:
        """Fetch the picture until it is whole. Each try resumes where the last one ended, if the host supports that."""
        waits_after_failures, min_pauses = islice(self._waits(), MAX_TRIES - 1), self._waits()
        while True:
            try:
                await self._fetch_rest(url)
                self._file.flush()
                await asyncio.to_thread(raise_unless_whole, self._part)
            except PausedError as paused:
                await self._pause(max(paused.seconds, next(min_pauses)), paused)
            except TransientError:
                wait = next(waits_after_failures, None)
                if wait is None:
                    raise
                await asyncio.sleep(wait)
            else:
                return

    async def _pause(self, seconds: float, paused: PausedError) -> None:
        self._paused += seconds
        timeout = self._timing.download_pause_timeout
        if self._paused > timeout:
            raise PausedError(f"{paused.args[0]}; a picture waits at most {timeout:g} s")
        await asyncio.sleep(seconds)

    def _waits(self) -> Iterator[float]:
        return growing_waits(self._timing.retry_delay, self._timing.max_retry_delay)

    async def _fetch_rest(self, url: str) -> None:
        start = self._file.tell()
        version, self._version = self._version, None  # if this try receives nothing, the next starts over
        try:
            async with self._hosts.open(url, start, version) as piece:
                if piece.start != start:
                    self._file.seek(0)
                    self._file.truncate()
                async for chunk in piece.chunks:
                    await self._write(chunk)
                    self._version = piece.version
        except PausedError:
            self._version = version
            raise

    async def _write(self, chunk: bytes) -> None:
        if not self._file.tell() and len(chunk) >= HEAD_SIZE:
            sniff(chunk)
        if self._file.tell() + len(chunk) > MAX_PICTURE_SIZE:
            raise DownloadError(f"a picture of more than {MAX_PICTURE_SIZE} bytes")
        try:
            await asyncio.to_thread(self._file.write, chunk)
        except OSError as error:  # the disk's error, not the host's: another try will not help
            raise DownloadError(f"a picture could not be saved ({error})") from error


@define
class _Urls:
    """The URLs of a result's pictures. If a host refuses one, AKOOL is asked once for the current ones."""

    _result: ImageResult
    _read: Callable[[str], Awaitable[ImageResult]]
    _is_refreshed: bool = False
    _refreshing: asyncio.Lock = field(factory=asyncio.Lock, init=False)
    _original: ImageResult = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._original = self._result

    @property
    def current(self) -> tuple[str, ...]:
        """The newest known URLs."""
        return self._result.urls

    async def refresh(self, index: int, refused: RefusedError) -> str:
        """Return the URL that AKOOL reports now.

        Raises:
            ResultExpiredError: AKOOL no longer has the result.
            DownloadError: The result could not be read, or no longer has that picture.
        """
        async with self._refreshing:
            if not self._is_refreshed:
                self._is_refreshed = True
                try:
                    self._result = await self._read(self._result.id)
                except NotFoundError as error:
                    raise ResultExpiredError(
                        f"AKOOL no longer has this result (code {error.code}), and {refused.args[0]}"
                    ) from error
                except SessionClosedError:
                    raise
                except AkoolError as error:
                    raise DownloadError(
                        f"{refused.args[0]}, and its new URL could not be read: {error.args[0]}"
                    ) from error
        if self._result.image and self._original.urls[index] == self._original.image:
            return self._result.image  # its index differs if the caller's result has only some of the pictures
        if index >= len(self.current):
            raise refused
        return self.current[index]

    def explain(self, refused: RefusedError) -> AkoolError:
        """Return the error for a picture whose current URL its host does not serve."""
        end = self._result.expires_at
        # By the host's clock, since this machine's may be wrong.
        if refused.at is None or end is None or refused.at < end:
            return DownloadError(*refused.args)
        return ResultExpiredError(f"AKOOL kept this result until {end} (7 days), and {refused.args[0]}")


def _stems(result: ImageResult, name: str | None) -> Sequence[str]:
    """Return the names of a result's pictures without their suffixes, in ``urls`` order."""
    if name is None:  # AKOOL's id becomes a file name, so it must not lead to another folder
        name = re.sub(r"[^A-Za-z0-9_-]", "_", result.id)
    elif len(result.urls) == 1:
        return [name]
    elif result.image == result.urls[-1]:
        return [*(f"{name}-{number}" for number in range(1, len(result.urls))), f"{name}-grid"]
    return [f"{name}-{number}" for number in range(1, len(result.urls) + 1)]


async def _make(directory: Path) -> None:
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"the folder could not be created ({error})") from error
