"""Workers on a shared store are killed or cut off. No press is made twice or lost, and the cap is never exceeded."""

import asyncio
import os
import resource
import signal
import sys
from contextlib import suppress

import pytest
from attrs import evolve

from akool_async import Button, ButtonPress, OutcomeUnknownError
from akool_async.cli import ExitStatus
from akool_async.durable import JobState, StoreError
from akool_async.emulator import Emulator, Fault
from tests.support.durable_faults import count_workers
from tests.support.kills import KillScenario, run
from tests.support.looks import look_until
from tests.support.postgresql import new_postgresql
from tests.support.workers import SHORT, Line, TimedCounter, open_jobs, worker


@pytest.fixture
def own_postgresql():
    """The URL of a store in a PostgreSQL server for one test, and a function that crashes and restarts the server."""
    with new_postgresql() as server:

        def restart():
            process = server.get_postmaster_info().process
            process.send_signal(signal.SIGQUIT)  # immediately, as a crash would
            process.wait()
            server.ensure_postgres_running()

        yield server.get_uri(), restart


async def count_done(jobs):
    return (await jobs.status()).done


async def until_ids_recorded(jobs, number):
    async def are_recorded():
        return sum([job.operation_id is not None async for job in jobs.jobs()]) >= number

    await look_until(are_recorded)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
async def test_kills_at_random_times_lose_nothing(backend):
    """Three workers share a cap of 8, and workers are killed 20 times. The store agrees with the emulator's ledger."""
    report = await run(KillScenario(backend=backend, presses=96, kills=20, cap=8, pause=0.5, seed=7, speed=40))
    assert report.holds, report.table()
    assert report.kills == 20
    assert report.done + report.unknown == 96


async def test_a_worker_killed_before_its_post_leaves_the_press_to_the_next(slow, store, tmp_path):
    """The claim is recorded, and AKOOL did not get the POST. The next worker finds that out, and presses."""
    press = ButtonPress(slow.add_image(), "U1")
    slow.faults.script("create_by_button", Fault.slow(3600, "before"))
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([press])
        async with worker(slow, store, tmp_path) as first:
            await slow.ledger.until(lambda ledger: ledger.requests["create_by_button"] == 1)
            first.kill()
            await first.wait()
        async with worker(slow, store, tmp_path, "--until-empty") as second:
            assert await second.wait() == 0
        job = await jobs.job(press)
    assert job.state is JobState.DONE
    assert slow.ledger.presses_accepted == {(press.image_id, "U1"): 1}


async def test_a_press_of_a_worker_killed_after_its_post_is_unknown_and_charged(slow, store, tmp_path):
    """AKOOL accepted the press, and no reply came. The next worker finds the button used, and does not press it."""
    press = ButtonPress(slow.add_image(), "U1")
    slow.faults.script("create_by_button", Fault.stall("after"))
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([press])
        async with worker(slow, store, tmp_path) as first:
            await slow.ledger.until(lambda ledger: ledger.accepted == 1)
            first.kill()
            await first.wait()
        async with worker(slow, store, tmp_path, "--lost-reply-timeout=0.1", "--until-empty") as second:
            assert await second.wait() == ExitStatus.OUTCOME_UNKNOWN
        job = await jobs.job(press)
    assert job.state is JobState.UNKNOWN
    assert isinstance(job.outcome.error, OutcomeUnknownError)
    assert job.outcome.error.charged is True
    assert len(slow.ledger.posts) == 1


async def test_the_slots_of_a_dead_worker_are_kept_while_akool_works(store, tmp_path):
    """Three workers share a cap of 8, and one dies while it holds slots. Its upscales count until they end."""
    with Emulator(speed=16) as emulator:
        presses = [(emulator.add_image(), f"U{index}") for _ in range(4) for index in (1, 2, 3, 4)]
        options = ("--max-concurrent-upscales", "8", "--until-empty")
        async with open_jobs(emulator, store, max_concurrent_upscales=8) as jobs:
            await jobs.submit(presses)
            async with (
                worker(emulator, store, tmp_path, *options) as first,
                worker(emulator, store, tmp_path, *options) as second,
                worker(emulator, store, tmp_path, *options) as third,
            ):
                await until_ids_recorded(jobs, 8)
                first.kill()
                assert await second.wait() == 0
                assert await third.wait() == 0
            counts = await jobs.status()
        assert (counts.done, counts.open) == (16, 0)
        assert emulator.ledger.peak_upscales == 8
        assert emulator.ledger.accepted == 16


