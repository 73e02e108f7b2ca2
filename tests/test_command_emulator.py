"""`akool emulator` in a real subprocess: for other programs, and for operators who rehearse failures."""

import json
import signal
from contextlib import asynccontextmanager

import pytest

from akool_async import AkoolSession
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler
from tests.support.commands import run, start
from tests.support.receivers import RARE, serve_aiohttp


class Served:
    """A running `akool emulator`: the JSON that it printed, and the last line of stderr once it has ended."""

    def __init__(self, printed):
        self.environment = {name: value for name, value in printed.items() if name.isupper()}
        self.image_id = printed["image_id"]
        self.last_line = ""


@asynccontextmanager
async def akool_emulator(tmp_path, *options):
    process = await start("emulator", "--port", "0", "--speed", "200", "--json", *options, cwd=tmp_path)
    served = Served(json.loads(await process.stdout.readline()))
    try:
        yield served
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        served.last_line = errors.decode().splitlines()[-1]


async def test_webhooks_need_nothing_but_what_it_prints(tmp_path, monkeypatch):
    """The printed key authorizes a press; the printed client id and secret verify the webhook that ends the wait."""
    async with akool_emulator(tmp_path) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        verifier = WebhookVerifier(served.environment["AKOOL_CLIENT_ID"], served.environment["AKOOL_CLIENT_SECRET"])
        handlers = []

        async def handle(request):
            return await handlers[0](request)

        async with (
            serve_aiohttp(lambda app: app.router.add_post("/akool", handle)) as address,
            AkoolSession(webhook_url=f"{address}/akool", polling=RARE) as akool,
        ):
            handlers.append(webhook_handler(akool, verifier))
            result = await (await akool.vary(served.image_id, 1)).wait_until_complete()
    assert len(result.urls) == 5
    assert served.last_line == "accepted 1 operations, charged 2 credits"


async def test_what_it_prints_is_a_key_file(tmp_path):
    """--key-file reads the lines as they are printed, although they hold both a key and a client id and secret."""
    async with akool_emulator(tmp_path) as served:
        (tmp_path / "emulator.env").write_text(
            "".join(f"export {name}={value}\n" for name, value in served.environment.items())
        )
        status, output, errors = await run("credit", "--key-file", "emulator.env", cwd=tmp_path)
    assert (status, output) == (0, "10000\n"), errors
    names = ("API_KEY", "CLIENT_ID", "CLIENT_SECRET", "BASE_URL", "TIME_SCALE")
    assert served.environment.keys() == {f"AKOOL_{name}" for name in names}


async def test_a_key_files_time_scale_counts(tmp_path):
    """The scale that an emulator prints is read from the file as from the environment, and is refused for AKOOL."""
    (tmp_path / "keys").write_text("AKOOL_API_KEY=sk-test-key\nAKOOL_TIME_SCALE=0.01\n")
    status, output, errors = await run("credit", "--key-file", "keys", cwd=tmp_path)
    assert (status, output) == (1, "")
    assert "AKOOL_TIME_SCALE shortens a session's waits" in errors


async def test_a_key_file_with_half_a_pair_is_refused(tmp_path):
    """A client id without its secret beside the key is reported before any request."""
    (tmp_path / "keys").write_text("AKOOL_API_KEY=a\nAKOOL_CLIENT_ID=b\n")
    status, output, errors = await run("credit", "--key-file", "keys", cwd=tmp_path)
    assert (status, output) == (1, "")
    assert "AKOOL_CLIENT_SECRET" in errors


async def test_lost_replies_can_be_rehearsed(tmp_path):
    """With --lost-replies 1 every press is charged, and the operator gets an unknown outcome."""
    async with akool_emulator(tmp_path, "--lost-replies", "1") as served:
        arguments = ("press", served.image_id, "V1", "--json", "-q")
        status, output, errors = await run(*arguments, cwd=tmp_path, environment=served.environment)
    assert status == 5, errors
    assert json.loads(output)["ok"] is False
    charged = "accepted 1 operations, charged 2 credits, 2 of them for presses and prompts whose reply was lost"
    assert served.last_line == charged


async def test_failures_can_be_rehearsed(tmp_path):
    """With --failure-rate 1 every job ends with status 4 and is charged."""
    async with akool_emulator(tmp_path, "--failure-rate", "1") as served:
        arguments = ("press", served.image_id, "U1", "V1", "--json", "-q")
        status, output, errors = await run(*arguments, cwd=tmp_path, environment=served.environment)
    assert status == 3, errors
    assert [json.loads(line)["status"] for line in output.splitlines()] == [4, 4]
    assert served.last_line == "accepted 2 operations, charged 4 credits"


@pytest.mark.parametrize("option", ["--failure-rate", "--lost-replies"])
@pytest.mark.parametrize("share", ["1.01", "-0.1", "nan", "half"])
async def test_a_share_is_between_0_and_1(tmp_path, option, share):
    """A value that is not a share ends with status 2 and names the option."""
    status, output, errors = await run("emulator", "--port", "0", option, share, cwd=tmp_path)
    assert (status, output) == (2, "")
    assert option in errors
