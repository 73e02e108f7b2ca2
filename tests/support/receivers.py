"""Real servers on loopback with the webhook handlers, for the tests of webhooks."""

import asyncio
from contextlib import asynccontextmanager

import uvicorn
from aiohttp import web
from attrs import evolve

from akool_async import ExponentialPolling
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler
from tests.support.schedules import QUICK

PATIENT = evolve(QUICK, fallback_poll_interval=60.0, lost_reply_timeout=20.0)
"""A session that gives webhooks time."""
RARE = ExponentialPolling(initial=30, max_interval=30)
"""Polls so seldom that only a webhook can end a wait within a test's time."""


@asynccontextmanager
async def serve_aiohttp(add_routes):
    """Serve an aiohttp application that ``add_routes`` fills, and yield its address."""
    app = web.Application()
    add_routes(app)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_asgi(app, *, lifespan="off"):
    """Serve an ASGI application with uvicorn, and yield its address."""
    config = uvicorn.Config(app, port=0, log_level="error", lifespan=lifespan)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done(), "the server did not start"
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


@asynccontextmanager
async def called_back(emulator, *, polling=RARE, timing=PATIENT, **options):
    """Make a session whose webhooks arrive at a real aiohttp server."""
    handlers = []

    async def handle(request):
        return await handlers[0](request)

    async with serve_aiohttp(lambda app: app.router.add_route("*", "/akool", handle)) as address:
        async with emulator.session(
            webhook_url=f"{address}/akool",
            polling=polling,
            timing=timing,
            **options,
        ) as akool:
            handlers.append(webhook_handler(akool, WebhookVerifier(emulator.client_id, emulator.client_secret)))
            yield akool