async def test_sigterm_drains_a_worker(slow, store, tmp_path):
    """After SIGTERM a worker makes no new presses and exits with 0. The next worker follows the running operations."""
    presses = [(slow.add_image(), f"U{index}") for _ in range(4) for index in (1, 2, 3, 4)]
    async with open_jobs(slow, store) as jobs:
        await jobs.submit(presses)
        async with worker(slow, store, tmp_path) as first:
            await slow.ledger.until(lambda ledger: ledger.accepted >= 6)
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0
        accepted = slow.ledger.accepted
        counts = await jobs.status()
        assert counts.open > 0
        assert counts.failed == counts.unknown == 0
        async with worker(slow, store, tmp_path, "--until-empty") as second:
            assert await second.wait() == 0
        assert await count_done(jobs) == 16
    assert accepted < slow.ledger.accepted == 16
    assert slow.ledger.peak_upscales <= 4


async def test_a_rate_limit_applies_to_all_workers_together(store, tmp_path):
    """Two workers with a rate of 20 per second together send no more than 20 requests per second."""
    with Emulator(speed=80) as emulator:
        emulator.ledger.requests = TimedCounter()
        presses = [(emulator.add_image(), button) for _ in range(5) for button in Button]
        options = ("--max-requests-per-second", "20", "--until-empty")
        async with open_jobs(emulator, store) as jobs:
            await jobs.submit(presses)
            async with (
                worker(emulator, store, tmp_path, *options) as first,
                worker(emulator, store, tmp_path, *options) as second,
            ):
                assert await first.wait() == 0
                assert await second.wait() == 0
            assert await count_done(jobs) == 40
    times = emulator.ledger.requests.times
    assert times[-1] - times[0] >= (len(times) - 2) / 20  # each worker may send its first immediately


async def test_postgresql_restarted_under_load(slow, tmp_path, own_postgresql):
    """PostgreSQL crashes and restarts while two workers press. Every press is made once and finishes."""
    store, restart = own_postgresql
    presses = [(slow.add_image(), button) for _ in range(5) for button in Button]
    options = ("--max-concurrent-upscales", "8", "--account", "both")
    async with (
        open_jobs(slow, store, account="both", max_concurrent_upscales=8) as jobs,
        worker(slow, store, tmp_path, *options) as first,
        worker(slow, store, tmp_path, *options) as second,
    ):
        await look_until(lambda: count_workers(store) == 2)
        await jobs.submit(presses)
        for accepted in (10, 25):
            await slow.ledger.until(lambda ledger: ledger.accepted >= accepted)  # noqa: B023 - awaited here
            await asyncio.to_thread(restart)

        async def are_done():
            with suppress(StoreError):
                return await count_done(jobs) == 40

        await look_until(are_done)
        for process in (first, second):
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        counts = await jobs.status()
    assert (counts.done, counts.open, counts.unknown) == (40, 0, 0)
    assert slow.ledger.accepted == 40
    assert slow.ledger.peak_upscales <= 8


async def test_a_worker_that_was_cut_off_still_records_its_id(slow, postgresql, tmp_path):
    """A worker loses PostgreSQL just as AKOOL accepts, and others take over. Once it is back, it records the id."""
    store = postgresql()
    press = ButtonPress(slow.add_image(), "U1")
    slow.faults.script("create_by_button", Fault.slow(2, "after"))
    async with Line(store) as line, open_jobs(slow, store) as jobs:
        await jobs.submit([press])
        async with worker(slow, line.store, tmp_path):
            await slow.ledger.until(lambda ledger: ledger.accepted == 1)
            line.cut()
            async with worker(slow, store, tmp_path, "--lost-reply-timeout=0.1", "--until-empty") as second:
                assert await second.wait() == ExitStatus.OUTCOME_UNKNOWN
            assert (await jobs.status()).unknown == 1
            line.mend()

            async def is_done():
                return (await jobs.status()).done == 1

            await look_until(is_done)
        job = await jobs.job(press)
    assert job.outcome.ok
    assert [(job.operation_id,)] == [post.new_ids for post in slow.ledger.posts]


