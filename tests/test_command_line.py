"""The akool command, in real subprocesses."""

import asyncio
import json
import re
import signal

import pytest

import akool_async
from akool_async import AkoolSession, Button
from tests.support.commands import AKOOL, run, write_batch


async def test_the_demo_presses_eight_buttons_and_saves_the_pictures(tmp_path):
    """Without an account the demo ends with status 0, a table of nine operations, and 29 pictures."""
    status, output, progress = await run("demo", "--speed", "50", cwd=tmp_path, afresh=True)
    assert status == 0, progress
    row = r"^ *\w{20}(\w{4}) +(prompt|[UV][1-4]) +completed +[\d.]+ +2 +(image|[UV][1-4])-\1(?:\.jpg|-1\.jpg \+4) *$"
    rows = re.findall(row, output, flags=re.MULTILINE)
    assert {button for _, button, _ in rows} == {"prompt", *Button}
    assert all(name in {button, "image"} for _, button, name in rows)
    assert "9 of 9 completed, 18 credits, 29 pictures" in output
    assert len(list((tmp_path / "akool-demo").glob("*.jpg"))) == 29
    assert "[9/9]" in progress


async def test_the_demo_runs_for_real_with_a_key(emulator, tmp_path):
    """--live uses the environment's key and address, and asks before it spends."""
    status, output, _ = await run("demo", "--live", cwd=tmp_path, environment=emulator.environment(), stdin=b"y\n")
    assert status == 0
    assert "9 of 9 completed" in output
    assert emulator.ledger.accepted == 9


async def test_a_prompt_may_hold_brackets(tmp_path):
    """Text that looks like markup is shown as it was typed, and causes no error after credits were spent."""
    status, output, _ = await run("demo", "--speed", "100", "--prompt", "[/red] a fox [oil]", cwd=tmp_path)
    assert status == 0
    assert "[/red] a fox [oil]" in output


async def test_a_folder_that_cannot_be_made_is_reported_before_spending(emulator, tmp_path):
    """If a file has the name of the folder, the demo ends before anything is charged."""
    (tmp_path / "taken").write_text("mine")
    environment = emulator.environment()
    status, _, errors = await run("demo", "--live", "--yes", "--folder", "taken", cwd=tmp_path, environment=environment)
    assert status in {1, 2}
    assert "taken" in errors
    assert emulator.ledger.charged == 0


async def test_interrupting_the_demo_reports_the_ids(tmp_path):
    """After Ctrl-C the demo names every running operation, and ends with status 130."""
    process = await asyncio.create_subprocess_exec(
        *AKOOL, "demo", "--speed", "4", cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    printed = b""
    while b"prompt" not in printed:
        printed = await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    errors = (await process.stderr.read()).decode()
    assert await process.wait() == 130
    assert re.search(r"^prompt \w{24} runs on at AKOOL", errors, flags=re.MULTILINE)


@pytest.mark.parametrize("answer", [b"n\n", b""])
async def test_nothing_is_spent_without_a_yes(emulator, tmp_path, answer):
    """Any other answer to the question of --live spends nothing and ends with status 130."""
    status, _, _ = await run("demo", "--live", cwd=tmp_path, environment=emulator.environment(), stdin=answer)
    assert status == 130
    assert emulator.ledger.accepted == 0


@pytest.mark.parametrize("command", ["demo --live", "credit", "press IMAGE V1", "jobs --store sqlite:///akool.db"])
async def test_without_a_key_the_remedy_is_reported(tmp_path, command):
    """Without credentials one line names AKOOL_API_KEY and --key-file, and the status is 1."""
    status, output, errors = await run(*command.split(), cwd=tmp_path)
    assert (status, output) == (1, "")
    assert "AKOOL_API_KEY" in errors
    assert "--key-file" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("command", ["press IMAGE V1 V2", "prompt lighthouse", "credit", "fan-out presses.csv --yes"])
async def test_no_network_is_an_error_with_a_remedy(emulator, tmp_path, command):
    """If nothing listens at AKOOL's address, every command ends with status 1 and prints the remedy once."""
    write_batch(tmp_path, ["0" * 24], "V1")
    environment = emulator.environment() | {"AKOOL_BASE_URL": "http://127.0.0.1:9"}
    arguments = command.replace("IMAGE", "0" * 24).split()
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=environment)
    assert status == 1, errors
    assert errors.count("try again when AKOOL can be reached") == 1


async def test_the_version_is_reported(tmp_path):
    """--version prints the version and nothing else."""
    ended = await run("--version", cwd=tmp_path, afresh=True)
    assert ended == (0, f"akool, version {akool_async.__version__}\n", "")


async def test_a_usage_error_is_status_2(tmp_path):
    """An invalid value of an option ends with status 2."""
    status, _, errors = await run("demo", "--max-concurrent-upscales", "0", cwd=tmp_path, afresh=True)
    assert status == 2
    assert "--max-concurrent-upscales" in errors


async def test_help_fits_80_columns(tmp_path):
    """No line of any help text is longer than 80 characters."""
    for command in ([], ["fan-out"], ["press"], ["prompt"], ["result"], ["credit"], ["demo"], ["emulator"]):
        status, output, _ = await run(*command, "--help", cwd=tmp_path, environment={"COLUMNS": "80"})
        assert status == 0
        assert max(map(len, output.splitlines())) <= 80


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_the_emulator_serves_until_it_is_stopped(tmp_path, monkeypatch, stop):
    """`akool emulator` prints an environment that works, and a signal ends it with status 0."""
    process = await asyncio.create_subprocess_exec(
        *AKOOL, "emulator", "--port", "0", "--speed", "100", stdout=asyncio.subprocess.PIPE, cwd=tmp_path
    )
    image_id = None
    while image_id is None:
        line = (await process.stdout.readline()).decode().strip()
        if line.startswith("export "):
            monkeypatch.setenv(*line.removeprefix("export ").split("=", 1))
        image_id = line.rpartition(": ")[2] if line.startswith("#") else None
    async with AkoolSession() as akool:
        result = await (await akool.vary(image_id, 1)).wait_until_complete()
    process.send_signal(stop)
    assert await process.wait() == 0
    assert len(result.urls) == 5


async def test_the_demo_can_use_webhooks(tmp_path):
    """With --webhook the same nine images are made and saved; the last line names it, and what back-off would need."""
    status, output, errors = await run("demo", "--webhook", "--speed", "200", "--json", "-q", cwd=tmp_path)
    lines = [json.loads(line) for line in output.splitlines()]
    assert status == 0
    assert [line["ok"] for line in lines] == [True] * 9
    assert all(line["files"] for line in lines)
    assert re.search(r"with a webhook \(plain back-off: \d+ times for 9, \d+\.\d\d s\)\.", errors)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--live --webhook", "--webhook is for the emulator"),
        ("--key-file keys", "--key-file is for --live"),
    ],
)
async def test_options_of_the_demo_that_exclude_each_other_are_refused(emulator, tmp_path, options, message):
    """Such options end the demo with status 2 and the reason, before anything is spent."""
    (tmp_path / "keys").write_text(f"AKOOL_API_KEY={emulator.api_key}\n")
    status, output, errors = await run("demo", *options.split(), cwd=tmp_path, environment=emulator.environment())
    assert (status, output) == (2, "")
    assert message in errors
    assert emulator.ledger.requests.total() == 0
