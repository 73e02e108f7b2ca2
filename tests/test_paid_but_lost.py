"""Presses that AKOOL charged although the reply was lost: never forgotten, never shown as anything else."""

import asyncio
import json
import re
import signal

import pytest
from attrs import evolve

from akool_async.cli.batch.earlier import Step, next_step, with_earlier
from akool_async.cli.outcomes.charges import Charges, charges_of
from akool_async.cli.outcomes.line import OutcomeLine, PressState
from akool_async.emulator import Emulator, Fault
from tests.support.commands import read_lines, run, start

FAN_OUT = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
PRESS = {"image_id": "65d3206b83ccf5ab7d46cdc6", "button": "V1"}
DONE = OutcomeLine(**PRESS, ok=True, id="1", status=3, credits=2.0)
LOST = OutcomeLine(**PRESS, charged=True, credits=2.0, error="the reply was lost")
IN_DOUBT = OutcomeLine(**PRESS, charged=None, error="the reply was lost")
NOT_PRESSED = OutcomeLine(**PRESS, error="over the budget")


def write_batch(folder, image_id, buttons="V1"):
    (folder / "presses.csv").write_text(f"image_id,button\n{image_id},{buttons}\n")


def write_earlier(folder, image_id, line):
    fields = {**line.fields(), "image_id": image_id}
    (folder / "out.jsonl").write_text(json.dumps(fields) + "\n")


# --- the rules ---


@pytest.mark.parametrize(
    ("line", "state"),
    [
        (DONE, PressState.DONE),
        (OutcomeLine(**PRESS, id="1", status=4), PressState.FAILED),
        (OutcomeLine(**PRESS, id="1", status=2), PressState.NOT_FINISHED),
        (OutcomeLine(**PRESS, id="1", status=3), PressState.NOT_FINISHED),
        (NOT_PRESSED, PressState.NOT_PRESSED),
        (OutcomeLine(**PRESS, code=1010), PressState.NOT_PRESSED),
        (LOST, PressState.LOST),
        (IN_DOUBT, PressState.IN_DOUBT),
    ],
    ids=str,
)
def test_a_line_shows_the_state_of_its_press(line, state):
    """The state follows from the line, and a line that was written and read is the same."""
    assert line.state is state
    assert OutcomeLine.from_json(line.to_json()) == line
    assert ("charged" in json.loads(line.to_json())) is (state in {PressState.LOST, PressState.IN_DOUBT})


USED, OFFERED, NEITHER = (True, False), (False, True), (False, False)


@pytest.mark.parametrize(
    ("earlier", "shown", "step"),
    [
        (None, OFFERED, Step.PRESS),
        (None, USED, Step.REFUSE_USED),
        (None, NEITHER, Step.REFUSE_NOT_OFFERED),
        (PressState.NOT_PRESSED, OFFERED, Step.PRESS),
        (PressState.NOT_PRESSED, USED, Step.REFUSE_USED),
        (PressState.NOT_PRESSED, NEITHER, Step.REFUSE_NOT_OFFERED),
        (PressState.IN_DOUBT, OFFERED, Step.PRESS),
        (PressState.IN_DOUBT, USED, Step.KEEP_LOST),
        (PressState.IN_DOUBT, (True, True), Step.KEEP_LOST),
        (PressState.IN_DOUBT, NEITHER, Step.KEEP_IN_DOUBT),
        (PressState.LOST, OFFERED, Step.KEEP_LOST),
        (PressState.LOST, USED, Step.KEEP_LOST),
        (PressState.LOST, NEITHER, Step.KEEP_LOST),
    ],
)
def test_next_step_for_a_press_without_an_id(earlier, shown, step):
    """A charged press is never pressed again, and one in doubt only if its button is still offered."""
    is_used, is_offered = shown
    assert next_step(earlier, is_used=is_used, is_offered=is_offered) is step


