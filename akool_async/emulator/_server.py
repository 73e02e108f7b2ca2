"""The server: AKOOL's API and its pictures on two loopback ports, and its webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from akool_async.emulator._api import Api
from akool_async.emulator._fault_injector import FaultInjector
from akool_async.emulator._picture_host import PictureHost
from akool_async.emulator._webhooks import WebhookSender

if TYPE_CHECKING:
    from akool_async.emulator._faults import Faults
    from akool_async.emulator._service import Service

BACKLOG = 4096
SHUTDOWN_TIMEOUT = 1.0


class Server:
    """Serves once, in the running event loop."""

    def __init__(self, service: Service, faults: Faults) -> None:
        self.base_url = ""
        self.pictures_url = ""
        self._service = service
        self._injector = FaultInjector(faults)
        self._webhooks: WebhookSender | None = None
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Listen on both ports, and set the two URLs."""
        pictures = PictureHost(self._service, self._injector)
        self.pictures_url = await self._listen(pictures.application(), port=0)
        self._webhooks = WebhookSender(self._service, self._injector.faults, pictures_url=self.pictures_url)
        api = Api(self._service, self._injector, self._webhooks, pictures_url=self.pictures_url)
        self.base_url = await self._listen(api.application(), port=self._service.options.port)

    async def stop(self) -> None:
        """End all replies and webhooks, and close both ports."""
        self._injector.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
        for runner in self._runners:
            await runner.cleanup()

    def on_clock_moved(self) -> None:
        """Send the webhooks that have become due. Can be called from another thread."""
        if self._webhooks is not None:
            self._webhooks.on_clock_moved()

    async def _listen(self, application: web.Application, *, port: int) -> str:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=SHUTDOWN_TIMEOUT)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self._service.options.host, port, backlog=BACKLOG).start()
        host, bound = runner.addresses[0][:2]
        return f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"
