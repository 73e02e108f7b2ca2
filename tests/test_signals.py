"""Signals and closed terminals, while commands in real subprocesses wait for replies to paid requests."""

import asyncio
import json
import os
import pty
import signal
from contextlib import asynccontextmanager

import pytest

from akool_async.durable import DurableFanOut
from akool_async.emulator import Emulator, Fault
from tests.support.commands import read_lines, start, wait_for_line
from tests.support.looks import look_until

FAN_OUT = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
STOPS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
TAKE_THE_TERMINAL = "import fcntl, os, termios; os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
IGNORE = "import signal; signal.signal({}, signal.SIG_IGN)"


@pytest.fixture
async def slow():
    """Start an emulator whose images take some seconds, and whose replies to presses and prompts take half a second."""
    async with Emulator(speed=5) as emulator:
        for endpoint in ("create_by_button", "create_by_prompt"):
            emulator.faults.rate(1, Fault.slow(0.5, "after"), endpoints=[endpoint])
        yield emulator


def write_batch(folder, emulator, buttons="V*"):
    image_id = emulator.add_image()
    (folder / "presses.csv").write_text(f"image_id,button\n{image_id},{buttons}\n")
    return image_id


def paid_ids(emulator):
    return {new_id for post in emulator.ledger.posts for new_id in post.new_ids}


@asynccontextmanager
async def on_terminal(*arguments, cwd, environment, first=(), **pipes):
    """Start the command as the leader of a session with a new terminal. Return it with a function that closes that."""
    ours, theirs = pty.openpty()
    is_open = True

    def close():
        nonlocal is_open
        if is_open:
            is_open = False
            os.close(ours)

    process = await start(
        *arguments,
        cwd=cwd,
        environment={"TERM": "xterm-256color", **environment},
        first=(TAKE_THE_TERMINAL, *first),
        **{"stdin": theirs, "stdout": theirs, "stderr": theirs, **pipes},
    )
    os.close(theirs)
    try:
        yield process, close
    finally:
        close()
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("stop", STOPS)
async def test_a_stopped_fan_out_waits_for_outstanding_replies(slow, tmp_path, stop):
    """Every id that was paid for is in the output, no file of ids is left, and the status is 130."""
    write_batch(tmp_path, slow)
    process = await start(*FAN_OUT, cwd=tmp_path, environment=slow.environment())
    await slow.ledger.until(lambda ledger: ledger.accepted == 4)
    process.send_signal(stop)
    await process.communicate()
    assert process.returncode == 130
    assert {line["id"] for line in read_lines(tmp_path / "out.jsonl")} == paid_ids(slow)
    assert not (tmp_path / "out.jsonl.accepted").exists()


@pytest.mark.parametrize(
    ("first", "then"),
    [(signal.SIGHUP, signal.SIGHUP), (signal.SIGHUP, signal.SIGTERM), (signal.SIGINT, signal.SIGHUP)],
)
async def test_a_second_hangup_does_not_cut_replies_short(slow, tmp_path, first, then):
    """The kernel and the shell both send SIGHUP when a terminal is closed, and a supervisor may send SIGTERM too."""
    write_batch(tmp_path, slow)
    process = await start(*FAN_OUT, cwd=tmp_path, environment=slow.environment())
    await slow.ledger.until(lambda ledger: ledger.accepted == 4)
    process.send_signal(first)
    await wait_for_line(process.stderr, b"no new presses")
    process.send_signal(then)
    await process.communicate()
    assert process.returncode == 130
    assert {line["id"] for line in read_lines(tmp_path / "out.jsonl")} == paid_ids(slow)


@pytest.mark.parametrize("ignored", STOPS)
async def test_what_was_ignored_stays_ignored(emulator, tmp_path, ignored):
    """SIGHUP under nohup, and Ctrl-C in the background of a shell, do not end the run."""
    write_batch(tmp_path, emulator)
    emulator.faults.rate(1, Fault.slow(0.3, "after"), endpoints=["create_by_button"])
    first = [IGNORE.format(int(ignored))]
    process = await start(*FAN_OUT, cwd=tmp_path, environment=emulator.environment(), first=first)
    await emulator.ledger.until(lambda ledger: ledger.accepted == 4)
    process.send_signal(ignored)
    _, errors = await process.communicate()
    assert process.returncode == 0, errors
    assert [line["ok"] for line in read_lines(tmp_path / "out.jsonl")] == [True] * 4


