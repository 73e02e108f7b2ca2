"""A webhook receiver on loopback, for `akool demo --webhook`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import define

from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from akool_async import AkoolSession
    from akool_async.emulator import Emulator


@define
class Receiver:
    """The handler of webhooks. It answers 503 until :meth:`start`."""

    verifier: WebhookVerifier
    url: str | None = None
    """Its address; None if the demo runs without webhooks."""
    _handler: Callable[[web.Request], Awaitable[web.Response]] | None = None

    def start(self, akool: AkoolSession) -> None:
        """Pass webhooks to this session from now on."""
        self._handler = webhook_handler(akool, self.verifier)

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a webhook."""
        return web.Response(status=503) if self._handler is None else await self._handler(request)


@asynccontextmanager
async def serve_webhooks(emulator: Emulator, *, wanted: bool) -> AsyncIterator[Receiver]:
    """Serve a receiver for the webhooks of the emulator, if it is wanted."""
    receiver = Receiver(WebhookVerifier(emulator.client_id, emulator.client_secret))
    if not wanted:
        yield receiver
        return
    application = web.Application()
    application.router.add_post("/akool", receiver.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/akool"
        yield receiver
    finally:
        await runner.cleanup()
