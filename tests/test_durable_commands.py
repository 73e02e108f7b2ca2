"""`akool fan-out --store`, `worker`, `jobs`, `resolve` and `prune`, as a shell runs them."""

import asyncio
import json
import shlex
import signal
from contextlib import suppress
from datetime import datetime

import pytest

from akool_async import Button, Prompt
from akool_async.cli import ExitStatus
from akool_async.cli.account import StoreOptions
from akool_async.emulator import Fault
from tests.support import commands
from tests.support.durable_faults import count_claimed_with_ids
from tests.support.looks import look_until
from tests.support.workers import Line, open_jobs, worker


@pytest.fixture
def akool(slow, store, tmp_path):
    """A function that runs a command with the store."""

    async def run(name, *arguments):
        environment = slow.environment()
        return await commands.run(name, *arguments, "--store", store, cwd=tmp_path, environment=environment)

    return run


def write_batch(folder, slow, images):
    ids = [slow.add_image() for _ in range(images)]
    rows = [f"{image_id},{button}" for image_id in ids for button in Button]
    (folder / "batch.csv").write_text("\n".join(["image_id,button", *rows]))
    return len(rows)


def read(output):
    return [json.loads(line) for line in output.splitlines()]


async def test_a_batch_is_recorded_carried_out_and_reported_again(slow, akool, tmp_path):
    """The run prints a line per press. The same command then prints the same lines and presses nothing."""
    presses = write_batch(tmp_path, slow, 1)
    status, output, errors = await akool("fan-out", "batch.csv", "--yes")
    assert status == ExitStatus.DONE, errors
    assert "8 of 8 presses done, 16 credits charged by this run" in errors
    lines = read(output)
    assert [line["ok"] for line in lines] == [True] * presses
    status, output, errors = await akool("fan-out", "batch.csv", "--yes")
    assert status == ExitStatus.DONE, errors
    assert sorted(map(str, read(output))) == sorted(map(str, lines))
    assert "8 of 8 presses done, 0 credits charged by this run" in errors
    assert slow.ledger.accepted == presses


@pytest.mark.timeout(240)
async def test_a_run_that_is_killed_goes_on_when_run_again(slow, store, akool, tmp_path):
    """The first two runs are killed midway. The third reports every press, and each was accepted once."""
    presses = write_batch(tmp_path, slow, 3)
    for accepted in (6, 15):
        process = await commands.start(
            *("fan-out", "batch.csv", "--yes", "--quiet", "--store", store),
            cwd=tmp_path,
            environment=slow.environment(),
        )
        await slow.ledger.until(lambda ledger: ledger.accepted >= accepted)  # noqa: B023 - awaited here
        process.kill()
        await process.communicate()
    status, output, errors = await akool("fan-out", "batch.csv", "--yes")
    assert "recorded" in errors
    lines = read(output)
    unknown = [line for line in lines if not line["ok"]]
    assert len(lines) == presses
    assert status == (ExitStatus.OUTCOME_UNKNOWN if unknown else ExitStatus.DONE), errors
    assert slow.ledger.accepted == presses
    assert slow.ledger.pressed_twice() == []
    assert slow.ledger.peak_upscales <= 4
    assert slow.ledger.charged == sum(line["credits"] or 2 for line in lines)


async def test_two_runs_of_the_same_file_share_the_work(slow, akool, tmp_path):
    """Both report every press. Each press is accepted once, under one shared cap."""
    presses = write_batch(tmp_path, slow, 2)
    runs = await asyncio.gather(*(akool("fan-out", "batch.csv", "--yes") for _ in range(2)))
    for status, output, errors in runs:
        assert status == ExitStatus.DONE, errors
        assert len(read(output)) == presses
    assert slow.ledger.accepted == presses
    assert slow.ledger.peak_upscales <= 4


async def test_sigterm_leaves_a_run_to_a_worker(slow, store, akool, tmp_path):
    """After SIGTERM, a run prints how to go on, and a worker carries out the open presses."""
    presses = write_batch(tmp_path, slow, 2)
    process = await commands.start(
        *("fan-out", "batch.csv", "--yes", "--store", store), cwd=tmp_path, environment=slow.environment()
    )
    await slow.ledger.until(lambda ledger: ledger.accepted >= 6)
    process.send_signal(signal.SIGTERM)
    _, errors = await process.communicate()
    assert process.returncode == ExitStatus.INTERRUPTED
    assert "open presses stay in the store; to continue, run the same command" in errors.decode()
    assert f" {slow.ledger.charged:g} credits charged by this run" in errors.decode()
    async with worker(slow, store, tmp_path, "--until-empty") as other:
        assert await other.wait() == ExitStatus.DONE
    _, output, _ = await akool("jobs", "done", "--json")
    assert len(read(output)) == presses == slow.ledger.accepted


