"""`akool fan-out` from prompts to finished pictures: trees, their names, and runs that continue an output."""

import asyncio
import json
import re
import shlex
import signal
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async import Button, ButtonPress, Prompt, SourcePrompt
from akool_async.cli.batch.input_file import InputFileError, read_batch
from akool_async.cli.batch.names import MAX_NAME_SIZE, MAX_SHORT_NAME, check_name, short_name
from akool_async.cli.batch.naming import assign_names
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.emulator import Emulator, Fault
from akool_async.items import read_then, write_then
from tests.support.commands import read_lines, run, start
from tests.support.looks import look_until
from tests.support.readme import GUIDES

FAN_OUT = ("fan-out", "prompts.txt", "--yes", "-o", "out.jsonl")
TREE = ("--then", "U* V1>U*")
PLAN = ("fan-out", "prompts.txt", "-o", "out.jsonl")


@pytest.fixture
def akool(emulator, tmp_path):
    """Run the command in the folder of the test."""

    async def run_there(*arguments):
        return await run(*arguments, cwd=tmp_path, environment=emulator.environment())

    return run_there


def write_prompts(folder, *prompts):
    (folder / "prompts.txt").write_text("".join(f"{prompt}\n" for prompt in prompts))


def nodes_of(path):
    """Return the last line of each node by its name."""
    return {line.get("name"): line for line in read_lines(path)}


def assert_each_once(emulator, path):
    """Assert that AKOOL accepted no node twice, and that the lines have the id and the credits of each."""
    lines = nodes_of(path)
    ids = Counter(line["id"] for line in lines.values() if line["id"] is not None)
    assert set(ids.values()) <= {1}
    assert set(ids) == {new_id for post in emulator.ledger.posts for new_id in post.new_ids}
    assert emulator.ledger.pressed_twice() == []
    assert len(ids) == emulator.ledger.accepted
    assert sum(line["credits"] or 0 for line in lines.values()) == emulator.ledger.charged


# --- runs ---


async def test_from_text_to_pictures_in_one_run(emulator, akool, tmp_path):
    """Each node is accepted once, has a line that names its parent, and has pictures named after the prompt."""
    write_prompts(tmp_path, "A lighthouse in a storm", "", "Ein Füchslein")
    arguments = (*FAN_OUT, *TREE, "--download", "pictures", "--gallery", "page.html")
    status, output, errors = await akool(*arguments)
    assert (status, output) == (0, ""), errors
    assert "20 of 20 prompts and presses done, 40 credits charged by this run, 9,960 left: out.jsonl" in errors
    assert_each_once(emulator, tmp_path / "out.jsonl")
    lines = nodes_of(tmp_path / "out.jsonl")
    ends = ["", *(f"-U{n}" for n in range(1, 5)), "-V1", *(f"-V1-U{n}" for n in range(1, 5))]
    roots = ("a-lighthouse-in-a-storm", "ein-füchslein")
    assert set(lines) == {root + end for root in roots for end in ends}
    root, child, grandchild = (lines[f"ein-füchslein{end}"] for end in ("", "-V1", "-V1-U3"))
    assert (root["prompt"], root["image_id"], root["button"]) == ("Ein Füchslein", None, None)
    assert (child["image_id"], child["path"], child["parent"]) == (root["id"], ["V1"], "ein-füchslein")
    assert (grandchild["image_id"], grandchild["key"]) == (child["id"], root["key"])
    names = {path.stem for path in (tmp_path / "pictures").iterdir()}
    four = ["1", "2", "3", "4", "grid"]
    assert names == {
        *(f"{root}{end}-{number}" for root in roots for end in ("", "-V1") for number in four),
        *(name for name in lines if name[-2] == "U"),
    }
    assert "pictures/ein-f" in (tmp_path / "page.html").read_text()
    before = (tmp_path / "out.jsonl").read_bytes()
    requests = emulator.ledger.requests.copy()
    status, _, errors = await akool(*arguments[:-2])
    assert status == 0, errors
    assert (tmp_path / "out.jsonl").read_bytes() == before
    assert set(emulator.ledger.requests - requests) == {"get_credit"}


async def test_the_command_of_the_guide(emulator, tmp_path):
    """The first command of the guide makes the pictures and the page that the guide names."""
    block = re.search(r"```sh\n(printf .*?)```", GUIDES["akool_async/cli/README.md"], flags=re.DOTALL)[1].replace(
        "\\\n", ""
    )
    text, command = block.strip().splitlines()
    shell = await asyncio.create_subprocess_shell(text, cwd=tmp_path)
    assert await shell.wait() == 0
    (tmp_path / "emulator.env").write_text(
        "".join(f"{name}={value}\n" for name, value in emulator.environment().items())
    )
    status, _, errors = await run(*shlex.split(command)[1:], cwd=tmp_path)
    assert status == 0, errors
    assert_each_once(emulator, tmp_path / "done.jsonl")
    names = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert len(names) == 2 * (5 + 4 + 5 + 4)
    stem = "a-red-fox-in-the-snow"
    assert {f"{stem}-1", f"{stem}-4", f"{stem}-grid", f"{stem}-U2", f"{stem}-V1-U3"} <= names
    assert (tmp_path / "page.html").exists()


