"""Servers of raw bytes on loopback, and a single POST against them."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from akool_async import TransportError
from akool_async._http.request_body import SendGate
from akool_async.items import Prompt


@asynccontextmanager
async def tcp_server(answer):
    """Serve each connection with ``answer(reader, writer)``, and yield the port."""

    async def serve(reader, writer):
        try:
            await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def error_of_one_post(akool):
    """Send one POST that spends credits, once, and return its TransportError."""
    with pytest.raises(TransportError) as caught:
        await akool._endpoints.create_by_prompt(Prompt("a fox"), None, SendGate())
    return caught.value


async def never(reader, writer):
    """Read, and send nothing."""
    await reader.read()


async def hang_up(reader, writer):
    """Close the connection at the first byte."""
    await reader.read(1)


async def speak_plainly(reader, writer):
    """Answer with HTTP to any bytes."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
