"""Settling jobs whose outcome is unknown or that AKOOL refused."""

import pytest

from akool_async import AkoolError, ButtonPress, NotFoundError
from akool_async.durable import JobState
from akool_async.emulator import Fault
from tests.support.durable_faults import record_late
from tests.support.workers import an_unknown_job, open_jobs


async def test_an_unknown_job_is_followed_by_the_id_that_was_found(emulator, store):
    """resolve(operation_id=...) reopens the job, and the next run finishes it without another POST."""
    async with open_jobs(emulator, store) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.resolve(press, operation_id=operation_id)
        assert (await jobs.job(press)).state is JobState.OPEN
        await jobs.run()
        job = await jobs.job(press)
    assert job.state is JobState.DONE
    assert job.operation_id == job.outcome.unwrap().id == operation_id
    assert emulator.ledger.accepted == 1


async def test_pressing_again_asks_akool_first(emulator, store):
    """resolve(retry=True) does not press a button that AKOOL reports as used: the job is unknown again."""
    async with open_jobs(emulator, store) as jobs:
        press, _ = await an_unknown_job(emulator, jobs)
        posts = len(emulator.ledger.posts)
        await jobs.resolve(press, retry=True)
        await jobs.run()
        job = await jobs.job(press)
    assert job.state is JobState.UNKNOWN
    assert job.outcome.error.charged is True
    assert len(emulator.ledger.posts) == posts


async def test_pressing_again_follows_an_id_that_has_become_known(emulator, store):
    """A worker that was cut off records its id late and then ends. retry=True follows this id."""
    async with open_jobs(emulator, store) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        record_late(store, operation_id)
        await jobs.resolve(press, retry=True)
        await jobs.run()
        assert (await jobs.job(press)).outcome.unwrap().id == operation_id
    assert emulator.ledger.accepted == 1


async def test_a_refused_job_can_be_pressed_again(emulator, tmp_path):
    """With retry=True, a press that AKOOL refused is made again."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.code(1009))
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([press])
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.FAILED
        await jobs.resolve(press, retry=True)
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.DONE


async def test_an_unknown_job_can_be_abandoned(emulator, store):
    """resolve(abandon=True) counts the job as failed and says why. An id that is recorded late still finishes it."""
    async with open_jobs(emulator, store) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.resolve(press, abandon=True)
        job = await jobs.job(press)
        assert job.state is JobState.FAILED
        assert type(job.outcome.error) is AkoolError
        assert str(job.outcome.error).startswith("abandoned: the reply was lost")
        record_late(store, operation_id)
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.unwrap().id == operation_id
    assert emulator.ledger.accepted == 1


async def test_only_an_unknown_job_can_be_resolved_and_in_one_way(emulator, tmp_path):
    """resolve() refuses a done job, a press that was not submitted, and none or two of the three ways."""
    press = ButtonPress(emulator.add_image(), "U1")
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([press])
        await jobs.run()
        for wrong in ({}, {"retry": True, "abandon": True}):
            with pytest.raises(ValueError, match="takes exactly one of"):
                await jobs.resolve(press, **wrong)
        with pytest.raises(ValueError, match="is done"):
            await jobs.resolve(press, retry=True)
        with pytest.raises(ValueError, match="was not submitted"):
            await jobs.resolve(("0" * 24, "U1"), abandon=True)


async def test_an_id_that_cannot_belong_to_the_press_is_refused(emulator, tmp_path):
    """A malformed id, the source image's id and another job's id are refused. The right id then works."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.submit([(press.image_id, "V2")])
        await jobs.run()
        taken = (await jobs.job((press.image_id, "V2"))).operation_id
        for wrong, reason in (("", "must be the _id"), (5, "must be the _id"), ("a b", "must be the _id")):
            with pytest.raises(ValueError, match=reason):
                await jobs.resolve(press, operation_id=wrong)
        with pytest.raises(ValueError, match="is the source image; pass the id"):
            await jobs.resolve(press, operation_id=press.image_id)
        with pytest.raises(ValueError, match=f"{taken} belongs to V2"):
            await jobs.resolve(press, operation_id=taken)
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok


async def test_a_mistyped_id_leaves_the_job_to_be_resolved(emulator, tmp_path):
    """With an id that AKOOL does not know, the job is unknown again. The right id finishes it."""
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
    """An id that AKOOL reports as that of another press leaves the job unknown. The right id finishes it."""
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


async def test_a_press_can_be_retried_after_a_wrong_id(emulator, store):
    """A press that AKOOL never got was given the id of another press. retry=True still presses it."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("before"))
    async with open_jobs(emulator, store, resubmit_lost=False) as jobs:
        await jobs.submit([press])
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.UNKNOWN
        async with emulator.session() as akool:
            other_id = (await akool.vary(emulator.add_image(), 3)).id
        await jobs.resolve(press, operation_id=other_id)
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.UNKNOWN
    async with open_jobs(emulator, store) as jobs:
        await jobs.resolve(press, retry=True)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok
