"""Real workers, in processes of their own."""

import asyncio
import sys
from contextlib import asynccontextmanager, suppress

from akool_async import ExponentialPolling
from akool_async.durable import DurableFanOut
from tests import commands

FAST = ExponentialPolling(initial=0.01, max_interval=0.05)
LOOKS, PAUSE = 1_200, 0.05


def open_jobs(emulator, state, **options):
    """A durable fan-out on an emulator."""
    return DurableFanOut(
        emulator.api_key, state, base_url=emulator.base_url, **{"polling": FAST, "lost_reply_patience": 0.1, **options}
    )


@asynccontextmanager
async def worker(emulator, state, folder, *options):
    """A worker that is killed at the end, where it still works."""
    process = await commands.start(
        "worker",
        "--state",
        state,
        "--quiet",
        "--lost-reply-patience=5",
        *options,
        cwd=folder,
        environment=emulator.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        stderr=sys.stderr,
    )
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def until(is_so):
    """Look until something is so that another process brings about."""
    for _ in range(LOOKS):
        answer = is_so()
        if await answer if asyncio.iscoroutine(answer) else answer:
            return
        await asyncio.sleep(PAUSE)
    raise AssertionError("it never came about")
