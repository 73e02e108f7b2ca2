"""Rare cases of a durable store that ordinary runs of workers do not reach."""

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


async def test_an_id_that_is_recorded_while_akool_is_asked_is_followed(sqlite):
    """The next worker finds the button unused while the worker that was cut off records its id. AKOOL refuses the
    second press, and the id is followed.
    """
    async with Emulator(speed=200, used_buttons_lag=1e6) as emulator, open_jobs(emulator, sqlite) as jobs:
        press = ButtonPress(emulator.add_image(), "U1")
        async with emulator.session() as akool:
            operation_id = (await akool.create_by_button(press.image_id, press.button)).id
        await jobs.submit([press])
        mark_all_in_doubt(sqlite)
        reads = emulator.ledger.requests["get_image_result"]
        emulator.faults.script("get_image_result", Fault.slow(0.3))
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"] > reads)
        record_late(sqlite, operation_id)
        await running
        job = await jobs.job(press)
        assert (job.state, job.operation_id) == (JobState.DONE, operation_id)
    assert emulator.ledger.accepted == 1


async def test_a_worker_that_is_stopped_while_it_asks_akool_leaves_the_job_open(emulator, sqlite):
    """It could not find out whether AKOOL accepted a lost press. The job stays open, and the next worker finds out."""
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
    """AKOOL no longer has the source image, so nobody can find out whether it accepted the earlier press."""
    async with open_jobs(emulator, sqlite) as jobs:
        press = ButtonPress("f" * 24, "U1")
        await jobs.submit([press])
        mark_all_in_doubt(sqlite)
        await jobs.run()
        job = await jobs.job(press)
        assert (job.state, job.outcome.error.charged) == (JobState.UNKNOWN, None)
        assert "the source image could not be read" in str(job.outcome.error)
    assert emulator.ledger.posts == []


async def test_a_program_that_uses_dbos_itself_gets_an_error(emulator, sqlite, tmp_path):
    """A program that uses DBOS in the same process cannot run a worker. It gets an error before anything is pressed."""
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


async def test_aexit_without_aenter_does_nothing(emulator, sqlite):
    await open_jobs(emulator, sqlite).__aexit__(None, None, None)


async def test_waiting_too_long_for_another_process_that_creates_the_store_raises(tmp_path):
    store = StoreUrl.read(f"sqlite:///{tmp_path}/a.db")
    with portalocker.Lock(tmp_path / "a.db.lock"):
        with pytest.raises(StoreError, match="another process has been creating its tables for too long"):
            with store.opening_lock(0.01):
                raise AssertionError("two processes have the lock")


@pytest.mark.parametrize("seconds", [-1, float("inf"), "60", float("nan")])
def test_an_invalid_lost_reply_timeout_is_refused(emulator, sqlite, seconds):
    with pytest.raises(ValueError, match="lost_reply_timeout must be a number of seconds"):
        open_jobs(emulator, sqlite, lost_reply_timeout=seconds)


async def test_items_are_read_in_full_pages_and_never_in_an_empty_one():
    presses = [(f"image-{number}", "U1") for number in range(2 * PAGE_SIZE)]
    assert [len(batch) async for batch in read_batches(presses, None)] == [PAGE_SIZE, PAGE_SIZE]


@pytest.mark.parametrize("kind", ["ErrorOfANewerVersion", "Button", "annotations"])
def test_an_error_that_this_version_does_not_know_is_read_as_akool_error(kind):
    """A newer version may have recorded an error class that this version does not have."""
    error = _decode_error({"type": kind, "message": "what it said", "fields": {"code": 7}}, None)
    assert type(error) is AkoolError
    assert (str(error), error.code) == ("what it said", 7)


async def test_an_open_job_and_a_press_that_was_not_submitted_cannot_be_settled(emulator, sqlite):
    """A waiting press cannot be abandoned, and a press that is not recorded cannot be retried."""
    press = ButtonPress(emulator.add_image(), "U1")
    async with open_jobs(emulator, sqlite) as jobs:
        await jobs.submit([press])
        with pytest.raises(ValueError, match="is open; only an unknown outcome can be resolved"):
            await jobs.resolve(press, abandon=True)
        with pytest.raises(ValueError, match="was not submitted"):
            await jobs.resolve(("0" * 24, "U1"), retry=True)
        assert (await jobs.job(press)).state is JobState.OPEN
