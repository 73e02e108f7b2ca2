"""`akool fan-out` in real subprocesses: the plan, each press exactly once, and continuing after any end."""

import asyncio
import json
import os
import pty
import re
import signal
from collections import Counter

import pytest

from akool_async import Button
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.emulator import Emulator, Fault
from tests.support.commands import SMALL_FILES, read_lines, read_terminal, run, start, wait_for_line, write_batch
from tests.support.looks import look_until
from tests.support.workers import TimedCounter

KEYS = ["image_id", "button", "ok", "id", "status", "urls", "files", "credits", "error", "code"]


def assert_nothing_lost_or_paid_twice(emulator, output):
    """Assert that AKOOL accepted no press twice, and that the lines have the id and the credits of each."""
    assert max(emulator.ledger.presses_accepted.values(), default=0) <= 1
    last = {(line["image_id"], line["button"]): line for line in read_lines(output)}
    accepted = set(emulator.ledger.presses_accepted)
    assert {press for press, line in last.items() if line["id"] is not None} == accepted
    assert sum(last[press]["credits"] or 0 for press in accepted) == emulator.ledger.charged


async def test_without_yes_nothing_is_spent(emulator, tmp_path):
    """The plan shows presses, prices, total and balance, reads each source image once, and sends no POST."""
    images = [emulator.add_image(), emulator.add_image(buttons=["U1", "V1"])]
    write_batch(tmp_path, images)
    environment = emulator.environment()
    status, plan, errors = await run("fan-out", "presses.csv", cwd=tmp_path, environment=environment)
    assert status == 0, errors
    assert "5 upscales and 5 variations of 2 images" in plan
    assert "credits in total" in plan
    assert "Press with --yes" in plan
    status, plan, _ = await run("fan-out", "presses.csv", "--json", cwd=tmp_path, environment=environment)
    assert status == 0
    printed = json.loads(plan)
    assert (printed["to_press"], printed["credits"], printed["balance"]) == (10, 20, 10_000)
    assert printed["credits_per_press"] == {"upscale": 2, "variation": 2}
    assert [refused["line"] for refused in printed["not_offered"]] == [3] * 6
    assert emulator.ledger.requests["get_image_result"] == 4
    assert emulator.ledger.posts == []


async def test_a_batch_is_pressed_and_pictured(emulator, tmp_path):
    """--yes writes one line per press with ten keys, saves the pictures, and ends with status 0."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id])
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--download", "pictures")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert output == ""
    assert "8 of 8 presses done, 16 credits charged by this run, 9,984 left: out.jsonl" in errors
    lines = read_lines(tmp_path / "out.jsonl")
    assert all(list(line) == KEYS for line in lines)
    assert {line["button"] for line in lines} == set(Button)
    assert all(line["ok"] and line["status"] == 3 and line["credits"] == 2 for line in lines)
    assert all(len(line["files"]) == len(line["urls"]) for line in lines)
    assert len(list((tmp_path / "pictures").iterdir())) == 4 * 5 + 4
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["out.jsonl", "out.jsonl.learned", "pictures", "presses.csv"]


async def test_run_again_it_does_only_what_is_missing(emulator, tmp_path):
    """With a finished output nothing is pressed and no image is read; a removed picture is downloaded again."""
    write_batch(tmp_path, [emulator.add_image()], "U1 V1")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--download", "pictures")
    await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    before = (tmp_path / "out.jsonl").read_bytes()
    asked = emulator.ledger.requests["get_image_result"]
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert emulator.ledger.requests["get_image_result"] == asked
    removed = next((tmp_path / "pictures").iterdir())
    removed.unlink()
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert removed.exists()
    assert emulator.ledger.accepted == 2


async def test_without_an_output_the_lines_go_to_stdout(emulator, tmp_path):
    """Results go to stdout, everything else to stderr; the file may come from stdin as JSONL with lists of buttons."""
    batch = json.dumps({"image_id": emulator.add_image(), "button": ["U1", "V*"]}).encode()
    environment = emulator.environment()
    status, output, errors = await run("fan-out", "-", "--yes", cwd=tmp_path, environment=environment, stdin=batch)
    assert status == 0, errors
    lines = [json.loads(line) for line in output.splitlines()]
    assert sorted(line["button"] for line in lines) == ["U1", "V1", "V2", "V3", "V4"]
    assert "[5/5]" in errors


async def test_quiet_is_quiet(emulator, tmp_path):
    """-q leaves stderr empty if nothing is wrong."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    arguments = ("fan-out", "presses.csv", "--yes", "-q", "-o", "out.jsonl")
    assert await run(*arguments, cwd=tmp_path, environment=emulator.environment()) == (0, "", "")


