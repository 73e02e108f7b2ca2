"""DurableFanOut within one process: what is recorded, read again, settled and forgotten, on both kinds of state."""

import asyncio
import sqlite3
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, timedelta
from typing import Final

import portalocker
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from akool_async import (
    AkoolError,
    AkoolSession,
    AuthenticationError,
    Button,
    ButtonPress,
    ConfigurationError,
    ImageResult,
    ImageStatus,
    InsufficientCreditError,
    NotFoundError,
    Operation,
    OperationFailedError,
    Outcome,
    OutcomeUnknownError,
    WebhookEvent,
)
from akool_async.durable import DurableFanOut, JobState, StateError
from akool_async.durable._record import read_outcome, write_outcome
from akool_async.durable._state import State
from akool_async.emulator import Emulator, Fault
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler
from tests.support.receivers import RARE, serve_aiohttp
from tests.support.workers import change, open_jobs, until


async def outcomes_of(jobs, presses=None):
    return [outcome async for outcome in jobs.outcomes(presses)]


async def read_ended(jobs, number):
    """So many outcomes, while others are open."""
    async with aclosing(jobs.outcomes()) as outcomes:
        return [await anext(outcomes) for _ in range(number)]


async def test_what_is_submitted_is_pressed_once_and_read_again_after_a_restart(emulator, state):
    """Submitting returns before anything is pressed; run() presses all once, and a later process reads the outcomes."""
    presses = [(emulator.add_image(), button) for button in Button]
    async with open_jobs(emulator, state) as jobs:
        assert await jobs.submit(presses) == 8
        assert (await jobs.status()).waiting == 8
        assert emulator.ledger.requests.total() == 0
        await jobs.run()
        first = await outcomes_of(jobs)
    async with open_jobs(emulator, state) as jobs:
        again = await outcomes_of(jobs)
        assert (await jobs.status()).done == 8
    assert [outcome.press for outcome in first] == [outcome.press for outcome in again]
    assert {(outcome.press.image_id, outcome.press.button) for outcome in again} == set(presses)
    assert all(outcome.ok and outcome.unwrap().urls and outcome.unwrap().raw for outcome in again)
    assert [outcome.unwrap() for outcome in first] == [outcome.unwrap() for outcome in again]
    assert emulator.ledger.accepted == 8


async def test_the_same_press_is_the_same_job_whoever_submits_it(emulator, state):
    """Submitted twice, in two batches, by two objects and after its end, a press stays one job and one POST."""
    press = (emulator.add_image(), "U1")
    async with open_jobs(emulator, state) as jobs, open_jobs(emulator, state) as others:
        assert await jobs.submit([press, press, ButtonPress(*press)]) == 1
        assert await others.submit([press]) == 0
        await jobs.run()
        assert await others.submit([press]) == 0
        await others.run()
        assert len(await outcomes_of(others)) == 1
    assert emulator.ledger.accepted == 1


async def test_many_submitting_at_once_record_each_press_once(emulator, state):
    """Ten submit the same 40 presses at the same time: 40 are new in all."""
    presses = [(emulator.add_image(), button) for _ in range(5) for button in Button]
    async with open_jobs(emulator, state) as jobs:
        assert sum(await asyncio.gather(*(jobs.submit(presses) for _ in range(10)))) == 40
        assert (await jobs.status()).waiting == 40


async def test_presses_may_be_an_async_iterable_and_a_bad_one_is_named(emulator, tmp_path):
    """An async iterable is taken; a press that is none raises, and what came before it in full pages is recorded."""

    async def presses():
        yield (emulator.add_image(), "U1")

    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        assert await jobs.submit(presses()) == 1
        with pytest.raises(ValueError, match="button must be one of"):
            await jobs.submit([(emulator.add_image(), "U2"), (emulator.add_image(), "W1")])
        assert (await jobs.status()).open == 2


async def test_outcomes_come_as_they_finish_while_run_works(emulator, state):
    """outcomes() yields each once while run() works, and ends when nothing is open."""
    presses = [(emulator.add_image(), button) for button in Button]
    async with open_jobs(emulator, state) as jobs:
        await jobs.submit(presses)
        running = asyncio.create_task(jobs.run())
        told = [outcome.press async for outcome in jobs.outcomes()]
        await running
    assert len(told) == len(set(told)) == 8