async def test_a_closed_terminal_loses_no_id(slow, tmp_path):
    """If the terminal is closed after bars were drawn, the ids are still written to the output."""
    write_batch(tmp_path, slow)
    async with on_terminal(*FAN_OUT, cwd=tmp_path, environment=slow.environment()) as (process, close):
        await slow.ledger.until(lambda ledger: ledger.accepted == 4)
        close()
        assert await process.wait() == 130
    assert {line["id"] for line in read_lines(tmp_path / "out.jsonl")} == paid_ids(slow)


async def test_a_closed_terminal_does_not_end_what_ignores_it(emulator, tmp_path):
    """With SIGHUP ignored, bars and messages on a closed terminal do not fail: all is saved, and the status is 0."""
    write_batch(tmp_path, emulator)
    emulator.faults.rate(1, Fault.slow(0.5, "after"), endpoints=["create_by_button"])
    arguments = (*FAN_OUT, "--download", "pictures")
    first = [IGNORE.format(int(signal.SIGHUP))]
    terminal = on_terminal(*arguments, cwd=tmp_path, environment=emulator.environment(), first=first)
    async with terminal as (process, close):
        await emulator.ledger.until(lambda ledger: ledger.accepted == 4)
        close()
        assert await process.wait() == 0
    assert [len(line["files"]) for line in read_lines(tmp_path / "out.jsonl")] == [5] * 4


@pytest.mark.parametrize("command", ["press", "prompt"])
async def test_a_closed_terminal_leaves_the_ids_in_a_file(slow, tmp_path, command):
    """`akool press ... 2> messages` prints the ids that it paid for, although stdout is a closed terminal."""
    arguments = ("press", slow.add_image(), "V1", "V2") if command == "press" else ("prompt", "a fox")
    with (tmp_path / "messages").open("wb") as messages:
        terminal = on_terminal(*arguments, "-q", cwd=tmp_path, environment=slow.environment(), stderr=messages)
        async with terminal as (process, close):
            await slow.ledger.until(lambda ledger: ledger.accepted == len(arguments[1:]) - (command == "press"))
            close()
            assert await process.wait() == 130
    printed = (tmp_path / "messages").read_text()
    assert all(new_id in printed for new_id in paid_ids(slow))


@pytest.mark.parametrize("stop", STOPS)
async def test_an_interrupted_press_names_completed_presses_too(tmp_path, stop):
    """If one button is completed and one is still running, both ids are printed, also with -q."""
    async with Emulator(speed=200) as emulator:
        emulator.faults.script("create_by_button", None, Fault.stuck())
        arguments = ("press", emulator.add_image(), "V1", "V2", "--download", "pictures", "-q")
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        await look_until(lambda: len(list(tmp_path.glob("pictures/*-5.jpg"))) == 1)
        process.send_signal(stop)
        _, errors = await process.communicate()
        assert process.returncode == 130
        assert all(new_id in errors.decode() for new_id in paid_ids(emulator))


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("options", [(), ("--json",), ("-q",), ("--json", "-q")], ids=" ".join)
async def test_an_interrupted_press_writes_its_ids_to_stdout(tmp_path, stop, options):
    """In a file, stdout has the completed press, the running press and the press whose reply was lost."""
    async with Emulator(speed=200) as emulator:
        emulator.faults.script("create_by_button", None, Fault.stuck(), Fault.reset("after"))
        image_id = emulator.add_image()
        arguments = ("press", image_id, "V1", "V2", "V3", "--download", "pictures", *options)
        with (tmp_path / "out").open("wb") as out:
            process = await start(*arguments, cwd=tmp_path, environment=emulator.environment(), stdout=out)
            await look_until(
                lambda: len(list(tmp_path.glob("pictures/*-5.jpg"))) == 1 and emulator.ledger.accepted == 3
            )
            process.send_signal(stop)
            _, errors = await process.communicate()
        assert process.returncode == 130
        known = {post.new_ids[0] for post in emulator.ledger.posts if "reset" not in (post.fault or "")}
        printed = (tmp_path / "out").read_text()
        assert all(new_id in printed for new_id in known), errors.decode()
        if "--json" in options:
            lines = read_lines(tmp_path / "out")
            assert {line["id"] for line in lines} == known | {None}
            assert any("akool result" in (line["error"] or "") for line in lines)