async def test_a_rate_is_kept(tmp_path):
    """With --max-requests-per-second a run of several presses stays below that rate."""
    with Emulator(speed=100) as emulator:
        emulator.ledger.requests = TimedCounter()
        write_batch(tmp_path, [emulator.add_image()], "V*")
        status, _, errors = await run(
            *("fan-out", "presses.csv", "--yes", "--max-requests-per-second", "10", "-o", "out.jsonl"),
            cwd=tmp_path,
            environment=emulator.environment(),
        )
    assert status == 0, errors
    times = emulator.ledger.requests.times
    assert times[-1] - times[0] >= (len(times) - 1) / 10 - 0.1


async def test_bad_lines_are_reported_by_number_and_the_rest_is_pressed(emulator, tmp_path):
    """The plan names each line that cannot be read, with status 2; --yes presses the others, with status 3."""
    image_id = emulator.add_image()
    text = f"image_id,button\n{image_id},U1\n{image_id},X9\n,U2\n{image_id}\n{image_id},u1\n{image_id},V1;V2\n"
    (tmp_path / "presses.csv").write_text(text)
    environment = emulator.environment()
    status, plan, _ = await run("fan-out", "presses.csv", cwd=tmp_path, environment=environment)
    assert status == 2
    assert "line 3: button must be one of U1" in plan
    assert "line 4: image_id missing" in plan
    assert "line 5: button missing" in plan
    assert emulator.ledger.posts == []
    status, _, errors = await run("fan-out", "presses.csv", "--yes", "-o", "o", cwd=tmp_path, environment=environment)
    assert status == 3
    assert "line 3" in errors
    assert set(emulator.ledger.presses_accepted) == {(image_id, "U1"), (image_id, "V1"), (image_id, "V2")}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no press"),
        (b"id,press\na,U1\n", "no column image_id and no button"),
        (b"image_id,button\n", "no press"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
async def test_a_file_that_is_no_batch_is_a_usage_error(emulator, tmp_path, content, message):
    """A file that is no batch at all ends with status 2 and the remedy, before any request to AKOOL."""
    (tmp_path / "presses.csv").write_bytes(content)
    arguments = ("fan-out", "presses.csv", "--yes")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert (status, output) == (2, "")
    assert message in errors
    assert not emulator.ledger.requests


async def test_used_and_unknown_images_are_not_pressed(emulator, tmp_path):
    """A used button and an image that AKOOL does not know are in the plan, and get one line each over two runs."""
    image_id = emulator.add_image()
    environment = emulator.environment()
    write_batch(tmp_path, [image_id], "U1")
    await run("fan-out", "presses.csv", "--yes", "-o", "first.jsonl", cwd=tmp_path, environment=environment)
    write_batch(tmp_path, [image_id, "0" * 24], "U1 V1")
    for _ in range(2):
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "second.jsonl")
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=environment)
        assert status == 3
        assert "used already" in errors
        lines = read_lines(tmp_path / "second.jsonl")
        codes = {(line["image_id"], line["button"]): line["code"] for line in lines}
        assert len(lines) == 4
        assert codes == {(image_id, "U1"): 1011, (image_id, "V1"): None, ("0" * 24, "U1"): 1008, ("0" * 24, "V1"): 1008}
    assert emulator.ledger.accepted == 2


