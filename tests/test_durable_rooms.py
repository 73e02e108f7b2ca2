"""Corners of a durable store that no run of workers passes through by itself."""

import asyncio

import portalocker
import pytest
from dbos import DBOS

from akool_async import AkoolError, ButtonPress, ConfigurationError
from akool_async.durable import JobState, StoreError
from akool_async.durable._arguments import PAGE_SIZE, read_batches
from akool_async.durable._outcome_codec import _decode_error
from akool_async.durable._store_url import StoreUrl
from akool_async.emulator import Emulator, Fault
from tests.support.durable_faults import count_in_doubt, mark_all_in_doubt, record_late
from tests.support.workers import open_jobs, outcomes_of


@pytest.fixture
def sqlite(tmp_path):
    """The URL of a store."""
    return f"sqlite:///{tmp_path}/a.db"


async def test_an_id_that_comes_while_akool_is_asked_is_followed(sqlite):
    """The worker that was cut off records its id as the next one finds the button free: AKOOL refuses a second press,
    and the id is followed.
    """
    async with Emulator(speed=200, used_buttons_lag=1e6) as emulator, open_jobs(emulator, sqlite) as jobs:
        press = ButtonPress(emulator.add_image(), "U1")
        async with emulator.session() as akool:
            operation_id = (await akool.create_by_button(press.image_id, press.button)).id
        await jobs.submit([press])
        mark_all_in_doubt(sqlite)
        asked = emulator.ledger.requests["get_image_result"]
        emulator.faults.script("get_image_result", Fault.slow(0.3))
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"] > asked)
        record_late(sqlite, operation_id)
        await running
        job = await jobs.job(press)
        assert (job.state, job.operation_id) == (JobState.DONE, operation_id)
    assert emulator.ledger.accepted == 1


async def test_a_worker_that_is_stopped_while_akool_is_asked_leaves_the_question_to_the_next(emulator, sqlite):
    """It had no time to ask whether a lost press was taken: the job stays open, and the next worker asks."""
    async with open_jobs(emulator, sqlite, request_timeout=0.3, lost_reply_timeout=0.0) as jobs:
        press = ButtonPress(emulator.add_image(), "U1")
        await jobs.submit([press])
        emulator.faults.script("create_by_button", Fault.reset("after"))
        emulator.faults.script("get_image_result", *[Fault.slow(30)] * 3)
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"])
        running.cancel()
        await asyncio.wait([running])
        assert (await jobs.job(press)).state is JobState.OPEN
        assert count_in_doubt(sqlite) == 1
        await jobs.run()
        job = await jobs.job(press)
        assert (job.state, job.outcome.error.charged) == (JobState.UNKNOWN, True)
    assert emulator.ledger.accepted == 1


async def test_a_press_in_doubt_of_an_image_that_is_gone_is_unknown(emulator, sqlite):
    """AKOOL no longer knows the image, so nothing shows whether the press before was taken."""
    async with open_jobs(emulator, sqlite) as jobs:
        press = ButtonPress("f" * 24, "U1")
        await jobs.submit([press])
        mark_all_in_doubt(sqlite)
        await jobs.run()
        job = await jobs.job(press)
        assert (job.state, job.outcome.error.charged) == (JobState.UNKNOWN, None)
        assert "the source image could not be read" in str(job.outcome.error)
    assert emulator.ledger.posts == []


async def test_dbos_used_otherwise_in_the_process_is_reported(emulator, sqlite, tmp_path):
    """A program that uses DBOS itself cannot be a worker too, and gets an error before anything is pressed."""
    DBOS(config={"name": "theirs", "system_database_url": f"sqlite:///{tmp_path}/theirs.db"})
    try:
        async with open_jobs(emulator, sqlite) as jobs:
            await jobs.submit([(emulator.add_image(), "U1")])
            with pytest.raises(ConfigurationError, match="this program uses DBOS in this process itself"):
                await jobs.run()
    finally:
        DBOS.destroy()
    assert emulator.ledger.posts == []


async def test_no_presses_have_no_outcomes(emulator, sqlite):
    async with open_jobs(emulator, sqlite) as jobs:
        assert await outcomes_of(jobs, []) == []


async def test_leaving_what_was_not_entered_does_no_harm(emulator, sqlite):
    await open_jobs(emulator, sqlite).__aexit__(None, None, None)


async def test_a_store_that_another_process_makes_for_too_long_is_an_error(tmp_path):
    store = StoreUrl.read(f"sqlite:///{tmp_path}/a.db")
    with portalocker.Lock(tmp_path / "a.db.lock"):
        with pytest.raises(StoreError, match="another process has been creating its tables for too long"):
            with store.opening_lock(0.01):
                raise AssertionError("two make it concurrently")


@pytest.mark.parametrize("seconds", [-1, float("inf"), "60", float("nan")])
def test_a_lost_reply_timeout_that_is_no_time_is_refused(emulator, sqlite, seconds):
    with pytest.raises(ValueError, match="lost_reply_timeout must be a number of seconds"):
        open_jobs(emulator, sqlite, lost_reply_timeout=seconds)


async def test_batches_are_of_one_page_and_never_empty():
    presses = [(f"image-{number}", "U1") for number in range(2 * PAGE_SIZE)]
    assert [len(batch) async for batch in read_batches(presses, None)] == [PAGE_SIZE, PAGE_SIZE]


@pytest.mark.parametrize("kind", ["ErrorOfANewerVersion", "Button", "annotations"])
def test_an_error_that_this_version_does_not_know_is_read_as_one_of_akools(kind):
    """A newer version may have recorded it, under a name that is not of an error here."""
    error = _decode_error({"type": kind, "message": "what it said", "fields": {"code": 7}}, None)
    assert type(error) is AkoolError
    assert (str(error), error.code) == ("what it said", 7)


async def test_an_open_job_and_one_that_nobody_submitted_are_not_settled(emulator, sqlite):
    """A press that waits cannot be abandoned, and one that is not recorded cannot be pressed again."""
    press = ButtonPress(emulator.add_image(), "U1")
    async with open_jobs(emulator, sqlite) as jobs:
        await jobs.submit([press])
        with pytest.raises(ValueError, match="is open; only an unknown outcome can be resolved"):
            await jobs.resolve(press, abandon=True)
        with pytest.raises(ValueError, match="was not submitted"):
            await jobs.resolve(("0" * 24, "U1"), retry=True)
        assert (await jobs.job(press)).state is JobState.OPEN
