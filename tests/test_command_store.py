"""The output of `akool jobs`, `resolve`, `worker` and `fan-out --store`: times, next commands, JSON, usage."""

import asyncio
import json
import logging
import re
import shlex
import signal
from datetime import UTC, datetime, timedelta

import pytest

from akool_async import Prompt
from akool_async.cli import ExitStatus
from akool_async.cli.account import WorkerStoreOptions
from akool_async.cli.output.json_log import JsonFormatter
from akool_async.emulator import Fault
from tests.support import commands
from tests.support.looks import look_until
from tests.support.terminals import run_on_terminal, without_escapes
from tests.support.workers import Line, an_unknown_job, open_jobs

UTC_SECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
UTC_MILLISECONDS = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
TOKYO = {"TZ": "Asia/Tokyo"}
COUNTS = {"waiting", "running", "done", "failed", "unknown", "credits_charged", "credits_lost", "credits_in_doubt"}


@pytest.fixture
def kind_of_store():
    """Use one kind of store, since the tests of this file do not depend on it."""
    return "sqlite"


@pytest.fixture
def akool(slow, store, tmp_path):
    """Run a command with the store."""

    async def run(name, *arguments, **environment):
        environment = slow.environment() | environment
        return await commands.run(name, *arguments, "--store", store, cwd=tmp_path, environment=environment)

    return run


@pytest.fixture
def paste(slow, tmp_path):
    """Run the last printed command that begins with these words, unchanged, with further arguments."""

    async def run(errors, beginning, *arguments):
        *_, command = [line for line in errors.splitlines() if line.startswith(beginning)]
        words = shlex.split(command)[1:]
        return await commands.run(*words, *arguments, cwd=tmp_path, environment=slow.environment())

    return run


def read(output):
    return [json.loads(line) for line in output.splitlines()]


# --- times ---


async def test_jobs_show_when_they_were_submitted_and_ended(slow, store, akool, tmp_path):
    """Times are in UTC and whole seconds in any time zone, correct, and the same in the table and in JSON."""
    before = datetime.now(UTC).replace(microsecond=0)
    image_id = slow.add_image()
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(image_id, "V1")])
        await jobs.run()
        await jobs.submit([(image_id, "V2")])
    after = datetime.now(UTC)
    _, output, _ = await akool("jobs", "done", "open", "--json", **TOKYO)
    done, waiting = read(output)
    assert waiting["ended_at"] is None
    times = [done["submitted_at"], done["ended_at"], waiting["submitted_at"]]
    assert all(re.fullmatch(UTC_SECONDS, time) for time in times)
    submitted, ended, submitted_later = map(datetime.fromisoformat, times)
    assert before <= submitted <= ended <= submitted_later <= after
    _, output, _ = await akool("jobs", "done", "open", **TOKYO)
    _, _, _, first, second = output.splitlines()
    assert first.split() == [image_id, "V1", "done", *times[:2], done["id"]]
    assert second.split() == [image_id, "V2", "open", times[2]]


@pytest.mark.parametrize("columns", [60, 80, 180])
async def test_the_table_of_jobs_fits_and_cuts_no_id(slow, store, tmp_path, columns):
    """On a wide terminal the times are in columns; on every terminal ids and times are complete."""
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(slow.add_image(), button) for button in ("V1", "U1")])
        await jobs.run()
        ended = [job async for job in jobs.jobs("done")]
    environment = slow.environment() | {"NO_COLOR": "1"}
    arguments = ("jobs", "done", "--store", store)
    _, shown = await run_on_terminal(*arguments, cwd=tmp_path, environment=environment, columns=columns)
    lines = without_escapes(shown).splitlines()
    words = " ".join(lines).split()
    for job in ended:
        assert {job.press.image_id, job.operation_id} <= set(words)
    assert sum(re.fullmatch(UTC_SECONDS, word) is not None for word in words) == 4
    assert max(map(len, lines[1:])) <= columns
    if columns == 180:
        (head,) = [line for line in lines if line.startswith("image ")]
        for line in lines[-2:]:
            for name in ("submitted", "ended"):
                assert re.match(UTC_SECONDS, line[head.index(name) :])