async def test_killed_and_run_again_it_loses_nothing(tmp_path):
    """After several SIGKILLs the same command completes: each press accepted once, each id and credit known."""
    async with Emulator(speed=40) as emulator:
        images = [emulator.add_image() for _ in range(5)]
        write_batch(tmp_path, images)
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--max-concurrent-upscales", 3)
        for accepted in (1, 9, 21):
            process = await start(*arguments, cwd=tmp_path, environment=emulator.environment(), stdin=None)
            drains = [asyncio.create_task(stream.read()) for stream in (process.stdout, process.stderr)]
            await emulator.ledger.until(lambda ledger: ledger.accepted >= accepted)  # noqa: B023 - awaited here
            process.kill()
            await asyncio.gather(process.wait(), *drains)
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status in {0, 3}, errors  # 3: a kill between a POST and its reply lost the id, and the button is used
        lines = {(line["image_id"], line["button"]): line for line in read_lines(tmp_path / "out.jsonl")}
        assert len(lines) == 40
        assert max(emulator.ledger.presses_accepted.values()) == 1
        without_id = [line for line in lines.values() if line["id"] is None]
        assert len(without_id) <= 3 * 32  # at most the POSTs that waited for a reply at each kill
        credits_written = sum(line["credits"] or 0 for line in lines.values())
        assert credits_written + 2 * len(without_id) == emulator.ledger.charged == 80
        assert not (tmp_path / "out.jsonl.accepted").exists()


async def test_a_kill_while_jobs_run_loses_no_id(tmp_path):
    """After a kill while no reply is outstanding, the next run fetches all operations and pays nothing."""
    async with Emulator(speed=2) as emulator:
        write_batch(tmp_path, [emulator.add_image()], "U*")
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--max-concurrent-upscales", 4, "-q")
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        ids_file = tmp_path / "out.jsonl.accepted"
        await look_until(lambda: ids_file.exists() and ids_file.read_text().count("\n") == 4)
        process.kill()
        await process.communicate()
        emulator.advance(600)
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status == 0, errors
        ids = {line["id"] for line in read_lines(tmp_path / "out.jsonl")}
        assert ids == {post.new_ids[0] for post in emulator.ledger.posts}
        assert emulator.ledger.accepted == 4


async def test_a_second_interruption_still_writes_the_ids(tmp_path):
    """Two Ctrl-C do not wait for a POST that hangs, and every id that came still gets a line."""
    async with Emulator(speed=2) as emulator:
        write_batch(tmp_path, [emulator.add_image(), emulator.add_image()], "V*")
        emulator.faults.script("create_by_button", None, None, None, Fault.stall("after"))
        process = await start("fan-out", "presses.csv", "--yes", cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 4)
        process.send_signal(signal.SIGINT)
        await wait_for_line(process.stderr, b"no new presses")
        process.send_signal(signal.SIGINT)
        output, errors = await process.communicate()
        assert process.returncode == 130
        assert b"Traceback" not in errors
        printed = {line["id"] for line in map(json.loads, output.splitlines())}
        assert len(printed - {None}) >= 3


async def test_results_go_to_stdout_while_bars_are_shown(tmp_path):
    """With the bars on a terminal, stdout still has the lines and nothing else."""
    async with Emulator(speed=50) as emulator:
        write_batch(tmp_path, [emulator.add_image()], "V*")
        ours, theirs = pty.openpty()
        environment = emulator.environment() | {"TERM": "xterm-256color", "COLUMNS": "80"}
        process = await start("fan-out", "presses.csv", "--yes", cwd=tmp_path, environment=environment, stderr=theirs)
        os.close(theirs)
        shown, output = await asyncio.gather(asyncio.to_thread(read_terminal, ours), process.stdout.read())
        assert await process.wait() == 0
    assert len([json.loads(line) for line in output.splitlines()]) == 4
    assert "left" in shown


async def test_a_line_keeps_its_facts_when_akool_forgets(emulator, tmp_path):
    """A missing picture that can no longer be downloaded is reported; the line keeps its id, URLs and credits."""
    write_batch(tmp_path, [emulator.add_image()], "U1")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--download", "pictures")
    await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    next((tmp_path / "pictures").iterdir()).unlink()
    emulator.advance(8 * 24 * 3600)
    status, _, _ = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 3
    first, last = read_lines(tmp_path / "out.jsonl")
    assert (last["ok"], last["code"]) == (False, 1008)
    assert all(first[name] == last[name] for name in ("id", "status", "urls", "files", "credits"))
    assert emulator.ledger.accepted == 1