async def test_outcomes_of_some_presses_wait_for_these_alone(emulator, tmp_path):
    """Asked for two presses, outcomes() ends with them, though a third stays open; an unknown press is refused."""
    image_id = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.stuck())
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([(image_id, "V1")])
        running = asyncio.create_task(jobs.run())
        await until(lambda: emulator.ledger.accepted == 1)
        await jobs.submit([(image_id, "U1"), (image_id, "U2")])
        told = await outcomes_of(jobs, [(image_id, "U1"), (image_id, "U2")])
        assert [outcome.ok for outcome in told] == [True, True]
        stuck = await jobs.job((image_id, "V1"))
        assert (stuck.state, stuck.ended_at, stuck.outcome) == (JobState.OPEN, None, None)
        with pytest.raises(ValueError, match=r"U4 of image .* was not submitted"):
            await outcomes_of(jobs, [(image_id, "U4")])
        assert await jobs.job((image_id, "U4")) is None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_every_kind_of_end_is_recorded_with_its_error(emulator, state):
    """A failed job keeps its result, a refused one AKOOL's code, an unknown one whether it was charged."""
    image_id = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.fails("no picture"))
    async with open_jobs(emulator, state, max_concurrent_upscales=1) as jobs:
        await jobs.submit([(image_id, "U1")])
        await jobs.run()
        emulator.faults.script("create_by_button", Fault.reset("after"))
        await jobs.submit([(image_id, "U2")])
        await jobs.run()
        await jobs.submit([("0" * 24, "U3")])
        await jobs.run()
        counts = await jobs.status()
        found = {outcome.press.button: outcome for outcome in await outcomes_of(jobs)}
        unknown = [job.press.button async for job in jobs.jobs("unknown")]
    assert (counts.done, counts.failed, counts.unknown, counts.open) == (0, 2, 1, 0)
    failed, lost, refused = found["U1"].error, found["U2"].error, found["U3"].error
    assert isinstance(failed, OperationFailedError)
    assert failed.result.status == ImageStatus.FAILED
    assert failed.operation_id == found["U1"].operation.id
    assert isinstance(lost, OutcomeUnknownError)
    assert lost.charged is True
    assert lost.press == ButtonPress(image_id, "U2")
    assert isinstance(refused, NotFoundError)
    assert refused.code == 1008
    assert unknown == ["U2"]


@pytest.mark.parametrize("code", [1101, 1104])
async def test_what_is_wrong_with_the_account_leaves_jobs_open(emulator, tmp_path, code):
    """Without credit, or with a bad key, run() raises and no job is spent on it; the next run() does them."""
    presses = [(emulator.add_image(), button) for button in Button]
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit(presses)
        emulator.faults.rate(1.0, Fault.code(code), endpoints=["create_by_button"])
        with pytest.raises((InsufficientCreditError, AuthenticationError)):
            await jobs.run()
        emulator.faults.clear()
        assert (await jobs.status()).waiting == 8
        await jobs.run()
        assert (await jobs.status()).done == 8
    assert emulator.ledger.accepted == 8


async def test_cancelling_run_hands_over_and_loses_nothing(state):
    """Cancelled with jobs at AKOOL and jobs waiting, run() leaves all open; the next run() ends them, pressing once."""
    async with Emulator(speed=10) as slow:
        presses = [(slow.add_image(), button) for _ in range(3) for button in Button]
        async with open_jobs(slow, state) as jobs:
            await jobs.submit(presses)
            running = asyncio.create_task(jobs.run())
            await until(lambda: slow.ledger.accepted >= 14)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            counts = await jobs.status()
            assert counts.open > 0
            slow.advance(1_000)
            await jobs.run()
            assert (await jobs.status()).done == 24
        assert slow.ledger.accepted == 24
        assert slow.ledger.peak_upscales <= 4