async def test_the_plan_counts_every_level(emulator, akool, tmp_path):
    """Prompts, presses on their images and presses on those, with prices that are estimated; nothing is spent."""
    write_prompts(tmp_path, "a fox", "a lynx", "a hare")
    status, plan, errors = await akool(*PLAN, *TREE)
    assert status == 0, errors
    plan = " ".join(plan.split())
    assert "to send 3 3 prompts, for 6 credits" in plan
    assert "then to press 15 12 upscales and 3 variations of images to be made, for 30 credits, if everything" in plan
    assert "then to press 12 12 upscales of the images of those, for 24 credits, if everything succeeds" in plan
    assert "credits for a prompt 2 from AKOOL's pages; the output has no charge for one yet" in plan
    assert "credits in total 60 if everything succeeds" in plan
    assert plan.endswith("Nothing was spent. Press with --yes.")
    _, plan, _ = await akool(*PLAN, *TREE, "--json")
    printed = json.loads(plan)
    assert (printed["prompts"], printed["upscales"], printed["variations"], printed["credits"]) == (3, 24, 3, 60)
    assert [level["credits"] for level in printed["levels"]] == [6, 30, 24]
    assert printed["estimated"] == ["prompt", "upscale", "variation"]
    assert emulator.ledger.posts == []


async def test_a_longer_then_presses_what_it_adds(emulator, akool, tmp_path):
    """Existing images stay; each is read once for its new buttons; prices are as last charged."""
    write_prompts(tmp_path, "a fox")
    status, _, errors = await akool(*FAN_OUT, "--then", "U1 V2")
    assert status == 0, errors
    requests = emulator.ledger.requests.copy()
    status, _, errors = await akool(*FAN_OUT, "--then", "U* V2>(U1 U2)", "--quiet")
    assert (status, errors) == (0, "")
    assert_each_once(emulator, tmp_path / "out.jsonl")
    assert emulator.ledger.accepted == 1 + 2 + 3 + 2
    assert (emulator.ledger.requests - requests)["create_by_prompt"] == 0
    _, plan, _ = await akool(*PLAN, "--then", "U* V2>U* V3>U1")
    assert "to press 3 2 upscales and 1 variation of 2 images, for 6 credits" in " ".join(plan.split())
    assert "as last charged" in plan
    assert "done already" in plan


async def test_presses_of_existing_images_may_be_trees(emulator, akool, tmp_path):
    """A CSV may mix nested buttons, names and prompts; lines of plain presses have no further fields."""
    first, second = emulator.add_image(), emulator.add_image()
    (tmp_path / "mixed.csv").write_text(
        f"image_id,button,prompt,then,name\n{first},U1 V1>U2,,,\n{second},V2,,U3,Tower\n,,a fox,V1>U1,\n"
    )
    arguments = ("fan-out", "mixed.csv", "--yes", "-o", "out.jsonl", "--download", "pictures")
    status, _, errors = await akool(*arguments)
    assert status == 0, errors
    lines = read_lines(tmp_path / "out.jsonl")
    assert len(lines) == emulator.ledger.accepted == 3 + 2 + 3
    plain = [line for line in lines if line["image_id"] == first]
    assert all(list(line)[-1] == "code" and len(line) == 10 for line in plain)
    (below,) = [line for line in lines if line.get("root_id") == first]
    assert (below["button"], below["path"], "name" in below) == ("U2", ["V1", "U2"], False)
    assert {line.get("name") for line in lines} == {None, "Tower-V2", "Tower-V2-U3", "a-fox", "a-fox-V1", "a-fox-V1-U1"}
    stems = {path.stem for path in (tmp_path / "pictures").iterdir()}
    assert {f"{plain[0]['id']}-1", "Tower-V2-grid", "Tower-V2-U3", "a-fox-V1-U1"} <= stems
    before = (tmp_path / "out.jsonl").read_bytes()
    status, _, errors = await akool(*arguments)
    assert (status, (tmp_path / "out.jsonl").read_bytes()) == (0, before), errors


async def test_a_press_that_was_made_for_another_node_is_known(emulator, akool, tmp_path):
    """A press on the image of a prompt from another file counts as done when a tree asks for it."""
    write_prompts(tmp_path, "a fox")
    await akool(*FAN_OUT)
    (root,) = read_lines(tmp_path / "out.jsonl")
    (tmp_path / "presses.csv").write_text(f"image_id,button\n{root['id']},U1 V1\n")
    presses = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")
    assert (await akool(*presses))[0] == 0
    status, _, errors = await akool(*FAN_OUT, "--then", "U1 V1>U1 U2")
    assert status == 0, errors
    assert emulator.ledger.accepted == 1 + 2 + 2
    assert nodes_of(tmp_path / "out.jsonl")["a-fox-U1"]["parent"] == "a-fox"
    row = {"image_id": root["id"], "button": "U3 U4"}
    (tmp_path / "both.jsonl").write_text(json.dumps(row) + '\n{"prompt": "a fox", "then": "U*"}')
    for _ in range(2):
        status, _, errors = await akool("fan-out", "both.jsonl", "--yes", "-o", "out.jsonl")
        assert status == 0, errors
        assert "7 of 7 prompts and presses done" in errors
    assert emulator.ledger.accepted == 5 + 2


async def test_each_image_of_a_batch_has_its_own_tree(emulator, akool, tmp_path):
    """A v4 row of two images at 1080p makes one POST for each, with different names and the price of its kind."""
    row = {"prompt": "a tower", "batch_quantity": 2, "resolution": "1080p", "then": {"V1": "U1"}}
    (tmp_path / "prompts.jsonl").write_text(json.dumps(row))
    arguments = ("fan-out", "prompts.jsonl", "-o", "out.jsonl")
    _, plan, _ = await akool(*arguments)
    plan = " ".join(plan.split())
    assert "credits for a prompt (v4, 1080p) 3 an estimate, since AKOOL's pages name no price; the output" in plan
    status, _, errors = await akool(*arguments, "--yes")
    assert status == 0, errors
    assert_each_once(emulator, tmp_path / "out.jsonl")
    ends = ("", "-V1", "-V1-U1")
    assert set(nodes_of(tmp_path / "out.jsonl")) == {f"a-tower{b}{end}" for b in ("", "-b2") for end in ends}
    assert emulator.ledger.requests["create_by_source_prompt"] == 2


