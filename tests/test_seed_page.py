"""Create By Button exactly as its page documents it, request and reply."""

import pytest
from aiohttp import web

from akool_async import AkoolSession, ApiKey, Button, ClientCredentials, ImageStatus
from tests.support.examples import CREATE_BY_BUTTON_REPLY
from tests.support.scripted import KEY, scripted_server

SOURCE = "65d3206b83ccf5ab7d46cdc6"
TOKEN_REPLY = {"code": 1000, "token": "token-of-the-test"}


async def test_the_documented_request_is_sent():
    """Method, path, content type and body are those of the page's example."""
    async with scripted_server(CREATE_BY_BUTTON_REPLY) as server:
        async with AkoolSession(KEY, base_url=server.base_url) as akool:
            await akool.create_by_button(SOURCE, "U2", webhook_url="https://me.example/hook")
    (asked,) = [asked for asked in server.asked if asked.method == "POST"]
    assert asked.path == "/api/open/v3/content/image/createbybutton"
    assert asked.headers["content-type"] == "application/json"
    assert asked.json == {"_id": SOURCE, "button": "U2", "webhookUrl": "https://me.example/hook"}


async def test_the_documented_reply_is_read():
    """Every response attribute of the page reaches the user."""
    async with scripted_server(CREATE_BY_BUTTON_REPLY) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        operation = await akool.create_by_button("6508288416e5ba407d47d13f", "U2")
        latest = operation.latest
    assert (operation.id, operation.button, operation.source_image_id) == (
        "6508292f16e5ba407d47d21b",
        Button.U2,
        "6508288416e5ba407d47d13f",
    )
    assert operation.status == ImageStatus.QUEUEING
    assert not operation.done()
    assert latest.deduction_credit == 2
    assert latest.source_image_id == "6508288416e5ba407d47d13f"
    assert latest.created_at.isoformat() == "2023-09-18T10:40:47.012000+00:00"
    assert (latest.op_button, latest.op_button_message_id, latest.from_) == ("U2", "kwZsk6elltno5Nt37VLj", 1)
    assert (latest.buttons, latest.used_buttons, latest.upscaled_urls) == ((), (), ())
    assert latest.raw == CREATE_BY_BUTTON_REPLY["data"]


async def accept(request):
    """Return the page's reply, with the button of the request and a new id."""
    press = await request.json()
    fields = {"_id": f"{press['_id']}-{press['button']}", "op_button": press["button"]}
    return web.json_response({**CREATE_BY_BUTTON_REPLY, "data": {**CREATE_BY_BUTTON_REPLY["data"], **fields}})


async def test_a_key_is_the_only_authentication_header():
    """An API key is sent as x-api-key, without another header."""
    async with (
        scripted_server(CREATE_BY_BUTTON_REPLY) as server,
        AkoolSession(ApiKey(KEY), base_url=server.base_url) as akool,
    ):
        await akool.create_by_button(SOURCE, "U2")
    assert server.asked[0].headers["x-api-key"] == KEY
    assert "authorization" not in server.asked[0].headers


async def test_a_token_is_the_only_authentication_header():
    """Client credentials are exchanged for a token, which is sent as Authorization, without another header."""
    async with scripted_server(TOKEN_REPLY, CREATE_BY_BUTTON_REPLY) as server:
        async with AkoolSession(ClientCredentials("id", "a-client-secret"), base_url=server.base_url) as akool:
            await akool.create_by_button(SOURCE, "U2")
    get_token, press = server.asked
    assert (get_token.method, get_token.path) == ("POST", "/api/open/v3/getToken")
    assert get_token.json == {"clientId": "id", "clientSecret": "a-client-secret"}
    assert not get_token.headers.keys() & {"authorization", "x-api-key"}
    assert press.headers["authorization"] == "Bearer token-of-the-test"
    assert "x-api-key" not in press.headers


@pytest.mark.parametrize("button", list(Button))
async def test_each_button_is_sent_by_its_name(button):
    """All eight buttons of the page can be pressed, by enum, by name, or by upscale() and vary() with an index."""
    index = int(button[1])
    async with scripted_server(accept) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        await akool.create_by_button("enum", button)
        await akool.create_by_button("name", str(button))
        await (akool.upscale if button.is_upscale else akool.vary)("verb", index)
    posts = [asked.json for asked in server.asked if asked.method == "POST"]
    assert [(post["_id"], post["button"]) for post in posts] == [(name, button) for name in ("enum", "name", "verb")]


async def test_webhook_url_is_per_session_and_per_press():
    """The session's webhookUrl is sent with a correlation id for each press, unless a press replaces it."""
    async with scripted_server(accept) as server:
        async with AkoolSession(KEY, base_url=server.base_url, webhook_url="https://me.example/all?a=b") as akool:
            await akool.vary(SOURCE, 1)
            await akool.vary(SOURCE, 2, webhook_url="https://me.example/two")
            await akool.vary(SOURCE, 3, webhook_url="")
    urls = [asked.json.get("webhookUrl") for asked in server.asked]
    own, correlation_id = urls.pop(0).split("&akool_press=")
    assert own == "https://me.example/all?a=b"
    assert len(correlation_id) >= 16
    assert urls == ["https://me.example/two", None]


async def test_the_notes_of_the_page_hold(emulator, akool):
    """Buttons come from Get Image Result, move to used_buttons, work once, and the new id leads to a 7-day result."""
    made = await (await akool.create_by_prompt("a fox in the snow")).wait_until_complete()
    assert made.buttons == tuple(Button)
    operation = await akool.create_by_button(made.id, "U2")
    result = await operation.wait_until_complete()
    source = await akool.get_image_result(made.id)
    assert "U2" in source.used_buttons
    assert "U2" not in source.buttons
    assert operation.id != made.id
    assert (result.source_image_id, result.op_button) == (made.id, "U2")
    assert (result.expires_at - result.created_at).days == 7
    assert emulator.ledger.presses_accepted[made.id, "U2"] == 1
