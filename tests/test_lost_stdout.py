"""If stdout is full, closed or not read, paid ids are printed on stderr, and the status is not that of usage (2)."""

import json
import os
from itertools import product

import pytest

from tests.support.commands import CLOSED, FULL, read_lines, run, start

OPTIONS = [(), ("--json",), ("-q",), ("--json", "-q")]
TWO_DRIVES = """
import os
def relpath(path, start=None):
    raise ValueError("path is on mount 'D:', start on mount 'C:'")
os.path.relpath = relpath
"""


@pytest.fixture
def arguments(emulator, tmp_path):
    """Return the arguments of each command that spends, by its name."""
    image_id = emulator.add_image()
    (tmp_path / "presses.csv").write_text(f"image_id,button\n{image_id},V1\n")
    return {
        "press": ("press", image_id, "V1", "V2"),
        "prompt": ("prompt", "a fox"),
        "demo": ("demo", "--live", "--yes"),
        "fan-out": ("fan-out", "presses.csv", "--yes"),
    }


def paid_ids(emulator):
    return {new_id for post in emulator.ledger.posts for new_id in post.new_ids}


@pytest.mark.parametrize("redirect", [FULL, CLOSED], ids=["full", "closed"])
@pytest.mark.parametrize(
    ("command", "options"),
    [
        *product(["press", "prompt"], OPTIONS),
        ("demo", ()),
        ("demo", ("--json",)),
        ("fan-out", ()),
        ("fan-out", ("-q",)),
    ],
)
async def test_paid_ids_go_to_stderr(emulator, tmp_path, arguments, command, redirect, options):
    """If stdout is full or closed, the paid ids are on stderr, with and without --json and -q, and the status is 1."""
    environment = emulator.environment()
    status, _, errors = await run(
        *arguments[command], *options, cwd=tmp_path, environment=environment, first=[redirect]
    )
    assert status == 1
    assert "Traceback" not in errors
    assert all(new_id in errors for new_id in paid_ids(emulator))
    assert paid_ids(emulator) or (command, redirect) == (
        "fan-out",
        CLOSED,
    )  # fan-out refuses a closed stdout before it spends


@pytest.mark.parametrize(
    ("command", "options"), [*product(["press", "prompt"], OPTIONS), ("demo", ()), ("demo", ("--json",))]
)
async def test_a_reader_that_has_gone_leaves_the_ids_on_stderr(emulator, tmp_path, arguments, command, options):
    """`akool press ... | true` ends with status 1, and the ids and the reason are on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    process = await start(
        *arguments[command], *options, cwd=tmp_path, environment=emulator.environment(), stdout=writing
    )
    os.close(writing)
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert paid_ids(emulator)
    assert all(new_id in errors.decode() for new_id in paid_ids(emulator))
    assert "broken pipe" in errors.decode()
    assert "Exception ignored" not in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_a_full_stdout_is_named(emulator, tmp_path, arguments):
    """The message names stdout and the lack of space, for a table, for JSON and for a batch."""
    for command in (arguments["press"], (*arguments["prompt"], "--json"), arguments["fan-out"]):
        status, _, errors = await run(*command, cwd=tmp_path, environment=emulator.environment(), first=[FULL])
        assert (status, "stdout: No space left on device" in errors) == (1, True), errors


@pytest.mark.parametrize("redirect", [FULL, CLOSED], ids=["full", "closed"])
@pytest.mark.parametrize(
    "command", [("credit",), ("credit", "--json"), ("result", "{image}"), ("result", "{image}", "--json")]
)
async def test_a_result_that_cannot_be_printed_is_an_error(emulator, tmp_path, command, redirect):
    """A balance or a result that could not be printed ends with status 1."""
    command = [part.format(image=emulator.add_image()) for part in command]
    status, _, _ = await run(*command, cwd=tmp_path, environment=emulator.environment(), first=[redirect])
    assert status == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
@pytest.mark.parametrize("options", OPTIONS, ids=" ".join)
async def test_an_encoding_that_lacks_a_letter_is_no_wrong_usage(emulator, tmp_path, options, encoding):
    """With a Japanese prompt and an encoding that lacks it, the id is printed and the status is not 2."""
    environment = emulator.environment() | {"PYTHONIOENCODING": encoding}
    arguments = ("prompt", "\u65e5\u672c\u306e\u706f\u53f0 \U0001f5fc", "--no-wait", *options)
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=environment)
    assert status != 2
    assert "Traceback" not in errors
    assert paid_ids(emulator) <= {word.strip('",') for word in (output + errors).split()}


async def test_an_error_after_spending_is_no_wrong_usage(emulator, tmp_path, arguments):
    """After a ValueError, as between two drives on Windows, the output has the id, and the status is not 2."""
    (tmp_path / "sitecustomize.py").write_text(TWO_DRIVES)
    environment = emulator.environment() | {"PYTHONPATH": str(tmp_path)}
    options = ("-o", "out.jsonl", "--download", "pictures", "--gallery", "page.html")
    status, _, errors = await run(*arguments["fan-out"], *options, cwd=tmp_path, environment=environment)
    assert status != 2, errors
    (line,) = read_lines(tmp_path / "out.jsonl")
    assert ({line["id"]}, line["ok"]) == (paid_ids(emulator), True)
    status, output, errors = await run(*arguments["demo"], "--json", cwd=tmp_path, environment=environment)
    assert status != 2, errors
    assert {json.loads(line)["id"] for line in output.splitlines()} | {line["id"]} == paid_ids(emulator)


@pytest.mark.parametrize("prompt", ["", " ", "half \udcff"])
async def test_a_prompt_that_cannot_be_sent_is_wrong_usage(emulator, tmp_path, prompt):
    """An invalid prompt is reported before anything is sent, with status 2."""
    status, _, errors = await run("prompt", prompt, cwd=tmp_path, environment=emulator.environment())
    assert status == 2, errors
    assert "prompt must be" in errors
    assert emulator.ledger.posts == []