async def test_a_plan_records_nothing(slow, store, akool, tmp_path):
    """Without --yes nothing is spent or recorded. The plan counts the presses that are recorded already."""
    presses = write_batch(tmp_path, slow, 1)
    status, output, _ = await akool("fan-out", "batch.csv")
    assert status == ExitStatus.DONE
    assert "to press" in output
    async with open_jobs(slow, store) as jobs:
        assert (await jobs.status()).open == 0
        image_id = (tmp_path / "batch.csv").read_text().splitlines()[1].partition(",")[0]
        await jobs.submit([(image_id, button) for button in ("U1", "V1", "V2")])
    status, output, _ = await akool("fan-out", "batch.csv", "--json")
    plan = json.loads(output)
    assert (plan["recorded"], plan["to_press"]) == (3, presses - 3)


async def test_a_budget_limits_newly_recorded_presses(slow, akool, tmp_path):
    """Of eight presses at 2 credits, five fit 10 credits. The others are over budget, which is not a failure."""
    write_batch(tmp_path, slow, 1)
    status, output, errors = await akool("fan-out", "batch.csv", "--yes", "--max-credits", "10")
    assert status == ExitStatus.DONE, errors
    assert sum(line["ok"] for line in read(output)) == 5
    assert slow.ledger.charged == 10


async def test_a_budget_counts_presses_that_wait_in_the_store(slow, store, akool, tmp_path):
    """Four waiting presses cost 8 credits. With a smaller budget nothing is pressed; with 12 credits two more are."""
    write_batch(tmp_path, slow, 1)
    source = slow.add_image()
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(source, f"V{index}") for index in (1, 2, 3, 4)])
    status, output, _ = await akool("fan-out", "batch.csv", "--json")
    plan = json.loads(output)
    assert (plan["waiting"], plan["to_press"], plan["credits"]) == (4, 8, 24)
    status, _, errors = await akool("fan-out", "batch.csv", "--yes", "--max-credits", "7")
    assert (status, "that the store already holds may cost 8 credits" in errors) == (
        ExitStatus.USAGE,
        True,
    )
    assert slow.ledger.posts == []
    status, output, errors = await akool("fan-out", "batch.csv", "--yes", "--max-credits", "12")
    assert status == ExitStatus.DONE, errors
    assert sum(line["ok"] for line in read(output)) == 2
    assert slow.ledger.charged <= 12


@pytest.mark.parametrize(("max_credits", "cost"), [(40, 6), (9, 3)])
async def test_a_budget_counts_presses_below_running_prompts(slow, store, akool, tmp_path, max_credits, cost):
    """Three prompts run, and their upscales will cost 6 credits, or what the earlier budget has left: both count."""
    write_batch(tmp_path, slow, 1)
    slow.faults.script("create_by_prompt", *[Fault.stuck()] * 3)
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([Prompt(f"fox {n}", then="U1", key=f"fox {n}") for n in range(3)], max_credits=max_credits)
        running = asyncio.create_task(jobs.run())
        await slow.ledger.until(lambda ledger: ledger.accepted == 3)
        await look_until(lambda: count_claimed_with_ids(store) == 3)
        running.cancel()
        await asyncio.wait([running])
    status, _, errors = await akool("fan-out", "batch.csv", "--yes", "--max-credits", str(cost - 1))
    assert status == ExitStatus.USAGE, errors
    assert f"that the store already holds may cost {cost} credits, but only {cost - 1} may be spent" in errors
    assert slow.ledger.charged == 6


async def test_two_runs_of_overlapping_files_each_keep_their_budget(slow, akool, tmp_path):
    """A press counts in the budget of the run that records it first. The total stays within the sum of both."""
    images = [slow.add_image() for _ in range(3)]
    for name, some in (("one.csv", images[:2]), ("two.csv", images[1:])):
        rows = [f"{image_id},V{index}" for image_id in some for index in (1, 2, 3, 4)]
        (tmp_path / name).write_text("\n".join(["image_id,button", *rows]))
    first, second = await asyncio.gather(
        akool("fan-out", "one.csv", "--yes", "--max-credits", "10"),
        akool("fan-out", "two.csv", "--yes", "--max-credits", "8"),
    )
    for status, _, errors in (first, second):  # one may find more waiting than its budget covers
        assert status in {ExitStatus.DONE, ExitStatus.USAGE}, errors
    assert 0 < slow.ledger.charged <= 18
    assert slow.ledger.pressed_twice() == []


