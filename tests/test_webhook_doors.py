"""The two doors, behind real servers: 200 for what is taken in, for everything else a status that says why."""

import asyncio

import aiohttp
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from akool_async.emulator import Emulator
from akool_async.emulator._sealing import seal
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


DOORS = [by_aiohttp, by_fastapi, by_starlette, by_itself]


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__)
async def door(request, emulator, akool):
    verifier = WebhookVerifier(emulator.client_id, emulator.client_secret)
    async with request.param(akool, verifier) as address, aiohttp.ClientSession() as http:

        async def knock(method="POST", **request):
            async with http.request(method, f"{address}/akool/", **request) as response:
                return response.status, dict(response.headers)

        yield knock


def event_of(emulator, image_id="a" * 24):
    content = {"_id": image_id, "status": 3, "type": "image"}
    return seal(content, client_id=emulator.client_id, client_secret=emulator.client_secret, nonce=7)


async def test_an_event_of_another_process_is_answered_with_200(door, emulator):
    status, _ = await door(data=event_of(emulator))
    assert status == 200
    assert emulator.ledger.requests.total() == 0


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b"\xff"])
async def test_what_is_not_akools_is_answered_with_400(door, body):
    status, _ = await door(data=body)
    assert status == 400


async def test_what_is_not_gzip_though_it_says_so_is_answered_with_400(door):
    status, _ = await door(data=b"not gzip", headers={"Content-Encoding": "gzip"})
    assert status == 400


async def test_a_large_body_is_answered_with_413(door):
    status, _ = await door(data=b" " * 2**17)
    assert status == 413


async def test_a_large_body_without_a_length_is_answered_with_413(door):
    async def endless():
        for _ in range(64):
            yield b" " * 2**12

    try:
        status, _ = await door(data=endless())
    except aiohttp.ClientError:  # the server hung up on the rest
        return
    assert status == 413


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_other_methods_are_answered_with_405(door, method):
    status, headers = await door(method)
    assert status == 405
    assert {name.lower(): value for name, value in headers.items()}["allow"] == "POST"


async def test_once_the_session_is_closed_akool_is_asked_to_come_again(door, emulator, akool):
    await akool.aclose()
    status, _ = await door(data=event_of(emulator))
    assert status == 503


async def test_a_query_of_nonsense_takes_nothing_from_the_event(door, emulator):
    status, _ = await door(data=event_of(emulator), params={"akool_press": "nobody's", "other": "x"})
    assert status == 200


@pytest.mark.parametrize("serve", [by_aiohttp, by_fastapi], ids=lambda door: door.__name__)
async def test_hundreds_of_operations_are_told_under_load(serve):
    async with Emulator(speed=100) as emulator:
        verifier = WebhookVerifier(emulator.client_id, emulator.client_secret)
        held = []

        class Door:
            """Stands before the session is there."""

            def notify(self, event, *, word=None):
                return held[0].notify(event, correlation_id=word)

        async with serve(Door(), verifier) as address:
            async with emulator.session(
                webhook_url=f"{address}/akool/",
                polling=RARE,
                max_concurrent_upscales=50,
            ) as akool:
                held.append(akool)
                images = [emulator.add_image() for _ in range(40)]
                presses = [(image_id, button) for image_id in images for button in ("U1", "U2", "V1", "V2", "V3")]
                outcomes = [outcome async for outcome in akool.fan_out(presses, preflight=False, timeout=60)]
        assert all(outcome.ok for outcome in outcomes)
        assert len(outcomes) == 200
        assert emulator.ledger.requests["get_image_result"] == 200
        assert {callback.status for callback in emulator.ledger.callbacks} == {200}


async def test_a_websocket_is_turned_away(emulator, akool):
    sent = []

    async def send(message):
        sent.append(message)

    app = WebhookApp(akool, WebhookVerifier(emulator.client_id, emulator.client_secret))
    await app({"type": "websocket"}, asyncio.Queue().get, send)
    assert sent == [{"type": "websocket.close", "code": 1003}]


async def test_a_query_without_bounds_takes_nothing_from_the_event(door, emulator):
    """A query that this library did not make is not read to its end, and the event counts all the same."""
    status, _ = await door(data=event_of(emulator), params=[("a", "1")] * 200)
    assert status == 200


async def test_a_caller_that_leaves_in_the_middle_of_its_body_is_not_answered(emulator, akool):
    """Half an event is none: nothing is told to the session, and there is nobody to answer."""
    received, sent = asyncio.Queue(), []
    received.put_nowait({"type": "http.request", "body": event_of(emulator)[:20], "more_body": True})
    received.put_nowait({"type": "http.disconnect"})

    async def send(message):
        sent.append(message)

    app = WebhookApp(akool, WebhookVerifier(emulator.client_id, emulator.client_secret))
    await app({"type": "http", "method": "POST", "path": "/"}, received.get, send)
    assert sent == []
