"""`akool press`, `prompt`, `result` and `credit`, in real subprocesses."""

import json
import re
import signal

import pytest

from akool_async.emulator import Emulator, Fault
from tests.support.commands import run, start


async def test_press_waits_saves_and_tells(emulator, tmp_path):
    """Two buttons are pressed, awaited and saved; a table for people."""
    image_id = emulator.add_image()
    arguments = ("press", image_id, "U1,v2", "--download", "pictures")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert re.search(r"\w{24} +U1 +completed +[\d.]+ +2 +\w{24}-1\.jpg", output)
    assert re.search(r"\w{24} +V2 +completed", output)
    assert len(list((tmp_path / "pictures").iterdir())) == 6
    assert set(emulator.ledger.presses_accepted) == {(image_id, "U1"), (image_id, "V2")}


async def test_press_for_machines(emulator, tmp_path):
    """--json is a line per button with the keys of fan-out's; nothing of the progress is on stdout."""
    image_id = emulator.add_image()
    arguments = ("press", image_id, "U*", "--json", "-q")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert (status, errors) == (0, "")
    lines = [json.loads(line) for line in output.splitlines()]
    assert [line["button"] for line in lines] == ["U1", "U2", "U3", "U4"]
    assert all(line["ok"] and line["image_id"] == image_id and line["credits"] == 2 and line["urls"] for line in lines)


async def test_no_wait_gives_the_id_to_wait_for_later(emulator, tmp_path):
    """--no-wait ends at the accepted press; `akool result ID --wait` continues to wait."""
    environment = emulator.environment()
    arguments = ("press", emulator.add_image(), "U3", "--no-wait", "--json")
    status, output, _ = await run(*arguments, cwd=tmp_path, environment=environment)
    line = json.loads(output)
    assert status == 0
    assert (line["ok"], line["status"], line["error"]) == (False, 1, None)
    arguments = ("result", line["id"], "--wait", "--json", "--download", "pictures")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=environment)
    result = json.loads(output)
    assert status == 0, errors
    assert (result["id"], result["ok"], result["status"], result["button"]) == (line["id"], True, 3, "U3")
    assert [(tmp_path / file).stat().st_size > 1000 for file in result["files"]] == [True]


async def test_a_prompt_and_its_buttons(emulator, tmp_path):
    """A prompt gives an id, five pictures and the buttons to press."""
    arguments = ("prompt", "a fox [oil]", "--scale", "16:9", "--json", "--download", "pictures")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    printed = json.loads(output)
    assert status == 0, errors
    assert (printed["prompt"], printed["ok"]) == ("a fox [oil]", True)
    assert (len(printed["files"]), len(printed["buttons"])) == (5, 8)


async def test_result_shows_people_what_they_need(emulator, tmp_path):
    """Without --json: status, buttons, URLs and until when they hold."""
    image_id = emulator.add_image(buttons=["U1"])
    status, output, errors = await run("result", image_id, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert "3 completed" in output
    assert emulator.pictures_url in output
    assert re.search(r"expires at +\d{4}-", output)


async def test_credit(emulator, tmp_path):
    """The balance alone, or as JSON."""
    environment = emulator.environment()
    assert await run("credit", cwd=tmp_path, environment=environment) == (0, "10000\n", "")
    status, output, _ = await run("credit", "--json", cwd=tmp_path, environment=environment)
    assert (status, json.loads(output)) == (0, {"credit": 10_000})


@pytest.mark.parametrize(
    ("fault", "status", "message"),
    [
        (Fault.fails("too dark"), 3, "too dark"),
        (Fault.reset("after"), 5, "reply"),
        (Fault.stuck(), 4, "not finished within"),
        (Fault.code(1010), 3, "1010"),
        (Fault.code(1006), 3, "1006"),
        (Fault.code(1200), 1, "banned"),
    ],
    ids=str,
)
async def test_exit_statuses_distinguish_failures(emulator, tmp_path, fault, status, message):
    """A failed job, an unknown outcome, a time-out, a refusal and a banned account have each their status."""
    emulator.faults.script("create_by_button", fault)
    arguments = ("press", emulator.add_image(), "V1", "--json", "--timeout", "3")
    ended, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert ended == status, errors
    line = json.loads(output)
    assert line["ok"] is False
    assert message in line["error"]
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("press",),
        ("press", "image-1"),
        ("press", "image-1", "X1"),
        ("press", "image-1", "U1", "--timeout", "0"),
        ("press", "image-1", "U1", "--timeout", "nan"),
        ("press", "image-1", "U1", "--no-wait", "--timeout", "5"),
        ("press", "image-1", "U1", "--no-wait", "--download", "pictures"),
        ("press", "two words", "U1"),
        ("prompt", ""),
        ("prompt", "a fox", "--scale", "7:5"),
        ("prompt", "a fox", "--source-image", "not a url"),
        ("fan-out", "missing.csv"),
        ("fan-out",),
        ("fan-out", "-", "--max-credits", "-1"),
        ("fan-out", "-", "--reserve", "inf"),
        ("credit", "--key-file", "missing"),
        ("demo", "--key-file", "missing"),
        ("nonsense",),
    ],
    ids=" ".join,
)
async def test_wrong_usage_is_status_2_and_costs_nothing(emulator, tmp_path, arguments):
    """Bad arguments are reported by name before AKOOL is asked anything."""
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert (status, output) == (2, "")
    assert errors
    assert "Traceback" not in errors
    assert not emulator.ledger.posts