# --- the next command ---


async def test_open_presses_are_carried_out_by_the_printed_command(slow, store, akool, paste):
    """`akool jobs` prints the command of a worker if it lists open presses, and that command works."""
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(slow.add_image(), button) for button in ("V1", "V2")])
    status, _, errors = await akool("jobs")
    assert status == ExitStatus.DONE
    assert "2 prompts and presses are open; if no worker is running, start one:" in errors.splitlines()
    _, _, without_open = await akool("jobs", "done")
    assert "akool worker" not in without_open
    status, _, errors = await paste(errors, "akool worker", "--until-empty", "--quiet")
    assert (status, errors) == (ExitStatus.DONE, "")
    assert slow.ledger.accepted == 2
    _, _, errors = await akool("jobs")
    assert errors == ""


async def test_each_printed_command_leads_to_the_next(slow, store, akool, paste):
    """A worker that ends with an unknown press leads to the list, then to `resolve`, then to a worker that ends it."""
    image_id = slow.add_image()
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(image_id, "U1")])
    slow.faults.script("create_by_button", Fault.reset("after"))
    status, _, errors = await akool("worker", "--until-empty", "--lost-reply-timeout", "0.1")
    assert status == ExitStatus.OUTCOME_UNKNOWN
    status, output, errors = await paste(errors, "akool jobs unknown")
    assert status == ExitStatus.OUTCOME_UNKNOWN
    assert image_id in output
    assert "akool jobs unknown" not in errors
    status, _, refused = await paste(errors, f"akool resolve {image_id} U1")
    assert (status, "put the id of the new image in place of ID" in refused) == (ExitStatus.USAGE, True)
    (new_id,) = slow.ledger.posts[0].new_ids
    status, _, errors = await paste(errors.replace("--id ID", f"--id {new_id}"), f"akool resolve {image_id} U1")
    assert status == ExitStatus.DONE
    assert f"U1 of {image_id} is open again" in errors
    status, _, errors = await paste(errors, "akool worker --until-empty")
    assert status == ExitStatus.DONE
    assert errors.splitlines()[-1].endswith(" 0 waiting, 0 running, 1 done, 0 failed, 0 unknown")


async def test_an_abandoned_press_needs_no_worker(slow, store, akool):
    """`akool resolve --abandon` says that the press counts as failed, and `akool jobs failed` lists it."""
    async with open_jobs(slow, store) as jobs:
        press, _ = await an_unknown_job(slow, jobs)
    status, _, errors = await akool("resolve", *press_words(press), "--abandon")
    assert (status, errors) == (ExitStatus.DONE, f"U1 of {press.image_id} is abandoned and counts as failed\n")
    status, output, errors = await akool("jobs", "failed")
    assert (status, press.image_id in output, errors) == (ExitStatus.SOME_FAILED, True, "")


def press_words(press):
    return press.image_id, press.button


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_a_stopped_run_prints_the_worker_that_goes_on(slow, store, paste, tmp_path, stop):
    """The printed command has the settings of the run, so that the cap stays the same, and completes every press."""
    image_id = slow.add_image()
    commands.write_batch(tmp_path, [image_id])
    process = await commands.start(
        *("fan-out", "presses.csv", "--yes", "--store", store, "--max-concurrent-upscales", "2"),
        cwd=tmp_path,
        environment=slow.environment(),
    )
    await slow.ledger.until(lambda ledger: ledger.accepted >= 3)
    process.send_signal(stop)
    _, errors = await process.communicate()
    assert process.returncode == ExitStatus.INTERRUPTED
    status, _, errors = await paste(errors.decode(), "akool worker --until-empty")
    assert status == ExitStatus.DONE, errors
    assert (slow.ledger.accepted, slow.ledger.peak_upscales) == (8, 2)


