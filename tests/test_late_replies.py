"""A timeout that is noticed late: a stopped or busy process first reads what has arrived meanwhile."""

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

import pytest
from aiohttp import web

from akool_async import AkoolSession, OutcomeUnknownError, TransportError
from tests.support.examples import CREATE_BY_PROMPT_REPLY
from tests.support.looks import look_until
from tests.support.schedules import QUICK
from tests.support.scripted import KEY, scripted_server

PATIENCE = 0.1
"""The request timeout."""
PICTURES = [f"https://pictures.example/{'x' * 1000}/{n}.png" for n in range(2000)]


def reply(**more):
    body = json.dumps(CREATE_BY_PROMPT_REPLY | {"data": CREATE_BY_PROMPT_REPLY["data"] | more}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body


class ReplyDuringSleep:
    """A server of one reply, which it begins to send while the client's event loop is blocked."""

    def __init__(self, pieces):
        self.loop = asyncio.get_running_loop()
        self.pieces = pieces
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.sleeps, self.has_sent = threading.Event(), threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def _serve(self):
        connection, _ = self.listener.accept()
        with connection:
            received = b""
            while b"a fox" not in received:
                piece = connection.recv(65536)
                if not piece:  # the client gave up before it had sent everything
                    return
                received += piece
            self.loop.call_soon_threadsafe(self._sleep)
            self.sleeps.wait()
            first, *others = self.pieces
            connection.sendall(first)
            self.has_sent.set()
            with suppress(ConnectionError):  # the client gave up
                for piece in others:
                    connection.sendall(piece)
                connection.recv(1)

    def _sleep(self):
        self.sleeps.set()
        self.has_sent.wait()
        end = self.loop.time() + 5 * PATIENCE
        while self.loop.time() < end:
            time.sleep(PATIENCE)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.listener.close()
        await asyncio.to_thread(self.thread.join)


@pytest.mark.parametrize(
    "pieces",
    [[b"".join(reply())], reply(), [b"HTTP/1.1 100 Continue\r\n\r\n", *reply()], reply(upscaled_urls=PICTURES)],
    ids=["one piece", "headers and body", "an interim reply", "two megabytes"],
)
async def test_a_reply_that_came_while_the_process_slept_past_the_time_out_is_read(pieces):
    """Timeout and reply are noticed at the same time: the paid id counts."""
    async with ReplyDuringSleep(pieces) as server:
        async with AkoolSession(KEY, base_url=server.base_url, request_timeout=PATIENCE) as akool:
            assert (await akool.create_by_prompt("a fox")).id == CREATE_BY_PROMPT_REPLY["data"]["_id"]


async def test_without_a_reply_the_time_out_ends_the_request_even_if_it_is_noticed_late():
    """The extra time is limited."""
    async with ReplyDuringSleep([b"HTTP/1.1 200 OK\r\n"]) as server:
        async with AkoolSession(KEY, base_url=server.base_url, request_timeout=PATIENCE, resubmit_lost=False) as akool:
            with pytest.raises(OutcomeUnknownError, match=r"no reply within 0\.1 s"):
                await akool.create_by_prompt("a fox")


PROGRAM = f"""
import asyncio, sys
from akool_async import AkoolSession

async def main():
    async with AkoolSession({KEY!r}, base_url=sys.argv[1], request_timeout={PATIENCE}) as akool:
        print((await akool.create_by_prompt("a fox")).id)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no such signal on this system")
async def test_a_process_that_was_stopped_reads_the_reply_when_it_goes_on():
    """Ctrl-Z while a POST is under way, for longer than the timeout, and fg."""
    began = time.monotonic()

    async def answer(request):
        nonlocal began
        await request.read()
        began = time.monotonic()
        os.kill(process.pid, signal.SIGSTOP)
        return web.json_response(CREATE_BY_PROMPT_REPLY)

    async with scripted_server(answer) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, server.base_url, stdout=-1, stderr=-1
        )
        await look_until(lambda: server.asked)
        while time.monotonic() < began + 5 * PATIENCE:  # the test needs time to pass
            await asyncio.sleep(PATIENCE)
        os.kill(process.pid, signal.SIGCONT)
        out, errors = await process.communicate()
    assert out.decode().strip() == CREATE_BY_PROMPT_REPLY["data"]["_id"], errors.decode()


async def test_a_reply_that_is_too_late_is_not_read():
    """The timeout of a process that is awake is not extended."""
    loop = asyncio.get_running_loop()
    async with scripted_server(lambda request: asyncio.sleep(60)) as server:
        async with AkoolSession(KEY, base_url=server.base_url, request_timeout=PATIENCE, timing=QUICK) as akool:
            began = loop.time()
            with pytest.raises(TransportError, match="no reply within"):
                await akool.get_credit()
            assert loop.time() - began >= PATIENCE


async def test_each_request_has_its_own_deadline():
    """One timer serves all: of twenty requests at different times, exactly the ten without an answer end."""
    asked = 0

    async def answer_every_second(_):
        nonlocal asked
        asked += 1
        if asked % 2:
            await asyncio.Event().wait()
        return web.json_response({"code": 1000, "msg": "OK", "data": {"credit": asked}})

    async with scripted_server(answer_every_second) as server:
        async with AkoolSession(KEY, base_url=server.base_url, request_timeout=1.0) as akool:
            reads = []
            for place in range(20):
                reads.append(asyncio.create_task(akool._endpoints.get_credit(tries=1)))
                await look_until(lambda: asked > place)  # noqa: B023 - awaited here
            outcomes = await asyncio.gather(*reads, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes].count(TransportError) == 10
    assert sum(isinstance(outcome, int) for outcome in outcomes) == 10