async def test_a_known_price_counts_before_the_first_press(emulator, tmp_path):
    """The budget uses the last price of a press: nothing is pressed that could exceed it."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id], "V1 V2")
    earlier = OutcomeLine(image_id=image_id, button="V1", ok=True, id="0" * 24, status=3, credits=8)
    (tmp_path / "out.jsonl").write_text(earlier.to_json() + "\n")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--max-credits", 5)
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0
    assert "; 1 over budget" in errors
    assert emulator.ledger.posts == []


async def test_ids_that_are_in_the_way_are_not_deleted(emulator, tmp_path):
    """A file that is not ours, under the name of the file of ids, is refused and not changed."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    (tmp_path / "out.jsonl.accepted").write_text("mine\n")
    (tmp_path / "out.jsonl").write_text("")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert "in the way" in errors
    assert (tmp_path / "out.jsonl.accepted").read_text() == "mine\n"
    assert emulator.ledger.posts == []


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted_it_writes_the_ids_in_flight(tmp_path, stop):
    """Ctrl-C and SIGTERM end with 130, no new presses, and a line with each running id; the next run does the rest."""
    async with Emulator(speed=32) as emulator:
        write_batch(tmp_path, [emulator.add_image() for _ in range(3)])
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--max-concurrent-upscales", 2)
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        drain = asyncio.create_task(process.stderr.read())
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 4)
        process.send_signal(stop)
        assert await process.wait() == 130
        assert b"no new presses" in await drain
        assert emulator.ledger.accepted < 24
        assert_nothing_lost_or_paid_twice(emulator, tmp_path / "out.jsonl")
        assert any(line["id"] and not line["ok"] for line in read_lines(tmp_path / "out.jsonl"))
        assert not (tmp_path / "out.jsonl.accepted").exists()
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status == 0, errors
        assert emulator.ledger.accepted == 24
        assert_nothing_lost_or_paid_twice(emulator, tmp_path / "out.jsonl")


@pytest.mark.parametrize("options", [(), ("--store", "sqlite:///akool.db"), ("-o", "out.jsonl")], ids=" ".join)
async def test_a_line_that_is_cut_short_names_what_fetches_it(tmp_path, options):
    """With an output or a store that is the same command; if only stdout has the id, it is `akool result`."""
    async with Emulator(speed=20) as emulator:
        write_batch(tmp_path, [emulator.add_image()], "V*")
        arguments = ("fan-out", "presses.csv", "--yes", *options)
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 4)
        process.send_signal(signal.SIGTERM)
        output, errors = await process.communicate()
        assert process.returncode == 130
        assert ("the ids of this run are only printed on stdout" in errors.decode()) is not bool(options)
        if not options:
            lines = [json.loads(line) for line in output.splitlines()]
            assert [f"akool result {line['id']} --wait" in line["error"] for line in lines] == [True] * 4
        elif "-o" in options:
            lines = read_lines(tmp_path / "out.jsonl")
            assert ["run the same command again to fetch it" in line["error"] for line in lines] == [True] * 4


async def test_a_budget_is_never_passed(emulator, tmp_path):
    """--max-credits and --reserve limit the charges; the rest is no failure, and can be made later."""
    write_batch(tmp_path, [emulator.add_image() for _ in range(4)])
    environment = emulator.environment()
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
    status, _, _ = await run(*arguments, "--max-credits", 11, cwd=tmp_path, environment=environment)
    assert status == 0
    assert emulator.ledger.charged == 10
    status, _, errors = await run(*arguments, "--reserve", 9_970, cwd=tmp_path, environment=environment)
    assert status == 0
    assert emulator.credits == 9_970
    assert "over budget, since 20 credits may be spent (--reserve 9970)" in errors
    status, _, errors = await run(
        *arguments, "--reserve", 9_970, "--max-credits", 5, cwd=tmp_path, environment=environment
    )
    assert status == 0
    assert "over budget, since 0 credits may be spent (--reserve 9970)" in errors
    assert "may be spent 0 --reserve 9970; what would exceed it is not made" in " ".join(errors.split())
    assert emulator.credits == 9_970
    status, _, _ = await run(*arguments, cwd=tmp_path, environment=environment)
    assert status == 0
    assert emulator.ledger.charged == 64


async def test_a_time_out_is_no_failure(tmp_path):
    """--timeout ends the wait with status 4 and all ids recorded; without it, the same command fetches them."""
    async with Emulator(speed=16) as emulator:
        write_batch(tmp_path, [emulator.add_image()], "V*")
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
        environment = emulator.environment()
        status, _, _ = await run(*arguments, "--timeout", 0.05, cwd=tmp_path, environment=environment)
        assert status == 4
        assert_nothing_lost_or_paid_twice(emulator, tmp_path / "out.jsonl")
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=environment)
        assert status == 0, errors
        assert "to fetch" in errors
        assert emulator.ledger.accepted == 4


