"""The handlers for aiohttp and ASGI, behind real servers: an event gets 200, anything else the matching status."""

import asyncio

import aiohttp
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from akool_async.emulator import Emulator
from akool_async.emulator._encryption import encrypt_webhook
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler
from akool_async.webhooks.asgi import WebhookApp
from tests.support.receivers import RARE, serve_aiohttp, serve_asgi


def by_aiohttp(akool, verifier):
    return serve_aiohttp(lambda app: app.router.add_route("*", "/akool/", webhook_handler(akool, verifier)))


def by_fastapi(akool, verifier):
    app = FastAPI()
    app.mount("/akool", WebhookApp(akool, verifier))
    return serve_asgi(app)


def by_starlette(akool, verifier):
    return serve_asgi(Starlette(routes=[Mount("/akool", WebhookApp(akool, verifier))]))


def by_itself(akool, verifier):
    return serve_asgi(WebhookApp(akool, verifier), lifespan="on")


SERVERS = [by_aiohttp, by_fastapi, by_starlette, by_itself]


@pytest.fixture(params=SERVERS, ids=lambda serve: serve.__name__)
async def post(request, emulator, akool):
    verifier = WebhookVerifier(emulator.client_id, emulator.client_secret)
    async with request.param(akool, verifier) as address, aiohttp.ClientSession() as http:

        async def send(method="POST", **request):
            async with http.request(method, f"{address}/akool/", **request) as response:
                return response.status, dict(response.headers)

        yield send


def event_of(emulator, image_id="a" * 24):
    content = {"_id": image_id, "status": 3, "type": "image"}
    return encrypt_webhook(content, client_id=emulator.client_id, client_secret=emulator.client_secret, nonce=7)


async def test_an_event_of_another_process_is_answered_with_200(post, emulator):
    """A genuine event about an unknown operation is accepted, and causes no poll."""
    status, _ = await post(data=event_of(emulator))
    assert status == 200
    assert emulator.ledger.requests.total() == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b"\xff"])
async def test_other_bodies_are_answered_with_400(post, body):
    """A body that is not a webhook is a bad request."""
    status, _ = await post(data=body)
    assert status == 400


async def test_a_body_that_is_not_gzip_is_answered_with_400(post):
    """A body that contradicts its Content-Encoding is a bad request."""
    status, _ = await post(data=b"not gzip", headers={"Content-Encoding": "gzip"})
    assert status == 400


async def test_a_large_body_is_answered_with_413(post):
    """A body beyond 64 KiB is refused."""
    status, _ = await post(data=b" " * 2**17)
    assert status == 413


async def test_a_large_body_without_a_length_is_answered_with_413(post):
    """A chunked body is refused once it is too large."""

    async def endless():
        for _ in range(64):
            yield b" " * 2**12

    try:
        status, _ = await post(data=endless())
    except aiohttp.ClientError:  # the server closed the connection before the rest
        return
    assert status == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_other_methods_are_answered_with_405(post, method):
    """Only POST is allowed, and the reply says so."""
    status, headers = await post(method)
    assert status == 405
    assert {name.lower(): value for name, value in headers.items()}["allow"] == "POST"


async def test_a_closed_session_makes_akool_send_again(post, emulator, akool):
    """A closed session cannot process an event: 503, so that AKOOL sends it again."""
    await akool.aclose()
    status, _ = await post(data=event_of(emulator))
    assert status == 503


async def test_a_query_of_nonsense_does_not_hide_the_event(post, emulator):
    """An unknown correlation id is ignored, and the event counts."""
    status, _ = await post(data=event_of(emulator), params={"akool_press": "nobody's", "other": "x"})
    assert status == 200


@pytest.mark.parametrize("serve", [by_aiohttp, by_fastapi], ids=lambda serve: serve.__name__)
async def test_hundreds_of_operations_are_notified_under_load(serve):
    """200 operations in flight, which only webhooks can end, take one poll each."""
    async with Emulator(speed=100) as emulator:
        verifier = WebhookVerifier(emulator.client_id, emulator.client_secret)
        sessions = []

        class Later:
            """Passes events to a session that is made after the server has started."""

            def notify(self, event, *, correlation_id=None):
                return sessions[0].notify(event, correlation_id=correlation_id)

        async with serve(Later(), verifier) as address:
            async with emulator.session(
                webhook_url=f"{address}/akool/",
                polling=RARE,
                max_concurrent_upscales=50,
            ) as akool:
                sessions.append(akool)
                images = [emulator.add_image() for _ in range(40)]
                presses = [(image_id, button) for image_id in images for button in ("U1", "U2", "V1", "V2", "V3")]
                outcomes = [outcome async for outcome in akool.fan_out(presses, preflight=False, timeout=60)]
        assert all(outcome.ok for outcome in outcomes)
        assert len(outcomes) == 200
        assert emulator.ledger.requests["get_image_result"] == 200
        assert {callback.status for callback in emulator.ledger.callbacks} == {200}


async def test_a_websocket_is_closed(emulator, akool):
    """A websocket connection is closed with 1003 (unsupported data)."""
    sent = []

    async def send(message):
        sent.append(message)

    app = WebhookApp(akool, WebhookVerifier(emulator.client_id, emulator.client_secret))
    await app({"type": "websocket"}, asyncio.Queue().get, send)
    assert sent == [{"type": "websocket.close", "code": 1003}]


async def test_a_query_without_bounds_does_not_hide_the_event(post, emulator):
    """A query that this library did not make is not read to its end, and the event counts."""
    status, _ = await post(data=event_of(emulator), params=[("a", "1")] * 200)
    assert status == 200


async def test_a_caller_that_leaves_in_the_middle_of_its_body_is_not_answered(emulator, akool):
    """Half a body is no event: the session is not notified, and there is nobody to answer."""
    received, sent = asyncio.Queue(), []
    received.put_nowait({"type": "http.request", "body": event_of(emulator)[:20], "more_body": True})
    received.put_nowait({"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    app = WebhookApp(akool, WebhookVerifier(emulator.client_id, emulator.client_secret))
    await app({"type": "http", "method": "POST", "path": "/"}, received.get, send)
    assert sent == []
