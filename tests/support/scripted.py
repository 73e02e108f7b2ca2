"""A loopback server that sends scripted replies and records the requests, for replies copied from AKOOL's pages."""

import asyncio
import json
from contextlib import asynccontextmanager

import attrs
from aiohttp import web

KEY = "sk-test-7f3a9b2c5d8e1f40"


@attrs.frozen
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


@attrs.define
class ScriptedServer:
    """Replies with ``replies`` in order, the last one again and again: a JSON value, a Response, or a coroutine
    function of the request.
    """

    replies: list
    base_url: str = ""
    asked: list[Asked] = attrs.Factory(list)

    async def answer(self, request):
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = dict(request.query)
        self.asked.append(Asked(request.method, request.path, query, headers, await request.read()))
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(reply):
            return await reply(request)
        # A Response can be sent only once, so a repeated one is given as a dict of its arguments.
        return web.Response(**reply) if is_response(reply) else web.json_response(reply)


def is_response(reply):
    return isinstance(reply, dict) and bool(reply.keys() & {"status", "body", "text", "content_type"})


@asynccontextmanager
async def scripted_server(*replies):
    server = ScriptedServer(list(replies))
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        server.base_url = f"http://{host}:{port}"
        yield server
    finally:
        await runner.cleanup()


class Gate:
    """A server's reply that is sent when the test releases it, so that the test knows when the POST is under way."""

    def __init__(self, reply, reply_to_prompts=None):
        self.arrived = asyncio.Event()
        self.open = asyncio.Event()
        self._reply = reply
        self._reply_to_prompts = reply_to_prompts

    async def __call__(self, request):
        self.arrived.set()
        await self.open.wait()
        return web.json_response(self._reply_to_prompts if "prompt" in request.path else self._reply)