async def test_a_worker_that_is_stopped_twice_loses_no_id(slow, store, tmp_path):
    """A second SIGTERM while replies are under way does not keep their ids from being recorded."""
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(slow.add_image(), button) for button in ("V1", "V2", "V3")])
        slow.faults.script("create_by_button", *[Fault.slow(2, "after")] * 3)
        async with worker(slow, store, tmp_path) as process:
            await slow.ledger.until(lambda ledger: ledger.accepted == 3)
            process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.1)  # otherwise the two signals may be merged
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == ExitStatus.DONE
        assert [job.operation_id is not None async for job in jobs.jobs("open", "done")] == [True] * 3


async def test_a_worker_with_a_wrong_key_ends(slow, store, tmp_path):
    """Otherwise it would wait forever, since no account has jobs under that key."""
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(slow.add_image(), "V1")])
    environment = {**slow.environment(), "AKOOL_API_KEY": "mistyped"}
    status, _, errors = await commands.run("worker", "--store", store, cwd=tmp_path, environment=environment)
    assert status == ExitStatus.ERROR
    assert "nothing is recorded for this account" in errors
    assert "1101" in errors


async def test_a_lost_press_is_listed_and_resolved(slow, store, akool, tmp_path):
    """An unknown press causes exit status 5 and is listed with its reason. Given its id, a worker finishes it."""
    image_id = slow.add_image()
    (tmp_path / "batch.csv").write_text(f"image_id,button\n{image_id},U1\n")
    slow.faults.script("create_by_button", Fault.reset("after"))
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(image_id, "U1")])
    async with worker(slow, store, tmp_path, "--lost-reply-timeout=0.1", "--until-empty") as process:
        assert await process.wait() == ExitStatus.OUTCOME_UNKNOWN
    status, output, _ = await akool("fan-out", "batch.csv", "--yes")
    assert status == ExitStatus.OUTCOME_UNKNOWN
    status, output, errors = await akool("jobs")
    assert status == ExitStatus.OUTCOME_UNKNOWN
    assert f"akool resolve {image_id} U1 --id ID" in errors
    assert output.startswith(
        "0 waiting, 0 running, 0 done, 0 failed, 1 unknown; "
        "2 credits charged, 2 of them by estimate for presses whose id is lost\n"
    )
    (line,) = [line for line in output.splitlines() if image_id in line]
    assert "the button is used" in line  # not shortened, since stdout is not a terminal
    (new_id,) = slow.ledger.posts[0].new_ids
    status, _, errors = await akool("resolve", image_id, "U1", "--id", new_id)
    assert status == ExitStatus.DONE
    assert "is open again" in errors
    async with worker(slow, store, tmp_path, "--until-empty") as process:
        assert await process.wait() == ExitStatus.DONE
    _, output, _ = await akool("jobs")
    assert output == "0 waiting, 0 running, 1 done, 0 failed, 0 unknown; 2 credits charged\n"
    _, output, _ = await akool("jobs", "done", "--json")
    (job,) = read(output)
    assert (job["id"], job["state"], job["ok"]) == (new_id, "done", True)
    status, _, errors = await akool("prune", "--days", "0")
    assert (status, errors) == (ExitStatus.DONE, "1 prompt or press deleted that ended more than 0 days ago\n")