async def test_missing_pictures_are_downloaded_again(emulator, akool, tmp_path):
    """They are downloaded on every level, and nothing is pressed for that."""
    write_prompts(tmp_path, "a fox")
    arguments = (*FAN_OUT, "--then", "V1>U1", "--download", "pictures")
    await akool(*arguments)
    files = {path: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    for name in ("a-fox-3", "a-fox-V1-grid", "a-fox-V1-U1"):
        next((tmp_path / "pictures").glob(f"{name}.*")).unlink()
    status, _, errors = await akool(*arguments)
    assert status == 0, errors
    assert {path: path.read_bytes() for path in (tmp_path / "pictures").iterdir()} == files
    assert emulator.ledger.accepted == 3


# --- runs that end early ---


async def test_a_kill_in_mid_run_loses_nothing(tmp_path):
    """After a SIGKILL while buttons of new images are pressed, the next run completes each tree and repeats nothing."""
    write_prompts(tmp_path, "a fox", "a lynx")
    arguments = (*FAN_OUT, "--then", "U1 V1>U1", "-q")
    ids_file = tmp_path / "out.jsonl.accepted"
    async with Emulator(speed=8, sigma=0, queue_sigma=0) as emulator:
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        await look_until(lambda: ids_file.exists() and ids_file.read_text().count('"id"') == 2)
        emulator.advance(600)
        await look_until(lambda: ids_file.read_text().count('"path"') == 4)
        process.kill()
        await process.communicate()
        emulator.advance(600)
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert (status, errors) == (0, "")
        assert_each_once(emulator, tmp_path / "out.jsonl")
        assert emulator.ledger.accepted == 8
        assert not ids_file.exists()


async def test_kills_at_any_moment_pay_nothing_twice(tmp_path):
    """After several kills, no prompt was sent twice and no button pressed twice, and lost ids are reported."""
    prompts = [f"fox {number}" for number in range(6)]
    write_prompts(tmp_path, *prompts)
    async with Emulator(speed=40) as emulator:
        arguments = (*FAN_OUT, *TREE)
        for accepted in (2, 9, 22):
            process = await start(*arguments, cwd=tmp_path, environment=emulator.environment(), stdin=None)
            ended = asyncio.create_task(process.communicate())
            reached = asyncio.create_task(emulator.ledger.until(lambda ledger: ledger.accepted >= accepted))  # noqa: B023
            await asyncio.wait([ended, reached], return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            if process.returncode is None:
                process.kill()
            await ended
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status in {0, 3, 5}, errors  # 3 and 5: the program was killed before the reply to a POST
        assert emulator.ledger.pressed_twice() == []
        assert sum(len(post.new_ids) for post in emulator.ledger.posts if post.button is None) <= len(prompts)
        lines = nodes_of(tmp_path / "out.jsonl")
        assert len(lines) == 60
        known = {line["id"] for line in lines.values()}
        lost = [new_id for post in emulator.ledger.posts for new_id in post.new_ids if new_id not in known]
        charged = sum(line["credits"] for line in lines.values() if line["id"])
        assert charged + 2 * len(lost) == emulator.ledger.charged
        unknown = [line for line in lines.values() if line["button"] is None and line["id"] is None]
        assert all(line["charged"] is None for line in unknown)
        assert not (tmp_path / "out.jsonl.accepted").exists()


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_an_interrupted_run_is_continued(tmp_path, stop):
    """The status is 130, with a line for the running prompt; the same command fetches it and presses on its image."""
    write_prompts(tmp_path, "a fox")
    arguments = (*FAN_OUT, "--then", "V1>U1")
    async with Emulator(speed=16) as emulator:
        process = await start(*arguments, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
        process.send_signal(stop)
        await process.communicate()
        assert process.returncode == 130
        (line,) = read_lines(tmp_path / "out.jsonl")
        assert (line["name"], line["prompt"], line["ok"]) == ("a-fox", "a fox", False)
        emulator.advance(600)
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
        assert status == 0, errors
        assert_each_once(emulator, tmp_path / "out.jsonl")
        assert emulator.ledger.accepted == 3


async def test_a_time_out_is_continued_at_every_level(tmp_path):
    """--timeout ends with 4 and presses nothing on missing images; without it, one more run makes everything."""
    write_prompts(tmp_path, "a fox")
    async with Emulator(speed=20) as emulator:
        environment = emulator.environment()
        status, _, _ = await run(*FAN_OUT, *TREE, "--timeout", 0.05, cwd=tmp_path, environment=environment)
        assert status == 4
        left_out = nodes_of(tmp_path / "out.jsonl")["a-fox-V1-U2"]
        assert left_out["error"].startswith(
            "U2 was not pressed, since the image of prompt 'a fox' was not made: not finished within"
        )
        _, plan, _ = await run(*PLAN, *TREE, cwd=tmp_path, environment=environment)
        assert "then to press 5 4 upscales and 1 variation of images to be made" in " ".join(plan.split())
        status, _, errors = await run(*FAN_OUT, *TREE, cwd=tmp_path, environment=environment)
        assert status == 0, errors
        assert_each_once(emulator, tmp_path / "out.jsonl")
        assert emulator.ledger.accepted == 10


# --- what does not succeed ---


async def test_the_children_of_a_failed_prompt_are_not_pressed(emulator, akool, tmp_path):
    """Each press has a line with the reason, the status is 3, and another run changes nothing."""
    write_prompts(tmp_path, "a fox", "a lynx")
    emulator.faults.script("create_by_prompt", Fault.fails("no animals"))
    for _ in range(2):
        status, _, errors = await akool(*FAN_OUT, *TREE)
        assert status == 3
        assert "10 of 20 prompts and presses done" in errors
        lines = read_lines(tmp_path / "out.jsonl")
        assert len(lines) == 20
    (failed,) = [line for line in lines if line["status"] == 4]
    left_out = [line for line in lines if line["id"] is None]
    assert len(left_out) == 9
    assert {line["parent"] for line in left_out} == {failed["name"], f"{failed['name']}-V1"}
    cause = f"the image of prompt '{failed['prompt']}' was not made: AKOOL could not make this image: no anim"
    assert all(f"was not pressed, since {cause}" in line["error"] for line in left_out)
    assert emulator.ledger.accepted == 11
    _, plan, _ = await akool(*PLAN, *TREE)
    assert "left out 9 presses on images that were not made" in " ".join(plan.split())


async def test_a_budget_that_ends_in_the_middle_is_no_failure(emulator, akool, tmp_path):
    """The status is 0, lines and sums say "over budget", and the same command without the budget makes the rest."""
    write_prompts(tmp_path, "a fox", "a lynx")
    status, _, errors = await akool(*FAN_OUT, *TREE, "--max-credits", 9)
    assert status == 0, errors
    assert emulator.ledger.charged == 8
    assert "; 16 over budget, since 9 credits may be spent (--max-credits 9)" in errors
    assert "over budget: it could exceed the 9 credits that may be spent (--max-credits 9)" in errors
    assert "failed" not in errors
    left_out = [line for line in nodes_of(tmp_path / "out.jsonl").values() if line["id"] is None]
    assert [line["over_budget"] for line in left_out] == [True] * 16
    status, _, errors = await akool(*FAN_OUT, *TREE)
    assert status == 0, errors
    assert "20 of 20 prompts and presses done" in errors
    assert_each_once(emulator, tmp_path / "out.jsonl")


async def test_a_lost_reply_to_a_prompt_is_not_sent_again_unasked(emulator, akool, tmp_path):
    """Every run ends with status 5; with --retry-unknown the plan says what may cost twice, and the tree is made."""
    write_prompts(tmp_path, "a fox")
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    this_run = "2 credits more are gone: for prompts and presses whose outcome is unknown (up to 2)"
    earlier_run = "up to 2 credits may have been charged in an earlier run for 1 prompt whose outcome is unknown"
    for expected in (this_run, earlier_run):
        status, _, errors = await akool(*FAN_OUT, "--then", "U1")
        assert status == 5
        assert "1 prompt outcome unknown: only the balance shows" in errors
        assert [errors.count(sentence) for sentence in (this_run, earlier_run)] == [
            expected == this_run,
            expected == earlier_run,
        ]
        root, child = nodes_of(tmp_path / "out.jsonl").values()
        assert (root["id"], root["charged"]) == (None, None)
        assert "U1 was not pressed, since the outcome of prompt 'a fox' is unknown" in child["error"]
        assert len(read_lines(tmp_path / "out.jsonl")) == 2
    _, plan, _ = await akool(*PLAN, "--then", "U1")
    assert "outcome unknown 1 prompts of an earlier run; not sent again without --retry-unknown" in " ".join(
        plan.split()
    )
    _, plan, _ = await akool(*PLAN, "--then", "U1", "--retry-unknown")
    assert "sent again because of --retry-unknown; may cost 2 credits twice" in " ".join(plan.split())
    assert len(emulator.ledger.posts) == 1
    status, _, errors = await akool(*FAN_OUT, "--then", "U1", "--retry-unknown")
    assert status == 0, errors
    assert emulator.ledger.accepted == 3
    assert all(line["ok"] for line in nodes_of(tmp_path / "out.jsonl").values())


async def test_an_id_that_was_found_settles_a_prompt(emulator, akool, tmp_path):
    """The printed command takes the id of a lost prompt; the next run fetches it and presses what is missing."""
    write_prompts(tmp_path, "it's a fox")
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    _, _, errors = await akool(*FAN_OUT, "--then", "U1")
    (command,) = [line for line in errors.splitlines() if line.startswith("echo ")]
    new_id = json.dumps(emulator.ledger.posts[0].new_ids[0])
    shell = await asyncio.create_subprocess_shell(command.replace('"ID"', new_id), cwd=tmp_path)
    assert await shell.wait() == 0
    status, _, errors = await akool(*FAN_OUT, "--then", "U1")
    assert status == 0, errors
    assert_each_once(emulator, tmp_path / "out.jsonl")


async def test_a_prompt_that_is_being_sent_at_a_kill_is_unknown(tmp_path):
    """After a kill between the POST and its reply, the next run reports the prompt and does not send it again."""
    write_prompts(tmp_path, "a fox")
    async with Emulator(speed=50) as emulator:
        emulator.faults.script("create_by_prompt", Fault.stall("after"))
        process = await start(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
        process.kill()
        await process.communicate()
        for _ in range(2):
            status, _, errors = await run(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
            assert status == 5
            assert "1 prompt outcome unknown" in errors
            (line,) = read_lines(tmp_path / "out.jsonl")
            assert (line["prompt"], line["charged"]) == ("a fox", None)
            assert "was killed" in line["error"]
            assert not (tmp_path / "out.jsonl.accepted").exists()
        assert emulator.ledger.accepted == 1


async def test_a_prompt_that_akool_refused_is_sent_by_the_next_run(tmp_path):
    """After a kill while AKOOL asks to wait (1005), a prompt was certainly not accepted, so it is not unknown."""
    write_prompts(tmp_path, "a fox")
    async with Emulator(speed=2) as emulator:
        emulator.faults.script("create_by_prompt", *[Fault.code(1005)] * 3)
        process = await start(*FAN_OUT, cwd=tmp_path, environment=emulator.environment())
        ids_file = tmp_path / "out.jsonl.accepted"
        await look_until(lambda: ids_file.exists() and '"sending": false' in ids_file.read_text())
        process.kill()
        await process.communicate()
        emulator.faults.clear()
        _, plan, _ = await run(*PLAN, "--json", cwd=tmp_path, environment=emulator.environment())
        printed = json.loads(plan)
        assert (printed["prompts"], printed["lost"]) == (1, [])


async def test_a_line_that_the_file_no_longer_asks_for_does_not_count(emulator, akool, tmp_path):
    """A failure from an earlier version of the file is neither in the sums nor in the exit status."""
    write_prompts(tmp_path, "a fox")
    emulator.faults.script("create_by_prompt", Fault.fails())
    assert (await akool(*FAN_OUT, *TREE))[0] == 3
    write_prompts(tmp_path, "a lynx")
    status, _, errors = await akool(*FAN_OUT)
    assert status == 0, errors
    assert "1 of 1 prompt done" in errors


async def test_a_name_stays_with_its_prompt(emulator, akool, tmp_path):
    """A row inserted before others with the same name does not change their names and files."""
    write_prompts(tmp_path, "A fox!", "a fox")
    arguments = (*FAN_OUT, "--download", "pictures")
    await akool(*arguments)
    before = {line["key"]: line["name"] for line in read_lines(tmp_path / "out.jsonl")}
    write_prompts(tmp_path, "a FOX", "a fox", "A fox!")
    status, _, errors = await akool(*arguments)
    assert status == 0, errors
    assert emulator.ledger.accepted == 3
    names = {line["key"]: line["name"] for line in read_lines(tmp_path / "out.jsonl")}
    assert names.items() >= before.items()
    assert sorted(names.values()) == ["a-fox", "a-fox-2", "a-fox-3"]


async def test_a_prompt_is_identified_by_its_key(emulator, akool, tmp_path):
    """Another text under a key that is in the output is not sent, and the plan says so."""
    for text in ("a fox", "a lynx"):
        (tmp_path / "prompts.csv").write_text(f"prompt,key\n{text},animal\n")
        status, _, errors = await akool("fan-out", "prompts.csv", "--yes", "-o", "out.jsonl")
        assert status == 0, errors
    assert "changed 1 prompts whose key has another text in the output" in " ".join(errors.split())
    assert emulator.ledger.accepted == 1


async def test_names_avoid_the_pictures_of_another_output(emulator, akool, tmp_path):
    """A new output in the same folder gets other names, in every run of it, and no picture is changed."""
    write_prompts(tmp_path, "a fox")
    options = ("--then", "U1", "--download", "pictures")
    await akool(*FAN_OUT, *options)
    before = {path: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    for _ in range(2):
        status, _, errors = await akool("fan-out", "prompts.txt", "--yes", "-o", "new.jsonl", *options)
        assert status == 0, errors
        assert set(nodes_of(tmp_path / "new.jsonl")) == {"a-fox-2", "a-fox-2-U1"}
    assert before.items() < {path: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}.items()
    status, _, errors = await akool(*FAN_OUT, *options)
    assert status == 0, errors
    assert set(nodes_of(tmp_path / "out.jsonl")) == {"a-fox", "a-fox-U1"}
    assert emulator.ledger.accepted == 4


@pytest.mark.parametrize(
    ("file", "is_taken"),
    [
        ("A-Fox-1.jpg", True),
        ("a-fox.PNG", True),
        ("a-fox-grid.webp", True),
        ("a-fox-U1.jpg", True),
        ("a-fox-V1-U3.jpg", True),
        ("a-fox-V2-4.gif", True),
        ("a-fox-2-1.jpg", False),
        ("a-fox-in-snow-1.jpg", False),
        ("a-fox-1.txt", False),
        (".a-fox-1-0123.part", False),
    ],
)
async def test_any_picture_of_a_tree_takes_its_name(akool, tmp_path, file, is_taken):
    """Pictures of the image, of presses on it and of further presses count, in any case; other files do not."""
    write_prompts(tmp_path, "a fox")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / file).write_bytes(b"mine")
    status, _, errors = await akool(*FAN_OUT, "--download", "pictures")
    assert status == 0, errors
    (name,) = nodes_of(tmp_path / "out.jsonl")
    assert (name != "a-fox") is is_taken
    assert (tmp_path / "pictures" / file).read_bytes() == b"mine"


async def test_the_pictures_of_a_store_keep_their_names(emulator, akool, tmp_path):
    """A run with a store and without an output finds the pictures that an earlier run saved."""
    write_prompts(tmp_path, "a fox")
    arguments = ("fan-out", "prompts.txt", "--yes", "--store", "sqlite:///a.db", "--download", "pictures")
    for _ in range(2):
        status, _, errors = await akool(*arguments)
        assert status == 0, errors
        assert {path.stem for path in (tmp_path / "pictures").iterdir()} == {
            f"a-fox-{n}" for n in ("1", "2", "3", "4", "grid")
        }
    assert emulator.ledger.accepted == 1


async def test_a_name_survives_a_kill_before_its_line_is_written(tmp_path):
    """The file of ids keeps the name, so that the next run saves the pictures under it rather than a further one."""
    write_prompts(tmp_path, "a fox")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a-fox.jpg").write_bytes(b"mine")
    async with Emulator(speed=5) as emulator:
        process = await start(*FAN_OUT, "--download", "pictures", cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
        ids = tmp_path / "out.jsonl.accepted"
        await look_until(lambda: b'"id"' in ids.read_bytes())
        process.kill()
        await process.communicate()
        (tmp_path / "pictures" / "a-fox-2-U1.jpg").write_bytes(b"saved before the kill")
        arguments = (*FAN_OUT, "--download", "pictures")
        status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert set(nodes_of(tmp_path / "out.jsonl")) == {"a-fox-2"}


async def test_another_picture_of_that_name_is_not_overwritten(tmp_path):
    """If another program saves a picture meanwhile, it stays, and the summary names the remedy, which works."""
    write_prompts(tmp_path, "a fox")
    picture = tmp_path / "pictures" / "a-fox-1.jpg"
    async with Emulator(speed=5) as emulator:
        arguments = (*FAN_OUT, "--then", "U1", "--download")
        environment = emulator.environment()
        process = await start(*arguments, "pictures", cwd=tmp_path, environment=environment)
        await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
        picture.write_bytes(b"mine")
        errors = (await process.communicate())[1].decode()
        assert process.returncode == 3, errors
        lines = nodes_of(tmp_path / "out.jsonl")
        assert "not overwritten" in lines["a-fox"]["error"]
        assert lines["a-fox-U1"]["ok"]
        assert picture.read_bytes() == b"mine"
        assert "not all pictures of 1 result were saved" in errors
        assert "run the same command with another --download folder, which fetches them again at no cost" in errors
        status, _, errors = await run(*arguments, "others", cwd=tmp_path, environment=environment)
        assert status == 0, errors
        assert emulator.ledger.accepted == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--then", "U9"), "button must be one of"),
        (("--then", "U1>V1"), "an upscale has no buttons"),
        (("--then", "V1>"), "after"),
        (("--retry-unknown", "--store", "sqlite:///a.db"), "akool resolve"),
    ],
)
async def test_bad_options_are_wrong_usage(emulator, akool, tmp_path, options, message):
    """They end with status 2 and the reason, before any request to AKOOL."""
    write_prompts(tmp_path, "a fox")
    status, _, errors = await akool(*FAN_OUT, *options)
    assert status == 2
    assert message in errors
    assert not emulator.ledger.requests


# --- files ---


def entries_of(text, name="batch.jsonl", then=""):
    batch = read_batch(text.encode(), name, read_then(then))
    assert batch.invalid == ()
    return batch.entries


def test_a_row_becomes_a_prompt_of_its_version():
    """A row with a column of v4 becomes a prompt for v4, with all source images."""
    text = (
        "prompt,scale,source_image,resolution,model_name,negative_prompt,batch_quantity,similar,key\n"
        "a fox,16:9,https://a.example/1.png,,,,,,mine\n"
        "a lynx,,https://a.example/1.png https://a.example/2.png,1080p,some/model,dogs,1,0.25,\n"
    )
    fox, lynx = (entry.item for entry in entries_of(text, "batch.csv"))
    assert fox == Prompt("a fox", scale="16:9", source_image="https://a.example/1.png", key="mine")
    images = ("https://a.example/1.png", "https://a.example/2.png")
    assert lynx == SourcePrompt(
        "a lynx",
        source_images=images,
        resolution="1080p",
        model_name="some/model",
        negative_prompt="dogs",
        similar=0.25,
        key=lynx.key,
    )
    fields = {"prompt": "a lynx", "source_image": list(images), "resolution": "1080p", "similar": 0.25}
    (again,) = entries_of(
        json.dumps(fields | {"model_name": "some/model", "negative_prompt": "dogs", "batch_quantity": 1})
    )
    assert again.item == lynx


def test_the_column_then_takes_precedence_over_the_option():
    """--then applies to results with buttons in rows that have neither a column then nor nested buttons."""
    rows = [
        {"image_id": "a", "button": "U1 V1 V2>U3"},
        {"image_id": "b", "button": "V1", "then": ["U1", {"V2": "U2"}]},
        {"prompt": "a fox"},
        {"prompt": "a lynx", "then": "V4"},
    ]
    entries = entries_of("\n".join(map(json.dumps, rows)), then="U4")
    assert [write_then(entry.item.then) for entry in entries] == ["", "U4", "U3", "U1 V2>U2", "U4", "V4"]


def test_what_is_asked_for_twice_is_done_once_with_all_that_follows():
    """The same press, or the same content under the same key, is one node; the same prompt without a key is two."""
    rows = [
        {"image_id": "a", "button": "V1", "then": "U1"},
        {"image_id": "a", "button": "V1", "then": "U2"},
        {"prompt": "a fox", "key": "k", "then": "U1"},
        {"prompt": "a fox", "key": "k", "then": "V1"},
        {"prompt": "a lynx"},
        {"prompt": "a lynx"},
    ]
    batch = read_batch("\n".join(map(json.dumps, rows)).encode(), "-")
    assert [write_then(entry.item.then) for entry in batch.entries] == ["U1 U2", "U1 V1", "", ""]
    assert batch.repeated == 2
    *_, third, fourth = batch.entries
    assert fourth.item.key == f"{third.item.key}-2"


def test_a_key_depends_on_the_content():
    """Other rows, presses on the result and the name do not change the key; every other field does."""
    alone = {entry.item.text: entry.item.key for entry in entries_of("a fox\na lynx\n", "batch.txt")}
    rows = [{"prompt": "a hare"}, {"prompt": "a lynx", "name": "cat", "then": "U1"}, {"prompt": "a fox"}]
    found = {entry.item.text: entry.item.key for entry in entries_of("\n".join(map(json.dumps, rows)))}
    assert found.items() >= alone.items()
    others = [{"scale": "4:3"}, {"source_image": "https://a.example/1.png"}, {"resolution": "4k"}]
    keys = {entry.item.key for other in others for entry in entries_of(json.dumps({"prompt": "a fox"} | other))}
    assert len(keys | {alone["a fox"]}) == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "a fox", "image_id": "a", "button": "U1"}, "prompt and image_id are in one row"),
        ({"prompt": "a fox", "button": "U1"}, "prompt and button are in one row"),
        ({"name": "x"}, "image_id and button missing, or a prompt"),
        ({"prompt": 5}, "prompt must be a non-empty text"),
        ({"prompt": "a fox", "scale": "5:5"}, "scale must be one of"),
        ({"prompt": "a fox", "source_image": "a.png"}, "source_image must be an absolute http"),
        (
            {"prompt": "a fox", "source_image": ["https://a.example/1", "https://a.example/2"]},
            "several need a v4 column",
        ),
        ({"prompt": "a fox", "resolution": "8k"}, "resolution must be one of"),
        ({"prompt": "a fox", "batch_quantity": "many"}, "batch_quantity must be a whole number"),
        ({"prompt": "a fox", "batch_quantity": 5}, "batch_quantity must be a whole number"),
        ({"prompt": "a fox", "similar": "x"}, "similar must be a number"),
        ({"prompt": "a fox", "then": "U1>U2"}, "then: nothing can be pressed on the result of U1"),
        ({"prompt": "a fox", "then": "(U1"}, 'then: "(" without ")"'),
        ({"prompt": "a fox", "key": 5}, "key must be a non-empty text"),
        ({"prompt": "a fox", "key": "known"}, "key 'known' belongs to line 1, which is another prompt"),
        ({"image_id": "a", "button": "U1", "then": "U2"}, "then: nothing can be pressed on the result of U1"),
        ({"image_id": "a", "button": "V1>"}, 'button: write a button after ">"'),
        ({"image_id": "a", "button": "U1", "scale": "1:1"}, "scale is only for prompts"),
        ({"prompt": "a fox", "name": "a/b"}, "name must not hold '/'"),
        ({"prompt": "a fox", "name": "..a"}, "name must neither begin nor end with a dot"),
        ({"prompt": "a fox", "name": "a\nb"}, "name must not hold"),
        ({"prompt": "a fox", "name": "a\u202eb"}, "name must not hold invisible characters"),
        ({"prompt": "a fox", "name": "x" * 121}, "name must have at most 120 bytes"),
        ({"prompt": "a fox", "name": 7}, "name must be a text"),
    ],
    ids=str,
)
def test_a_row_that_cannot_be_read_is_reported(row, reason):
    """The number of its line and a reason that names the column are reported; the other rows count."""
    batch = read_batch(b'{"prompt": "a hare", "key": "known"}\n' + json.dumps(row).encode(), "-")
    assert len(batch.entries) == 1
    assert [(invalid.line, reason in invalid.reason) for invalid in batch.invalid] == [(2, True)], batch.invalid


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("prompts.txt", "image_id,button\na,U1\n", "looks like CSV.*prompts.csv"),
        ("prompts.txt", "Prompt\na fox\n", "looks like CSV"),
        ("prompts.txt", "prompt;then\na fox;U1\n", "looks like CSV"),
        ("prompts.txt", '{"prompt": "a fox"}\n', "looks like JSONL.*TXT.*prompts.jsonl"),
        ("prompts.txt", "\n \n", "no press and no prompt: write one prompt on each line$"),
        ("prompts.jsonl", "\n", "no press and no prompt: write on each line {.*}"),
        ("prompts.csv", "prompt,prompt\na,b\n", "the column prompt twice"),
        ("prompts.csv", "text\na fox\n", "column prompt"),
        ("prompts.csv", "prompt\n", "no press and no prompt"),
    ],
)
def test_a_file_that_is_something_else_is_reported(name, content, reason):
    """The error says what the file looks like, or what is missing."""
    with pytest.raises(InputFileError, match=reason):
        read_batch(content.encode(), name)