async def test_two_accounts_in_one_state_share_neither_jobs_nor_the_cap(state):
    """Each account sees its own jobs alone, and its queue moves while the other's is full."""
    async with Emulator(speed=200, seed=1) as first, Emulator(speed=200, seed=2) as second:
        first.faults.script("create_by_button", Fault.stuck())
        async with (
            open_jobs(first, state, max_concurrent_upscales=1) as jobs,
            open_jobs(second, state, max_concurrent_upscales=1) as others,
        ):
            await jobs.submit([(first.add_image(), "U1")])
            running = asyncio.create_task(jobs.run())
            await until(lambda: first.ledger.accepted == 1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await others.submit([(second.add_image(), "U1")])
            await others.run()
            assert (await others.status()).done == 1
            assert (await jobs.status()).open == 1


async def test_an_account_by_name_keeps_its_jobs_when_its_key_changes(emulator, tmp_path):
    """With account= the jobs belong to the name; without it, to the key."""
    state = f"sqlite:///{tmp_path}/a.db"
    press = (emulator.add_image(), "U1")
    async with open_jobs(emulator, state, account="studio") as jobs:
        await jobs.submit([press])
    async with DurableFanOut("another-key", state, account="studio") as jobs:
        assert (await jobs.status()).open == 1
    async with DurableFanOut("another-key", state) as jobs:
        assert (await jobs.status()).open == 0


# --- settling ---


async def an_unknown_job(emulator, jobs):
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    await jobs.submit([press])
    await jobs.run()
    assert (await jobs.job(press)).state is JobState.UNKNOWN
    (post,) = [post for post in emulator.ledger.posts if post.image_id == press.image_id]
    return press, post.new_ids[0]


async def test_an_unknown_job_is_followed_by_the_id_that_was_found(emulator, state):
    """resolve(operation_id=...) opens the job again, and the next run ends it without another POST."""
    async with open_jobs(emulator, state) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.resolve(press, operation_id=operation_id)
        assert (await jobs.job(press)).state is JobState.OPEN
        await jobs.run()
        job = await jobs.job(press)
    assert job.state is JobState.DONE
    assert job.operation_id == job.outcome.unwrap().id == operation_id
    assert emulator.ledger.accepted == 1


async def test_pressing_again_asks_akool_first(emulator, state):
    """resolve(press_again=True) of a press that was accepted presses nothing: the job is unknown again."""
    async with open_jobs(emulator, state) as jobs:
        press, _ = await an_unknown_job(emulator, jobs)
        posts = len(emulator.ledger.posts)
        await jobs.resolve(press, press_again=True)
        await jobs.run()
        job = await jobs.job(press)
    assert job.state is JobState.UNKNOWN
    assert job.outcome.error.charged is True
    assert len(emulator.ledger.posts) == posts


async def test_pressing_again_follows_an_id_that_has_come_to_be_known(emulator, state):
    """A worker that was cut off records its id late, and ends before it can follow it: pressing again does."""
    async with open_jobs(emulator, state) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        change(state, "UPDATE akool_jobs SET operation_id = :id", id=operation_id)
        await jobs.resolve(press, press_again=True)
        await jobs.run()
        assert (await jobs.job(press)).outcome.unwrap().id == operation_id
    assert emulator.ledger.accepted == 1


async def looks_for_an_id(emulator, jobs, state):
    """Begin to carry out a press whose reply is lost, and return it and the run, once it looks for the id."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    await jobs.submit([press])
    running = asyncio.create_task(jobs.run())
    await until(lambda: change(state, "UPDATE akool_jobs SET attempt = attempt WHERE looked_for >= 0") == 1)
    return press, running


async def test_a_lost_id_is_looked_for_once_whoever_looks(emulator, state):
    """Workers that end before the patience is over do not begin it anew: after an hour of looking in all it is told."""
    async with open_jobs(emulator, state, lost_reply_patience=3_600) as jobs:
        press, running = await looks_for_an_id(emulator, jobs, state)
        running.cancel()
        await asyncio.wait([running])
        change(state, "UPDATE akool_jobs SET looked_for = looked_for + 3600000000")
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.UNKNOWN
        await jobs.resolve(press, press_again=True)
        await jobs.run()  # nor does it when AKOOL says that the press was taken
        assert (await jobs.job(press)).outcome.error.charged is True
    assert emulator.ledger.accepted == 1


async def test_an_id_that_is_looked_for_can_be_told(emulator, state):
    """resolve(operation_id=...) ends the looking; the other ways wait for its end."""
    async with open_jobs(emulator, state, lost_reply_patience=3_600) as jobs:
        press, running = await looks_for_an_id(emulator, jobs, state)
        with pytest.raises(ValueError, match="is open; only an unknown outcome can be resolved"):
            await jobs.resolve(press, press_again=True)
        (post,) = emulator.ledger.posts
        await jobs.resolve(press, operation_id=post.new_ids[0])
        await running
        assert (await jobs.job(press)).outcome.unwrap().id == post.new_ids[0]


async def test_a_press_made_anew_has_the_whole_patience(emulator, state):
    """An old search for an id does not shorten that for a later press: the button was free, and is pressed now."""
    async with open_jobs(emulator, state, lost_reply_patience=3_600) as jobs:
        press = ButtonPress(emulator.add_image(), "U1")
        await jobs.submit([press])
        change(state, "UPDATE akool_jobs SET looked_for = 3600000000, in_doubt = true")
        emulator.faults.script("create_by_button", Fault.reset("after"))
        running = asyncio.create_task(jobs.run())
        await until(lambda: change(state, "UPDATE akool_jobs SET attempt = attempt WHERE looked_for < 3600000000") == 1)
        assert (await jobs.job(press)).state is JobState.OPEN
        (post,) = emulator.ledger.posts
        await jobs.resolve(press, operation_id=post.new_ids[0])
        await running
        assert (await jobs.job(press)).outcome.ok


async def test_without_a_network_no_job_is_in_doubt(state, unused_tcp_port, monkeypatch, caplog):
    """While AKOOL cannot be reached jobs stay open, with no intent on disk between tries: a worker that is killed then
    leaves nothing in doubt. They are pressed when it can be reached.
    """
    monkeypatch.setattr("akool_async._retry.UNDELIVERED_TRIES", 1)  # else a press has six before its job is told
    monkeypatch.setattr("akool_async.durable._worker.KEY_PATIENCE", 0.1)
    caplog.set_level("INFO", "akool_async")
    emulator = Emulator(speed=200, port=unused_tcp_port)
    emulator.base_url = f"http://127.0.0.1:{unused_tcp_port}"
    async with open_jobs(emulator, state) as jobs:
        await jobs.submit([(emulator.add_image(), button) for button in ("U1", "V1", "V2")])
        running = asyncio.create_task(jobs.run())
        await until(lambda: caplog.text.count("trying again: ") >= 3)

        async def are_waiting():
            return (await jobs.status()).waiting == 3

        await until(are_waiting)
        async with emulator:
            await running
        assert (await jobs.status()).done == 3
    assert emulator.ledger.accepted == 3
    assert change(state, "UPDATE akool_jobs SET in_doubt = true WHERE in_doubt") == 0


async def test_presses_in_doubt_hold_up_no_others(emulator, state):
    """While AKOOL does not tell of eight presses whether they were taken, others are made."""
    async with open_jobs(emulator, state) as jobs:
        doubtful = [(emulator.add_image(), f"V{index}") for _ in range(2) for index in (1, 2, 3, 4)]
        await jobs.submit(doubtful)
        change(state, "UPDATE akool_jobs SET in_doubt = true")
        emulator.faults.rate(1.0, Fault.code(1108), endpoints=["get_image_result"])
        running = asyncio.create_task(jobs.run())
        await until(lambda: emulator.ledger.requests["get_image_result"] >= 2)
        others = [(emulator.add_image(), "V1") for _ in range(4)]
        await jobs.submit(others)
        await until(lambda: emulator.ledger.accepted == 4)
        emulator.faults.clear()
        await running
        assert (await jobs.status()).done == 12
    assert set(emulator.ledger.presses_accepted.values()) == {1}


async def test_without_credit_what_was_paid_for_is_waited_for(state):
    """Credits for five of eight presses: run() raises when the five are done, and the three stay open."""
    async with Emulator(speed=50, credits=10) as poor, open_jobs(poor, state, max_concurrent_upscales=8) as jobs:
        image_id = poor.add_image()
        await jobs.submit([(image_id, button) for button in Button])
        with pytest.raises(InsufficientCreditError):
            await jobs.run()
        counts = await jobs.status()
    assert (counts.done, counts.open) == (5, 3)
    assert poor.ledger.charged == 10


async def test_a_job_that_was_dropped_is_taken_up_again(state):
    """What is said to run at a worker and does not, and what DBOS has given up, is carried out by that very worker."""
    async with Emulator(speed=1) as slow, open_jobs(slow, state, max_concurrent_upscales=1) as jobs:
        first, lost, given_up = (ButtonPress(slow.add_image(), button) for button in ("U1", "U2", "V1"))
        await jobs.submit([first])
        running = asyncio.create_task(jobs.run())
        await until(lambda: slow.ledger.accepted == 1)
        change(
            state,
            "INSERT INTO akool_jobs SELECT replace(job, :old, :new), account, :image, :button, state, attempt, "
            "submitted_at, ended_at, :run, in_doubt, :new, NULL, told_id, told_status, outcome, NULL, NULL, "
            "NULL, NULL, NULL FROM akool_jobs",
            old=f"{first.image_id}:{first.button}",
            new=f"{given_up.image_id}:{given_up.button}",
            image=given_up.image_id,
            button=given_up.button,
            run="a worker that failed",
        )
        await jobs.submit([lost])
        taken = change(
            state,
            "UPDATE {workflows} SET status = 'PENDING', executor_id = "
            "(SELECT run_id FROM akool_jobs WHERE image_id = :image) WHERE status = 'ENQUEUED'",
            image=first.image_id,
        )
        assert taken == 1

        async def are_done():
            slow.advance(100)
            return (await jobs.status()).done == 3

        await until(are_done)
        await running
    assert slow.ledger.accepted == 3


async def test_a_worker_that_was_missed_goes_on_with_its_own_jobs(state):
    """Its jobs are put back while it carries them out: it takes them up again, presses none, and loses no slot."""
    async with Emulator(speed=1) as slow, open_jobs(slow, state, max_concurrent_upscales=4) as jobs:
        await jobs.submit([(slow.add_image(), button) for button in ("U1", "U2")])
        running = asyncio.create_task(jobs.run(until_done=False))
        await until(lambda: slow.ledger.accepted == 2)
        assert change(state, "UPDATE {workflows} SET status = 'ENQUEUED'") == 2
        await until(lambda: change(state, "UPDATE {workflows} SET priority = 0 WHERE status = 'PENDING'") == 2)

        async def are_done():
            slow.advance(100)
            return (await jobs.status()).done == 2

        await until(are_done)
        await jobs.submit([(slow.add_image(), button) for button in ("U1", "U2", "U3", "U4")])
        await until(lambda: slow.ledger.accepted == 6)
        running.cancel()
    assert slow.ledger.peak_upscales == 4


async def test_an_end_is_told_though_the_clock_was_set_back(emulator, tmp_path):
    """A job whose end is noted before the time that was read already is told when no job is open."""
    state = f"sqlite:///{tmp_path}/a.db"
    press = ButtonPress(emulator.add_image(), "V1")
    async with open_jobs(emulator, state) as jobs:
        await jobs.submit([press])
        change(
            state,
            "CREATE TRIGGER back AFTER UPDATE OF ended_at ON akool_jobs WHEN new.ended_at > 1 "
            "BEGIN UPDATE akool_jobs SET ended_at = 1; END",
        )
        reading = asyncio.create_task(outcomes_of(jobs, [press]))
        await jobs.run()
        assert [outcome.press for outcome in await reading] == [press]


async def test_ids_may_hold_any_printable_sign(emulator, tmp_path):
    """What takes a job's name apart is not misled by an id that holds its separators."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([("a:b#c:U1", "V1")])
        await jobs.run()
        ((outcome),) = await outcomes_of(jobs)
    assert outcome.press == ButtonPress("a:b#c:U1", "V1")
    assert isinstance(outcome.error, NotFoundError)


async def test_a_refused_job_can_be_pressed_again(emulator, tmp_path):
    """What AKOOL refused, and took no credit for, is pressed when asked for again."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.code(1009))
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([press])
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.FAILED
        await jobs.resolve(press, press_again=True)
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.DONE


async def test_an_unknown_job_can_be_given_up(emulator, state):
    """resolve(give_up=True) counts it as failed, tells why, and a worker that comes back late ends it all the same."""
    async with open_jobs(emulator, state) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.resolve(press, give_up=True)
        job = await jobs.job(press)
        assert job.state is JobState.FAILED
        assert type(job.outcome.error) is AkoolError
        assert str(job.outcome.error).startswith("given up: the reply was lost")
        change(state, "UPDATE akool_jobs SET operation_id = :id", id=operation_id)  # as a worker that was cut off does
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.unwrap().id == operation_id
    assert emulator.ledger.accepted == 1


async def test_only_an_unknown_job_can_be_resolved_and_in_one_way(emulator, tmp_path):
    """A done job, a press that was not submitted, no way and two ways are refused."""
    press = ButtonPress(emulator.add_image(), "U1")
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([press])
        await jobs.run()
        for wrong in ({}, {"press_again": True, "give_up": True}):
            with pytest.raises(ValueError, match="takes one of"):
                await jobs.resolve(press, **wrong)
        with pytest.raises(ValueError, match="is done"):
            await jobs.resolve(press, press_again=True)
        with pytest.raises(ValueError, match="was not submitted"):
            await jobs.resolve(("0" * 24, "U1"), give_up=True)


async def test_an_id_that_cannot_be_the_presss_is_refused(emulator, tmp_path):
    """No id at all, the source image's and another job's leave the job unknown, to be resolved rightly."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.submit([(press.image_id, "V2")])
        await jobs.run()
        taken = (await jobs.job((press.image_id, "V2"))).operation_id
        for wrong, reason in (("", "must be the _id"), (5, "must be the _id"), ("a b", "must be the _id")):
            with pytest.raises(ValueError, match=reason):
                await jobs.resolve(press, operation_id=wrong)
        with pytest.raises(ValueError, match="is the source image itself"):
            await jobs.resolve(press, operation_id=press.image_id)
        with pytest.raises(ValueError, match=f"{taken} is that of V2"):
            await jobs.resolve(press, operation_id=taken)
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok


async def test_a_mistyped_id_leaves_the_job_to_be_resolved(emulator, tmp_path):
    """An id that AKOOL does not know makes the job unknown again, and the right one ends it."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.resolve(press, operation_id="0" * 24)
        await jobs.run()
        job = await jobs.job(press)
        assert (job.state, type(job.outcome.error)) == (JobState.UNKNOWN, NotFoundError)
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok


async def test_an_id_of_another_press_leaves_the_job_to_be_resolved(emulator, tmp_path):
    """An id that AKOOL shows as another button's of another image is not taken for this press; the right one is."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        source = emulator.add_image()
        async with emulator.session() as akool:
            other_id = (await akool.vary(source, 3)).id
        await jobs.resolve(press, operation_id=other_id)
        await jobs.run()
        job = await jobs.job(press)
        assert job.state is JobState.UNKNOWN
        assert f"the id {other_id} is that of V3 of {source}, not of {press}" in str(job.outcome.error)
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok


async def test_an_error_of_our_own_leaves_no_job_open(emulator, tmp_path):
    """Whatever a worker did not expect makes the job unknown, with what it was; a person can settle it."""
    state = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, state) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.resolve(press, operation_id=operation_id)
        with sqlite3.connect(tmp_path / "a.db") as database:
            database.execute("UPDATE akool_jobs SET operation_id = ''")
        database.close()
        await jobs.run()
        job = await jobs.job(press)
        assert job.state is JobState.UNKNOWN
        assert "ValueError" in str(job.outcome.error)
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok


