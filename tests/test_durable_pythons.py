"""One SQLite store is used by several Pythons. The variable AKOOL_TEST_PYTHONS lists the other interpreters."""

import asyncio
import os
from typing import Final

import pytest

from akool_async.emulator import Fault
from tests.support.workers import open_jobs

PYTHONS: Final = [path for path in os.environ.get("AKOOL_TEST_PYTHONS", "").split(os.pathsep) if path]
NONE: Final = pytest.param(None, marks=pytest.mark.skip(reason="AKOOL_TEST_PYTHONS lists no other interpreter"))


async def work_until_done(python, store, emulator, folder):
    """Run a worker under another Python, and return its exit status and output."""
    process = await asyncio.create_subprocess_exec(
        *(python, "-W", "error", "-m", "akool_async", "worker", "--quiet", "--until-empty", "--store", store),
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), **emulator.environment()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


@pytest.mark.parametrize("python", PYTHONS or [NONE])
async def test_another_python_finishes_the_jobs_of_a_store(emulator, tmp_path, python):
    """One job is done, one is running and one waits. Another Python finishes them, and this one reads all outcomes."""
    store = f"sqlite:///{tmp_path}/akool.db"
    images = [emulator.add_image() for _ in range(4)]
    async with open_jobs(emulator, store, max_concurrent_upscales=1) as jobs:
        await jobs.submit([(images[0], "U1")])
        await jobs.run()
        emulator.faults.rate(1, Fault.image_status(2), endpoints=["get_image_result"])  # no operation seems to finish
        await jobs.submit([(images[1], "U1"), (images[2], "U1")])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 2)
        running.cancel()
        await asyncio.wait([running])
        counts = await jobs.status()
        assert (counts.done, counts.open) == (1, 2)
    emulator.faults.clear()
    assert await work_until_done(python, store, emulator, tmp_path) == (0, "")
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([(images[3], "V1")])
        await jobs.run()
        outcomes = {outcome.press.image_id: outcome async for outcome in jobs.outcomes()}
    assert outcomes.keys() == set(images)
    assert all(outcome.ok and outcome.unwrap().urls for outcome in outcomes.values())
    assert (emulator.ledger.accepted, emulator.ledger.pressed_twice()) == (4, [])
