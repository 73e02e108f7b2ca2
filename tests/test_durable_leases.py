"""The lease of a worker: others take over its jobs when its heartbeat stops, and it then presses none of them."""

import asyncio
import os
import signal
import sys

from akool_async import Button, ButtonPress
from akool_async.durable import JobState
from akool_async.emulator import Fault
from tests.support.durable_faults import count_leased, count_workers, is_locked
from tests.support.looks import look_until
from tests.support.workers import open_jobs, worker


async def stop_between_commits(process, store):
    """Suspend a worker at a time at which it does not hold the lock of an SQLite file, which would block all others."""
    process.send_signal(signal.SIGSTOP)
    while is_locked(store):
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(0)
        process.send_signal(signal.SIGSTOP)


async def test_the_jobs_of_a_worker_that_was_killed_are_taken_over(slow, store, tmp_path):
    """The killed worker had running and waiting jobs. Other workers finish them, and press none twice."""
    presses = [(slow.add_image(), button) for _ in range(2) for button in Button]
    async with open_jobs(slow, store) as jobs:
        async with worker(slow, store, tmp_path) as first, worker(slow, store, tmp_path) as second:
            await look_until(lambda: count_workers(store) == 2)
            await jobs.submit(presses)
            await slow.ledger.until(lambda ledger: ledger.accepted >= 8)
            for process in (first, second):
                if count_leased(store) and process.returncode is None:
                    process.kill()
                    await process.wait()
                    break
            async with worker(slow, store, tmp_path, "--until-empty") as third:
                await third.wait()
        counts = await jobs.status()
    assert counts.open == 0
    assert counts.done + counts.unknown == len(presses)
    assert slow.ledger.pressed_twice() == []
    assert slow.ledger.peak_upscales <= 4


async def test_a_suspended_worker_presses_nothing_that_another_took_over(slow, store, tmp_path):
    """After SIGSTOP another worker takes over the jobs. After SIGCONT the first only records the ids that it knows."""
    presses = [ButtonPress(slow.add_image(), button) for _ in range(2) for button in ("U1", "U2", "U3")]
    slow.faults.script("create_by_button", *[Fault.slow(1, "after")] * 4)
    async with open_jobs(slow, store) as jobs:
        await jobs.submit(presses)
        async with worker(slow, store, tmp_path) as suspended:
            await slow.ledger.until(lambda ledger: ledger.accepted == 4)
            await stop_between_commits(suspended, store)
            async with worker(slow, store, tmp_path, "--lost-reply-timeout=1", "--until-empty") as other:
                await other.wait()
            assert (await jobs.status()).open == 0
            suspended.send_signal(signal.SIGCONT)

            async def are_known():
                counts = await jobs.status()
                return counts.unknown == counts.open == 0

            await look_until(are_known)
        assert {job.state for job in await jobs.find(presses)} == {JobState.DONE}
    assert slow.ledger.accepted == len(presses)
    assert slow.ledger.pressed_twice() == []


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


async def test_a_forked_child_does_not_keep_the_lease_of_its_dead_parent(slow, store, tmp_path):
    """A worker forks a child that outlives it, as a process pool does. Its jobs are still taken over."""
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