async def test_a_webhook_gives_the_id_of_a_lost_reply(emulator, state):
    """A webhook that tells the id under the press's word, at any object, ends the job; a stranger's concerns nobody."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    async with (
        open_jobs(emulator, state, webhook_url="http://127.0.0.1:9/hook") as jobs,
        open_jobs(emulator, state) as door,
    ):
        await jobs.submit([press])
        running = asyncio.create_task(jobs.run())
        await until(lambda: emulator.ledger.callbacks)
        callback = emulator.ledger.callbacks[0]
        word = callback.url.partition("akool_press=")[2]
        assert await door.notify(WebhookEvent(id="1" * 24, status=3), word="stranger") is False
        assert await door.notify(WebhookEvent(id=callback.image_id, status=3), word=word) is True
        await running
        job = await jobs.job(press)
    assert job.state is JobState.DONE
    assert job.operation_id == callback.image_id
    assert emulator.ledger.accepted == 1


async def test_a_word_that_is_none_is_left_out(emulator, state):
    """The word of a webhook is part of its address, which nobody signs: one that no database takes concerns nobody."""
    async with open_jobs(emulator, state) as jobs:
        for word in ("a\0b", "\ud800"):
            assert await jobs.notify(WebhookEvent(id="1" * 24, status=3), word=word) is False


async def test_a_webhook_at_another_process_wakes_the_worker(emulator, state):
    """With polls 30 s apart, jobs end within the test's time only by webhooks, which come in at another object."""
    verifier = WebhookVerifier(emulator.client_id, emulator.client_secret)
    async with (
        open_jobs(emulator, state) as door,
        serve_aiohttp(lambda app: app.router.add_post("/akool", webhook_handler(door, verifier))) as address,
        open_jobs(emulator, state, polling=RARE, webhook_url=f"{address}/akool") as jobs,
    ):
        await jobs.submit([(emulator.add_image(), button) for button in Button])
        async with asyncio.timeout(25):
            await jobs.run()
        assert (await jobs.status()).done == 8
    assert {callback.status for callback in emulator.ledger.callbacks} == {200}
    assert emulator.ledger.requests["get_image_result"] <= 24