@pytest.mark.parametrize(
    ("earlier", "line", "state"),
    [
        (None, NOT_PRESSED, PressState.NOT_PRESSED),
        (NOT_PRESSED, OutcomeLine(**PRESS, code=1010), PressState.NOT_PRESSED),
        (IN_DOUBT, NOT_PRESSED, PressState.IN_DOUBT),
        (IN_DOUBT, OutcomeLine(**PRESS, code=1006), PressState.IN_DOUBT),
        (IN_DOUBT, OutcomeLine(**PRESS, code=1010), PressState.LOST),
        (IN_DOUBT, OutcomeLine(**PRESS, code=1011), PressState.LOST),
        (IN_DOUBT, LOST, PressState.LOST),
        (IN_DOUBT, DONE, PressState.DONE),
        (LOST, NOT_PRESSED, PressState.LOST),
        (LOST, DONE, PressState.DONE),
        (LOST, OutcomeLine(**PRESS, id="1", code=1008), PressState.LOST),
        (LOST, OutcomeLine(**PRESS, id="1", code=1014), PressState.LOST),
        (LOST, OutcomeLine(**PRESS, id="1", status=2), PressState.NOT_FINISHED),
    ],
)
def test_only_an_id_or_a_new_press_settles_a_lost_one(earlier, line, state):
    """A later run that can do nothing keeps what an earlier one found out."""
    assert with_earlier(line, earlier).state is state


@pytest.mark.parametrize(
    ("lines", "printed"),
    [
        ([], "0"),
        ([DONE, NOT_PRESSED], "2"),
        ([LOST], "at least 2"),
        ([IN_DOUBT], "at least 0"),
        ([OutcomeLine(**PRESS, id="1", status=2)], "at least 0"),
        ([OutcomeLine(**PRESS, id="1", credits=0.0), DONE], "2"),
        ([OutcomeLine(**PRESS, id="1", credits=-2.0)], "at least 0"),
        ([DONE, OutcomeLine(**PRESS, id="2", credits=4.5)], "6.5"),
    ],
)
def test_a_sum_claims_no_less_than_was_charged(lines, printed):
    """If AKOOL did not report a price, the sum is a minimum. 0 and negative numbers are no price."""
    assert str(charges_of(lines)) == printed


def test_the_largest_figure_of_a_press_counts():
    """The result may have the price that the reply to the press did not have."""
    charges = Charges()
    for credits_told in (0, 4, None, 2):
        charges.add("1", credits_told)
    assert str(charges) == "4"


# --- fan-out ---


async def test_a_charged_press_is_kept_until_its_id_is_known(emulator, tmp_path):
    """Lost replies: status 5 in every run, in every sum, with a command that settles it when the id is known."""
    image_id = emulator.add_image()
    write_batch(tmp_path, image_id, "V1 V2 V3")
    environment = emulator.environment()
    emulator.faults.script("create_by_button", Fault.reset("after"), Fault.cut("after"))
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=environment)
    assert status == 5
    assert "at least 6 credits charged by this run, 4 of them for 2 presses whose id is lost" in errors
    assert "V1 of " + image_id + ": charged, id lost" in errors
    assert "failed" not in errors
    for _ in range(2):
        status, _, errors = await run(*FAN_OUT, "-q", cwd=tmp_path, environment=environment)
        assert status == 5
        lines = {line["button"]: line for line in read_lines(tmp_path / "out.jsonl")}
        assert [lines[button]["charged"] for button in ("V1", "V2")] == [True, True]
        assert sum(line["credits"] for line in lines.values()) == emulator.ledger.charged == 6
    lost = {post.button: post.new_ids[0] for post in emulator.ledger.posts if post.fault}
    commands = [line for line in errors.splitlines() if line.startswith("echo ")]
    assert len(commands) == 2
    for command, button in zip(commands, lost, strict=True):
        shell = await asyncio.create_subprocess_shell(command.replace('"ID"', json.dumps(lost[button])), cwd=tmp_path)
        assert await shell.wait() == 0
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=environment)
    assert status == 0, errors
    assert "3 of 3 presses done, 0 credits charged by this run" in errors
    lines = {line["button"]: line for line in read_lines(tmp_path / "out.jsonl")}
    assert {button: lines[button]["id"] for button in lost} == lost
    assert emulator.ledger.accepted == 3


