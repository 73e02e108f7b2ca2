"""Every code of AKOOL's at every place that decides by codes, against one table of expectations."""

import json
import re

import pytest
from attrs import evolve

from akool_async import APIError, Button, ButtonPress, ImageStatus, OutcomeUnknownError
from akool_async.cli.exit_status import CODES_OF_NO_CREDIT, status_of
from akool_async.cli.messages import REMEDIES, explain
from akool_async.durable import JobState
from akool_async.emulator import Emulator, Fault
from akool_async.errors import CODES, codes_of
from tests.support.codes import EXPECTED, OF_ACCOUNT, OF_PRESS, each_code, one_of_each
from tests.support.commands import read_lines, run, write_batch
from tests.support.durable_faults import mark_all_in_doubt
from tests.support.schedules import FAST, QUICK
from tests.support.workers import open_jobs


def check(error, code, expected):
    """The error has its class, and the code's number and text."""
    assert type(error) is expected.error
    assert (error.code, error.msg) == (code, "because")
    assert expected.hint in str(error)


async def what_comes_of(doing):
    try:
        return await doing
    except APIError as error:
        return error


def test_every_code_that_is_known_is_expected_somewhere():
    """Every code of the library is in the table, and every class in the table exists."""
    assert CODES.keys() <= EXPECTED.keys()
    assert {expected.error for expected in EXPECTED.values()} == {known.error for known in CODES.values()} | {APIError}
    assert codes_of(APIError) == tuple(CODES)


# --- one request ---


@each_code
async def test_a_read(emulator, akool, code, expected):
    """A read that gets a code raises its error immediately, or is repeated if the code is transient."""
    image_id = emulator.add_image()
    emulator.faults.script("get_image_result", Fault.code(code, "because"))
    answer = await what_comes_of(akool.get_image_result(image_id))
    assert emulator.ledger.requests["get_image_result"] == 1 + expected.is_read_again
    if expected.is_read_again:
        assert answer.id == image_id
    else:
        check(answer, code, expected)
        assert answer.operation_id == image_id


@each_code
async def test_a_press(emulator, akool, code, expected):
    """A code is an answer: one POST and no charge; only after 1005 is the POST sent again."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.code(code, "because"))
    answer = await what_comes_of(akool.create_by_button(press.image_id, press.button))
    assert emulator.ledger.requests == {"create_by_button": 1 + expected.is_paced}
    assert emulator.ledger.accepted == expected.is_paced
    if not expected.is_paced:
        check(answer, code, expected)
        assert answer.press == press
        operation = await akool.upscale(press.image_id, 1)  # the slot is free, and the press can be made later
        assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED


@each_code
async def test_a_press_after_a_lost_reply(emulator, akool, code, expected):
    """1010 and 1011 prove that AKOOL accepted the lost press. After any other refusal it stays in doubt."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.reset("before"), Fault.code(code, "because"))
    if expected.is_paced:
        await akool.upscale(source, 1)
        assert emulator.ledger.accepted == 1
        return
    with pytest.raises(OutcomeUnknownError, match=str(code)) as caught:
        await akool.upscale(source, 1)
    assert caught.value.charged is (True if expected.proves_press else None)
    assert emulator.ledger.requests["create_by_button"] == 2


@each_code
async def test_a_poll(emulator, akool, code, expected):
    """A wait ends with a code that later polls cannot change, with the operation's id. Other codes do not end it."""
    image_id = emulator.add_image()
    emulator.faults.script("get_image_result", Fault.code(code, "because"))
    answer = await what_comes_of(akool.operation(image_id).wait_until_complete())
    assert emulator.ledger.requests["get_image_result"] == 2 - expected.ends_wait
    if expected.ends_wait:
        check(answer, code, expected)
        assert answer.operation_id == image_id
    else:
        assert answer.status == ImageStatus.COMPLETED


@pytest.mark.parametrize("code", codes_of(OF_PRESS[1008].error))
async def test_an_operation_that_is_not_found_yet_is_asked_for_again(emulator, code):
    """Just after a press, AKOOL may not know the new id everywhere."""
    async with emulator.session(polling=FAST, timing=evolve(QUICK, not_found_grace=30.0)) as akool:
        operation = await akool.upscale(emulator.add_image(), 1)
        emulator.faults.script("get_image_result", Fault.code(code))
        assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED


# --- many presses ---