async def test_a_webhook_that_comes_late_settles_an_unknown_job(emulator, tmp_path):
    """Told as unknown already, a job is opened by the webhook that tells its id, and the next run ends it."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        database = sqlite3.connect(tmp_path / "a.db")
        ((word,),) = database.execute("SELECT word FROM akool_jobs").fetchall()
        database.close()
        assert await jobs.notify(WebhookEvent(id=operation_id, status=3), word=word) is True
        await jobs.run()
        job = await jobs.job(press)
    assert (job.state, job.operation_id) == (JobState.DONE, operation_id)
    assert emulator.ledger.accepted == 1


# --- forgetting, upgrading ---


async def test_finished_jobs_are_pruned_and_unknown_ones_kept(emulator, state):
    """prune() forgets what is done, failed and old enough, and nothing else; what was pruned can be submitted anew."""
    image_id = emulator.add_image()
    async with open_jobs(emulator, state) as jobs:
        await an_unknown_job(emulator, jobs)
        await jobs.submit([(image_id, "U1"), (image_id, "V1")])
        await jobs.run()
        assert await jobs.prune(timedelta(hours=1)) == 0
        assert await jobs.prune(timedelta(0)) == 2
        counts = await jobs.status()
        assert (counts.done, counts.failed, counts.unknown) == (0, 0, 1)
        assert await jobs.submit([(image_id, "U1")]) == 1
        await jobs.run()
        (job,) = [job async for job in jobs.jobs("failed")]
    assert job.outcome.error.code == 1010
    assert emulator.ledger.accepted == 3


OLDER: Final = {
    2: [
        "DROP INDEX akool_jobs_by_number",
        "ALTER TABLE akool_jobs DROP COLUMN ended_number",
        "ALTER TABLE akool_jobs RENAME COLUMN looked_for TO unknown_since",
        "DROP TABLE akool_ends",
        "DROP TABLE akool_prices",
        "DROP INDEX akool_jobs_by_credits",
        "DROP INDEX akool_jobs_by_estimate",
        *(f"ALTER TABLE akool_jobs DROP COLUMN {column}" for column in ("charged", "credits", "estimate")),
    ],
    1: ["ALTER TABLE akool_jobs DROP COLUMN unknown_since"],
}
"""What takes a state of today back to each older format."""


@pytest.mark.parametrize("older", [1, 2])
async def test_a_state_of_an_older_format_is_brought_up_to_date(emulator, state, older):
    """What an older version recorded is carried out by this one, and the older one refuses the state from then on.

    Prices are read from the results; what has none, as a lost press, counts by estimate.
    """
    emulator.prices["upscale"] = 3
    async with open_jobs(emulator, state) as jobs:
        press, _ = await an_unknown_job(emulator, jobs)
        await jobs.submit([(press.image_id, "U2")])
        await jobs.run()
        before = await outcomes_of(jobs)
        await jobs.submit([(press.image_id, "U3")])
    change(state, """UPDATE akool_jobs SET outcome = replace(outcome, '"raw"', '"half":"\\ud800","raw"')""")
    for number in range(2, older - 1, -1):
        for statement in OLDER[number]:
            change(state, statement)
    change(state, "UPDATE akool_format SET format = :older", older=older)
    async with open_jobs(emulator, state) as jobs:
        assert [outcome.press for outcome in await read_ended(jobs, 2)] == [outcome.press for outcome in before]
        counts = await jobs.status()
        assert (counts.credits_charged, counts.credits_lost, counts.credits_estimated) == (3, 2, 0)
        await jobs.resolve(press, press_again=True)
        await jobs.run()
        counts = await jobs.status()
        assert (counts.done, counts.unknown) == (2, 1)
        assert (counts.credits_charged, counts.credits_lost, counts.credits_in_doubt) == (6, 2, 0)
        assert len(await outcomes_of(jobs)) == 3
    assert change(state, "UPDATE akool_format SET format = 3 WHERE format = 3") == 1
    async with open_jobs(emulator, state) as jobs:
        assert (await jobs.status()).done == 2


async def test_a_state_of_a_newer_format_is_refused(emulator, tmp_path):
    """An older version tells that the state is newer, and leaves it as it is."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([(emulator.add_image(), "U1")])
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("UPDATE akool_format SET format = 99")
    database.close()
    with pytest.raises(
        ConfigurationError, match=r"is of format 99, and this version .* knows up to 3: install a newer"
    ):
        await open_jobs(emulator, f"sqlite:///{tmp_path}/a.db").__aenter__()


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("akool.db", "state must be a URL such as"),
        ("mysql://host/akool", "state must be a URL such as"),
        ("postgresql://user:p@ss@host/akool", "with %40 for each @"),
        ("sqlite://", "state must name a file that outlives the process"),
        ("sqlite:///:memory:", "state must name a file that outlives the process"),
        ("sqlite:///a.db?timeout=5", "state must name a file that outlives the process"),
        ("sqlite:////nowhere/akool.db", "the folder /nowhere does not exist"),
        (None, "state must be a URL such as"),
    ],
)
def test_a_bad_state_is_refused_before_anything_is_done(state, reason):
    """What is no state's URL is told with an example."""
    with pytest.raises(ConfigurationError, match=reason):
        DurableFanOut("sk-test-key", state)


