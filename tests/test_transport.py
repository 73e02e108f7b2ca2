"""Broken replies, and where the key may go."""

import asyncio
import copy
import json
import logging
import pickle
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial

import aiohttp
import pytest
from aiohttp import web
from attrs import evolve
from multidict import CIMultiDict

from akool_async import (
    AkoolError,
    AkoolSession,
    APIError,
    AuthenticationError,
    ClientCredentials,
    ConfigurationError,
    OutcomeUnknownError,
    RateLimitedError,
    ResponseError,
    SessionClosedError,
    TransportError,
)
from akool_async._http.endpoints import READ_TRIES
from akool_async._http.transport import MAX_BODY
from akool_async.emulator import Fault
from tests.support.examples import CREATE_BY_PROMPT_REPLY
from tests.support.schedules import FAST, QUICK
from tests.support.scripted import KEY, scripted_server

BROKEN = {
    "html": ({"text": "<html>nginx</html>", "content_type": "text/html"}, ResponseError),
    "html 502": ({"status": 502, "text": "<html>502</html>"}, ResponseError),
    "empty": ({"body": b""}, ResponseError),
    "not json": ({"text": "ok"}, ResponseError),
    "json without a code": ([1, 2], ResponseError),
    "huge": ({"body": b"x" * (MAX_BODY + 1)}, ResponseError),
    "redirect": ({"status": 302, "body": b"moved"}, ResponseError),
    "429": ({"status": 429, "text": "slow down"}, RateLimitedError),
    "unknown code": ({"code": 4711, "msg": "news"}, APIError),
    "known code under http 500": ({"status": 500, "text": '{"code": 1010, "msg": "no"}'}, APIError),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_reply_is_a_typed_error(name):
    """Every broken body raises an AkoolError that names the endpoint and the press, pickles, and shows no key."""
    reply, error_class = BROKEN[name]
    async with (
        scripted_server(reply) as server,
        AkoolSession(KEY, base_url=server.base_url, timing=QUICK, resubmit_lost=False) as akool,
    ):
        with pytest.raises(AkoolError) as caught:
            await akool.get_image_result("image-1")
    assert isinstance(caught.value, error_class)
    assert caught.value.operation_id == "image-1"
    assert "Get Image Result" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(copy.copy(caught.value)) == str(caught.value)
    assert_no_key(caught.value)


@pytest.mark.parametrize("fault", [Fault.cut("before"), Fault.reset("before"), Fault.empty("before")], ids=str)
async def test_a_cut_or_reset_reply_is_a_typed_error(emulator, akool, fault):
    """A connection that breaks before the body, or in the middle of it, raises an AkoolError."""
    emulator.faults.rate(1.0, fault, endpoints=["get_image_result"])
    with pytest.raises((ResponseError, TransportError)) as caught:
        await akool.get_image_result("image-1")
    assert caught.value.operation_id == "image-1"


async def test_garbage_instead_of_http_shows_no_key():
    """Aiohttp's error for a bad status line contains the request's headers; the user sees none of it."""

    async def garbage(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(garbage, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AkoolSession(KEY, base_url=f"http://127.0.0.1:{port}", timing=QUICK) as akool:
            with pytest.raises(ResponseError) as caught:
                await akool.get_credit()
    assert_no_key(caught.value)


async def test_a_refused_connection_is_not_delivered(unused_tcp_port):
    """A refused connection is a TransportError with delivered=False."""
    async with AkoolSession(KEY, base_url=f"http://127.0.0.1:{unused_tcp_port}", timing=QUICK) as akool:
        with pytest.raises(TransportError) as caught:
            await akool.get_credit()
    assert caught.value.delivered is False
    assert_no_key(caught.value)


async def test_a_reply_that_does_not_come_in_time_may_have_been_delivered(emulator):
    """request_timeout bounds one request, and then its outcome is unknown."""
    emulator.faults.rate(1.0, Fault.stall("before"), endpoints=["get_credit"])
    async with emulator.session(request_timeout=0.3) as akool:
        with pytest.raises(TransportError) as caught:
            await akool.get_credit()
    assert caught.value.delivered is None


async def test_reads_survive_a_few_faults(emulator, akool):
    """get_credit and get_image_result are repeated, since they cost nothing."""
    faults = [Fault.status(502), Fault.html(), Fault.reset()]
    emulator.faults.script("get_credit", *faults)
    emulator.faults.script("get_image_result", *faults)
    assert await akool.get_credit() == emulator.credits
    assert (await akool.get_image_result(emulator.add_image())).status == 3


def impatient_session(base_url):
    """Make a session without pauses between presses."""
    return AkoolSession(KEY, base_url=base_url, timing=evolve(QUICK, throttle_timeout=1e-6))


@pytest.mark.parametrize("headers", [{"Retry-After": "7"}, {"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}])
async def test_retry_after_reaches_the_error(headers):
    """The pause of a 429 is kept, in seconds, from either form of the header and within bounds."""
    slow_down = {"status": 429, "text": "slow down", "headers": headers}
    async with scripted_server(slow_down) as server, impatient_session(server.base_url) as akool:
        with pytest.raises(RateLimitedError) as caught:
            await akool.create_by_prompt("a fox")
    assert caught.value.retry_after == (7.0 if headers["Retry-After"] == "7" else 3600.0)


HOURS_BEHIND = datetime.now(UTC) - timedelta(hours=12)


@pytest.mark.parametrize(
    ("date", "asked", "wait"),
    [
        (HOURS_BEHIND, HOURS_BEHIND + timedelta(seconds=2), 2.0),
        (HOURS_BEHIND + timedelta(days=1), HOURS_BEHIND + timedelta(days=1, seconds=90), 90.0),
        (HOURS_BEHIND, HOURS_BEHIND - timedelta(seconds=2), 0.0),
        (HOURS_BEHIND, HOURS_BEHIND + timedelta(days=1), 3600.0),
        (None, datetime.now(UTC) - timedelta(minutes=1), 0.0),
        (None, datetime.now(UTC) + timedelta(days=1), 3600.0),
    ],
)
async def test_a_date_to_retry_after_is_read_against_the_replys_own_date(date, asked, wait):
    """Both dates are from one clock, so that a wrong clock here does not matter; without a Date it does."""
    headers = {
        "Date": "soon" if date is None else format_datetime(date, usegmt=True),
        "Retry-After": format_datetime(asked, usegmt=True),
    }
    slow_down = {"status": 429, "text": "slow down", "headers": headers}
    async with scripted_server(slow_down) as server, impatient_session(server.base_url) as akool:
        with pytest.raises(RateLimitedError) as caught:
            await akool.create_by_prompt("a fox")
    assert caught.value.retry_after == wait


@asynccontextmanager
async def own_session(base_url):
    async with AkoolSession(KEY, base_url=base_url, timing=QUICK) as akool:
        yield akool


@asynccontextmanager
async def injected_session(base_url):
    async with aiohttp.ClientSession() as http, AkoolSession(KEY, base_url=base_url, timing=QUICK, http=http) as akool:
        yield akool


@pytest.mark.parametrize("session", [own_session, injected_session])
@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Security-Policy", "x" * 60_000)],
        [("x" * 60_000, "a name")],
        [("Set-Cookie", f"a{n}={'x' * 4000}") for n in range(200)],
    ],
    ids=["a long line", "a long name", "many lines"],
)
async def test_long_headers_lose_no_paid_id(session, headers):
    """A reply to a press is read although its headers exceed aiohttp's own limits."""

    async def answer(request):
        await request.read()
        return web.json_response(CREATE_BY_PROMPT_REPLY, headers=CIMultiDict(headers))

    async with scripted_server(answer) as server, session(server.base_url) as akool:
        assert (await akool.create_by_prompt("a fox")).id == CREATE_BY_PROMPT_REPLY["data"]["_id"]


@pytest.mark.parametrize("session", [own_session, injected_session])
async def test_headers_are_bounded(session):
    """A header line without an end is not read to its end, and there is no reply."""
    endless = {"status": 200, "text": "{}", "headers": {"X-Long": "x" * 70_000}}
    async with scripted_server(endless) as server, session(server.base_url) as akool:
        with pytest.raises(ResponseError, match="not an HTTP reply"):
            await akool.get_credit()


async def test_the_key_does_not_follow_a_redirect():
    """A redirect to another origin is an error, and that origin gets no request."""
    async with scripted_server({"code": 1000}) as elsewhere:
        moved = {"status": 307, "body": b"", "headers": {"Location": elsewhere.base_url}}
        async with scripted_server(moved) as server, AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
            with pytest.raises(ResponseError, match="307"):
                await akool.get_credit()
    assert elsewhere.asked == []


async def test_the_key_does_not_go_to_the_pictures_host(emulator, akool, tmp_path):
    """Downloading sends no authentication header, also if the injected session has other headers."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    await akool.download(result, tmp_path)
    async with aiohttp.ClientSession(headers={"X-Private": "1"}) as http:
        async with emulator.session(http=http) as other:
            await other.download(result, tmp_path)
    assert emulator.ledger.requests["pictures"] == 10
    assert emulator.ledger.pictures_with_key == 0


async def test_the_key_is_in_no_log_at_any_level(emulator, caplog):
    """With every logger at DEBUG, neither the logs of a session nor its errors show key or token."""
    caplog.set_level(logging.DEBUG)
    logging.getLogger("asyncio").setLevel(logging.DEBUG)
    async with emulator.session(polling=FAST) as akool:
        emulator.faults.script("get_image_result", Fault.status(502), Fault.reset())
        operation = await akool.upscale(emulator.add_image(), 1)
        await operation.wait_until_complete()
        await asyncio.gather(akool.upscale("nowhere", 1), return_exceptions=True)
        shown = f"{akool!r} {akool._transport!r} {operation!r} {operation.latest!r}"
    assert emulator.api_key not in shown + caplog.text


async def test_a_key_that_akool_echoes_is_taken_out_of_the_error():
    """Even if the service repeats the key in its message, the error does not contain it."""
    async with scripted_server({"code": 1101, "msg": f"bad key {KEY}"}) as server:
        async with AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
            with pytest.raises(APIError) as caught:
                await akool.get_credit()
    assert caught.value.msg == "bad key ***"
    assert_no_key(caught.value)


async def test_bytes_of_the_server_are_not_quoted_with_the_key():
    """If a server repeats the request's headers in its status line, the error does not contain the key."""

    async def echo(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        (line,) = [line for line in request.split(b"\r\n") if b"x-api-key" in line.lower()]
        writer.write(line + b"\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with AkoolSession(KEY, base_url=f"http://127.0.0.1:{port}", timing=QUICK) as akool:
            with pytest.raises(ResponseError) as caught:
                await akool.get_credit()
    assert_no_key(caught.value)


async def test_a_token_that_was_replaced_meanwhile_is_still_hidden():
    """AKOOL's message about a token shows "***", also after another request has renewed it."""

    async def answer(request):
        await request.read()
        return web.json_response({"code": 1101, "msg": f"{request.headers.get('Authorization', '')} expired"})

    async with scripted_server(
        {"code": 1000, "token": KEY}, answer, {"code": 1000, "token": "another-token"}, answer
    ) as server:
        async with AkoolSession(
            ClientCredentials("id", "a-client-secret"), base_url=server.base_url, timing=QUICK
        ) as akool:
            with pytest.raises(AuthenticationError) as caught:
                await akool.get_credit()
    assert "Bearer ***" in caught.value.msg
    assert_no_key(caught.value)


async def test_an_error_in_a_trace_hook_after_acceptance_is_an_unknown_outcome(emulator):
    """User code that fails inside aiohttp is a transport error like any other, and a charge is reported."""

    async def fail(*_):
        raise ValueError("mine")

    trace = aiohttp.TraceConfig()
    trace.on_request_end.append(fail)
    async with aiohttp.ClientSession(trace_configs=[trace]) as http:
        async with emulator.session(http=http) as akool:
            with pytest.raises(OutcomeUnknownError):
                await akool.create_by_prompt("a fox")
    assert emulator.ledger.charged == 2


async def test_an_injected_session_closed_meanwhile_is_not_a_cancellation(emulator):
    """Requests that wait for a connection when the owner closes the session end in an error, not in a cancellation."""
    emulator.faults.script("get_credit", Fault.stall("before"))
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1))
    async with emulator.session(http=http) as akool:
        callers = [asyncio.create_task(akool.get_credit()) for _ in range(2)]
        await emulator.ledger.until(lambda ledger: ledger.requests["get_credit"])
        await http.close()
        outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(outcome, AkoolError) for outcome in outcomes)


async def test_another_event_loop_is_refused_before_anything_is_sent(emulator, akool):
    """A session used in another thread's loop raises an error that says how to pass the call."""
    await akool.get_credit()
    for call in (akool.get_credit, partial(akool.create_by_prompt, "a fox")):
        with pytest.raises(ConfigurationError, match=r"asyncio\.run_coroutine_threadsafe"):
            await asyncio.to_thread(lambda call=call: asyncio.run(call()))
    await akool.get_credit()
    assert emulator.ledger.requests == {"get_credit": 2}


async def test_a_wait_ends_when_an_injected_session_gets_a_key_header(emulator):
    """A wait whose polls would all be refused is refused immediately."""
    async with aiohttp.ClientSession() as http:
        async with emulator.session(http=http, polling=FAST) as akool:
            operation = await akool.vary(emulator.add_image(), 1)
            http.headers["Authorization"] = "Bearer mine"
            with pytest.raises(ConfigurationError, match="exactly one authentication header"):
                await operation.wait_until_complete()


def test_a_session_and_its_credentials_refuse_to_be_pickled():
    """No pickle holds a key."""
    akool = AkoolSession(KEY)
    for secretive in (akool, akool._transport, akool._transport._authenticator):
        with pytest.raises(TypeError, match="secret"):
            pickle.dumps(secretive)


@pytest.mark.parametrize(
    "base_url",
    ["http://openapi.akool.com", "http://10.0.0.1", "https://user:pass@openapi.akool.com", "https://a.example/?x=1"],
)
def test_addresses_that_must_not_get_a_key_are_refused(base_url):
    """Plain http beyond loopback, a user in the address, a query: refused before anything is sent."""
    with pytest.raises(ConfigurationError, match="base_url"):
        AkoolSession(KEY, base_url=base_url, timing=QUICK)


@pytest.mark.parametrize(
    "base_url", ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://a.example"]
)
def test_https_and_loopback_are_taken(base_url):
    """Https anywhere and http on this machine need no permission, plain http elsewhere needs allow_http."""
    AkoolSession(KEY, base_url=base_url, timing=QUICK)
    AkoolSession(KEY, base_url="http://10.0.0.1", timing=QUICK, allow_http=True)


async def test_an_injected_session_is_used_and_never_closed(emulator):
    """http= is used for requests and stays open."""
    async with aiohttp.ClientSession(headers={"X-Mine": "1"}, raise_for_status=True) as http:
        async with emulator.session(http=http) as akool:
            await akool.get_credit()
        assert not http.closed
        with pytest.raises(SessionClosedError):
            await akool.get_credit()


@pytest.mark.parametrize(
    "extra",
    [{"headers": {"Authorization": "Bearer mine"}}, {"headers": {"X-API-KEY": "mine"}}, {"trust_env": True}],
)
async def test_an_injected_session_with_credentials_is_refused(extra):
    """Exactly one authentication header goes to AKOOL."""
    async with aiohttp.ClientSession(**extra) as http:
        with pytest.raises(ConfigurationError, match="http"):
            AkoolSession(KEY, http=http)


def assert_no_key(error):
    chain = "".join(traceback.format_exception(error))
    chained = error
    while chained is not None:
        chain += repr(chained) + repr(vars(chained))
        chained = chained.__cause__ or chained.__context__
    assert KEY not in chain
    assert KEY.encode() not in pickle.dumps(error)


async def test_a_reply_without_a_length_is_read():
    """A body that comes in chunks, as through a gateway, is a reply to a press like any other."""
    body = json.dumps(CREATE_BY_PROMPT_REPLY).encode()

    async def answer(request):
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(body), 100):
            await response.write(body[start : start + 100])
        return response

    async with scripted_server(answer) as server, own_session(server.base_url) as akool:
        assert (await akool.create_by_prompt("a fox")).id == CREATE_BY_PROMPT_REPLY["data"]["_id"]


async def test_a_read_that_always_fails_raises_its_last_error(emulator):
    """A read is tried a few times only."""
    emulator.faults.rate(1.0, Fault.status(502), endpoints=["get_credit"])
    async with emulator.session(timing=QUICK) as akool:
        with pytest.raises(ResponseError, match="502"):
            await akool.get_credit()
    assert emulator.ledger.requests["get_credit"] == READ_TRIES
