"""The heartbeat of a worker: its lock is taken again, and not left to a child."""

import asyncio
import os
import signal
import sys

from akool_async.durable._heartbeat import AdvisoryLockHeartbeat, make_heartbeat
from akool_async.durable._store_url import StoreUrl
from tests.support.looks import look_until
from tests.support.workers import SHORT, open_jobs, worker


async def test_a_living_worker_takes_its_lock_again(postgresql):
    """A lost connection still holds the lock; at the next heartbeat the worker has it, and does not count as dead."""
    store = postgresql()
    worker, lost, other = (AdvisoryLockHeartbeat(store, "account", name, SHORT) for name in ("a", "a", "b"))
    await lost.beat()
    await worker.beat()
    await other.beat()
    await lost.stop()
    await look_until(lambda: other.find_dead({"a"}))
    await worker.beat()
    assert [await other.find_dead({"a"}) for _ in range(2)] == [set(), set()]
    await worker.stop()
    await other.stop()


async def test_a_removed_lock_file_is_made_again(tmp_path):
    """Somebody removes a living worker's file: at its next heartbeat it is there again, and locked."""
    store = StoreUrl.read(f"sqlite:///{tmp_path}/a.db")
    worker, other = (make_heartbeat(store, "account", name, SHORT) for name in ("a", "b"))
    await worker.beat()
    for file in tmp_path.glob("*.alive"):
        file.unlink()
    assert await other.find_dead({"a"}) == {"a"}
    await worker.beat()
    assert await other.find_dead({"a"}) == set()
    await worker.stop()


FORKING = """
import asyncio, os, signal, sys
from akool_async.durable import DurableFanOut

async def main():
    async with DurableFanOut(store=sys.argv[1]) as jobs:
        running = asyncio.create_task(jobs.run())
        while not [job async for job in jobs.jobs() if job.operation_id]:
            await asyncio.sleep(0.05)
        child = os.fork()
        if child == 0:
            signal.pause()
        with open(sys.argv[2], "w") as file:
            file.write(str(child))
        await running

asyncio.run(main())
"""


async def test_a_forked_child_does_not_keep_the_heartbeat_of_its_dead_parent(slow, store, tmp_path):
    """A worker forks a child that outlives it, as a pool of processes does: its jobs are taken over all the same."""
    async with open_jobs(slow, store) as jobs:
        await jobs.submit([(slow.add_image(), "U1")])
        file = tmp_path / "child"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-c", FORKING, store, file), env={**os.environ, **slow.environment()}
        )
        await look_until(lambda: file.exists() and file.read_text())
        child = int(file.read_text())
        try:
            process.kill()
            await process.wait()
            async with worker(slow, store, tmp_path, "--until-empty") as other:
                assert await other.wait() == 0
            assert (await jobs.status()).done == 1
        finally:
            os.kill(child, signal.SIGKILL)