async def test_a_state_that_cannot_be_opened_is_told_without_its_password(tmp_path):
    """A server that is not there, which may come, a file that is no database, and a folder."""
    (tmp_path / "text").write_text("not a database, but long enough to be looked at as one" * 20)
    for state in (
        "postgresql://user:secret@127.0.0.1:9/akool",
        "postgresql://user@127.0.0.1:9/akool?password=secret",
        f"sqlite:///{tmp_path}/text",
        f"sqlite:///{tmp_path}",
    ):
        with pytest.raises((ConfigurationError, StateError), match="cannot be used") as caught:
            await DurableFanOut("sk-test-key", state).__aenter__()
        assert "secret" not in str(caught.value)


def test_a_link_to_a_state_is_that_state(tmp_path):
    """Locks stand beside the file that SQLite opens, whichever name leads to it."""
    (tmp_path / "b.db").symlink_to(tmp_path / "a.db")
    assert State.read(f"sqlite:///{tmp_path}/b.db") == State.read(f"sqlite:///{tmp_path}/a.db")


def test_what_a_url_says_of_its_connection_counts():
    """Our patience with a silent server fills in what the URL leaves open, for every kind of connection."""
    state = State.read("postgresql://user@host/akool?connect_timeout=3&sslmode=require")
    for address in (state.address, state.driver_address):
        query = make_url(address).query
        assert (query["connect_timeout"], query["sslmode"], query["keepalives_idle"]) == ("3", "require", "5")
    assert "keepalives" not in str(state)