@given(st.lists(st.text().filter(lambda text: text.strip()), min_size=1))
def test_any_line_of_text_is_a_prompt(prompts):
    """Each line that is not blank is a prompt, whatever it holds, unless the file is refused."""
    with_ends = "\n".join(prompts)
    try:
        batch = read_batch(with_ends.encode(errors="surrogatepass"), "batch.txt")
    except InputFileError:
        return
    for entry in batch.entries:
        assert isinstance(entry.item, Prompt)
        assert entry.item.text == entry.item.text.strip()


# --- names ---


@given(st.text())
def test_a_short_name_can_name_a_file(text):
    """Every prompt gives a name of at most 40 characters, in any script, that is accepted as a name."""
    name = short_name(text)
    assert check_name(name) == name
    assert len(name) <= MAX_SHORT_NAME
    assert len(name.encode()) <= MAX_NAME_SIZE
    assert name == name.lower()
    assert "--" not in name


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("A lighthouse, in a STORM!", "a-lighthouse-in-a-storm"),
        ("a cat " * 20, "a-cat-a-cat-a-cat-a-cat-a-cat-a-cat-a"),
        ("x" * 100, "x" * 40),
        ("Füchse & Вöлк 灯台", "füchse-вöлк-灯台"),
        ("../../etc/passwd", "etc-passwd"),
        ("🦊", "prompt"),
        ("नमस्ते दुनिया", "नमस्ते-दुनिया"),
    ],
)
def test_a_short_name_is_some_words_of_the_prompt(prompt, name):
    """The name ends at a word; letters of other scripts stay."""
    assert short_name(prompt) == name


