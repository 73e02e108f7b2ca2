"""A paid POST is of unknown outcome only from the moment at which it begins to be written; before that it was not sent.

Each situation is tried on a single POST, which must report ``delivered=False``, or be of unknown outcome where a byte
may have left.
"""

import asyncio
import socket
import threading
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import StreamWriter

from akool_async import AkoolSession, OutcomeUnknownError, SessionClosedError, events
from akool_async._http.request_body import RequestBody
from tests.support.examples import CREATE_BY_PROMPT_REPLY
from tests.support.looks import look_until
from tests.support.scripted import KEY, scripted_server
from tests.support.sockets import error_of_one_post, hang_up, never, speak_plainly, tcp_server

PATIENCE = 0.2
NAME = "akool.test"


def resolve(monkeypatch, lookup):
    """Let ``lookup(port)`` answer for the name akool.test, like a name server."""
    of_the_system = socket.getaddrinfo

    def answer(host, port, *arguments, **options):
        return lookup(port) if host == NAME else of_the_system(host, port, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", answer)


async def test_a_name_server_that_answers_too_late(monkeypatch):
    """The lookup of AKOOL's name takes the whole timeout."""
    has_ended = threading.Event()
    resolve(monkeypatch, lambda port: has_ended.wait() and [])
    async with AkoolSession(KEY, base_url=f"https://{NAME}", request_timeout=PATIENCE) as akool:
        error = await error_of_one_post(akool)
        has_ended.set()
    assert error.delivered is False
    assert "no connection within 0.2 s" in str(error)


async def test_a_prompt_is_sent_once_the_name_server_answers(monkeypatch):
    """A POST that was not delivered is sent again automatically, and AKOOL gets it once."""
    answers = [socket.gaierror(socket.EAI_AGAIN, "try again"), [(socket.AF_INET, socket.SOCK_STREAM, 6, "", None)]]

    def lookup(port):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return [(*answer[0][:4], ("127.0.0.1", port))]

    resolve(monkeypatch, lookup)
    async with scripted_server(CREATE_BY_PROMPT_REPLY) as server:
        base_url = server.base_url.replace("127.0.0.1", NAME)
        async with AkoolSession(KEY, base_url=base_url, allow_http=True) as akool:
            assert (await akool.create_by_prompt("a fox")).id == "64dd82eef0b6684651e90131"
    assert len(server.asked) == 1
    assert answers == []


async def test_addresses_that_are_silent_one_after_the_other(monkeypatch):
    """Each address gets its share of the time, and all of them together take longer than the timeout."""
    async with AsyncExitStack() as stack:
        hosts, port = [f"127.0.0.{n}" for n in range(2, 8)], 0
        for host in hosts:  # a listening socket whose queue is full answers no new connection
            listener = stack.enter_context(socket.socket())
            listener.bind((host, port))
            listener.listen(0)
            port = listener.getsockname()[1]
            for _ in range(4):
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex((host, port))
        resolve(monkeypatch, lambda port: [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in hosts])
        async with AkoolSession(
            KEY, base_url=f"http://{NAME}:{port}", allow_http=True, request_timeout=PATIENCE
        ) as akool:
            assert (await error_of_one_post(akool)).delivered is False


async def test_an_injected_session_without_a_free_connection():
    """Every connection of the session is busy with its owner's requests for longer than the timeout."""
    is_over, is_busy = asyncio.Event(), asyncio.Event()

    async def keep_busy(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        is_busy.set()
        await is_over.wait()

    async with tcp_server(keep_busy) as port:
        base_url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
            owners = asyncio.create_task(http.get(base_url))
            await is_busy.wait()
            async with AkoolSession(KEY, base_url=base_url, http=http, request_timeout=PATIENCE) as akool:
                assert (await error_of_one_post(akool)).delivered is False
            is_over.set()
            await asyncio.gather(owners, return_exceptions=True)


async def test_an_injected_session_that_is_closed_while_a_post_waits_for_a_connection():
    """The POST that has the connection may have been accepted; the one that waits for it was not sent."""
    is_busy = asyncio.Event()

    async def keep_busy(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        is_busy.set()
        await reader.read()

    async with tcp_server(keep_busy) as port:
        http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
        async with AkoolSession(KEY, base_url=f"http://127.0.0.1:{port}", http=http) as akool:
            first = asyncio.create_task(error_of_one_post(akool))
            await is_busy.wait()
            second = asyncio.create_task(error_of_one_post(akool))
            await look_until(lambda: http.connector._waiters)
            await http.close()
            assert [error.delivered for error in await asyncio.gather(first, second)] == [None, False]


@pytest.mark.parametrize("ending", ["cancelled", "closed"])
async def test_a_press_that_ends_while_it_waits_for_a_connection_was_not_sent(ending):
    """Cancelling the only caller, or closing the session, costs nothing before anything was written."""
    is_busy = asyncio.Event()

    async def keep_busy(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        is_busy.set()
        await reader.read()

    seen = []
    async with tcp_server(keep_busy) as port:
        base_url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as http:
            owners = asyncio.create_task(http.get(base_url))
            await is_busy.wait()
            akool = AkoolSession(KEY, base_url=base_url, http=http, observer=seen.append)
            pressing = asyncio.create_task(akool.vary("image-1", 1))
            await look_until(lambda: http.connector._waiters)
            await (_cancel(pressing) if ending == "cancelled" else akool.aclose())
            (outcome,) = await asyncio.gather(pressing, return_exceptions=True)
            await akool.aclose()
            await _cancel(owners)
    assert isinstance(outcome, asyncio.CancelledError if ending == "cancelled" else SessionClosedError)
    assert [type(event) for event in seen] == [events.Queued, events.Refused]
    assert akool.unclaimed_errors == ()


async def _cancel(task):
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("answer", [never, hang_up, speak_plainly])
async def test_a_tls_handshake_that_fails(answer):
    """The server is silent, hangs up, or speaks no TLS."""
    async with tcp_server(answer) as port:
        async with AkoolSession(KEY, base_url=f"https://127.0.0.1:{port}", request_timeout=PATIENCE) as akool:
            assert (await error_of_one_post(akool)).delivered is False


HOOKS = ["on_request_start", "on_connection_create_start", "on_connection_create_end", "on_request_headers_sent"]


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_trace_hook_that_fails_before_the_request_is_written(hook):
    """The user's own code fails inside aiohttp: nothing was sent, and the user's error is the cause."""

    async def fail(*_):
        raise ValueError("mine")

    trace = aiohttp.TraceConfig()
    getattr(trace, hook).append(fail)
    async with scripted_server(CREATE_BY_PROMPT_REPLY) as server:
        async with aiohttp.ClientSession(trace_configs=[trace]) as http:
            async with AkoolSession(KEY, base_url=server.base_url, http=http) as akool:
                error = await error_of_one_post(akool)
    assert error.delivered is False
    assert str(error.__cause__) == "mine"
    assert server.asked == []


async def test_a_connection_that_is_closed_just_before_the_request_is_written():
    """AKOOL closes a connection just as it is used: nothing was written, and the POST is sent again."""
    tries = []

    async def close_the_first(http, *_):
        tries.append(http)
        if len(tries) == 1:
            for protocol in http.connector._acquired:
                protocol.transport.abort()

    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(close_the_first)
    async with scripted_server(CREATE_BY_PROMPT_REPLY) as server:
        async with aiohttp.ClientSession(trace_configs=[trace]) as http:
            async with AkoolSession(KEY, base_url=server.base_url, http=http) as akool:
                assert (await akool.create_by_prompt("a fox")).id
    assert (len(tries), len(server.asked)) == (2, 1)


async def test_a_request_whose_bytes_may_have_left_is_of_unknown_outcome():
    """A hook fails while the body is written, or a server resets at the first byte of the request."""

    async def fail(*_):
        raise ValueError("mine")

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(fail)
    async with tcp_server(hang_up) as port:
        base_url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(trace_configs=[trace]) as http:
            async with AkoolSession(KEY, base_url=base_url, http=http) as akool:
                assert (await error_of_one_post(akool)).delivered is None
        async with AkoolSession(KEY, base_url=base_url) as akool:
            assert (await error_of_one_post(akool)).delivered is None


@pytest.mark.skipif(not hasattr(aiohttp, "ClientMiddlewareType"), reason="aiohttp has no middlewares before 3.12")
async def test_a_middleware_that_fails_after_it_sent_the_request_leaves_the_outcome_unknown():
    """An injected session may send a request twice: that the second was not sent does not prove it for the first."""

    async def send_twice(request, handler):
        (await handler(request)).close()
        raise aiohttp.ConnectionTimeoutError("the second time")

    async with scripted_server(CREATE_BY_PROMPT_REPLY) as server:
        async with aiohttp.ClientSession(middlewares=[send_twice]) as http:
            async with AkoolSession(KEY, base_url=server.base_url, http=http) as akool:
                with pytest.raises(OutcomeUnknownError):
                    await akool.create_by_prompt("a fox")
    assert len(server.asked) == 1


@pytest.mark.parametrize("way", ["write", "as_bytes", "decode"])
async def test_a_body_that_was_withdrawn_is_never_given_out(way):
    """After a POST is reported as not delivered, nothing of it can be written."""
    body = RequestBody(b"{}")
    assert body.withdraw()
    writer = StreamWriter(BaseProtocol(asyncio.get_running_loop()), asyncio.get_running_loop())
    with pytest.raises(ConnectionError):
        await {"write": lambda: body.write(writer), "as_bytes": body.as_bytes, "decode": lambda: decoded(body)}[way]()


@pytest.mark.parametrize("way", ["as_bytes", "decode"])
async def test_a_body_that_a_middleware_looked_at_may_have_been_sent(way):
    """Middleware that has the bytes may send them."""
    body = RequestBody(b"{}")
    assert await {"as_bytes": body.as_bytes, "decode": lambda: decoded(body)}[way]() in {b"{}", "{}"}
    assert not body.withdraw()


async def decoded(body):
    return body.decode()