async def test_a_failed_job_is_not_pressed_again(emulator, tmp_path):
    """A job that fails at AKOOL has a line with the reason; the exit status is 3, and a second run does not press."""
    write_batch(tmp_path, [emulator.add_image()], "V1 V2")
    emulator.faults.script("create_by_button", Fault.fails("no faces <b>found</b>"))
    for _ in range(2):
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
        status, _, _ = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status == 3
    lines = read_lines(tmp_path / "out.jsonl")
    assert Counter(line["status"] for line in lines) == {3: 1, 4: 1}
    assert any("no faces" in (line["error"] or "") for line in lines)
    assert emulator.ledger.accepted == 2


async def test_an_unknown_outcome_is_status_5(emulator, tmp_path):
    """A lost reply has a line that says so; the button is not pressed again, and the plan does not call it used."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
    for _ in range(2):
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status == 5
        assert "used already" not in errors
        (line,) = read_lines(tmp_path / "out.jsonl")
        assert (line["ok"], line["id"], line["charged"]) == (False, None, True)
    assert emulator.ledger.charged == 2


async def test_a_bad_key_costs_one_read(emulator, tmp_path):
    """A wrong key is reported with its remedy before anything is pressed, status 1, without the key."""
    write_batch(tmp_path, [emulator.add_image()])
    environment = emulator.environment() | {"AKOOL_API_KEY": "sk-wrong-and-secret"}
    status, _, errors = await run("fan-out", "presses.csv", "--yes", cwd=tmp_path, environment=environment)
    assert status == 1
    assert "--key-file" in errors
    assert "sk-wrong" not in errors
    assert "Traceback" not in errors
    assert emulator.ledger.posts == []


async def test_a_full_disk_stops_the_spending(emulator, tmp_path):
    """Once no line can be written, no press follows, and the unwritten lines are printed."""
    write_batch(tmp_path, [emulator.add_image() for _ in range(10)])
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--quiet")
    full = [SMALL_FILES.format(2048)]
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment(), first=full)
    assert status == 1
    assert "out.jsonl" in errors
    assert "No space left" in errors or "File too large" in errors
    assert emulator.ledger.accepted < 80
    printed = {
        (line["image_id"], line["button"]): line["id"]
        for line in map(json.loads, (line for line in errors.splitlines() if line.startswith("{")))
    }
    whole = [line for line in (tmp_path / "out.jsonl").read_text().splitlines() if line.endswith("}")]
    written = {(line["image_id"], line["button"]): line["id"] for line in map(json.loads, whole)}
    assert emulator.ledger.presses_accepted.keys() <= printed.keys() | written.keys()
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert max(emulator.ledger.presses_accepted.values()) == 1
    assert emulator.ledger.accepted == 80


async def test_a_reader_that_leaves_stops_the_spending(emulator, tmp_path):
    """`akool fan-out ... | head -1` ends with status 1 and a message, and stops pressing."""
    write_batch(tmp_path, [emulator.add_image() for _ in range(20)])
    reading, writing = os.pipe()
    arguments = ("fan-out", "presses.csv", "--yes")
    process = await start(*arguments, cwd=tmp_path, environment=emulator.environment(), stdout=writing)
    os.close(writing)
    first = await asyncio.to_thread(os.read, reading, 1)
    os.close(reading)
    errors = (await process.stderr.read()).decode()
    assert await process.wait() == 1
    assert first == b"{"
    assert "broken pipe" in errors
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    assert emulator.ledger.accepted < 160


async def test_two_runs_cannot_write_to_one_output(tmp_path):
    """A second run with the same output is turned away before it spends anything."""
    async with Emulator(speed=8) as emulator:
        write_batch(tmp_path, [emulator.add_image()])
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
        first = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted)
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status == 1
        assert "another run" in errors
        first.kill()
        await first.communicate()


@pytest.mark.parametrize("content", ["some notes\nof mine\n", '{"a": 1}\n', '{"a": 1}'])
async def test_a_file_of_somebody_else_is_no_output(emulator, tmp_path, content):
    """An output that is something else is left as it is, and nothing is spent."""
    write_batch(tmp_path, [emulator.add_image()])
    (tmp_path / "mine").write_text(content)
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "mine")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert "not the output of an earlier run" in errors
    assert (tmp_path / "mine").read_text() == content
    assert emulator.ledger.posts == []


async def test_a_line_that_was_cut_is_skipped(emulator, tmp_path):
    """The incomplete lines of a killed run do not damage the lines after them."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    (tmp_path / "out.jsonl").write_text('{"image_id": "6')
    (tmp_path / "out.jsonl.accepted").write_text('{"image_id": "6')
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert json.loads((tmp_path / "out.jsonl").read_text().splitlines()[1])["ok"]


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "missing/out.jsonl"),
        ("-o", "/dev/stdout"),
        ("-o", "/dev/full"),
        ("-o", "out.jsonl", "--gallery", "/dev/zero"),
        ("-o", "out.jsonl", "--download", "presses.csv/pictures"),
        ("-o", "out.jsonl", "--gallery", "presses.csv/gallery.html"),
    ],
    ids=" ".join,
)
async def test_without_a_place_for_results_nothing_is_pressed(emulator, tmp_path, options):
    """An output, a folder or a page that cannot be made is reported before anything is spent."""
    write_batch(tmp_path, [emulator.add_image()])
    arguments = ("fan-out", "presses.csv", "--yes", *options)
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert (status, output) == (1, "")
    assert "Traceback" not in errors
    assert emulator.ledger.posts == []