async def test_the_sum_of_a_run_is_its_own(emulator, tmp_path):
    """Charges of earlier runs for lost presses are printed beside the sum of this run, and are not part of it."""
    image_id = emulator.add_image()
    write_batch(tmp_path, image_id, "V1 V2")
    environment = emulator.environment()
    emulator.faults.script("create_by_button", *[Fault.reset("after")] * 2, None, Fault.reset("after"))
    await run(*FAN_OUT, cwd=tmp_path, environment=environment)
    write_batch(tmp_path, image_id, "V*")
    before = emulator.ledger.charged
    _, _, errors = await run(*FAN_OUT, "--max-credits", 4, cwd=tmp_path, environment=environment)
    assert emulator.ledger.charged - before == 4
    assert "1 of 4 presses done, at least 4 credits charged by this run, 2 of them for 1 press whose id" in errors
    assert "out.jsonl; earlier runs were charged 4 credits for 2 presses whose id is lost" in errors
    _, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=environment)
    assert "1 of 4 presses done, 0 credits charged by this run, " in errors
    assert "; earlier runs were charged 6 credits for 3 presses whose id is lost" in errors


async def test_an_id_that_akool_does_not_know_settles_nothing(emulator, tmp_path):
    """A mistyped id is reported, and the press is still charged, with its id lost."""
    image_id = emulator.add_image(buttons=[])
    write_batch(tmp_path, image_id)
    write_earlier(tmp_path, image_id, LOST)
    (tmp_path / "out.jsonl.accepted").write_text(json.dumps({"image_id": image_id, "button": "V1", "id": "0" * 24}))
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
    assert status == 5
    assert "AKOOL does not know the id 000000000000000000000000" in errors
    assert read_lines(tmp_path / "out.jsonl")[-1]["charged"] is True


@pytest.mark.parametrize("given", ["another button", "another image", "the image itself", "a press of its own"])
async def test_an_id_of_something_else_settles_nothing(emulator, tmp_path, given):
    """The press stays charged with its id lost, the line shows what the id is, status 5, and no new charge."""
    image_id, other = emulator.add_image(), emulator.add_image()
    async with emulator.session() as akool:
        button, source = {"another button": ("V3", image_id), "another image": ("V1", other)}.get(
            given, ("V1", image_id)
        )
        operation = await akool.create_by_button(source, button)
        await operation.wait_until_complete()
    new_id = image_id if given == "the image itself" else operation.id
    write_batch(tmp_path, image_id)
    write_earlier(tmp_path, image_id, LOST)
    written = json.dumps({"image_id": image_id, "button": "V1", "id": new_id})
    (tmp_path / "out.jsonl.accepted").write_text(written + "\n")
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
    last = read_lines(tmp_path / "out.jsonl")[-1]
    if given == "a press of its own":
        assert (status, last["ok"], last["id"]) == (0, True, new_id), errors
        return
    assert status == 5, errors
    assert (last["ok"], last["id"], last["charged"], last["credits"]) == (False, None, True, 2.0)
    what = {"another button": f"V3 of {image_id}", "another image": f"V1 of {other}"}.get(
        given, "an image that no press made"
    )
    assert last["error"].startswith(f"the id {new_id} is {what}")
    assert last["error"].endswith(f", not V1 of {image_id}")
    assert "0 of 1 press done, 0 credits charged by this run" in errors
    assert not (tmp_path / "out.jsonl.accepted").exists()
    status, _, _ = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
    assert (status, emulator.ledger.accepted) == (5, 1)


