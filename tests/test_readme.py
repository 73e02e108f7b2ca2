"""Every Python block of the README and of the guides runs unchanged, against the emulator."""

import asyncio
import os
import re
import socket
import sys

import aiohttp
import pytest
import uvicorn
from aiohttp import web

from akool_async import InsufficientCreditError, OutcomeUnknownError, errors
from akool_async.emulator import Fault
from tests.support.forked import bare_environment
from tests.support.looks import look_until
from tests.support.readme import BLOCKS, ERRORS, GUIDES, README, ROOT
from tests.support.schedules import FAST, progress
from tests.support.workers import worker


def block_with(text):
    (block,) = [block for block in BLOCKS if text in block]
    return block


def names_of(text):
    names = {}
    exec(compile(block_with(text), "README.md", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def _the_environment_of_the_readme(emulator, monkeypatch):
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)


async def test_the_quickstart_runs_as_a_script(emulator, tmp_path):
    """The first program of the README, in a separate process: four pictures, one upscale, one file."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "error",
        "-c",
        block_with("a lighthouse in a storm"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert b"2 credits" in output
    assert len(list((tmp_path / "pictures").iterdir())) == 1
    assert emulator.ledger.accepted == 2


async def test_pressing_many_concurrently(emulator, capsys):
    """The block that presses four upscales under a cap of two finishes them all."""
    await names_of("upscale_all")["upscale_all"](emulator.add_image())
    assert capsys.readouterr().out.count("done:") == 4
    assert emulator.ledger.peak_upscales == 2


async def test_pressing_everything(emulator, capsys):
    """The fan-out block finishes eight buttons of two images, and reports presses that cannot be made."""
    images = [emulator.add_image(), emulator.add_image(buttons=["U1"])]
    await names_of("press_everything")["press_everything"](images)
    output = capsys.readouterr().out
    assert output.count("->") == 9
    assert output.count("not done:") == 7


async def test_drawing_everything(emulator, capsys):
    """The block of prompts makes the image of each text, and the nine pictures below it."""
    await names_of("draw_everything")["draw_everything"](["a fox", "a cat"])
    output = capsys.readouterr().out
    assert output.count("prompt 'a fox' V1 U") == 4
    assert len(output.splitlines()) == 20
    assert emulator.ledger.accepted == 20


def test_choosing_a_schedule():
    """Each line of the block makes a session with its schedule."""
    names = names_of("patient")
    assert {name: type(names[name]).__name__ for name in ("plain", "patient", "experienced")} == dict.fromkeys(
        ("plain", "patient", "experienced"), "AkoolSession"
    )


async def test_a_schedule_of_ones_own(emulator, capsys):
    """The class of the block is a schedule: a session asks it for delays, and passes it finished operations."""
    names = names_of("OncePerSecondFromTheTenth")
    schedule = names["OncePerSecondFromTheTenth"]()
    assert [schedule.next_delay(progress(age=age)) for age in (0.0, 4.0, 25.0)] == [10.0, 6.0, 1.0]
    schedule.next_delay = FAST.next_delay
    async with emulator.session(polling=schedule) as akool:
        await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    assert capsys.readouterr().out.startswith("upscale: seen running at ")
    assert type(names["akool"]).__name__ == "AkoolSession"


async def test_observing(emulator, capsys):
    """The observer of the block prints how long the upscale took, and the counters add up."""
    counters = await names_of("def print_event")["upscale"](emulator.add_image())
    assert re.search(r"^\w{24} took [\d.]+ s and \d+ polls$", capsys.readouterr().out, flags=re.MULTILINE)
    assert (counters.pressed, counters.finished) == (1, 1)


async def test_waiting_somewhere_else(emulator, akool, capsys):
    """The block that times out, stores the JSON and waits again elsewhere ends with a result."""
    names = names_of("somewhere_else")
    kept = await names["press"](akool, emulator.add_image())
    assert "wait again" in capsys.readouterr().out
    assert (await names["somewhere_else"](kept)).status == 3


async def test_the_web_backend(emulator):
    """The FastAPI example, served for real: answers before a slot is free, results, used buttons, bad input, retry."""
    config = uvicorn.Config(names_of("shield(task)")["app"], port=0, log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await look_until(lambda: server.started)
    base_url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    image_id, used = emulator.add_image(), emulator.add_image(buttons=["V2"])
    emulator.faults.script("create_by_button", *[Fault.stuck()] * 4, None, Fault.fails())
    async with aiohttp.ClientSession(base_url) as http:
        for press in [f"{image_id}/U{index}" for index in (1, 2, 3, 4)] + [f"{emulator.add_image()}/U1"] * 2:
            async with http.post(f"/images/{press}") as response:  # the last two wait for ever for a slot
                assert response.status == 202
        for press in (f"{image_id}/V1", f"{image_id}/V1", f"{image_id}/V2", f"{used}/V1"):
            async with http.post(f"/images/{press}") as response:
                assert response.status == 202
        answers = {}
        for press in (f"{image_id}/V1", f"{image_id}/V2", f"{used}/V1", "nowhere/V1", f"{image_id}/V9"):
            async with http.get(f"/images/{press}") as response:
                answers[press] = response.status, await response.json()
        emulator.faults.script("create_by_button", Fault.code(1011))
        for status in (409, 200):  # a press that failed is made again
            async with http.post(f"/images/{image_id}/V3") as response:
                assert response.status == 202
            async with http.get(f"/images/{image_id}/V3") as response:
                assert response.status == status
    server.should_exit = True
    await serving
    assert [status for status, _ in answers.values()] == [200, 200, 409, 404, 422]
    assert (answers[f"{image_id}/V1"][1]["status"], len(answers[f"{image_id}/V1"][1]["urls"])) == ("completed", 5)
    assert answers[f"{image_id}/V2"][1]["status"] == "failed"
    assert emulator.ledger.presses_accepted[image_id, "V1"] == 1


async def finish_by_webhook(emulator, upscale):
    """Press four buttons through a backend of the README. The last three are known to end by their webhooks."""
    image_id = emulator.add_image()
    async with aiohttp.ClientSession() as http:
        for index in (1, 2, 3, 4):
            async with http.post(upscale.format(image_id=image_id, index=index)) as response:
                assert response.status == 200
                assert len((await response.json())["urls"]) == 1
    assert {callback.status for callback in emulator.ledger.callbacks} == {200}
    assert len(emulator.ledger.callbacks) == 4


def environment_of_a_public_server(emulator, monkeypatch, listener):
    for name, value in {
        "AKOOL_CLIENT_ID": emulator.client_id,
        "AKOOL_CLIENT_SECRET": emulator.client_secret,
        "PUBLIC_URL": f"http://127.0.0.1:{listener.getsockname()[1]}",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_webhooks_in_fastapi(emulator, monkeypatch, listener):
    """The FastAPI block, served for real, is called back by the emulator."""
    environment_of_a_public_server(emulator, monkeypatch, listener)
    config = uvicorn.Config(names_of("async def upscale(image_id: str, index: int)")["app"], log_level="error")
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    await look_until(lambda: server.started)
    await finish_by_webhook(emulator, os.environ["PUBLIC_URL"] + "/upscale/{image_id}/{index}")
    server.should_exit = True
    await serving


async def test_webhooks_in_aiohttp(emulator, monkeypatch, listener):
    """The aiohttp block, served for real, is called back by the emulator."""
    environment_of_a_public_server(emulator, monkeypatch, listener)
    runner = web.AppRunner(await names_of("webhook_handler")["make_app"]())
    await runner.setup()
    await web.SockSite(runner, listener).start()
    await finish_by_webhook(emulator, os.environ["PUBLIC_URL"] + "/upscale/{image_id}/{index}")
    await runner.cleanup()


async def test_recorded_presses(emulator, tmp_path, capsys):
    """The block that records its presses makes them, and yields their outcomes again when it runs again."""
    press_durably = names_of("press_durably")["press_durably"]
    presses = [(emulator.add_image(), button) for button in ("U1", "V1")]
    for _ in range(2):
        await press_durably(presses, f"sqlite:///{tmp_path}/akool.db")
        assert capsys.readouterr().out.count("done\n") == 2
    assert emulator.ledger.accepted == 2
    emulator.faults.script("create_by_button", Fault.code(1006))
    with pytest.raises(ExceptionGroup) as caught:
        await press_durably([(emulator.add_image(), "V1")], f"sqlite:///{tmp_path}/akool.db")
    assert [type(error) for error in caught.value.exceptions] == [InsufficientCreditError]


async def test_a_web_backend_with_two_workers(emulator, monkeypatch, listener, store, tmp_path):
    """The durable FastAPI block: requests submit and read, two workers press, and the web server receives webhooks."""
    environment_of_a_public_server(emulator, monkeypatch, listener)
    monkeypatch.setenv("STORE", store)
    server = uvicorn.Server(uvicorn.Config(names_of("app.state.jobs.submit")["app"], log_level="error"))
    serving = asyncio.create_task(server.serve([listener]))
    await look_until(lambda: server.started)
    address = os.environ["PUBLIC_URL"]
    jobs = [f"/jobs/{emulator.add_image()}/{button}" for _ in range(3) for button in ("U1", "V1")]

    async def is_done(http, job):
        async with http.get(job) as response:
            job_fields = await response.json()
        return job_fields["state"] == "done" and len(job_fields["urls"]) in {1, 5}

    async with (
        worker(emulator, store, tmp_path, "--webhook-url", f"{address}/akool/"),
        worker(emulator, store, tmp_path, "--webhook-url", f"{address}/akool/"),
        aiohttp.ClientSession(address) as http,
    ):
        for new in (1, 0):
            for job in jobs:
                async with http.post(job) as response:
                    assert (response.status, await response.json()) == (202, {"new": new})
        for job in jobs:
            await look_until(lambda: is_done(http, job))  # noqa: B023 - awaited here
        async with http.get("/jobs/nowhere/U1") as response:
            assert response.status == 404
        async with http.post("/jobs/nowhere/U9") as response:
            assert response.status == 422
        await emulator.ledger.until(lambda ledger: len(ledger.callbacks) == len(jobs))
    server.should_exit = True
    await serving
    assert {callback.status for callback in emulator.ledger.callbacks} == {200}
    assert emulator.ledger.accepted == len(jobs)


async def test_drawing_from_the_readme(emulator, capsys):
    """The README's own block of prompts makes five pictures of each text."""
    await names_of("async def draw(texts")["draw"](["a fox", "a cat"])
    assert capsys.readouterr().out.count("done") == 10
    assert emulator.ledger.accepted == 10


async def test_the_readmes_own_test():
    """The test in the README passes."""
    await names_of("test_it_upscales_once")["test_it_upscales_once"]()


async def test_the_block_for_users_own_tests():
    """The README's own test passes."""
    await names_of("my_backend")["test_my_backend_upscales_once"]()


async def test_pressing_carefully(emulator, capsys):
    """The block that reconciles prints the outcome of a press that was unknown at first."""
    emulator.faults.script("create_by_button", Fault.reset("after"))
    emulator.faults.script("get_image_result", Fault.code(1009))
    with pytest.raises(OutcomeUnknownError):
        await names_of("press_carefully")["press_carefully"](emulator.add_image(), "U1")
    assert capsys.readouterr().out == "True\n"


async def test_the_block_for_users_own_fault_tests():
    """The README's own test of a lost reply passes."""
    await names_of("a_lost_reply_is_reported")["test_a_lost_reply_is_reported_and_not_paid_twice"]()


@pytest.mark.parametrize("text", [ERRORS, errors.__doc__], ids=["guide", "akool_async.errors"])
def test_the_errors_that_are_listed_have_their_codes(text):
    """Every class is listed with exactly those codes of AKOOL's that raise it."""
    listed = re.findall(r"^[ │]*[|├└][─ ]*`?(\w+Error)`? *\|?(.*)$", text, flags=re.MULTILINE)
    assert len(listed) == len(dict(listed))
    found = {name: sorted(map(int, re.findall(r"\b1\d{3}\b", codes.partition("|")[0]))) for name, codes in listed}
    expected = {}
    for code, known in errors.CODES.items():
        expected.setdefault(known.error.__name__, []).append(code)
    assert {name: codes for name, codes in found.items() if codes and name != "APIError"} == expected


async def test_every_command_of_the_guide(tmp_path):
    """The commands of the guide to the command line run in their order, against the emulator that they start."""
    akool = f"{sys.executable} -m akool_async"
    start, *others = [
        block.replace(".venv/bin/akool", akool).replace("--speed 20", "--speed 200 --port 0")
        for block in re.findall(r"```sh\n(.*?)```", GUIDES["akool_async/cli/README.md"], flags=re.DOTALL)
    ]
    environment = bare_environment(tmp_path)
    emulator = await asyncio.create_subprocess_shell(f"exec {start}", cwd=tmp_path, env=environment)
    try:
        printed = tmp_path / "emulator.env"
        await look_until(lambda: printed.exists() and "press buttons on:" in printed.read_text())
        for block in others:
            command = ("bash", "-euo", "pipefail", "-c", block)
            shell = await asyncio.create_subprocess_exec(
                *command, cwd=tmp_path, env=environment, stdin=asyncio.subprocess.DEVNULL
            )
            assert await shell.wait() == 0, block
    finally:
        emulator.terminate()
        await emulator.wait()


def test_every_block_of_commands_is_run():
    """A new block of commands needs a test, or a place in the CI script."""
    counts = {name: text.count("```sh") for name, text in GUIDES.items()}
    assert {name: count for name, count in counts.items() if count} == {
        "README.md": 3,  # .ci/run has the first and the last; the second installs from an index
        "akool_async/cli/README.md": 4,
        ".github/CONTRIBUTING.md": 2,  # .ci/run has the second, which builds the reference
    }


def test_the_fixture_of_the_readme_exists():
    """The plugin that the README names can be loaded."""
    assert names_of("pytest_plugins")["pytest_plugins"] == ["akool_async.emulator.pytest_plugin"]


def test_every_block_is_run():
    """A new block needs a test."""
    assert len(BLOCKS) == 19


def test_the_readme_is_a_door():
    """The README is short, and every link in it and in the guides leads to an existing file and heading."""
    assert len(README.splitlines()) <= 200
    for name, text in GUIDES.items():
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
            path, _, heading = target.partition("#")
            file = (ROOT / name).parent / path if path else ROOT / name
            assert file.exists(), (name, target)
            if heading:
                headings = re.findall(r"^#+ (.*)$", file.read_text(), flags=re.MULTILINE)
                assert heading in {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}, target


def test_the_table_of_errors_is_complete():
    """The table of the guide has every error class."""
    in_table = set(re.findall(r"^\| `(?:durable\.)?(\w+Error)` \|", ERRORS, flags=re.MULTILINE)) - {"StoreError"}
    classes = {
        name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, errors.AkoolError)
    }
    assert in_table == classes - {"AkoolError"}
