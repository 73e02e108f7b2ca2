"""Sends a webhook when an image has ended, to the ``webhookUrl`` of its POST, until that answers 200."""

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

from akool_async.emulator._extras import install_hint, load_encryption
from akool_async.emulator._images import COMPLETED, FAILED
from akool_async.emulator._ledger import Callback
from akool_async.emulator._options import is_loopback

if TYPE_CHECKING:
    from akool_async.emulator._faults import Fault, Faults
    from akool_async.emulator._images import Image
    from akool_async.emulator._service import Service

logger = logging.getLogger("akool_async.emulator")

MAX_TRIES = 6
FIRST_DELAY = 1.0
"""Seconds before the second try, at speed 1; it doubles with each try."""
TIMEOUT = aiohttp.ClientTimeout(total=10)
MAX_CONCURRENT_REQUESTS = 100
OK = 200


class WebhookSender:
    """Sends webhooks. One task sleeps until the next image ends, and starts a task for each webhook."""

    def __init__(self, service: Service, faults: Faults, *, pictures_url: str) -> None:
        self._service = service
        self._faults = faults
        self._pictures_url = pictures_url
        self._rng = random.Random(0)  # noqa: S311 - nonces, on which nothing depends
        self._encrypt = load_encryption()
        self._due: list[tuple[float, str, Image]] = []
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._concurrency = asyncio.Semaphore(MAX_CONCURRENT_REQUESTS)
        self._task = asyncio.create_task(self._run())

    def schedule(self, image: Image) -> None:
        """Send a webhook when an accepted image ends, if its POST asked for one."""
        if image.webhook_url is None or math.isinf(image.finished_at):
            return
        if not is_loopback(urlsplit(image.webhook_url).hostname):
            logger.warning("the emulator sends webhooks to this machine only, not to %s", image.webhook_url)
        elif self._encrypt is None:
            logger.warning("no webhook is sent: webhooks need cryptography: %s", install_hint("webhooks"))
        else:
            heapq.heappush(self._due, (image.finished_at, image.id, image))
            self._changed.set()

    def on_clock_moved(self) -> None:
        """Send the webhooks that have become due. Any thread may call this."""
        self._loop.call_soon_threadsafe(self._changed.set)

    async def stop(self) -> None:
        """Cancel all webhooks."""
        tasks = [self._task, *self._sending]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=TIMEOUT, connector=aiohttp.TCPConnector(limit=0)
        ) as http:
            while True:
                self._changed.clear()
                with self._service.ledger.changes.lock:
                    now = self._service.now()
                while self._due and self._due[0][0] <= now:
                    task = asyncio.create_task(self._send(http, heapq.heappop(self._due)[2]))
                    self._sending.add(task)
                    task.add_done_callback(self._sending.discard)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._due[0][0] - now if self._due else None):
                        await self._changed.wait()

    async def _send(self, http: aiohttp.ClientSession, image: Image) -> None:
        """Send one webhook, with its fault."""
        fault = self._faults.draw("webhook")
        kind = None if fault is None else fault.kind
        if fault is not None and kind == "lost":
            self._record(image, None, fault)
            return
        if fault is not None and kind == "slow":
            await asyncio.sleep(fault.number)
        if kind == "forged":
            await self._post(http, image, self._forged_body(image), fault)
        for _ in range(2 if kind == "twice" else 1):
            await self._send_until_accepted(http, image)

    async def _send_until_accepted(self, http: aiohttp.ClientSession, image: Image) -> None:
        for tries in range(MAX_TRIES):
            status = await self._post(http, image, self._genuine_body(image), None)
            if status == OK:  # pragma: no branch - Python 3.11 measures this wrongly after a timeout
                return
            await asyncio.sleep(FIRST_DELAY * 2**tries / self._service.options.speed)

    async def _post(self, http: aiohttp.ClientSession, image: Image, body: bytes, fault: Fault | None) -> int | None:
        """Send a body, and return the HTTP status of the reply; None if there was no reply."""
        status = None
        async with self._concurrency:
            try:
                headers = {"Content-Type": "application/json"}
                async with http.post(image.webhook_url or "", data=body, headers=headers) as response:
                    status = response.status
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                logger.debug("the webhook of %s did not arrive: %s", image.id, error)
        self._record(image, status, fault)
        return status

    def _genuine_body(self, image: Image) -> bytes:
        with self._service.ledger.changes.lock:
            now = self._service.now()
            status, has_urls = image.status(now), image.has_urls(now)
            content: dict[str, Any] = {"_id": image.id, "status": status, "type": "image"}
            if status == COMPLETED:
                content["url"] = image.show(now, self._pictures_url)["image"] if has_urls else ""
            return self._body(content, self._service.account.client_secret)

    def _forged_body(self, image: Image) -> bytes:
        """Make a webhook as a forger would who knows the client id but not the secret."""
        content = {"_id": image.id, "status": FAILED, "type": "image", "url": "https://forger.invalid/"}
        return self._body(content, self._service.account.client_secret[::-1])

    def _body(self, content: dict[str, Any], secret: str) -> bytes:
        if self._encrypt is None:  # pragma: no cover - then nothing is scheduled
            raise RuntimeError("webhooks need cryptography")
        return self._encrypt(
            content,
            client_id=self._service.account.client_id,
            client_secret=secret,
            nonce=self._rng.getrandbits(32),
            clock_skew=self._service.options.clock_skew,
        )

    def _record(self, image: Image, status: int | None, fault: Fault | None) -> None:
        callback = Callback(image.id, image.webhook_url or "", status, None if fault is None else str(fault))
        with self._service.ledger.changes.changing():
            self._service.ledger.callbacks.append(callback)