async def test_entering_and_running_wait_for_postgresql(slow, postgresql):
    """Without a connection to PostgreSQL, entering a durable fan-out and run() wait until there is one."""
    async with Line(postgresql()) as line:
        line.cut()
        jobs = open_jobs(slow, line.store)
        entering = asyncio.create_task(jobs.__aenter__())
        await look_until(lambda: line.refused >= 2)
        line.mend()
        await entering
        try:
            await jobs.submit([(slow.add_image(), "U1")])
            line.cut()
            refused = line.refused
            running = asyncio.create_task(jobs.run())
            await look_until(lambda: line.refused >= refused + 2)
            line.mend()
            await running
            assert await count_done(jobs) == 1
        finally:
            await jobs.__aexit__(None, None, None)


async def test_a_server_that_does_not_answer_blocks_nobody(emulator, postgresql):
    """Reading from a silent database raises StoreError. It works once the database answers again."""
    timing = evolve(SHORT, database_timeout=1)
    async with Line(postgresql()) as line, open_jobs(emulator, line.store, worker_timing=timing) as jobs:
        line.stall()
        with pytest.raises(StoreError, match="no answer"):
            await jobs.status()
        line.mend()
        assert (await jobs.status()).open == 0


async def test_an_id_that_cannot_be_recorded_is_logged(slow, postgresql, caplog):
    """A worker that is stopped without PostgreSQL logs the ids that it could not record, for a person to resolve."""
    async with Line(postgresql()) as line:
        timing = evolve(SHORT, database_timeout=4, drain_timeout=1, hand_over_timeout=0.2)
        jobs = await open_jobs(slow, line.store, worker_timing=timing).__aenter__()
        await jobs.submit([(slow.add_image(), "U1")])
        slow.faults.script("create_by_button", Fault.slow(2, "after"))
        running = asyncio.create_task(jobs.run())
        await slow.ledger.until(lambda ledger: ledger.accepted == 1)
        line.cut()
        await look_until(lambda: line.refused >= 10)
        await jobs.__aexit__(None, None, None)
        await running
    (post,) = slow.ledger.posts
    assert f"was accepted as {post.new_ids[0]}, which could not be recorded" in caplog.text


IMPATIENT = """
import asyncio, sys
from akool_async.durable import DurableFanOut

async def main():
    async with DurableFanOut(store=sys.argv[1]) as jobs:
        running = asyncio.create_task(jobs.run())
        await asyncio.to_thread(sys.stdin.readline)
        for _ in range(2):
            running.cancel()
            await asyncio.sleep(0.1)

asyncio.run(main())
"""


async def test_a_program_that_does_not_wait_for_its_worker_loses_no_id(slow, store):
    """run() is cancelled twice and the program ends before the replies come. Their ids are still recorded."""
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(slow.add_image(), button) for button in ("V1", "V2", "V3")])
        slow.faults.script("create_by_button", *[Fault.slow(2, "after")] * 3)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", IMPATIENT, store),
            env={**os.environ, **slow.environment()},
            stdin=asyncio.subprocess.PIPE,
        )
        await slow.ledger.until(lambda ledger: ledger.accepted == 3)
        await process.communicate(b"\n")
        await until_ids_recorded(jobs, 3)


async def test_a_full_disk_loses_no_id(slow, tmp_path):
    """The store cannot be written while replies come. Their ids are recorded once there is space again."""
    store = f"sqlite:///{tmp_path}/akool.db"
    image_id = slow.add_image()
    presses = [(image_id, button) for button in Button]
    async with open_jobs(slow, store) as jobs:
        await jobs.submit(presses)
        slow.faults.script("create_by_button", *[Fault.slow(2, "after")] * 8)
        async with worker(slow, store, tmp_path, "--until-empty") as process:
            await slow.ledger.until(lambda ledger: ledger.accepted == 8)
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
            slow.advance(100)  # all eight end at AKOOL
            assert await count_done(jobs) == 0
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            assert await process.wait() == 0
        counts = await jobs.status()
    assert (counts.done, counts.unknown, counts.open) == (8, 0, 0)
    assert slow.ledger.accepted == 8