@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1"}])
async def test_a_terminal_gets_bars(tmp_path, colour):
    """On a terminal the bars show queued, running, done, failed and credits; NO_COLOR removes the colours."""
    async with Emulator(speed=48) as emulator:
        write_batch(tmp_path, [emulator.add_image()])
        ours, theirs = pty.openpty()
        environment = emulator.environment() | {"TERM": "xterm-256color", "COLUMNS": "100"} | colour
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
        process = await start(*arguments, cwd=tmp_path, environment=environment, stderr=theirs)
        os.close(theirs)
        shown = await asyncio.to_thread(read_terminal, ours)
        assert await process.wait() == 0
    for word in ("queued", "running", "done", "failed", "credits"):
        assert word in shown
    assert ("\x1b[32m" in shown) is not bool(colour)


async def test_the_bar_counts_what_is_pressed(emulator, tmp_path):
    """A press over budget is counted as such, is no failure, and does not fill the bar."""
    write_batch(tmp_path, [emulator.add_image()], "V*")
    ours, theirs = pty.openpty()
    environment = emulator.environment() | {"TERM": "xterm-256color", "COLUMNS": "140"}
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--max-credits", 2)
    process = await start(*arguments, cwd=tmp_path, environment=environment, stderr=theirs)
    os.close(theirs)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", await asyncio.to_thread(read_terminal, ours))
    assert await process.wait() == 0
    assert "1/1 0 queued · 0 running · 1 done · 0 failed · 3 over budget · 2 credits" in shown


async def test_pictures_that_cannot_be_downloaded_are_reported_and_lose_no_id(emulator, tmp_path):
    """If the host refuses the pictures, the line has the id of the charged press, and the reason."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    emulator.reported_prices["variation"] = 0
    emulator.faults.rate(1.0, Fault.status(403), endpoints=["pictures"])
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--download", "pictures")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    (line,) = read_lines(tmp_path / "out.jsonl")
    assert status == 3, errors
    assert line["ok"] is False
    assert "403" in line["error"]
    assert [line["id"]] == list(emulator.ledger.posts[0].new_ids)
    assert "2 credits of that are an estimate" in errors


async def test_a_balance_that_does_not_suffice_is_reported_before_anything_is_pressed(tmp_path):
    """The plan says how many credits are missing, and that presses beyond the balance are not made."""
    async with Emulator(credits=3) as emulator:
        write_batch(tmp_path, [emulator.add_image()], "U*")
        _, plan, _ = await run("fan-out", "presses.csv", cwd=tmp_path, environment=emulator.environment())
        assert emulator.ledger.posts == []
    assert "missing" in plan
    assert "credits; what the balance cannot pay for is not made" in " ".join(plan.split())
