"""`akool fan-out --store` with prompts and trees: recorded first, carried out by any worker, settled by key."""

import asyncio
import json

import pytest

from akool_async.emulator import Emulator, Fault
from tests.support.commands import read_lines, run, start

TREE = ("--then", "U1 V1>U1")
NAMES = {f"{fox}{end}" for fox in ("a-fox", "a-lynx") for end in ("", "-U1", "-V1", "-V1-U1")}


@pytest.fixture
def fan_out(store):
    """Return the arguments of a run with a store."""
    return ("fan-out", "prompts.txt", "--yes", "-o", "out.jsonl", "--store", store, "--quiet")


@pytest.fixture
def akool(emulator, tmp_path):
    """Run a command in a folder with a file of two prompts."""
    (tmp_path / "prompts.txt").write_text("a fox\na lynx\n")

    async def run_there(*arguments, emulated=emulator):
        return await run(*arguments, cwd=tmp_path, environment=emulated.environment())

    return run_there


def lines_of(folder):
    return {line["name"]: line for line in read_lines(folder / "out.jsonl")}


async def test_trees_are_recorded_and_carried_out(emulator, akool, fan_out, tmp_path):
    """Each node is accepted once and has a line; a second run presses nothing, a longer ``then`` only what it adds."""
    for _ in range(2):
        status, _, errors = await akool(*fan_out, *TREE)
        assert (status, errors) == (0, "")
    lines = lines_of(tmp_path)
    assert set(lines) == NAMES
    assert all(line["ok"] for line in lines.values())
    assert lines["a-fox-V1-U1"]["image_id"] == lines["a-fox-V1"]["id"]
    assert emulator.ledger.accepted == 8
    status, _, errors = await akool(*fan_out, "--then", "U1 U2 V1>U1")
    assert (status, errors) == (0, "")
    assert set(lines_of(tmp_path)) == NAMES | {"a-fox-U2", "a-lynx-U2"}
    assert emulator.ledger.accepted == 10
    assert emulator.ledger.pressed_twice() == []


async def test_the_plan_of_a_second_run_knows_the_store(emulator, akool, store):
    """All recorded nodes are counted, presses on existing images are counted as such, and prices are as charged."""
    plan = ("fan-out", "prompts.txt", "--store", store)
    _, output, _ = await akool(*plan, *TREE)
    assert "credits for an upscale 2 from AKOOL's pages; the store has no charge for one yet" in " ".join(
        output.split()
    )
    status, _, errors = await akool(*plan, *TREE, "--yes", "--quiet")
    assert (status, errors) == (0, "")
    _, output, _ = await akool(*plan, "--then", "U1 U2 V1>(U1 U3)", "--json")
    printed = json.loads(output)
    assert (printed["recorded"], printed["to_press"], printed["images"], len(printed["levels"])) == (8, 4, 4, 1)
    assert (printed["estimated"], printed["credits"]) == ([], 8)
    _, output, _ = await akool(*plan, "--then", "U1 U2 V1>(U1 U3)")
    shown = " ".join(output.split())
    assert "to press 4 4 upscales of 4 images" in shown
    assert "recorded 8 in the store already" in shown
    assert "credits for an upscale 2 as last charged" in shown
    status, _, errors = await akool(*plan, "--then", "U1 U2 V1>(U1 U3)", "--yes", "--quiet")
    assert (status, errors) == (0, "")
    assert emulator.ledger.accepted == 12


async def test_a_killed_run_is_completed_by_a_worker_and_the_next_run(store, fan_out, tmp_path, akool):
    """After a SIGKILL in the middle of the trees a worker continues, and the same command writes all lines."""
    async with Emulator(speed=60) as emulator:
        process = await start(*fan_out, *TREE, cwd=tmp_path, environment=emulator.environment(), stdin=None)
        ended = asyncio.create_task(process.communicate())
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 4)
        process.kill()
        await ended
        status, _, errors = await akool(
            *("worker", "--store", store, "--until-empty", "--lost-reply-timeout=0", "--quiet"), emulated=emulator
        )
        assert status in {0, 5}, errors
        status, _, errors = await akool(*fan_out, *TREE, emulated=emulator)
        assert status in {0, 5}, errors  # 5: the program was killed before the reply to a POST
        assert set(lines_of(tmp_path)) == NAMES
        assert emulator.ledger.pressed_twice() == []
        assert emulator.ledger.requests["create_by_prompt"] == 2


async def test_an_unknown_prompt_of_a_store_is_settled_by_its_key(emulator, akool, fan_out, store, tmp_path):
    """A lost reply is listed with its key; `akool resolve KEY prompt` and the same run complete the tree."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    status, _, errors = await akool(*fan_out, *TREE, "--lost-reply-timeout=0")
    assert status == 5
    lines = lines_of(tmp_path)
    (unknown,) = [line for line in lines.values() if line["button"] is None and not line["ok"]]
    assert f"akool resolve {unknown['key']} prompt --id ID" in errors
    assert "--retry sends a prompt again, which may cost its credits twice" in errors
    assert lines[f"{unknown['name']}-U1"]["error"].startswith("U1 was not pressed")
    status, listed, _ = await akool("jobs", "unknown", "--store", store, "--json")
    assert status == 5
    (job,) = map(json.loads, listed.splitlines())
    assert (job["prompt"], job["key"], job["state"]) == (unknown["prompt"], unknown["key"], "unknown")
    status, table, _ = await akool("jobs", "--store", store)
    assert f"{unknown['key']}" in table
    lost_id = emulator.ledger.posts[0].new_ids[0]
    status, _, errors = await akool("resolve", unknown["key"], "prompt", "--id", lost_id, "--store", store)
    assert status == 0, errors
    status, _, errors = await akool(*fan_out, *TREE)
    assert (status, errors) == (0, "")
    assert all(line["ok"] for line in lines_of(tmp_path).values())
    assert emulator.ledger.accepted == 8


async def test_a_budget_covers_trees_of_a_store(emulator, akool, fan_out, tmp_path):
    """The rest is over budget, which is no failure; with more credits the same command makes it."""
    status, _, errors = await akool(*fan_out, *TREE, "--max-credits", "10")
    assert (status, errors) == (0, "")
    assert emulator.ledger.charged <= 10
    over = [line for line in lines_of(tmp_path).values() if not line["ok"]]
    assert over
    assert all(line["error"].startswith("not sent: ") for line in over)
    assert all(line["over_budget"] for line in over)
    status, _, errors = await akool(*fan_out, *TREE, "--max-credits", "100")
    assert (status, errors) == (0, "")
    assert all(line["ok"] for line in lines_of(tmp_path).values())
    assert emulator.ledger.accepted == 8
