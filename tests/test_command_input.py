"""The other inputs of the command: a key file, which may be a pipe, and stdin, which may be closed."""

import pytest

from tests.support.commands import read_lines, run, write_batch

CLOSED_STDIN = "import os; os.close(0)"
WRITTEN_STDIN = f"{CLOSED_STDIN}; os.set_inheritable(os.open('written', os.O_WRONLY | os.O_CREAT), True)"
KEYS_IN_A_PIPE = """
import os, pathlib
reading, writing = os.pipe()
os.write(writing, pathlib.Path("keys").read_bytes())
os.close(writing)
os.dup2(reading, 63)
"""
"""Makes the pipe that bash makes for `<(cat keys)`."""


@pytest.fixture
def keys(emulator, tmp_path):
    """A key file, as `akool emulator` prints it."""
    path = tmp_path / "keys"
    path.write_text("".join(f"export {name}={value}\n" for name, value in emulator.environment().items()))
    return path


def in_bash(script):
    """Return the beginning of a command line that runs a script of bash, in which the command is "$@"."""
    return ("bash", "-c", script, "bash")


@pytest.mark.parametrize(
    "command",
    [
        "credit",
        "result IMAGE",
        "press IMAGE V1",
        "prompt lighthouse",
        "fan-out presses.csv --yes",
        "fan-out presses.csv --yes --store sqlite:///new.db",
        "worker --store sqlite:///akool.db --until-empty",
        "jobs --store sqlite:///akool.db",
        "demo --live --yes",
    ],
)
async def test_keys_may_come_through_a_pipe(emulator, keys, tmp_path, command):
    """Every command reads the file once, and uses its content for the session, the store and the address of AKOOL."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id], "V1")
    if "akool.db" in command:
        arguments = ("fan-out", "presses.csv", "--yes", "--store", "sqlite:///akool.db", "--key-file", keys)
        assert (await run(*arguments, cwd=tmp_path))[0] == 0
    arguments = command.replace("IMAGE", image_id).split()
    status, _, errors = await run(*arguments, "--key-file", "/dev/fd/63", cwd=tmp_path, first=[KEYS_IN_A_PIPE])
    assert status == 0, errors
    assert emulator.ledger.requests


@pytest.mark.parametrize(
    "script",
    [
        'mkfifo pipe; (cat keys > pipe &); exec "$@" --key-file pipe',
        'cat keys | "$@" --key-file /dev/stdin',
        '"$@" --key-file /dev/fd/5 5< keys',
        'mkfifo pipe; (head -1 keys; tail -n +2 keys) > pipe & "$@" --key-file pipe',
        'sed -n "s/.*AKOOL_API_KEY=//p" keys > key; AKOOL_BASE_URL=$URL "$@" --key-file <(cat key)',
    ],
    ids=["named pipe", "stdin", "descriptor", "in pieces", "bare key"],
)
async def test_any_kind_of_pipe_is_read(emulator, keys, tmp_path, script):
    """A named pipe, stdin, a pipe that is written in pieces; with lines NAME=VALUE or with a key alone."""
    assert keys.exists()
    arguments = ("fan-out", "presses.csv", "--store", "sqlite:///akool.db")
    write_batch(tmp_path, [emulator.add_image()], "V1")
    status, _, errors = await run(
        *arguments, cwd=tmp_path, before=in_bash(script), environment={"URL": emulator.base_url}
    )
    assert status == 0, errors


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff\xfe", "not a text file"), (b"A=b\n" * 100_000, "too long"), (b"", "AKOOL_API_KEY=...")],
)
async def test_a_key_file_of_something_else_is_reported(tmp_path, content, message):
    """Binary content, a file that is too long and an empty file are reported in one line, with status 1."""
    (tmp_path / "keys").write_bytes(content)
    status, _, errors = await run("credit", "--key-file", "keys", cwd=tmp_path)
    assert status == 1
    assert message in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        "fan-out - --key-file /dev/stdin",
        "fan-out /dev/stdin --key-file /dev/fd/0",
        "fan-out keys --key-file keys",
        "demo --live --key-file /dev/stdin",
    ],
)
async def test_stdin_cannot_serve_two_purposes(emulator, keys, tmp_path, arguments):
    """Keys and the batch, or keys and an answer, from one pipe are wrong usage, reported before any request."""
    status, _, errors = await run(*arguments.split(), cwd=tmp_path, stdin=keys.read_bytes())
    assert status == 2
    assert "--key-file" in errors
    assert not emulator.ledger.requests


@pytest.mark.parametrize(
    ("arguments", "first", "message"),
    [
        ("fan-out -", CLOSED_STDIN, "stdin is closed"),
        ("fan-out - --yes -o out.jsonl", CLOSED_STDIN, "stdin is closed"),
        ("fan-out -", WRITTEN_STDIN, "stdin"),
        ("demo --live", CLOSED_STDIN, "--yes"),
    ],
)
async def test_a_closed_stdin_is_one_line(emulator, tmp_path, arguments, first, message):
    """If stdin is closed, or open for writing only, one line says so; nothing is spent, and the status is 1."""
    status, output, errors = await run(
        *arguments.split(), cwd=tmp_path, first=[first], environment=emulator.environment()
    )
    assert (status, output) == (1, "")
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert emulator.ledger.posts == []


async def test_a_command_that_asks_nothing_needs_no_stdin(emulator, tmp_path):
    """With --yes and a FILE, a closed stdin changes nothing."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
    environment = emulator.environment()
    status, _, errors = await run(*arguments, cwd=tmp_path, first=[CLOSED_STDIN], environment=environment)
    assert status == 0, errors
    assert [line["ok"] for line in read_lines(tmp_path / "out.jsonl")] == [True]