@given(st.lists(st.sampled_from(["a", "A", "a-2", "a-V1", "a-b2", "b", "a-2-V1-U2"]), min_size=1, max_size=8))
def test_no_two_trees_have_one_name(names):
    """Every file name belongs to one tree, even if given names differ in case only, or end with numbers or buttons."""
    rows = [{"prompt": f"fox {n}", "name": name, "batch_quantity": 2} for n, name in enumerate(names)]
    entries = entries_of("\n".join(map(json.dumps, rows)))
    given_names = assign_names(entries, [])
    paths = ("", *Button, "V1-V1", "V1-U2", "V1-V1-U2")
    files = Counter(f"{name}-{path}".removesuffix("-").casefold() for name in given_names.values() for path in paths)
    assert set(files.values()) == {1}
    lines = [
        OutcomeLine(image_id=None, button=None, prompt="x", key=entry.item.key, name=given_names[entry.node])
        for entry in entries
    ]
    assert assign_names(entries, lines[::-1]) == given_names


def test_presses_of_one_image_share_its_name():
    """The name of a row of presses is that of the image; another image of that name gets a number."""
    rows = [
        {"image_id": "a", "button": "U*", "name": "roof"},
        {"image_id": "b", "button": "U1", "name": "roof"},
        {"image_id": "a", "button": "V1", "name": "roof"},
        {"image_id": "c", "button": "V1"},
    ]
    entries = entries_of("\n".join(map(json.dumps, rows)))
    assert list(assign_names(entries, []).values()) == [*["roof"] * 4, "roof-2", "roof", None]
    taken = list(assign_names(entries, [], in_folder={"roof"}).values())
    assert taken == [*["roof-2"] * 4, "roof-3", "roof-2", None]
    assert entries[0].item == ButtonPress("a", "U1")
    assert Path(check_name("roof")).name == "roof"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", "prompt,thn,note\na cat,U*,mine\n"),
        ("p.jsonl", '{"prompt": "a dog", "then": "U1"}\n{"prompt": "a cat", "thn": "U*", "note": 1}\n'),
    ],
)
async def test_a_misspelt_column_is_refused_before_anything_is_spent(emulator, akool, tmp_path, name, content):
    """The plan names all columns that are not read, and guesses what a misspelt one means. --yes refuses that one."""
    (tmp_path / name).write_text(content)
    status, plan, errors = await akool("fan-out", name)
    assert status == 0, errors
    assert "not read 2 columns: thn (is it then?), note" in " ".join(plan.split())
    status, _, errors = await akool("fan-out", name, "--yes", "-o", "out.jsonl")
    assert status == 2
    assert f"{name} has a column thn, which is not read: rename it to then, or remove it. Nothing was spent" in errors
    assert emulator.ledger.posts == []


