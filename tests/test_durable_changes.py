"""Changes that a worker writes in one transaction, when several changes or workers conflict."""

import pytest
import sqlalchemy as sa

from akool_async import Button, ButtonPress, Outcome, OutcomeUnknownError
from akool_async.durable._batch_queue import BatchQueue
from akool_async.durable._changes import AcceptJob, ChangeWriter, ClaimJob, EndJob, Limits
from akool_async.durable._database import Database
from akool_async.durable._group_writer import HAS_TO_WAIT
from akool_async.durable._job import JobState
from akool_async.durable._job_items import JobItem
from akool_async.durable._outcome_codec import encode_outcome
from akool_async.durable._recording import NewJob
from akool_async.durable._store import Store
from akool_async.durable._store_url import StoreUrl
from akool_async.durable._tables import JOBS
from tests.support.workers import SHORT, open_jobs

LIMITS = Limits(max_upscales=2, max_operations=None, max_credits_per_day=None, price_timeout=100)


class Worker:
    """A worker that writes only the changes that a test asks for."""

    def __init__(self, database, queue):
        self.store = Store("a", database, queue)
        self._database = database
        self._writer = ChangeWriter("a", LIMITS, queue)

    async def take(self, presses):
        """Submit presses and lease their jobs."""
        await self.store.submit([NewJob(JobItem(press)) for press in presses])
        self.lease = await self.store.open_lease("worker")
        batches = await self._database.read(_read_batches)
        return [job for batch in dict.fromkeys(batches) for job in await self.store.lease_batch(batch, self.lease)]

    async def write(self, *changes, is_retry=False):
        return await self._database.write(self._writer.write_all, changes, is_retry)

    async def find(self, *buttons):
        return await self.store.find(self.store.job_id(JobItem(press)) for press in presses(*buttons))

    def end_as_unknown(self, job):
        outcome = encode_outcome(Outcome(job.item, error=OutcomeUnknownError("the reply was lost", charged=True)))
        return EndJob(job, self.lease, JobState.UNKNOWN, outcome, None, None, False, False, False, False)


@pytest.fixture
async def worker(emulator, store):
    """A worker of a new store."""
    async with open_jobs(emulator, store, account="a"):
        url = StoreUrl.read(store)
        database = Database(url, SHORT)
        queue = BatchQueue(url, "a")
        queue.connect(database.engine)
        yield Worker(database, queue)
        database.close()


def presses(*buttons):
    return [ButtonPress("6" * 24, Button(button)) for button in buttons]


async def test_a_claim_whose_commit_was_not_answered_is_found(worker):
    """Two claims that fill the cap are written again. They are found in the store, and do not wait for themselves."""
    jobs = await worker.take(presses("U1", "U2"))
    claims = [ClaimJob(job, worker.lease) for job in jobs]
    assert await worker.write(*claims) == [True, True]
    assert await worker.write(*claims, is_retry=True) == [True, True]


async def test_a_claim_waits_while_the_cap_is_reached(worker):
    """Two of three upscales are claimed; a variation needs no slot."""
    jobs = await worker.take(presses("U1", "U2", "U3", "V1"))
    results = await worker.write(*(ClaimJob(job, worker.lease) for job in jobs))
    assert results.count(HAS_TO_WAIT) == 1
    assert results.count(True) == 3


async def test_an_id_belongs_to_the_first_press_that_got_it(worker):
    """A later press with the same id gets False, in the same transaction and in another one."""
    first, second, third = await worker.take(presses("V1", "V2", "V3"))
    assert await worker.write(*(ClaimJob(job, worker.lease) for job in (first, second, third))) == [True] * 3
    assert await worker.write(AcceptJob(first, "id", 2.0), AcceptJob(second, "id", 2.0)) == [True, False]
    assert await worker.write(AcceptJob(third, "id", 2.0)) == [False]


async def test_an_id_recorded_after_the_end_as_unknown_reopens_the_job(worker):
    """A worker that was cut off records the id late: the job is open and in the queue again."""
    (job,) = await worker.take(presses("V1"))
    assert await worker.write(ClaimJob(job, worker.lease)) == [True]
    assert await worker.write(worker.end_as_unknown(job)) == [True]
    assert await worker.write(AcceptJob(job, "id", 2.0)) == [True]
    (found,) = await worker.find("V1")
    assert (found.state, found.operation_id) == (JobState.OPEN, "id")


async def test_an_id_recorded_before_the_end_as_unknown_prevents_it(worker):
    """A webhook was recorded that this worker has not seen. The job stays open, with the id."""
    (job,) = await worker.take(presses("V1"))
    assert await worker.write(ClaimJob(job, worker.lease)) == [True]
    with worker.store._database.engine.begin() as connection:
        connection.execute(sa.update(JOBS).values(reported_id="id"))
    assert await worker.write(worker.end_as_unknown(job)) == [False]
    assert (await worker.store.find_leased(job.job_id, worker.lease)).reported_id == "id"


async def test_a_worker_that_lost_its_lease_writes_only_facts(worker):
    """Its claim, and its end without a result, change nothing. An id that it knows is recorded."""
    claimed, waiting = await worker.take(presses("V1", "V2"))
    assert await worker.write(ClaimJob(claimed, worker.lease)) == [True]
    assert await worker.store.end_lease(worker.lease) == 2
    assert await worker.write(ClaimJob(waiting, worker.lease)) == [False]
    assert await worker.write(worker.end_as_unknown(claimed)) == [False]
    assert await worker.write(AcceptJob(claimed, "id", 2.0)) == [True]
    found = {job.press.button: job for job in await worker.find("V1", "V2")}
    assert found["V1"].operation_id == "id"
    assert {job.state for job in found.values()} == {JobState.OPEN}


def _read_batches(connection):
    return list(connection.execute(sa.select(JOBS.c.batch)).scalars())
