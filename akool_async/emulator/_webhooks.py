"""Calls back: once an image has ended, to the ``webhookUrl`` of its POST, and again until that answers 200."""

from __future__ import annotations

import asyncio
import heapq
import logging
import math
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from akool_async.emulator._images import COMPLETED, FAILED
from akool_async.emulator._ledger import Callback
from akool_async.emulator._options import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from akool_async.emulator._faults import Fault, Faults
    from akool_async.emulator._images import Image
    from akool_async.emulator._ledger import Ledger
    from akool_async.emulator._options import Options
    from akool_async.emulator._service import Service

logger = logging.getLogger("akool_async.emulator")

TRIES = 6
FIRST_PAUSE = 1.0
"""Seconds before a callback is repeated, at speed 1; twice as long each time."""
TIMEOUT = aiohttp.ClientTimeout(total=10)
MOST_AT_ONCE = 100
OK = 200
TWICE = 2


class WebhookSender:
    """The service's side of webhooks; its task sleeps until the next image ends."""

    def __init__(
        self,
        service: Service,
        ledger: Ledger,
        faults: Faults,
        *,
        pictures_url: str,
        options: Options,
    ) -> None:
        self._service = service
        self._ledger = ledger
        self._faults = faults
        self._lock = ledger.changes.lock
        self._pictures_url = pictures_url
        self._options = options
        self._dice = random.Random(0)  # noqa: S311 - nonces, of which nothing depends
        self._seal = _load_sealer()
        self._due: list[tuple[float, str, Image]] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._callbacks: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._task = asyncio.create_task(self._run())

    def expect(self, image: Image) -> None:
        """An image was accepted: call back when it has ended, if its POST asked for that."""
        if image.webhook_url is None or math.isinf(image.finished_at):
            return
        if not is_loopback(urlsplit(image.webhook_url).hostname):
            logger.warning("the emulator calls back to this machine alone, not to %s", image.webhook_url)
        elif self._seal is None:
            logger.warning('no callback: webhooks need cryptography: pip install "akool-async[webhooks]"')
        else:
            heapq.heappush(self._due, (image.finished_at, image.id, image))
            self._changed.set()

    def clock_moved(self) -> None:
        """The service's clock was moved forward, perhaps from another thread."""
        self._loop.call_soon_threadsafe(self._changed.set)

    async def stop(self) -> None:
        """No more callbacks."""
        tasks = [self._task, *self._callbacks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=0)
        ) as http:
            while True:
                self._changed.clear()
                with self._lock:
                    now = self._service.now()
                while self._due and self._due[0][0] <= now:
                    task = asyncio.create_task(self._call_back(http, heapq.heappop(self._due)[2]))
                    self._callbacks.add(task)
                    task.add_done_callback(self._callbacks.discard)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._due[0][0] - now if self._due else None):
                        await self._changed.wait()

    async def _call_back(self, http: aiohttp.ClientSession, image: Image) -> None:
        fault = self._faults.draw("webhook")
        if fault is not None and fault.kind == "lost":
            self._note(image, None, str(fault))
            return
        if fault is not None and fault.kind == "slow":
            await asyncio.sleep(fault.number)
        if fault is not None and fault.kind == "forged":
            await self._post(http, image, self._forgery(image), fault)
        times = TWICE if fault is not None and fault.kind == "twice" else 1
        for _ in range(times):
            await self._insist(http, image)

    async def _insist(self, http: aiohttp.ClientSession, image: Image) -> None:
        """Until it is answered with 200, or was tried often enough."""
        for tries in range(TRIES):
            status = await self._post(http, image, self._genuine(image), None)
            if status == OK:  # pragma: no branch - Python 3.11 loses track after a time-out within
                return
            await asyncio.sleep(FIRST_PAUSE * 2**tries / self._options.speed)

    async def _post(self, http: aiohttp.ClientSession, image: Image, body: bytes, fault: Fault | None) -> int | None:
        status = None
        async with self._room:
            try:
                headers = {"Content-Type": "application/json"}
                async with http.post(image.webhook_url or "", data=body, headers=headers) as response:
                    status = response.status
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                logger.debug("the callback of %s did not arrive: %s", image.id, error)
        self._note(image, status, None if fault is None else str(fault))
        return status

    def _genuine(self, image: Image) -> bytes:
        with self._lock:
            now = self._service.now()
            status, has_urls = image.status(now), image.has_urls(now)
            content: dict[str, Any] = {"_id": image.id, "status": status, "type": "image"}
            if status == COMPLETED:
                content["url"] = image.show(now, self._pictures_url)["image"] if has_urls else ""
            return self._sealed(content, self._service.account.client_secret)

    def _forgery(self, image: Image) -> bytes:
        """What somebody can make who knows the client id and not the secret."""
        with self._lock:
            content = {"_id": image.id, "status": FAILED, "type": "image", "url": "https://forger.invalid/"}
            return self._sealed(content, self._service.account.client_secret[::-1])

    def _sealed(self, content: dict[str, Any], secret: str) -> bytes:
        if self._seal is None:  # pragma: no cover - what cannot be sealed is not expected
            raise RuntimeError("callbacks are only expected where they can be sealed")
        return self._seal(
            content,
            client_id=self._service.account.client_id,
            client_secret=secret,
            nonce=self._dice.getrandbits(32),
            clock_skew=self._options.clock_skew,
        )

    def _note(self, image: Image, status: int | None, fault: str | None) -> None:
        with self._ledger.changes.changing():
            self._ledger.callbacks.append(Callback(image.id, image.webhook_url or "", status, fault))


def _load_sealer() -> Callable[..., bytes] | None:
    try:
        from akool_async.emulator import _encryption  # noqa: PLC0415 - cryptography comes with the extra, and only here
    except ImportError:
        return None
    return _encryption.seal
