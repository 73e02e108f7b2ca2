"""Count the POSTs that each client sends for one paid create call whose reply is lost. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

import httpx
from aiohttp import web
from attrs import define, field

from akool_async import AkoolSession
from akool_async.emulator import Emulator, Fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

REQUEST_TIMEOUT = 1.0
CLIENT_TIMEOUT = 300.0
"""Seconds after which a client that still tries is stopped."""
FAULTS = ("HTTP 500", "reset", "read timeout")
EMULATED = {"HTTP 500": Fault.status(500, "after"), "reset": Fault.reset("after"), "read timeout": Fault.stall("after")}


@define
class LosingServer:
    """Receives every POST, as a service that charges for each would, and loses every reply."""

    fault: str
    base_url: str = ""
    posts: int = 0
    stopping: asyncio.Event = field(factory=asyncio.Event)

    async def answer(self, request: web.Request) -> web.Response:
        """Count the POST and lose its reply."""
        await request.read()
        if request.method == "POST":
            self.posts += 1
        if self.fault == "reset" and request.transport is not None:
            request.transport.abort()
        if self.fault == "read timeout":
            await self.stopping.wait()
        return web.json_response({"error": "lost"}, status=500)


@asynccontextmanager
async def losing_server(fault: str) -> AsyncIterator[LosingServer]:
    """Start a server on loopback for one client and one fault."""
    server = LosingServer(fault)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield server
    finally:
        server.stopping.set()
        await runner.cleanup()


async def create_with_fal(base_url: str) -> None:
    """Use fal-client: ``submit``."""
    import fal_client  # noqa: PLC0415
    from fal_client import client  # noqa: PLC0415

    client.QUEUE_URL_FORMAT = f"{base_url}/"  # fal's own option sets the host, but always uses https
    await fal_client.AsyncClient(key="a:b", default_timeout=REQUEST_TIMEOUT).submit("owner/app", arguments={})


async def create_with_replicate(base_url: str) -> None:
    """Use replicate: ``predictions.async_create``."""
    import replicate  # noqa: PLC0415

    client = replicate.Client("token", base_url=base_url, timeout=httpx.Timeout(REQUEST_TIMEOUT))
    await client.predictions.async_create(version="0" * 64, input={"prompt": "a fox"})


async def create_with_runway(base_url: str) -> None:
    """Use runwayml: ``text_to_image.create``."""
    from runwayml import AsyncRunwayML  # noqa: PLC0415

    async with AsyncRunwayML(api_key="key", base_url=base_url, timeout=REQUEST_TIMEOUT) as client:
        await client.text_to_image.create(model="gen4_image", prompt_text="a fox", ratio="1024:1024")


async def create_with_openai(base_url: str) -> None:
    """Use openai: ``images.generate``."""
    from openai import AsyncOpenAI  # noqa: PLC0415

    async with AsyncOpenAI(api_key="key", base_url=base_url, timeout=REQUEST_TIMEOUT) as client:
        await client.images.generate(prompt="a fox")


PEERS: dict[str, Callable[[str], Awaitable[None]]] = {
    "fal-client": create_with_fal,
    "replicate": create_with_replicate,
    "runwayml": create_with_runway,
    "openai": create_with_openai,
}


async def count_peer(name: str, fault: str) -> str:
    """Return the number of POSTs that another client sends, and how its call ends."""
    async with losing_server(fault) as server:
        ending = ""
        try:
            async with asyncio.timeout(CLIENT_TIMEOUT):
                await PEERS[name](server.base_url)
        except TimeoutError:
            ending = f"still trying after {CLIENT_TIMEOUT:.0f} s"
        except Exception as error:  # noqa: BLE001 - report every exception
            ending = type(error).__name__
        return f"{server.posts} ({ending})"


async def count_ours(fault: str) -> str:
    """Return the number of POSTs that akool_async sends, from the emulator's ledger, and how its call ends."""
    async with (
        Emulator(speed=100) as emulator,
        AkoolSession(emulator.api_key, base_url=emulator.base_url, request_timeout=REQUEST_TIMEOUT) as akool,
    ):
        emulator.faults.rate(1.0, EMULATED[fault], endpoints=["create_by_button"])
        ending = ""
        try:
            await akool.upscale(emulator.add_image(), 1)
        except Exception as error:  # noqa: BLE001
            ending = f"{type(error).__name__}, charged={getattr(error, 'charged', None)}"
        return f"{emulator.ledger.requests['create_by_button']} ({ending})"


async def main() -> None:
    """Run all clients concurrently, each with every fault, and print the table."""
    os.environ["FAL_KEY"] = "a:b"
    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(_each_fault(name)) for name in PEERS}
        ours = [group.create_task(count_ours(fault)) for fault in FAULTS]
    rows = {f"{name} {version(name)}": task.result() for name, task in tasks.items()}
    rows[f"akool_async {version('akool-async')}"] = [task.result() for task in ours]
    print(f"POSTs for one create call, Python {platform.python_version()}")
    print(f"{'client':<22}" + "".join(f"{fault:<44}" for fault in FAULTS))
    for name, cells in rows.items():
        print(f"{name:<22}" + "".join(f"{cell:<44}" for cell in cells))


async def _each_fault(name: str) -> list[str]:
    # One fault after the other, since fal-client's address is global.
    return [await count_peer(name, fault) for fault in FAULTS]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