async def test_a_printed_command_can_be_pasted(slow, tmp_path):
    """fan-out, jobs and worker print a command with the store, the account and the key file. It works as printed."""
    image_id = slow.add_image()
    (tmp_path / "batch.csv").write_text(f"image_id,button\n{image_id},U1\n")
    (tmp_path / "my keys").write_text("".join(f"{name}={value}\n" for name, value in slow.environment().items()))
    slow.faults.script("create_by_button", Fault.reset("after"))
    address = ("--store", "sqlite:///my presses.db", "--account", "studio", "--key-file", "my keys")
    wanted = (
        f"akool resolve {image_id} U1 --id ID --store 'sqlite:///my presses.db' --account studio --key-file 'my keys'"
    )
    async with open_jobs(slow, f"sqlite:///{tmp_path}/my presses.db", account="studio") as jobs:
        await jobs.submit([(image_id, "U1")])
    working = ["worker", "--until-empty", "--lost-reply-timeout", "0.1"]
    for command in (working, ["jobs"], ["fan-out", "batch.csv", "--yes"]):
        status, _, errors = await commands.run(*command, *address, cwd=tmp_path)
        assert status == ExitStatus.OUTCOME_UNKNOWN, errors
        assert wanted in errors.splitlines()
    (new_id,) = slow.ledger.posts[0].new_ids
    arguments = shlex.split(wanted.replace("--id ID", f"--id {new_id}"))[1:]
    status, _, errors = await commands.run(*arguments, cwd=tmp_path)
    assert status == ExitStatus.DONE, errors


@pytest.mark.parametrize(
    ("store", "printed"),
    [
        (
            "postgresql://me:hunter2@host/presses?sslmode=require&password=hunter3",
            "'postgresql://me:PASSWORD@host/presses?password=PASSWORD&sslmode=require'",
        ),
        ("postgresql://me@host/presses?sslpassword=hunter2", "'postgresql://me@host/presses?sslpassword=PASSWORD'"),
        ("postgres://me:@host/presses", "postgres://me:@host/presses"),
        ("postgresql://host/presses?sslmode=require", "'postgresql://host/presses?sslmode=require'"),
    ],
)
def test_a_printed_command_has_no_password(store, printed):
    """Passwords in the user part and in the query are replaced. A URL without a password is printed as given."""
    assert StoreOptions(store=store, account=None, key_file=None).for_shell() == f"--store {printed}"


async def test_a_worker_reports_that_it_made_a_store(slow, tmp_path):
    """The first worker reports that the file is new, so that a typo in its name is noticed. The next one does not."""
    for is_new in (True, False):
        status, _, errors = await commands.run(
            *("worker", "--until-empty", "--store", "sqlite:///typo.db"), cwd=tmp_path, environment=slow.environment()
        )
        assert status == ExitStatus.DONE
        assert ("a new store was created" in errors and "typo.db" in errors) is is_new


async def test_a_run_counts_a_press_whose_id_is_reported_while_it_waits(slow, store, akool, tmp_path):
    """The reply was lost and another process reports the id. The summary of this run includes the charge."""
    press = (slow.add_image(), "U1")
    slow.prices["upscale"] = 3
    (tmp_path / "batch.csv").write_text("image_id,button\n" + ",".join(press))
    slow.faults.script("create_by_button", Fault.reset("after"))
    running = asyncio.create_task(akool("fan-out", "batch.csv", "--yes"))
    await slow.ledger.until(lambda ledger: ledger.accepted == 1)
    async with open_jobs(slow, store) as jobs:

        async def is_settled():
            with suppress(ValueError):  # until the run searches for the id
                await jobs.resolve(press, operation_id=slow.ledger.posts[0].new_ids[0])
                return True

        await look_until(is_settled)
        status, _, errors = await running
        assert (await jobs.status()).credits_charged == 3
    assert status == ExitStatus.DONE, errors
    assert "1 of 1 press done, 3 credits charged by this run" in errors


async def test_the_exit_status_is_5_while_a_press_is_unknown(slow, store, akool, tmp_path):
    """It is 5, whatever `akool jobs` lists. Once the press is settled, it is 3 if a failed press is listed, else 0.

    Until then, each command counts the press as unknown and prints the command that settles it.
    """
    image_id = slow.add_image()
    slow.faults.script("create_by_button", Fault.reset("after"), Fault.code(1009))
    async with open_jobs(slow, store, max_concurrent_upscales=1) as jobs:
        for button in ("U1", "U2"):
            await jobs.submit([(image_id, button)])
            await jobs.run()
        await jobs.submit([(image_id, "V1")])
        status, _, errors = await akool("worker", "--until-empty", "--quiet")
        assert status == ExitStatus.OUTCOME_UNKNOWN
        assert "1 press was charged, and the id of the new image is lost; to list what is unknown, run:" in errors
        for states in ((), ("unknown", "--json"), ("failed",), ("done", "--json")):
            status, _, errors = await akool("jobs", *states)
            assert status == ExitStatus.OUTCOME_UNKNOWN
            assert f"akool resolve {image_id} U1 --id ID" in errors
        await jobs.resolve((image_id, "U1"), operation_id=slow.ledger.posts[0].new_ids[0])
    status, _, errors = await akool("worker", "--until-empty")
    assert status == ExitStatus.SOME_FAILED
    assert "0 waiting, 0 running, 2 done, 1 failed, 0 unknown" in errors
    assert "akool resolve" not in errors
    for states, wanted in (("failed", ExitStatus.SOME_FAILED), ("done", ExitStatus.DONE)):
        status, _, errors = await akool("jobs", states)
        assert (status, "akool resolve" in errors) == (wanted, False)


