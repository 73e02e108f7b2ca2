"""Jobs of earlier workers: in doubt, without ids, dropped by the queue, or taken over from a worker that lives."""

import asyncio

import pytest
from attrs import evolve

from akool_async import ButtonPress, OutcomeUnknownError
from akool_async.durable import JobState
from akool_async.durable._batch_queue import MAX_BATCHES
from akool_async.emulator import Emulator, Fault
from tests.support.durable_faults import (
    count_in_doubt,
    count_leased,
    drop_workflow,
    garble_the_id,
    lose_a_dequeue,
    lose_an_earlier_press,
    mark_all_in_doubt,
    search_for_an_hour,
    seconds_searched,
    take_over_from_the_living,
)
from tests.support.looks import look_until
from tests.support.schedules import QUICK
from tests.support.workers import SHORT, an_unknown_job, open_jobs


async def await_a_lost_id(emulator, jobs, store):
    """Start a run with a press whose reply is lost. Once it searches for the id, return the press and the run."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    await jobs.submit([press])
    running = asyncio.create_task(jobs.run())
    await look_until(lambda: seconds_searched(store) is not None)
    return press, running


async def test_a_lost_id_is_awaited_once_by_all_workers_together(emulator, store):
    """The next worker does not start the timeout again. After an hour over all workers, the job is unknown."""
    async with open_jobs(emulator, store, lost_reply_timeout=3_600) as jobs:
        press, running = await await_a_lost_id(emulator, jobs, store)
        running.cancel()
        await asyncio.wait([running])
        search_for_an_hour(store)
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.UNKNOWN
        await jobs.resolve(press, retry=True)
        await jobs.run()  # the timeout does not start again after retry=True either
        assert (await jobs.job(press)).outcome.error.charged is True
    assert emulator.ledger.accepted == 1


async def test_an_id_that_is_awaited_can_be_resolved(emulator, store):
    """resolve(operation_id=...) ends the search for an id. Before that, the other two ways are refused."""
    async with open_jobs(emulator, store, lost_reply_timeout=3_600) as jobs:
        press, running = await await_a_lost_id(emulator, jobs, store)
        with pytest.raises(ValueError, match="is open; only an unknown outcome can be resolved"):
            await jobs.resolve(press, retry=True)
        (post,) = emulator.ledger.posts
        await jobs.resolve(press, operation_id=post.new_ids[0])
        await running
        assert (await jobs.job(press)).outcome.unwrap().id == post.new_ids[0]


async def test_a_press_made_again_has_the_whole_timeout(emulator, store):
    """The button was unused and is pressed again. The earlier search does not shorten the timeout of this press."""
    async with open_jobs(emulator, store, lost_reply_timeout=3_600) as jobs:
        press = ButtonPress(emulator.add_image(), "U1")
        await jobs.submit([press])
        lose_an_earlier_press(store)
        emulator.faults.script("create_by_button", Fault.reset("after"))
        running = asyncio.create_task(jobs.run())
        await look_until(lambda: seconds_searched(store) == 0)
        assert (await jobs.job(press)).state is JobState.OPEN
        (post,) = emulator.ledger.posts
        await jobs.resolve(press, operation_id=post.new_ids[0])
        await running
        assert (await jobs.job(press)).outcome.ok


async def test_resubmit_lost_false_also_applies_after_a_takeover(emulator, store):
    """A press that a dead worker may have sent is not sent again, although its button is unused."""
    async with open_jobs(emulator, store, resubmit_lost=False, lost_reply_timeout=0) as jobs:
        press = ButtonPress(emulator.add_image(), "V1")
        await jobs.submit([press])
        mark_all_in_doubt(store)
        await jobs.run()
        error = (await jobs.job(press)).outcome.error
    assert (type(error), error.charged) == (OutcomeUnknownError, None)
    assert emulator.ledger.posts == []


async def test_without_a_network_no_job_is_in_doubt(store, unused_tcp_port, caplog):
    """While AKOOL cannot be reached, jobs stay open and are not claimed between retries. So a worker that is killed
    then leaves no job in doubt. The presses are made once AKOOL can be reached.
    """
    caplog.set_level("INFO", "akool_async")
    emulator = Emulator(speed=200, port=unused_tcp_port)
    emulator.base_url = f"http://127.0.0.1:{unused_tcp_port}"
    timing = evolve(SHORT, key_timeout=0.1)
    async with open_jobs(emulator, store, worker_timing=timing) as jobs:
        await jobs.submit([(emulator.add_image(), button) for button in ("U1", "V1", "V2")])
        running = asyncio.create_task(jobs.run())
        await look_until(lambda: caplog.text.count("retrying: ") >= 3)

        async def are_waiting():
            return (await jobs.status()).waiting == 3

        await look_until(are_waiting)
        async with emulator:
            await running
        assert (await jobs.status()).done == 3
    assert emulator.ledger.accepted == 3
    assert count_in_doubt(store) == 0


async def test_presses_in_doubt_do_not_block_others(emulator, store):
    """While AKOOL does not answer whether it accepted eight presses, others are made."""
    async with open_jobs(emulator, store) as jobs:
        in_doubt = [(emulator.add_image(), f"V{index}") for _ in range(2) for index in (1, 2, 3, 4)]
        await jobs.submit(in_doubt)
        mark_all_in_doubt(store)
        emulator.faults.rate(1.0, Fault.code(1108), endpoints=["get_image_result"])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"] >= 2)
        others = [(emulator.add_image(), "V1") for _ in range(4)]
        await jobs.submit(others)
        await emulator.ledger.until(lambda ledger: ledger.accepted == 4)
        emulator.faults.clear()
        await running
        assert (await jobs.status()).done == 12
    assert set(emulator.ledger.presses_accepted.values()) == {1}


async def test_a_batch_that_was_dropped_is_requeued(store):
    """DBOS abandoned one batch, and the worker never got another that DBOS gave to it. Both are carried out."""
    async with Emulator(speed=1) as slow, open_jobs(slow, store, max_concurrent_upscales=1) as jobs:
        lost, abandoned = (ButtonPress(slow.add_image(), button) for button in ("U2", "V1"))
        await jobs.submit([abandoned])
        drop_workflow(store, abandoned)
        for _ in range(MAX_BATCHES["upscale"]):
            await jobs.submit([(slow.add_image(), "U1")])
        running = asyncio.create_task(jobs.run())
        await look_until(lambda: count_leased(store) == MAX_BATCHES["upscale"])
        await jobs.submit([lost])  # the worker cannot take it yet
        lose_a_dequeue(store, lost)

        async def are_done():
            slow.advance(100)
            return (await jobs.status()).done == MAX_BATCHES["upscale"] + 2

        await look_until(are_done)
        await running
    assert slow.ledger.accepted == MAX_BATCHES["upscale"] + 2


async def test_running_operations_are_followed_while_many_jobs_wait(store):
    """The presses of an earlier worker fill the cap, and many upscales wait. All finish."""
    async with Emulator(speed=100) as emulator, open_jobs(emulator, store) as jobs:
        await jobs.submit([(emulator.add_image(), "U1") for _ in range(20)])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 4)
        running.cancel()
        await asyncio.wait([running])
        await jobs.submit([(emulator.add_image(), "U1") for _ in range(20)])
        await jobs.run()
        assert (await jobs.status()).done == 40
    assert emulator.ledger.peak_upscales == 4


async def test_operations_whose_polls_failed_are_followed_while_many_jobs_wait(emulator, tmp_path):
    """All polls fail for a while, so the four operations in the cap are retried while many other jobs wait."""
    timing = evolve(QUICK, poll_failure_timeout=0.2)
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db", timing=timing) as jobs:
        await jobs.submit([(emulator.add_image(), "U1") for _ in range(20)])
        emulator.faults.rate(1.0, Fault.code(1108), endpoints=["get_image_result"])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"] >= 150)
        emulator.faults.clear()
        await running
        assert (await jobs.status()).done == 20
    assert emulator.ledger.accepted == 20


async def test_a_worker_that_lost_its_lease_starts_again(store):
    """Others take over its jobs while it works. It leases them again, presses nothing twice, and loses no slot."""
    async with Emulator(speed=1) as slow, open_jobs(slow, store, max_concurrent_upscales=4) as jobs:
        await jobs.submit([(slow.add_image(), button) for button in ("U1", "U2")])
        running = asyncio.create_task(jobs.run(until_empty=False))
        await slow.ledger.until(lambda ledger: ledger.accepted == 2)
        take_over_from_the_living(store)
        await look_until(lambda: count_leased(store) == 2)

        async def are_done():
            slow.advance(100)
            return (await jobs.status()).done == 2

        await look_until(are_done)
        await jobs.submit([(slow.add_image(), button) for button in ("U1", "U2", "U3", "U4")])
        await slow.ledger.until(lambda ledger: ledger.accepted == 6)
        running.cancel()
        await asyncio.wait([running])
    assert slow.ledger.peak_upscales == 4


class BrokenPolling:
    """A polling schedule that raises an error."""

    def next_delay(self, progress):
        raise ValueError("a mistake of the user's")

    def learn(self, finished):
        pass


async def test_an_unexpected_error_leaves_no_job_open(emulator, tmp_path):
    """An unexpected error makes the job unknown, and is named in its outcome. A person can settle the job."""
    store = f"sqlite:///{tmp_path}/a.db"
    press = ButtonPress(emulator.add_image(), "U1")
    async with open_jobs(emulator, store, polling=BrokenPolling()) as jobs:
        await jobs.submit([press])
        await jobs.run()
        job = await jobs.job(press)
        assert job.state is JobState.UNKNOWN
        assert "ValueError" in str(job.outcome.error)
    async with open_jobs(emulator, store) as jobs:
        await jobs.resolve(press, operation_id=job.operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok


async def test_a_job_with_a_malformed_id_can_be_resolved(emulator, tmp_path):
    """A malformed id was recorded: the job is unknown, and the right id finishes it."""
    store = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, store) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        await jobs.resolve(press, operation_id=operation_id)
        garble_the_id(store)
        await jobs.run()
        assert (await jobs.job(press)).state is JobState.UNKNOWN
        await jobs.resolve(press, operation_id=operation_id)
        await jobs.run()
        assert (await jobs.job(press)).outcome.ok