async def test_a_stopped_worker_prints_what_is_left(slow, store, tmp_path):
    """A stopped worker says who continues its work, counts the presses, and prints the next commands."""
    async with open_jobs(slow, store) as jobs:
        await an_unknown_job(slow, jobs)
        await jobs.submit([(slow.add_image(), "U1")])
    slow.faults.script("create_by_button", Fault.stuck())
    process = await commands.start(
        "worker", "--store", store, "--lost-reply-timeout", "5", cwd=tmp_path, environment=slow.environment()
    )
    await slow.ledger.until(lambda ledger: ledger.accepted == 2)
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert process.returncode == ExitStatus.DONE
    *_, stopped, counts, is_open, go_on, unknown, listing, _, resolve = errors.decode().splitlines()
    assert stopped.endswith("stopped: other workers, or the next one, follow the operations that are running at AKOOL")
    assert counts.endswith(" 0 done, 0 failed, 1 unknown")
    assert is_open == "1 prompt or press is open; if no worker is running, start one:"
    assert go_on == f"akool worker --store {store} --lost-reply-timeout 5.0"
    assert unknown.startswith("1 press was charged, and the id of the new image is lost; ")
    assert listing == f"akool jobs unknown --store {store}"
    assert resolve.startswith("akool resolve ")


async def test_prompts_are_not_counted_as_presses_and_get_other_advice(slow, store, akool):
    """A prompt of unknown outcome may be sent again with --retry; a charged press may not, since its button is used."""
    async with open_jobs(slow, store) as jobs:
        press, _ = await an_unknown_job(slow, jobs)
        slow.faults.script("create_by_prompt", Fault.reset("after"))
        await jobs.submit([Prompt("a fox", key="fox")])
        await jobs.run()
    for command in (("jobs",), ("jobs", "failed"), ("worker", "--until-empty", "--quiet")):
        status, _, errors = await akool(*command)
        assert status == ExitStatus.OUTCOME_UNKNOWN
        lines = errors.splitlines()
        assert lines[0].startswith("the outcome of 1 prompt is unknown: credits may have been charged, and the id")
        assert lines[1].startswith("1 press was charged, and the id of the new image is lost")
        (of_prompt, of_press) = [n for n, line in enumerate(lines) if line.startswith("akool resolve ")]
        assert lines[of_prompt].startswith("akool resolve fox prompt --id ID ")
        assert "--retry sends a prompt again" in lines[of_prompt - 1]
        assert lines[of_press].startswith(f"akool resolve {press.image_id} {press.button} --id ID ")
        assert "put --abandon in place of --id ID" in lines[of_press - 1]
        assert "--retry" not in lines[of_press - 1]


@pytest.mark.parametrize(
    ("url", "is_printed"), [("https://me.example/akool", True), ("https://me.example/?token=hunter2", False)]
)
def test_a_printed_worker_has_its_settings_and_no_secret(url, is_printed):
    """The command has all settings that differ from the defaults, but no webhook URL that may hold a secret."""
    options = WorkerStoreOptions(
        store="sqlite:///a.db",
        account=None,
        key_file=None,
        max_concurrent_upscales=8,
        max_requests_per_second=2.5,
        lost_reply_timeout=90,
        webhook_url=url,
    )
    assert options.worker_command() == (
        "akool worker --store sqlite:///a.db --max-concurrent-upscales 8 --max-requests-per-second 2.5 "
        "--lost-reply-timeout 90" + (f" --webhook-url {url}" if is_printed else "")
    )


# --- JSON on stderr ---