async def test_a_column_for_other_programs_is_only_named(akool, tmp_path):
    """A column is no misspelling if it resembles no column, or one that the file has."""
    (tmp_path / "p.csv").write_text("prompt,name,names,notes\na cat,cat,cats,mine\n")
    status, _, errors = await akool("fan-out", "p.csv", "--yes", "-o", "out.jsonl")
    assert status == 0, errors
    assert "not read 2 columns: names, notes" in " ".join(errors.split())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("promt\na cat\n", "p.csv has no column prompt, but a column promt: rename it to prompt"),
        ("image_id,buton\n1,U1\n", "p.csv has no column button, but a column buton: rename it to button"),
        ("Image,notes\n1,U1\n", "p.csv has no column image_id, but a column image: rename it to image_id"),
    ],
)
async def test_a_misspelt_header_is_named(akool, tmp_path, content, reason):
    """If a file lacks a necessary column, the error names the one that is probably meant."""
    (tmp_path / "p.csv").write_text(content)
    status, _, errors = await akool("fan-out", "p.csv")
    assert status == 2
    assert reason in errors


async def test_a_text_on_stdin_is_refused_with_the_remedy(emulator, tmp_path):
    """Standard input is not read as one prompt on each line; the error says what it may hold."""
    environment = emulator.environment()
    status, _, errors = await run("fan-out", "-", cwd=tmp_path, environment=environment, stdin=b"a cat\n")
    assert status == 2
    assert "standard input is read as CSV or JSONL, so the first line must be a header" in errors
    assert "one prompt on each line works in a .txt file" in errors


async def test_a_wrong_note_is_refused(akool, tmp_path, emulator):
    """The placeholder of the printed command, and a line that is no note, are reported before anything is spent."""
    write_prompts(tmp_path, "a fox")
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    status, _, _ = await akool(*FAN_OUT)
    assert status == 5
    notes = tmp_path / "out.jsonl.accepted"
    key = read_lines(tmp_path / "out.jsonl")[0]["key"]
    for line, message in (
        (f'{{"key": "{key}", "id": "ID"}}', "in line 1, put the id of the image in place of ID"),
        (f'{{"key": "{key}", "id": "abc"}}\nrubbish', "has a line 2 that cannot be read: correct or remove it"),
        ("rubbish", "is in the way, and was not written by an earlier run"),
    ):
        notes.write_text(f"{line}\n")
        status, _, errors = await akool(*FAN_OUT)
        assert status == 1
        assert message in " ".join(errors.split())
    assert len(emulator.ledger.posts) == 1