@pytest.mark.parametrize("other", ["lost", "done"])
async def test_one_id_does_not_settle_two_presses(emulator, tmp_path, other):
    """An id that is given for two presses, or that another line has, is refused before it is read."""
    image_id = emulator.add_image()
    async with emulator.session() as akool:
        operation = await akool.create_by_button(image_id, "V2")
        await operation.wait_until_complete()
    write_batch(tmp_path, image_id, "V1 V2")
    second = {"lost": LOST, "done": evolve(DONE, id=operation.id)}[other]
    lines = [evolve(LOST, image_id=image_id), evolve(second, image_id=image_id, button="V2")]
    (tmp_path / "out.jsonl").write_text("".join(line.to_json() + "\n" for line in lines))
    given = [{"image_id": image_id, "button": button, "id": operation.id} for button in ("V1", "V2")]
    (tmp_path / "out.jsonl.accepted").write_text("".join(json.dumps(one) + "\n" for one in given))
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
    assert status == 5, errors
    last = {line["button"]: line for line in read_lines(tmp_path / "out.jsonl")}
    assert last["V1"]["error"] == f"the id {operation.id} was entered for V2 of {image_id} as well"
    assert last["V1"]["charged"] is True
    assert last["V2"]["ok"] is (other == "done")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_press_in_doubt_is_looked_up_by_the_next_run(tmp_path, when):
    """Two Ctrl-C leave the reply unread: the source image shows whether it was charged, or must be pressed again."""
    async with Emulator(speed=100) as emulator:
        write_batch(tmp_path, emulator.add_image())
        emulator.faults.script("create_by_button", Fault.stall(when))
        process = await start(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"])
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            while b"no new presses" not in (line := await process.stderr.readline()) and line:
                pass
        await process.communicate()
        assert process.returncode == 130
        (line,) = read_lines(tmp_path / "out.jsonl")
        assert (line["id"], line["charged"]) == (None, None)
        status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
        last = read_lines(tmp_path / "out.jsonl")[-1]
        assert emulator.ledger.charged == last["credits"] == 2
        if when == "after":
            assert (status, last["charged"]) == (5, True), errors
            assert "charged, id lost" in errors
        else:
            assert (status, last["ok"]) == (0, True), errors


@pytest.mark.parametrize(
    ("fault", "options", "charged"),
    [(Fault.code(1010), (), True), (Fault.code(1006), (), None), (None, ("--max-credits", 1), None)],
    ids=["used", "no credit", "over the budget"],
)
async def test_a_press_in_doubt_that_is_not_made_stays_in_doubt(emulator, tmp_path, fault, options, charged):
    """Refused as used, though the image offers it, it was charged; refused for another reason, it may have been."""
    image_id = emulator.add_image()
    write_batch(tmp_path, image_id)
    write_earlier(tmp_path, image_id, IN_DOUBT)
    emulator.faults.script("create_by_button", fault)
    status, _, errors = await run(*FAN_OUT, *options, cwd=tmp_path, environment=emulator.environment())
    assert status == 5, errors
    last = read_lines(tmp_path / "out.jsonl")[-1]
    assert (last["id"], last["charged"]) == (None, charged)
    assert "0 of 1 press done, 0 credits charged by this run" in errors
    assert ("; earlier runs were charged 2 credits for 1 press whose id is lost" in errors) is bool(charged)


async def test_a_press_in_doubt_of_an_image_that_is_gone_stays_so(emulator, tmp_path):
    """After 7 days it cannot be found out: the press is neither made again nor called refused."""
    write_batch(tmp_path, "0" * 24)
    write_earlier(tmp_path, "0" * 24, IN_DOUBT)
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
    assert status == 5
    assert "outcome unknown" in errors
    assert emulator.ledger.posts == []


async def test_the_plan_and_the_page_show_it(emulator, tmp_path):
    """Neither text says "failed" or "not pressed", and the page's sum counts the charge."""
    image_id = emulator.add_image(buttons=["V1"])
    write_batch(tmp_path, image_id)
    emulator.faults.script("create_by_button", Fault.reset("after"))
    await run(*FAN_OUT, "--gallery", "page.html", cwd=tmp_path, environment=emulator.environment())
    page = (tmp_path / "page.html").read_text()
    assert "charged, id lost" in page
    assert "at least 2 credits" in page
    tile = page[page.index('<span class="name">V1') :]
    assert "not pressed" not in tile[: tile.index("</figure>")]
    arguments = ("fan-out", "presses.csv", "-o", "out.jsonl")
    _, plan, _ = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert re.search(r"^charged, id lost +1 ", plan, flags=re.MULTILINE)
    _, plan, _ = await run(*arguments, "--json", cwd=tmp_path, environment=emulator.environment())
    planned = json.loads(plan)
    assert planned["lost"] == [{"image_id": image_id, "button": "V1", "state": "charged, id lost"}]
    assert (planned["to_press"], planned["used"]) == (0, [])


async def test_an_output_from_before_the_state_was_kept_is_read(emulator, tmp_path):
    """Lines without `charged` keep their meaning: here the press was not made."""
    image_id = emulator.add_image()
    write_batch(tmp_path, image_id)
    write_earlier(tmp_path, image_id, NOT_PRESSED)
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors


async def test_over_the_budget_is_no_failure(emulator, tmp_path):
    """What a budget leaves out is "over budget", and not "failed": status 0."""
    write_batch(tmp_path, emulator.add_image(), "V*")
    status, _, errors = await run(*FAN_OUT, "--max-credits", 4, cwd=tmp_path, environment=emulator.environment())
    assert status == 0
    assert "over budget: it could exceed the 4 credits" in errors
    assert "failed" not in errors
    assert "2 of 4 presses done, 4 credits charged by this run" in errors


# --- one image at a time ---


@pytest.mark.parametrize("options", [(), ("--json",), ("-q",), ("--json", "-q")], ids=" ".join)
async def test_a_press_whose_id_was_lost_is_reported_so(emulator, tmp_path, options):
    """`akool press` ends with 5, reports the charge, and prints the next command, even with --quiet."""
    image_id = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.reset("after"))
    arguments = ("press", image_id, "V1", "V2", *options)
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 5
    assert "1 press charged, id lost" in errors
    assert f"akool result {image_id}" in errors.splitlines()
    assert "failed" not in output + errors
    if "--json" in options:
        lines = [json.loads(line) for line in output.splitlines()]
        assert [line.get("charged") for line in lines] == [True, None]
        assert sum(line["credits"] for line in lines) == emulator.ledger.charged == 4