async def test_a_worker_logs_json(slow, postgresql, tmp_path):
    """Each line is an object with the time in UTC; progress has counts, and warnings name the library's logger."""
    async with Line(postgresql()) as line:
        async with open_jobs(slow, line.store) as jobs:
            await jobs.submit([(slow.add_image(), button) for button in ("V1", "V2")])
        line.cut()
        process = await commands.start(
            *("worker", "--until-empty", "--store", line.store, "--log-format", "json"),
            cwd=tmp_path,
            environment=slow.environment() | TOKYO,
        )
        await look_until(lambda: line.refused >= 2)
        line.mend()
        _, errors = await process.communicate()
    assert process.returncode == ExitStatus.DONE
    lines = read(errors.decode())
    for each in lines:
        assert {"time", "level", "logger", "message"} <= each.keys()
        assert re.fullmatch(UTC_MILLISECONDS, each["time"])
        assert abs(datetime.now(UTC) - datetime.fromisoformat(each["time"])) < timedelta(hours=1)
    assert (lines[0]["logger"], lines[0]["level"]) == ("akool_async", "warning")
    assert "cannot be used" in lines[0]["message"]
    assert (lines[-1]["logger"], lines[-1]["level"]) == ("akool_async.cli", "info")
    assert lines[-1]["message"] == "0 waiting, 0 running, 2 done, 0 failed, 0 unknown"
    assert lines[-1].keys() >= COUNTS
    assert (lines[-1]["done"], lines[-1]["credits_charged"]) == (2, 4)


async def test_an_unknown_press_is_a_warning_with_a_command(slow, store, akool):
    """The next commands are fields of the warnings about the unknown press, ready to be run."""
    async with open_jobs(slow, store) as jobs:
        press, _ = await an_unknown_job(slow, jobs)
    status, output, errors = await akool("worker", "--until-empty", "--quiet", "--log-format=json")
    assert (status, output) == (ExitStatus.OUTCOME_UNKNOWN, "")
    found = [(line["level"], line["command"]) for line in read(errors)]
    assert found == [
        ("warning", f"akool jobs unknown --store {store}"),
        ("warning", f"akool resolve {press.image_id} U1 --id ID --store {store}"),
    ]


async def test_errors_that_end_a_worker_are_json(slow, store, akool):
    """A wrong key is an object of level error, after a warning in JSON; in text its line begins with "akool:"."""
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(slow.add_image(), "V1")])
    wrong = {"AKOOL_API_KEY": "mistyped"}
    status, _, errors = await akool("worker", "--log-format", "json", "--account", "studio", **wrong)
    assert status == ExitStatus.ERROR
    empty, *_, error = read(errors)
    assert (empty["level"], "nothing is recorded for this account" in empty["message"]) == ("warning", True)
    assert (error["level"], "1101" in error["message"]) == ("error", True)
    assert not error["message"].startswith("akool:")
    _, _, errors = await akool("worker", "--log-format", "text", **wrong)
    assert errors.splitlines()[-1].startswith("akool: ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--log-format", "json"), "Missing option '--store'"),
        (("--store", "akool.db", "--log-format", "json"), "store must be a URL such as"),
        (("--lost-reply-timeout", "-1", "--log-format", "json", "--store", "sqlite:///a.db"), "--lost-reply-timeout"),
    ],
)
async def test_wrong_usage_is_json(slow, tmp_path, arguments, reason):
    """One object names what is wrong, whatever the position of --log-format among the options."""
    status, _, errors = await commands.run("worker", *arguments, cwd=tmp_path, environment=slow.environment())
    (line,) = read(errors)
    assert (status, line["level"], reason in line["message"]) == (ExitStatus.USAGE, "error", True)


async def test_an_unexpected_error_is_json(slow, store, tmp_path):
    """The traceback of a bug is one object too."""
    process = await commands.start(
        *("worker", "--store", store, "--log-format", "json", "--until-empty"),
        cwd=tmp_path,
        environment=slow.environment(),
        first=["from akool_async.durable import DurableFanOut; DurableFanOut.run = lambda *_, **__: {}['bug']"],
    )
    _, errors = await process.communicate()
    assert process.returncode == ExitStatus.ERROR
    line = read(errors.decode())[-1]
    assert (line["level"], line["message"]) == ("error", "unexpected error: KeyError: 'bug'")
    assert line["exception"].splitlines()[0] == "Traceback (most recent call last):"


async def test_the_log_is_json_in_every_encoding(slow, tmp_path):
    """A file name that stderr's encoding lacks is escaped as JSON."""
    status, _, errors = await commands.run(
        *("worker", "--until-empty", "--log-format", "json", "--store", "sqlite:///\U0001f30a é.db"),
        cwd=tmp_path,
        environment=slow.environment() | {"PYTHONIOENCODING": "ascii"},
    )
    assert status == ExitStatus.DONE
    made, *_ = read(errors)
    assert made["message"].endswith("\U0001f30a é.db")


