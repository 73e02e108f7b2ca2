"""Submitting to a store: a press is one job of its account, whichever process submits it."""

import asyncio
import shutil
from datetime import timedelta

import pytest

from akool_async import AkoolSession, Button, ButtonPress, NotFoundError, OutcomeUnknownError
from akool_async.durable import DurableFanOut, JobState
from akool_async.emulator import Emulator, Fault
from tests.support.workers import an_unknown_job, open_jobs, outcomes_of


async def test_submitted_presses_are_made_once_and_can_be_read_after_a_restart(emulator, store):
    """submit() returns before anything is sent. run() makes each press once, and a later process reads the outcomes."""
    presses = [(emulator.add_image(), button) for button in Button]
    async with open_jobs(emulator, store) as jobs:
        assert await jobs.submit(presses) == 8
        assert (await jobs.status()).waiting == 8
        assert emulator.ledger.requests.total() == 0
        await jobs.run()
        first = await outcomes_of(jobs)
    async with open_jobs(emulator, store) as jobs:
        again = await outcomes_of(jobs)
        assert (await jobs.status()).done == 8
    assert [outcome.press for outcome in first] == [outcome.press for outcome in again]
    assert {(outcome.press.image_id, outcome.press.button) for outcome in again} == set(presses)
    assert all(outcome.ok and outcome.unwrap().urls and outcome.unwrap().raw for outcome in again)
    assert [outcome.unwrap() for outcome in first] == [outcome.unwrap() for outcome in again]
    assert emulator.ledger.accepted == 8


async def test_a_press_that_is_submitted_again_stays_the_same_job(emulator, store):
    """A press is submitted twice, by two objects, and after its end. It stays one job with one POST."""
    press = (emulator.add_image(), "U1")
    async with open_jobs(emulator, store) as jobs, open_jobs(emulator, store) as others:
        assert await jobs.submit([press, press, ButtonPress(*press)]) == 1
        assert await others.submit([press]) == 0
        await jobs.run()
        assert await others.submit([press]) == 0
        await others.run()
        assert len(await outcomes_of(others)) == 1
    assert emulator.ledger.accepted == 1


async def test_many_submitting_concurrently_record_each_press_once(emulator, store):
    """Ten tasks submit the same 40 presses concurrently. 40 are new in total."""
    presses = [(emulator.add_image(), button) for _ in range(5) for button in Button]
    async with open_jobs(emulator, store) as jobs:
        assert sum(await asyncio.gather(*(jobs.submit(presses) for _ in range(10)))) == 40
        assert (await jobs.status()).waiting == 40


async def test_presses_may_be_an_async_iterable_and_a_bad_one_is_named(emulator, tmp_path):
    """An async iterable is accepted. A bad press raises an error, and the presses before it are recorded."""

    async def presses():
        yield (emulator.add_image(), "U1")

    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        assert await jobs.submit(presses()) == 1
        with pytest.raises(ValueError, match="button must be one of"):
            await jobs.submit([(emulator.add_image(), "U2"), (emulator.add_image(), "W1")])
        assert (await jobs.status()).open == 2


async def test_image_ids_may_contain_any_printable_character(emulator, tmp_path):
    """A press is read correctly even if its image id contains the separators of job ids."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([("a:b#c:U1", "V1")])
        await jobs.run()
        (outcome,) = await outcomes_of(jobs)
    assert outcome.press == ButtonPress("a:b#c:U1", "V1")
    assert isinstance(outcome.error, NotFoundError)


async def test_two_accounts_in_one_store_share_neither_jobs_nor_the_cap(store):
    """Each account sees only its jobs, and its queue moves while the other's is full."""
    async with Emulator(speed=200, seed=1) as first, Emulator(speed=200, seed=2) as second:
        first.faults.script("create_by_button", Fault.stuck())
        async with (
            open_jobs(first, store, max_concurrent_upscales=1) as jobs,
            open_jobs(second, store, max_concurrent_upscales=1) as others,
        ):
            await jobs.submit([(first.add_image(), "U1")])
            running = asyncio.create_task(jobs.run())
            await first.ledger.until(lambda ledger: ledger.accepted == 1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await others.submit([(second.add_image(), "U1")])
            await others.run()
            assert (await others.status()).done == 1
            assert (await jobs.status()).open == 1


async def test_a_named_account_keeps_its_jobs_when_its_key_changes(emulator, tmp_path):
    """With account= the jobs belong to the name. Without it, they belong to the key."""
    store = f"sqlite:///{tmp_path}/a.db"
    press = (emulator.add_image(), "U1")
    async with open_jobs(emulator, store, account="studio") as jobs:
        await jobs.submit([press])
    async with DurableFanOut("another-key", store, account="studio") as jobs:
        assert (await jobs.status()).open == 1
    async with DurableFanOut("another-key", store) as jobs:
        assert (await jobs.status()).open == 0


def test_account_ids_differ_and_do_not_contain_the_key():
    """Two keys have different account ids, and neither id contains its key."""
    first, second = AkoolSession("the-one-key"), AkoolSession("the-other-key")
    assert first.account_id != second.account_id
    assert "key" not in first.account_id


async def test_finished_jobs_are_pruned_and_unknown_ones_kept(emulator, store):
    """prune() deletes only old jobs that are done or failed. A pruned press can be submitted again."""
    image_id = emulator.add_image()
    async with open_jobs(emulator, store) as jobs:
        await an_unknown_job(emulator, jobs)
        await jobs.submit([(image_id, "U1"), (image_id, "V1")])
        await jobs.run()
        assert await jobs.prune(timedelta(hours=1)) == 0
        assert await jobs.prune(timedelta(0)) == 2
        counts = await jobs.status()
        assert (counts.done, counts.failed, counts.unknown) == (0, 0, 1)
        assert await jobs.submit([(image_id, "U1")]) == 1
        await jobs.run()
        job = await jobs.job((image_id, "U1"))
    assert job.state is JobState.UNKNOWN
    assert "this store has no record of the press" in str(job.outcome.error)
    assert emulator.ledger.accepted == 3


async def test_a_store_that_was_copied_and_used_twice_presses_nothing_twice(emulator, tmp_path):
    """The second copy finds the buttons used. Its errors say that it has no record of the presses."""
    presses = [ButtonPress(emulator.add_image(), button) for button in ("U1", "V1", "V2")]
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit(presses)
    shutil.copytree(tmp_path, tmp_path / "copy")
    for folder in (tmp_path, tmp_path / "copy"):
        async with open_jobs(emulator, f"sqlite:///{folder}/a.db") as jobs:
            await jobs.run()
            outcomes = await outcomes_of(jobs)
    assert emulator.ledger.accepted == len(presses)
    assert {type(outcome.error) for outcome in outcomes} == {OutcomeUnknownError}
    assert all("this store has no record of the press" in str(outcome.error) for outcome in outcomes)