@pytest.mark.parametrize("form", ["key", "settings", "pair"])
async def test_keys_come_from_a_file(emulator, tmp_path, form):
    """A bare key, the lines that `akool emulator` prints, or a client id and secret; never shown."""
    texts = {
        "key": emulator.api_key,
        "settings": f"export AKOOL_API_KEY={emulator.api_key}\n# of mine\nexport AKOOL_BASE_URL={emulator.base_url}\n",
        "pair": f"AKOOL_CLIENT_ID={emulator.client_id}\nAKOOL_CLIENT_SECRET='{emulator.client_secret}'\n",
    }
    (tmp_path / "keys").write_text(texts[form])
    environment = {} if form == "settings" else {"AKOOL_BASE_URL": emulator.base_url}
    status, output, errors = await run("credit", "--key-file", "keys", cwd=tmp_path, environment=environment)
    assert (status, output) == (0, "10000\n"), errors


@pytest.mark.parametrize("text", ["", "two words\n", "{not: a key\nfile}\n", "AKOOL_API_KEY=\n", "AKOOL_CLIENT_ID=a\n"])
async def test_a_file_without_keys_is_reported(tmp_path, text):
    """What a key file must hold is reported, and nothing of what it does hold."""
    (tmp_path / "keys").write_text(text)
    status, _, errors = await run("credit", "--key-file", "keys", cwd=tmp_path)
    assert status == 1
    assert errors.startswith("akool: --key-file: keys holds no key: write AKOOL_API_KEY=... into it, or ")
    assert len(errors.splitlines()) == 1
    assert "words" not in errors


async def test_the_emulator_for_machines(tmp_path):
    """`akool emulator --json` is one object that holds all that is needed to use it."""
    process = await start("emulator", "--port", "0", "--json", cwd=tmp_path)
    printed = json.loads(await process.stdout.readline())
    environment = {name: value for name, value in printed.items() if name.isupper()}
    status, output, errors = await run("result", printed["image_id"], "--json", cwd=tmp_path, environment=environment)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert status == 0, errors
    assert json.loads(output)["buttons"]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_interrupting_a_press_reports_the_ids(tmp_path, stop):
    """Ctrl-C and SIGTERM name what runs on, also where AKOOL's reply came only then, and end with 130."""
    async with Emulator(speed=4) as emulator:
        emulator.faults.script("create_by_button", Fault.slow(0.5, "after"))
        arguments = ("press", emulator.add_image(), "V1", "-q")
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted)
        process.send_signal(stop)
        errors = (await process.stderr.read()).decode()
        assert await process.wait() == 130
        (post,) = emulator.ledger.posts
        assert post.new_ids[0] in errors


@pytest.mark.parametrize(("typed", "offered"), [("fan", "fan-out"), ("pre", "press"), ("em", "emulator")])
async def test_the_shell_completes(tmp_path, typed, offered):
    """Completion of bash offers the commands."""
    environment = {"_AKOOL_COMPLETE": "bash_complete", "COMP_WORDS": f"akool {typed}", "COMP_CWORD": "1"}
    _, output, _ = await run(cwd=tmp_path, environment=environment)
    assert f"plain,{offered}" in output.splitlines()


async def test_a_demo_whose_image_fails_presses_nothing(emulator, tmp_path):
    """Without a source image there are no buttons to press, and there is no page."""
    emulator.faults.script("create_by_prompt", Fault.fails("too dark"))
    arguments = ("demo", "--live", "--yes", "-q")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 3, errors
    assert "too dark" in output
    assert "All of it on one page" not in errors
    assert len(emulator.ledger.posts) == 1


async def test_interrupting_a_prompt_whose_reply_never_comes_says_what_may_be_charged(tmp_path):
    """AKOOL took the prompt, the person leaves, and then the connection breaks: the command names the balance."""
    with Emulator(speed=200) as emulator:
        emulator.faults.script("create_by_prompt", Fault.stall("after"))
        process = await start("prompt", "a fox", cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.posts)
        process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode in {5, 130}
    assert b"akool credit shows the balance" in errors