async def test_bad_arguments_are_refused(emulator, tmp_path):
    """An injected http, a strange account, what is no press or age, and use before entering."""
    state = f"sqlite:///{tmp_path}/a.db"
    with pytest.raises(ValueError, match="http cannot be given"):
        open_jobs(emulator, state, http=object())
    for wrong in ("a:b", "", "a" * 65, 5):
        with pytest.raises(ValueError, match="account must be a name of at most 64 ASCII letters"):
            open_jobs(emulator, state, account=wrong)
    with pytest.raises(ValueError, match="max_concurrent_upscales"):
        open_jobs(emulator, state, max_concurrent_upscales=0)
    with pytest.raises(ConfigurationError, match="within its block only"):
        await open_jobs(emulator, state).submit([])
    async with open_jobs(emulator, state) as jobs:
        for wrong in (None, 5, "abc"):
            with pytest.raises(ValueError, match="presses must be pairs"):
                await jobs.submit(wrong)
        for wrong in ("abc", ("id",), 5, {"id": "U1"}):
            with pytest.raises(ValueError, match="press must be a pair"):
                await jobs.submit([wrong])
            with pytest.raises(ValueError, match="press must be a pair"):
                await jobs.job(wrong)
        for wrong in (timedelta(days=-1), timedelta.max, 5, None):
            with pytest.raises(ValueError, match="older_than must be a timedelta"):
                await jobs.prune(wrong)
        with pytest.raises(ValueError, match="states must be among 'open', 'done', 'failed', 'unknown', not 'bogus'"):
            await anext(jobs.jobs("bogus"))
        for wrong in (None, 5, "abc"):
            with pytest.raises(ValueError, match="presses must be pairs"):
                await jobs.find(wrong)
        with pytest.raises(ConfigurationError, match="is entered already"):
            await jobs.__aenter__()
        assert (await jobs.status()).open == 0


async def test_many_that_open_a_new_state_at_once_all_can(emulator, empty_state):
    """Eight that make the same state's tables at once all record their press, and one of them is new."""

    async def submit():
        async with open_jobs(emulator, empty_state) as jobs:
            return await jobs.submit([("0" * 24, "U1")])

    assert sorted(await asyncio.gather(*(submit() for _ in range(8)))) == [0] * 7 + [1]


