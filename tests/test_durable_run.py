"""Carrying out jobs within one process: how they end, and how a run ends."""

import asyncio

import pytest
from attrs import evolve

from akool_async import (
    AuthenticationError,
    Button,
    ButtonPress,
    ConfigurationError,
    ImageStatus,
    InsufficientCreditError,
    NotFoundError,
    OperationFailedError,
    OutcomeUnknownError,
)
from akool_async.durable import JobState
from akool_async.emulator import Emulator, Fault
from tests.support.durable_faults import count_batches_waiting, hold_up_the_end_of_leases, learned_in, lock_15
from tests.support.looks import look_until
from tests.support.workers import SHORT, open_jobs, outcomes_of


async def test_outcomes_come_as_they_finish_while_run_works(emulator, store):
    """outcomes() yields each outcome once while run() works, and ends when no job is open."""
    presses = [(emulator.add_image(), button) for button in Button]
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(presses)
        running = asyncio.create_task(jobs.run())
        presses_read = [outcome.press async for outcome in jobs.outcomes()]
        await running
    assert len(presses_read) == len(set(presses_read)) == 8


async def test_outcomes_of_some_presses_wait_only_for_these(emulator, tmp_path):
    """outcomes() of two presses ends with them, although a third stays open. It refuses unknown presses."""
    image_id = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.stuck())
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([(image_id, "V1")])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
        await jobs.submit([(image_id, "U1"), (image_id, "U2")])
        outcomes = await outcomes_of(jobs, [(image_id, "U1"), (image_id, "U2")])
        assert [outcome.ok for outcome in outcomes] == [True, True]
        stuck = await jobs.job((image_id, "V1"))
        assert (stuck.state, stuck.ended_at, stuck.outcome) == (JobState.OPEN, None, None)
        with pytest.raises(ValueError, match=r"U4 of image .* was not submitted"):
            await outcomes_of(jobs, [(image_id, "U4")])
        assert await jobs.job((image_id, "U4")) is None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_every_kind_of_end_is_recorded_with_its_error(emulator, store):
    """A failed job keeps its result, a refused one the code of AKOOL, and an unknown one whether it was charged."""
    image_id = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.fails("no picture"))
    async with open_jobs(emulator, store, max_concurrent_upscales=1) as jobs:
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
async def test_an_error_of_the_account_leaves_jobs_open(emulator, tmp_path, code):
    """Without credit, or with a bad key, run() raises and no job fails. The next run() carries them out."""
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


async def test_without_credit_paid_jobs_are_finished_first(store):
    """There are credits for five of eight presses. run() raises when the five are done, and three stay open."""
    async with Emulator(speed=50, credits=10) as poor, open_jobs(poor, store, max_concurrent_upscales=8) as jobs:
        image_id = poor.add_image()
        await jobs.submit([(image_id, button) for button in Button])
        with pytest.raises(InsufficientCreditError):
            await jobs.run()
        counts = await jobs.status()
    assert (counts.done, counts.open) == (5, 3)
    assert poor.ledger.charged == 10


async def test_cancelling_run_hands_over_and_loses_nothing(store):
    """A cancelled run() leaves running and waiting jobs open. The next run() finishes them, and presses none twice."""
    async with Emulator(speed=40) as slow:
        presses = [(slow.add_image(), button) for _ in range(3) for button in Button]
        async with open_jobs(slow, store) as jobs:
            await jobs.submit(presses)
            running = asyncio.create_task(jobs.run())
            await slow.ledger.until(lambda ledger: ledger.accepted >= 14)
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


async def test_leaving_the_block_hands_over(store):
    """The end of the block ends run() and outcomes(). The jobs stay open, and another block finishes them."""
    async with Emulator(speed=40) as slow:
        async with open_jobs(slow, store) as jobs:
            await jobs.submit([(slow.add_image(), button) for button in Button])
            running = asyncio.create_task(jobs.run())
            reading = asyncio.create_task(outcomes_of(jobs))
            await slow.ledger.until(lambda ledger: ledger.accepted >= 4)
        await running
        with pytest.raises(ConfigurationError, match="works within its block only"):
            await reading
        slow.advance(1_000)
        async with open_jobs(slow, store) as jobs:
            assert (await jobs.status()).open > 0
            await jobs.run()
            assert (await jobs.status()).done == 8
        assert slow.ledger.accepted == 8


async def test_leaving_the_block_waits_for_a_worker_that_nobody_waits_for(store):
    """A run() that is cancelled twice does not wait for its worker. The end of the block waits for its hand-over."""
    async with Emulator(speed=1) as slow:
        async with open_jobs(slow, store) as jobs:
            await jobs.submit([(slow.add_image(), "V1")])
            running = asyncio.create_task(jobs.run())
            await slow.ledger.until(lambda ledger: ledger.accepted == 1)
            for _ in range(2):
                running.cancel()
                await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await running
        assert count_batches_waiting(store) == 1


async def test_a_process_has_one_run_at_a_time(emulator, tmp_path):
    """A second run() in the process is refused while the first works, and is accepted after it."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        await jobs.submit([(emulator.add_image(), "U1")])
        running = asyncio.create_task(jobs.run(until_empty=False))
        await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
        with pytest.raises(ConfigurationError, match="one DurableFanOut runs in a process at a time"):
            await jobs.run()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await jobs.run()
        assert (await jobs.status()).done == 1


async def test_learned_durations_are_saved_in_the_store(emulator, store):
    """A worker with the default polling saves the durations that it has learned. The next worker starts with them."""
    options = {"polling": None, "account": "a"}
    async with open_jobs(emulator, store, **options) as jobs:
        await jobs.submit([(emulator.add_image(), "V1")])
        await jobs.run()
    first = learned_in(store)
    assert set(first["kinds"]) == {"variation"}
    async with open_jobs(emulator, store, **options) as jobs:
        await jobs.submit([(emulator.add_image(), "V1")])
        await jobs.run()
    (seen,) = first["kinds"]["variation"]
    assert learned_in(store)["kinds"]["variation"][0] == seen
    assert len(learned_in(store)["kinds"]["variation"]) == 2


async def test_a_job_submitted_while_a_run_ends_is_carried_out(emulator, postgresql):
    """A job is submitted while a run that found none ends its lease. The run checks again, and carries it out."""
    store = postgresql()
    timing = evolve(SHORT, hand_over_timeout=10.0, database_timeout=10.0)
    async with open_jobs(emulator, store, worker_timing=timing) as jobs:
        await jobs.submit([(emulator.add_image(), "V1")])
        with lock_15(store) as lock:
            hold_up_the_end_of_leases(lock.connection)
            running = asyncio.create_task(jobs.run())
            await look_until(lambda: lock.count_waiting() == 1)
            await jobs.submit([(emulator.add_image(), "V2")])
            lock.unlock()
            await running
        assert (await jobs.status()).done == 2