def test_a_record_quotes_nothing_harmful():
    """Text that a library quotes cannot move the cursor, and a traceback keeps its lines."""
    error = ValueError("\x1b[2J")
    record = logging.makeLogRecord(
        {"msg": "lost: %s", "args": ("a\x1b]0;PWNED\x07\nb",), "exc_info": (None, error, None)}
    )
    line = json.loads(JsonFormatter().format(record))
    assert line["message"] == "lost: a]0;PWNED b"
    assert line["exception"] == "ValueError: [2J"


async def test_another_log_format_is_wrong_usage(akool):
    """Only text and json are accepted."""
    status, _, errors = await akool("worker", "--log-format", "xml")
    assert (status, "'xml' is not one of 'text', 'json'" in errors) == (ExitStatus.USAGE, True)


# --- the options of fan-out ---


@pytest.mark.parametrize(
    "option", [("--account", "studio"), ("--lost-reply-timeout", "5"), ("--webhook-url", "https://me.example/akool")]
)
async def test_options_of_a_store_require_one(slow, tmp_path, option):
    """Without --store these options of fan-out would have no effect: they are refused, and nothing is spent."""
    commands.write_batch(tmp_path, [slow.add_image()])
    arguments = ("fan-out", "presses.csv", "--yes", *option)
    status, output, errors = await commands.run(*arguments, cwd=tmp_path, environment=slow.environment())
    assert (status, output) == (ExitStatus.USAGE, "")
    assert f"{option[0]} requires --store" in errors
    assert slow.ledger.posts == []


async def test_a_recorded_run_waits_as_long_for_a_lost_id_as_it_is_asked_to(slow, akool, tmp_path):
    """With a timeout of 0 a press whose reply was lost is unknown at once; by default that takes a minute."""
    commands.write_batch(tmp_path, [slow.add_image()], "V1")
    slow.faults.script("create_by_button", Fault.reset("after"))
    began = asyncio.get_running_loop().time()
    arguments = ("fan-out", "presses.csv", "--yes", "--lost-reply-timeout", "0")
    status, output, _ = await akool(*arguments, AKOOL_TIME_SCALE="1")
    assert status == ExitStatus.OUTCOME_UNKNOWN
    assert [line["charged"] for line in read(output)] == [True]
    assert asyncio.get_running_loop().time() - began < 50


async def test_a_recorded_run_asks_for_webhooks(slow, akool, tmp_path):
    """AKOOL gets the URL with the correlation id of the press."""
    commands.write_batch(tmp_path, [slow.add_image()], "V1")
    url = "http://127.0.0.1:9/akool"
    status, _, errors = await akool("fan-out", "presses.csv", "--yes", "--webhook-url", url)
    assert status == ExitStatus.DONE, errors
    (post,) = slow.ledger.posts
    assert post.webhook_url.startswith(f"{url}?akool_press=")


# --- help ---


async def test_the_help_of_these_commands_fits_and_agrees(tmp_path):
    """No line is longer than 80 characters, and shared options have the same text in every command."""
    names = ("jobs", "resolve", "prune", "worker", "fan-out")
    helps = await asyncio.gather(
        *(commands.run(name, "--help", cwd=tmp_path, environment={"COLUMNS": "80"}) for name in names)
    )
    texts = {name: text for name, (_, text, _) in zip(names, helps, strict=True)}
    assert max(len(line) for text in texts.values() for line in text.splitlines()) <= 80
    assert "or - for standard input, which is read as CSV or JSONL" in " ".join(texts["fan-out"].split())
    for option in ("--lost-reply-timeout", "--webhook-url", "--account", "--max-requests-per-second"):
        assert explained(texts["worker"], option) == explained(texts["fan-out"], option)


def explained(text, option):
    """Return the text of an option in a help text."""
    return " ".join(re.search(rf"^  {option} (.*?)(?=^  -)", text, flags=re.MULTILINE | re.DOTALL)[1].split())