async def test_an_sqlite_state_is_opened_by_one_at_a_time(emulator, tmp_path):
    """While another process makes the tables, entering waits: DBOS's migrations do not bear company on SQLite."""
    async with AsyncExitStack() as stack:
        with portalocker.Lock(tmp_path / "a.db.lock"):
            entering = asyncio.create_task(stack.enter_async_context(open_jobs(emulator, f"sqlite:///{tmp_path}/a.db")))
            await asyncio.wait({entering}, timeout=1)
            assert not entering.done()
        assert (await (await entering).status()).open == 0


async def test_a_state_that_must_exist_is_not_made(emulator, empty_state, tmp_path):
    """With create=False a state that was never made is refused and not made; one that was is opened."""
    with pytest.raises(ConfigurationError, match="does not exist: nothing was recorded there"):
        await open_jobs(emulator, empty_state, create=False).__aenter__()
    assert not list(tmp_path.glob("*.db*"))
    async with open_jobs(emulator, empty_state) as jobs:
        await jobs.submit([("0" * 24, "U1")])
    async with open_jobs(emulator, empty_state, create=False) as jobs:
        assert (await jobs.status()).waiting == 1


async def test_leaving_the_block_hands_over(state):
    """With run() at work and outcomes() waiting, the end of the block ends both; another block ends the jobs."""
    async with Emulator(speed=10) as slow:
        async with open_jobs(slow, state) as jobs:
            await jobs.submit([(slow.add_image(), button) for button in Button])
            running = asyncio.create_task(jobs.run())
            reading = asyncio.create_task(outcomes_of(jobs))
            await until(lambda: slow.ledger.accepted >= 4)
        await running
        with pytest.raises(ConfigurationError, match="works within its block only"):
            await reading
        slow.advance(1_000)
        async with open_jobs(slow, state) as jobs:
            assert (await jobs.status()).open > 0
            await jobs.run()
            assert (await jobs.status()).done == 8
        assert slow.ledger.accepted == 8


async def test_leaving_the_block_waits_for_a_worker_that_nobody_waits_for(state):
    """run() cancelled twice leaves its worker to itself: the end of the block comes after that has handed over."""
    async with Emulator(speed=1) as slow:
        async with open_jobs(slow, state) as jobs:
            await jobs.submit([(slow.add_image(), "V1")])
            running = asyncio.create_task(jobs.run())
            await until(lambda: slow.ledger.accepted == 1)
            for _ in range(2):
                running.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await running
        assert change(state, "UPDATE {workflows} SET priority = 0 WHERE status = 'ENQUEUED'") == 1


async def test_one_runs_in_a_process_at_a_time(emulator, tmp_path):
    """A second run() in the process is refused while the first works, and works after it."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([(emulator.add_image(), "U1")])
        running = asyncio.create_task(jobs.run(until_done=False))
        await until(lambda: emulator.ledger.accepted == 1)
        with pytest.raises(ConfigurationError, match="one DurableFanOut runs in a process at a time"):
            await jobs.run()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await jobs.run()
        assert (await jobs.status()).done == 1


# --- what is kept of an outcome ---


def store_and_read(outcome):
    """Through the bytes that a database keeps of a text."""
    return read_outcome(outcome.press, write_outcome(outcome).encode().decode())


TEXT = st.text(st.characters(exclude_categories=[]), max_size=20)
"""Half an emoji included: JSON can carry it, and AKOOL's replies are taken as they come."""
IMAGES = st.builds(
    ImageResult,
    id=st.text("0123456789abcdef", min_size=24, max_size=24),
    status=st.sampled_from([*ImageStatus, 9, None]),
    image=st.none() | TEXT,
    upscaled_urls=st.lists(TEXT, max_size=4).map(tuple),
    used_buttons=st.lists(TEXT, max_size=3).map(tuple),
    created_at=st.none() | st.datetimes(timezones=st.just(UTC)),
    deduction_credit=st.none() | st.floats(0, 1e6),
    error_reasons=st.lists(TEXT, max_size=2).map(tuple),
    prompt=st.none() | TEXT,
    raw=st.dictionaries(TEXT, st.none() | TEXT | st.integers() | st.lists(TEXT)),
)


@given(image=IMAGES, button=st.sampled_from(list(Button)))
def test_an_outcome_is_read_as_it_was_written(image, button):
    """Whatever AKOOL told of an image comes back equal, the untouched mapping included."""
    press = ButtonPress("0" * 24, button)
    outcome = store_and_read(Outcome(press, Operation(image.id), image))
    assert outcome.result == image
    assert outcome.result.raw == image.raw
    assert type(outcome.result.status) is type(image.status)
    assert outcome.operation.press == press


@given(charged=st.sampled_from([True, None]), message=TEXT)
def test_an_error_is_read_as_it_was_written(charged, message):
    """An error comes back with its class, its text and what it tells."""
    press = ButtonPress("0" * 24, "U1")
    error = OutcomeUnknownError(message, charged=charged).about(press=press)
    read = store_and_read(Outcome(press, error=error)).error
    assert (type(read), str(read), read.charged, read.press) == (type(error), str(error), charged, press)


def test_the_account_is_told_apart_without_its_key():
    """Two keys are two accounts, and a key is not found in the account's name."""
    first, second = AkoolSession("the-one-key"), AkoolSession("the-other-key")
    assert first.account != second.account
    assert "key" not in first.account