async def test_a_worker_prints_times(slow, postgresql, tmp_path):
    """Each line of a worker begins with the time, and so do warnings of the library."""
    async with Line(postgresql()) as line:
        async with open_jobs(slow, line.store) as jobs:
            await jobs.submit([(slow.add_image(), button) for button in ("V1", "V2")])
        line.cut()
        process = await commands.start(
            *("worker", "--until-empty", "--store", line.store), cwd=tmp_path, environment=slow.environment()
        )
        await look_until(lambda: line.refused >= 2)
        line.mend()
        _, errors = await process.communicate()
    assert process.returncode == ExitStatus.DONE
    lines = errors.decode().splitlines()
    assert "cannot be used" in lines[0]
    assert lines[-1].endswith(" 0 waiting, 0 running, 2 done, 0 failed, 0 unknown")
    for line in lines:
        day, time, _ = line.split(" ", 2)
        assert datetime.fromisoformat(f"{day} {time}").tzinfo is not None


async def test_wrong_usage_is_reported(slow, store, empty_store, akool, tmp_path):
    """A missing or wrong store, --timeout with a store, two ways to resolve, an empty store, and an unknown press."""
    write_batch(tmp_path, slow, 1)
    environment = slow.environment()
    status, _, errors = await commands.run("worker", cwd=tmp_path, environment=environment)
    assert (status, "Missing option '--store'" in errors) == (ExitStatus.USAGE, True)
    status, _, errors = await commands.run("jobs", "--store", "akool.db", cwd=tmp_path, environment=environment)
    assert (status, "store must be a URL such as" in errors) == (ExitStatus.USAGE, True)
    status, _, errors = await akool("fan-out", "batch.csv", "--timeout", "5")
    assert (status, "--timeout cannot be used with --store" in errors) == (ExitStatus.USAGE, True)
    status, _, errors = await akool("resolve", "0" * 24, "U1", "--retry", "--abandon")
    assert (status, "use exactly one of --id" in errors) == (ExitStatus.USAGE, True)
    status, _, errors = await commands.run("jobs", "--store", empty_store, cwd=tmp_path, environment=environment)
    assert (status, "does not exist: nothing was recorded there" in errors) == (ExitStatus.ERROR, True)
    async with open_jobs(slow, store):
        pass
    status, _, errors = await akool("resolve", "0" * 24, "U1", "--abandon")
    assert (status, "was not submitted" in errors) == (ExitStatus.USAGE, True)


async def test_a_named_account_keeps_its_presses_when_its_key_changes(slow, akool, tmp_path):
    """Another key finds the recorded presses with the same --account, and does not find them without it."""
    (tmp_path / "other.env").write_text(
        f"AKOOL_CLIENT_ID={slow.client_id}\nAKOOL_CLIENT_SECRET={slow.client_secret}\nAKOOL_BASE_URL={slow.base_url}\n"
    )
    write_batch(tmp_path, slow, 1)
    status, _, errors = await akool("fan-out", "batch.csv", "--yes", "--account", "studio")
    assert status == ExitStatus.DONE, errors
    for name, done in ((["--account", "studio"], 8), ([], 0)):
        status, output, _ = await akool("jobs", "done", "--json", "--key-file", "other.env", *name)
        assert (status, len(read(output))) == (ExitStatus.DONE, done)
    status, output, errors = await akool("jobs", "--key-file", "other.env")
    assert (status, "nothing is recorded for this account" in errors) == (ExitStatus.DONE, True)


async def test_an_account_name_requires_a_store(slow, tmp_path):
    """Without --store, --account would have no effect and is refused."""
    write_batch(tmp_path, slow, 1)
    status, _, errors = await commands.run(
        "fan-out", "batch.csv", "--account", "studio", cwd=tmp_path, environment=slow.environment()
    )
    assert (status, "--account requires --store" in errors) == (ExitStatus.USAGE, True)
