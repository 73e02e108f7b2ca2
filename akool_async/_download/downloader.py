"""Results to disk: whole or not at all, and never over something else."""

from __future__ import annotations

import asyncio
import re
from itertools import islice
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from attrs import define, field

from akool_async._download.files import publish, require_whole, sniff
from akool_async._download.formats import ENOUGH_TO_SNIFF
from akool_async._download.hosts import BrokenOffError, PausedError, PictureHosts, RefusedError
from akool_async._limits.backoff import growing_waits
from akool_async.errors import AkoolError, DownloadError, NotFoundError, ResultExpiredError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from akool_async._limits.timing import Timing
    from akool_async.models import ImageResult

TRIES: Final = 5
"""Failed requests after which a picture is given up. A pause that its host asks for is no failure."""
LARGEST_PICTURE: Final = 256 * 2**20


class Downloads:
    """The pictures of one session."""

    def __init__(self, hosts: PictureHosts, read: Callable[[str], Awaitable[ImageResult]], timing: Timing) -> None:
        self._hosts = hosts
        self._read = read
        self._timing = timing
        self._saving: set[asyncio.Task[Path | AkoolError]] = set()

    async def save(self, result: ImageResult, directory: Path) -> list[Path]:
        """Save every picture of a result into ``directory``, a few at once; see ``AkoolSession.download``."""
        try:
            return await self._save_all(result, directory)
        except AkoolError as error:
            error.about(operation_id=result.id)
            raise

    async def _save_all(self, result: ImageResult, directory: Path) -> list[Path]:
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
                picture = _Picture(self._hosts, part, file, self._timing)
                try:
                    await picture.fetch(addresses.urls[index])
                except RefusedError as refused:
                    await picture.fetch(await addresses.refresh(index, refused))
            return await asyncio.to_thread(publish, part, directory, stem)
        except RefusedError as refused:
            raise addresses.explain(refused) from refused
        except (BrokenOffError, PausedError) as error:
            raise DownloadError(*error.args) from error
        finally:
            part.unlink(missing_ok=True)


@define
class _Picture:
    """One picture on its way to disk."""

    _hosts: PictureHosts
    _part: Path
    _file: BinaryIO
    _timing: Timing
    _version: str | None = None
    _paused: float = 0.0

    async def fetch(self, address: str) -> None:
        """Fetch until whole, going on where an interrupted try ended, where the host allows that."""
        waits_after_failures, shortest_pauses = islice(self._waits(), TRIES - 1), self._waits()
        while True:
            try:
                await self._fetch_rest(address)
                self._file.flush()
                await asyncio.to_thread(require_whole, self._part)
            except PausedError as paused:
                await self._pause(max(paused.seconds, next(shortest_pauses)), paused)
            except BrokenOffError:
                wait = next(waits_after_failures, None)
                if wait is None:
                    raise
                await asyncio.sleep(wait)
            else:
                return

    async def _pause(self, seconds: float, paused: PausedError) -> None:
        self._paused += seconds
        longest = self._timing.download_pause_timeout
        if self._paused > longest:
            raise PausedError(f"{paused.args[0]}; a picture waits for {longest:g} s at most")
        await asyncio.sleep(seconds)

    def _waits(self) -> Iterator[float]:
        return growing_waits(self._timing.retry_delay, self._timing.max_retry_delay)

    async def _fetch_rest(self, address: str) -> None:
        start = self._file.tell()
        version, self._version = self._version, None  # a try that gains nothing is followed by one from the beginning
        try:
            async with self._hosts.open(address, start, version) as piece:
                if piece.start != start:
                    self._file.seek(0)
                    self._file.truncate()
                async for chunk in piece.chunks:
                    await self._take(chunk)
                    self._version = piece.version
        except PausedError:
            self._version = version
            raise

    async def _take(self, chunk: bytes) -> None:
        if not self._file.tell() and len(chunk) >= ENOUGH_TO_SNIFF:
            sniff(chunk)
        if self._file.tell() + len(chunk) > LARGEST_PICTURE:
            raise DownloadError(f"a picture of more than {LARGEST_PICTURE} bytes")
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
    _given: ImageResult = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._given = self._result

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
                    raise ResultExpiredError(
                        f"AKOOL does not have this result any more (code {error.code}), and {refused.args[0]}"
                    ) from error
                except SessionClosedError:
                    raise
                except AkoolError as error:
                    raise DownloadError(f"{refused.args[0]}, and no fresh address came: {error.args[0]}") from error
        if self._result.image and self._given.urls[index] == self._given.image:
            return self._result.image  # whose place differs where the caller's result holds some pictures only
        if index >= len(self.urls):
            raise refused
        return self.urls[index]

    def explain(self, refused: RefusedError) -> AkoolError:
        """The error for a picture that its host does not serve, at the address that AKOOL gives now."""
        end = self._result.expires_at
        # By the host's clock: this machine's may be wrong.
        if refused.at is None or end is None or refused.at < end:
            return DownloadError(*refused.args)
        return ResultExpiredError(f"AKOOL keeps results for 7 days, which ended at {end}, and {refused.args[0]}")


async def _make(directory: Path) -> None:
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"the folder could not be made ({error})") from error