@pytest.mark.parametrize("stop", STOPS)
@pytest.mark.parametrize("command", ["press", "prompt"])
async def test_an_id_that_comes_after_the_interruption_is_on_stdout(slow, tmp_path, stop, command):
    """The id of a reply that comes after the interruption is in the lines of JSON too."""
    arguments = ("press", slow.add_image(), "V1") if command == "press" else ("prompt", "a fox")
    process = await start(*arguments, "--json", cwd=tmp_path, environment=slow.environment())
    await slow.ledger.until(lambda ledger: ledger.accepted == 1)
    process.send_signal(stop)
    output, errors = await process.communicate()
    assert process.returncode == 130
    assert {json.loads(line)["id"] for line in output.splitlines()} == paid_ids(slow), errors.decode()


async def test_an_interruption_before_anything_is_paid_prints_no_result(tmp_path):
    """Without an id and a lost reply nothing is printed, and the status is 130."""
    async with Emulator(speed=200) as emulator:
        emulator.faults.script("create_by_button", Fault.throttle(4))
        arguments = ("press", emulator.add_image(), "V1", "-q")
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"])
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
        assert (process.returncode, output) == (130, b"")


async def test_no_half_picture_is_left(tmp_path):
    """After a hangup during downloads the folder holds complete pictures only."""
    async with Emulator(speed=200) as emulator:
        write_batch(tmp_path, emulator, "V1")
        emulator.faults.script("pictures", None, None, Fault.stall("after"), Fault.stall("after"), Fault.stall("after"))
        process = await start(*FAN_OUT, "--download", "pictures", cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.requests["pictures"] == 5)
        process.send_signal(signal.SIGHUP)
        await process.communicate()
        assert process.returncode == 130
        names = [path.name for path in (tmp_path / "pictures").iterdir()]
        assert all(name.endswith(".jpg") and not name.startswith(".") for name in names)
        (line,) = read_lines(tmp_path / "out.jsonl")
        assert (line["ok"], line["id"]) == (False, emulator.ledger.posts[0].new_ids[0])


@pytest.mark.parametrize("stop", STOPS)
async def test_a_wait_for_a_result_is_interrupted(tmp_path, stop):
    """`akool result --wait`, which spends nothing, ends with 130 too."""
    async with Emulator(speed=200) as emulator, emulator.session() as akool:
        emulator.faults.script("create_by_button", Fault.stuck())
        operation = await akool.vary(emulator.add_image(), 1)
        read = emulator.ledger.requests["get_image_result"]
        process = await start("result", operation.id, "--wait", cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"] > read)
        process.send_signal(stop)
        await process.communicate()
        assert process.returncode == 130


@pytest.mark.parametrize("stop", STOPS)
async def test_a_signal_ends_a_question_immediately(emulator, tmp_path, stop):
    """One signal ends the demo while it asks whether it may spend, and nothing is spent."""
    process = await start("demo", "--live", cwd=tmp_path, environment=emulator.environment())
    while b"credits" not in await process.stderr.readuntil(b"."):
        pass
    process.send_signal(stop)
    assert await process.wait() in {130, -stop}
    assert emulator.ledger.posts == []


@pytest.mark.parametrize("stop", STOPS)
async def test_the_emulator_ends_with_0(tmp_path, stop):
    """Each of these signals ends it, and it reports what it charged."""
    process = await start("emulator", "--port", "0", cwd=tmp_path)
    await wait_for_line(process.stderr, b"Ctrl-C")
    process.send_signal(stop)
    _, errors = await process.communicate()
    assert process.returncode == 0
    assert b"accepted 0 operations" in errors


async def test_a_worker_hands_over_on_a_hangup(tmp_path):
    """The worker waits for outstanding replies, records their ids, and exits with 0."""
    with Emulator(speed=20) as emulator:
        store = f"sqlite:///{tmp_path}/akool.db"
        jobs = DurableFanOut(emulator.api_key, store, base_url=emulator.base_url)
        async with jobs:
            await jobs.submit([(emulator.add_image(), "V1"), (emulator.add_image(), "V2")])
            emulator.faults.script("create_by_button", *[Fault.slow(1, "after")] * 2)
            process = await start("worker", "--store", store, cwd=tmp_path, environment=emulator.environment())
            draining = asyncio.create_task(process.communicate())
            await emulator.ledger.until(lambda ledger: ledger.accepted == 2)
            process.send_signal(signal.SIGHUP)
            _, errors = await draining
            assert process.returncode == 0, errors
            assert b"stopped: other workers, or the next one, follow the operations that are running" in errors
            assert {job.operation_id async for job in jobs.jobs()} == paid_ids(emulator)