@each_code
@pytest.mark.parametrize("endpoint", ["create_by_button", "get_image_result"])
async def test_a_fan_out(emulator, akool, endpoint, code, expected):
    """An account error from any request stops new presses and is the error of all. Any other error ends one press."""
    presses = [ButtonPress(emulator.add_image(), "V1") for _ in range(3)]
    emulator.faults.script(endpoint, Fault.code(code, "because"))
    outcomes = [
        outcome async for outcome in akool.fan_out(presses, preflight=endpoint == "get_image_result", max_in_flight=1)
    ]
    is_tried_again = expected.is_paced if endpoint == "create_by_button" else expected.is_read_again
    refused = [outcome.error for outcome in outcomes if not outcome.ok]
    assert len(outcomes) == 3
    assert len(refused) == (3 if expected.ends_presses else 0 if is_tried_again else 1)
    assert emulator.ledger.accepted == 3 - len(refused)
    for error in refused:
        check(error, code, expected)


async def run_to_its_end(jobs):
    """Run recorded presses, and return the error that ended the run."""
    try:
        await jobs.run()
    except APIError as error:
        return error
    return None


async def test_a_durable_run_records_refusals(emulator, tmp_path):
    """A code that does not concern the account ends its job, which keeps class, number and text."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db", max_concurrent_upscales=50) as jobs:
        await jobs.submit([(emulator.add_image(), "V1") for _ in OF_PRESS])
        emulator.faults.script("create_by_button", *[Fault.code(code, "because") for code in OF_PRESS])
        await jobs.run()
        failed = [job.outcome.error async for job in jobs.jobs("failed")]
        counts = await jobs.status()
    assert {error.code for error in failed} == OF_PRESS.keys() - {1005}
    assert (counts.done, counts.failed) == (1, len(OF_PRESS) - 1)
    for error in failed:
        check(error, error.code, OF_PRESS[error.code])


async def test_refusals_after_a_takeover_of_a_durable_run(emulator, tmp_path):
    """An earlier worker may have pressed: a used button proves that it did, and no other refusal that it did not."""
    state = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, state, max_concurrent_upscales=50) as jobs:
        await jobs.submit([(emulator.add_image(), "V1") for _ in OF_PRESS])
        mark_all_in_doubt(state)
        emulator.faults.script("create_by_button", *[Fault.code(code, "because") for code in OF_PRESS])
        await jobs.run()
        unknown = [job.outcome.error async for job in jobs.jobs("unknown")]
        counts = await jobs.status()
    assert (counts.done, counts.failed) == (1, 0)
    charged = {int(re.search(r"AKOOL answered (\d+)", str(error))[1]): error.charged for error in unknown}
    assert charged == {
        code: True if expected.proves_press else None for code, expected in OF_PRESS.items() if not expected.is_paced
    }


@one_of_each
async def test_an_account_error_ends_a_durable_run(tmp_path, code, expected):
    """run() raises, no job is lost, and it waits for paid operations if results can still be read."""
    async with Emulator(speed=50) as emulator, open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        image_id = emulator.add_image()
        await jobs.submit([(image_id, button) for button in Button])
        emulator.faults.script("create_by_button", None, None)
        emulator.faults.rate(1.0, Fault.code(code, "because"), endpoints=["create_by_button"])
        check(await run_to_its_end(jobs), code, expected)
        counts = await jobs.status()
        assert (counts.done + counts.open, counts.failed, counts.unknown) == (8, 0, 0)
        assert counts.done == 2 or not expected.results_can_be_read
        assert emulator.ledger.accepted == 2


async def test_an_account_error_at_a_poll_ends_a_durable_run(emulator, tmp_path):
    """An account error at a poll ends the run, and the paid job does not count as failed."""
    press = ButtonPress(emulator.add_image(), "V1")
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([press])
        emulator.faults.script("get_image_result", Fault.code(1004, "because"))
        check(await run_to_its_end(jobs), 1004, OF_ACCOUNT[1004])
        job = await jobs.job(press)
        assert job.state is JobState.OPEN
        assert job.operation_id is not None
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.DONE
    assert emulator.ledger.accepted == 1


async def test_an_account_error_leaves_a_press_in_doubt(emulator, tmp_path):
    """After a run ended with 1103, the next one still finds out whether an earlier worker pressed."""
    state = f"sqlite:///{tmp_path}/a.db"
    press = ButtonPress(emulator.add_image(), "V1")
    async with open_jobs(emulator, state) as jobs:
        await jobs.submit([press])
        mark_all_in_doubt(state)
        emulator.faults.script("create_by_button", Fault.code(1103), Fault.code(1011))
        assert (await run_to_its_end(jobs)).code == 1103
        await jobs.run()
        job = await jobs.job(press)
    assert (job.state, job.outcome.error.charged) == (JobState.UNKNOWN, True)


@pytest.mark.parametrize("code", [1003, 1011])
async def test_a_refused_job_is_refused_again(emulator, tmp_path, code):
    """A job that an operator resubmits and AKOOL refuses is refused, and not in doubt."""
    press = ButtonPress(emulator.add_image(), "V1")
    emulator.faults.script("create_by_button", *[Fault.code(code)] * 2)
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([press])
        await jobs.run()
        await jobs.resolve(press, retry=True)
        await jobs.run()
        job = await jobs.job(press)
    assert (job.state, job.outcome.error.code) == (JobState.FAILED, code)
    assert emulator.ledger.requests["create_by_button"] == 2


# --- the command line ---


@each_code
def test_exit_status_and_message_of_each_code(code, expected):
    """An account error prints a remedy. Running out of credit and other refusals are failed jobs."""
    error = expected.error(code, "because")
    assert status_of(error) == expected.status
    assert explain(error).startswith(f"AKOOL answered {code} 'because'")
    assert (expected.remedy is None) == (explain(error) == str(error))
    assert expected.remedy is None or expected.remedy in explain(error)


def test_every_account_error_has_a_remedy():
    """If nothing can be pressed, the command says what to do."""
    for code, known in CODES.items():
        assert not known.is_of_account or REMEDIES.keys() & {code, *known.error.__mro__}
    assert set(CODES_OF_NO_CREDIT) == {code for code in OF_ACCOUNT if OF_ACCOUNT[code].status == 3}


@one_of_each
async def test_a_command_that_presses(emulator, tmp_path, code, expected):
    """An account error is printed once, with its remedy, for any number of buttons."""
    emulator.faults.rate(1.0, Fault.code(code), endpoints=["create_by_button"])
    arguments = ("press", emulator.add_image(), "V1", "V2", "--json")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == expected.status
    assert [json.loads(line)["code"] for line in output.splitlines()] == [code, code]
    assert errors.count(expected.remedy) == 1
    assert expected.hint in errors


@pytest.mark.parametrize("state", [(), ("--store", "sqlite:///a.db")], ids=["without a state", "with a state"])
async def test_a_batch_of_an_unpaid_account(emulator, tmp_path, state):
    """1103 ends the batch with status 1 and prints the remedy once. The same command does the rest later."""
    write_batch(tmp_path, [emulator.add_image()], "V*")
    arguments = ("fan-out", "presses.csv", "--yes", "--output", "out.jsonl", *state)
    emulator.faults.rate(1.0, Fault.code(1103), endpoints=["create_by_button"])
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 1, errors
    assert "unpaid" in errors
    assert errors.count(EXPECTED[1103].remedy) == 1
    emulator.faults.clear()
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert {line["button"] for line in read_lines(tmp_path / "out.jsonl") if line["ok"]} == {"V1", "V2", "V3", "V4"}
    assert emulator.ledger.accepted == 4


async def test_a_plan_of_an_unverified_account(emulator, tmp_path):
    """1004 concerns the account and not the image: there is no plan, and nothing is pressed."""
    write_batch(tmp_path, [emulator.add_image(), emulator.add_image()], "V1")
    emulator.faults.script("get_image_result", Fault.code(1004))
    arguments = ("fan-out", "presses.csv", "--yes", "--output", "out.jsonl")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert EXPECTED[1004].remedy in errors
    assert not emulator.ledger.posts


async def test_a_worker_of_an_unpaid_account(emulator, tmp_path):
    """`akool worker` ends with status 1, "unpaid" and the remedy, and its jobs stay open."""
    state = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, state) as jobs:
        await jobs.submit([(emulator.add_image(), "V1")])
    emulator.faults.script("create_by_button", Fault.code(1103))
    arguments = ("worker", "--store", state, "--until-empty")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert "unpaid" in errors
    assert errors.count(EXPECTED[1103].remedy) == 1
    async with open_jobs(emulator, state) as jobs:
        assert (await jobs.status()).waiting == 1
