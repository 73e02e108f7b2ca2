"""Bad input gets a ValueError that names the argument, before anything is sent."""

import math

import pytest

from akool_async import AkoolError, AkoolSession, ButtonPress, ConfigurationError, ExponentialPolling, ImageResult
from tests.support.scripted import KEY

CALLS = {
    "button": lambda akool: akool.create_by_button("image-1", "U5"),
    "button ": lambda akool: akool.create_by_button("image-1", None),
    "image_id": lambda akool: akool.create_by_button("", "U1"),
    "image_id ": lambda akool: akool.create_by_button("two words", "U1"),
    "image_id  ": lambda akool: akool.create_by_button(None, "U1"),
    "image_id   ": lambda akool: akool.get_image_result(""),
    "operation ": lambda akool: akool.wait_until_complete(""),
    "index": lambda akool: akool.upscale("image-1", 5),
    "index ": lambda akool: akool.vary("image-1", 0),
    "index  ": lambda akool: akool.vary("image-1", "1"),
    "webhook_url": lambda akool: akool.upscale("image-1", 1, webhook_url="ftp://me.example"),
    "prompt": lambda akool: akool.create_by_prompt("  "),
    "scale": lambda akool: akool.create_by_prompt("a fox", scale="5:4"),
    "scale ": lambda akool: akool.create_by_source_prompt("a fox", scale="Original"),
    "source_image": lambda akool: akool.create_by_prompt("a fox", source_image="me.png"),
    "source_images": lambda akool: akool.create_by_source_prompt("a fox", source_images="https://me.example/a.png"),
    "source_images ": lambda akool: akool.create_by_source_prompt("a fox", source_images=None),
    "source_images  ": lambda akool: akool.create_by_source_prompt("a fox", source_images=b"http"),
    "negative_prompt": lambda akool: akool.create_by_source_prompt("a fox", negative_prompt=math.nan),
    "negative_prompt ": lambda akool: akool.create_by_source_prompt("a fox", negative_prompt=b"blur"),
    "prompt ": lambda akool: akool.create_by_prompt("half an emoji \ud83d"),
    "model_name": lambda akool: akool.create_by_source_prompt("a fox", model_name="\ud800"),
    "image_id     ": lambda akool: akool.get_image_result("\ud800"),
    "image_id      ": lambda akool: akool.vary("a\x00b", 1),
    "image_id       ": lambda akool: akool.vary("\x1b[31m", 1),
    "image_id        ": lambda akool: akool.vary("x" * 100_000, 1),
    "operation": lambda akool: akool.wait_until_complete(None),
    "webhook_url  ": lambda akool: akool.upscale("image-1", 1, webhook_url="http://[::1"),
    "webhook_url   ": lambda akool: akool.upscale("image-1", 1, webhook_url=b"http://me.example/"),
    "webhook_url ": lambda akool: akool.upscale("image-1", 1, webhook_url="http://me.example/\x00"),
    "result": lambda akool: akool.download("image-1", "pictures"),
    "directory": lambda akool: akool.download(ImageResult(id="image-1"), ""),
    "directory ": lambda akool: akool.download(ImageResult(id="image-1"), None),
    "directory  ": lambda akool: akool.download(ImageResult(id="image-1"), "pic\0tures"),
    "timeout    ": lambda akool: akool.wait_until_complete("image-1", timeout=10**400),
    "resolution": lambda akool: akool.create_by_source_prompt("a fox", resolution="8k"),
    "batch_quantity": lambda akool: akool.create_by_source_prompt("a fox", batch_quantity=5),
    "batch_quantity ": lambda akool: akool.create_by_source_prompt("a fox", batch_quantity=3),
    "similar": lambda akool: akool.create_by_source_prompt("a fox", similar=math.nan),
    "timeout": lambda akool: akool.wait_until_complete("image-1", timeout=math.nan),
    "timeout ": lambda akool: akool.wait_until_complete("image-1", timeout=0),
    "timeout  ": lambda akool: akool.wait_until_complete("image-1", timeout=-1),
    "timeout   ": lambda akool: akool.operation("image-1").wait_until_complete(timeout=math.inf),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_bad_argument_is_named_before_any_request(emulator, name):
    """Every verb refuses a bad argument with a ValueError that opens with its name, and sends nothing."""
    async with AkoolSession(KEY, base_url=emulator.base_url, max_concurrent_operations=2) as akool:
        with pytest.raises(ValueError, match=f"^{name.strip()} "):
            await CALLS[name](akool)
    assert emulator.ledger.requests == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_concurrent_upscales", 0),
        ("max_concurrent_upscales", True),
        ("max_concurrent_operations", -1),
        ("request_timeout", math.nan),
        ("request_timeout", 0),
        ("webhook_url", "nowhere"),
        ("webhook_url", ""),
        ("base_url", "nowhere"),
        ("base_url", ""),
        ("polling", 3.0),
        ("polling", ExponentialPolling),
        ("observer", 3),
        ("max_requests_per_second", 0),
        ("max_requests_per_second", -1),
        ("max_requests_per_second", "5"),
        ("max_requests_per_second", math.nan),
        ("max_requests_per_second", math.inf),
        ("resubmit_lost", "no"),
        ("allow_http", "no"),
        ("webhook_url", False),
        ("auth", " "),
        ("http", object()),
    ],
)
def test_a_session_that_cannot_work_is_refused(name, value):
    """Every argument of the session is checked when it is made."""
    with pytest.raises(ValueError, match=name):
        AkoolSession(**{"auth": KEY, name: value})


def test_without_credentials_the_remedy_is_named():
    """No key anywhere is a ConfigurationError that says what to set."""
    with pytest.raises(ConfigurationError, match="AKOOL_API_KEY"):
        AkoolSession()
    with pytest.raises(AkoolError, match="key"):
        AkoolSession("")


def test_credentials_and_address_come_from_the_environment(monkeypatch):
    """With nothing passed, key and base URL are those of the environment."""
    monkeypatch.setenv("AKOOL_API_KEY", KEY)
    monkeypatch.setenv("AKOOL_BASE_URL", "http://10.0.0.1")
    with pytest.raises(ConfigurationError, match="plain http"):
        AkoolSession()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"version": 2, "id": "a"}', '{"version": 1, "id": ""}', None])
def test_resume_refuses_what_to_json_did_not_write(text):
    """A text that is not an operation's JSON is a ValueError."""
    with pytest.raises(ValueError):
        AkoolSession(KEY).resume(text)


def test_a_press_and_a_schedule_check_themselves():
    """The values users build are checked when they are built."""
    with pytest.raises(ValueError, match="button"):
        ButtonPress("image-1", "X1")
    with pytest.raises(ValueError, match="max_interval"):
        ExponentialPolling(initial=5)