async def test_a_prompt_of_unknown_outcome_names_the_balance(emulator, tmp_path):
    """Only the balance can show it, and reading it is the next command."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    status, output, errors = await run("prompt", "a fox", cwd=tmp_path, environment=emulator.environment())
    assert status == 5
    assert "outcome unknown" in output
    assert "akool credit" in errors


async def test_the_demo_counts_what_it_lost(emulator, tmp_path):
    """Of nine operations one was charged and its id lost: the sum is the ledger's, and the status 5."""
    emulator.faults.script("create_by_button", Fault.reset("after"))
    arguments = ("demo", "--live", "--yes", "-q")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 5
    assert f"8 of 9 completed, at least {emulator.ledger.charged} credits" in output
    assert "1 press charged, id lost" in errors


async def test_an_id_of_another_button_leaves_a_press_without_a_line_in_doubt(emulator, tmp_path):
    """A press with only a wrong id may be charged: it is neither pressed again nor reported as done."""
    image_id = emulator.add_image()
    async with emulator.session() as akool:
        other = await akool.create_by_button(image_id, "V3")
        await other.wait_until_complete()
    write_batch(tmp_path, image_id)
    written = json.dumps({"image_id": image_id, "button": "V1", "id": other.id})
    (tmp_path / "out.jsonl.accepted").write_text(written + "\n")
    (tmp_path / "out.jsonl").touch()
    status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
    (line,) = read_lines(tmp_path / "out.jsonl")
    assert status == 5, errors
    assert (line["id"], line["charged"]) == (None, None)
    assert line["error"].startswith(f"the id {other.id} is V3 of {image_id}")
    assert len(emulator.ledger.posts) == 1
