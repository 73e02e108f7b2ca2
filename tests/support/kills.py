"""Workers killed at random moments, and the state held against the emulator's ledger."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from attrs import define, frozen

from akool_async import Button, OutcomeUnknownError
from akool_async.durable import DurableFanOut
from akool_async.emulator import Emulator
from tests.support import commands
from tests.support.postgresql import new_postgresql

if TYPE_CHECKING:
    from collections.abc import Iterator

PRICE = 2
TOLD_EVERY = 5.0
LONGEST_JOB = 120.0
"""Seconds at AKOOL's speed."""
BACKENDS = ("sqlite", "postgresql")


@frozen(kw_only=True)
class Plan:
    """What to run."""

    backend: str = "sqlite"
    presses: int = 5_000
    kills: int = 200
    workers: int = 3
    cap: int = 32
    seed: int = 0
    speed: float = 20.0
    pause: float = 0.85
    """Seconds between two kills, on average."""


@define
class Account:
    """What the state says, held against what the emulator did."""

    kills: int = 0
    done: int = 0
    failed: int = 0
    unknown: int = 0
    unknown_uncharged: int = 0
    left_open: int = 0
    pressed_twice: int = 0
    lost: int = 0
    cap: int = 0
    peak: int = 0
    charged: int = 0
    accounted_for: float = 0
    """By ``deduction_credit`` of the results, and ``charged=True`` of the unknown outcomes."""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """True where every promise was kept."""
        is_complete = self.left_open == self.pressed_twice == self.lost == 0
        return is_complete and self.peak <= self.cap and self.charged == self.accounted_for > 0

    def table(self) -> str:
        """The account, for people."""
        rows = {
            "kills": self.kills,
            "done": self.done,
            "failed": self.failed,
            "unknown and told": self.unknown,
            "pressed twice": self.pressed_twice,
            "lost": self.lost,
            "left open": self.left_open,
            "upscales at once": f"{self.peak}, cap {self.cap}",
            "credits charged": self.charged,
            "credits accounted for": f"{self.accounted_for:g}",
            "seconds": f"{self.seconds:.1f}",
        }
        return "\n".join(f"{name:<22} {value}" for name, value in rows.items())


@contextmanager
def new_state(backend: str) -> Iterator[str]:
    """The URL of a new state: an SQLite file, or a PostgreSQL server of its own."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="akool-") as folder:
            yield f"sqlite:///{folder}/akool.db"
    else:
        with new_postgresql() as server:
            yield server.get_uri()


async def start_worker(plan: Plan, state: str, emulator: Emulator) -> asyncio.subprocess.Process:
    """A real worker, in a process of its own."""
    options = (f"--max-concurrent-upscales={plan.cap}", f"--lost-reply-timeout={LONGEST_JOB / plan.speed}")
    return await commands.start(
        *("worker", "--store", state, *options, "--until-empty", "--quiet"),
        cwd=tempfile.gettempdir(),
        environment=emulator.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=None,
        stderr=None,
    )


async def run(plan: Plan) -> Account:
    """Submit, let workers work and die, and settle the account."""
    async with AsyncExitStack() as stack:
        state = stack.enter_context(new_state(plan.backend))
        emulator = stack.enter_context(Emulator(speed=plan.speed, seed=plan.seed, credits=10 * PRICE * plan.presses))
        jobs = await stack.enter_async_context(
            DurableFanOut(emulator.api_key, state, base_url=emulator.base_url, max_concurrent_upscales=plan.cap)
        )
        images = [emulator.add_image() for _ in range(-(-plan.presses // len(Button)))]
        presses = [(image_id, button) for image_id in images for button in Button][: plan.presses]
        account = Account(cap=plan.cap)
        began = time.monotonic()
        await jobs.submit(presses)
        await _work_and_kill(plan, state, emulator, jobs, account)
        account.seconds = time.monotonic() - began
        await _settle(account, jobs, emulator)
    return account


async def _work_and_kill(plan: Plan, state: str, emulator: Emulator, jobs: DurableFanOut, account: Account) -> None:
    chance = random.Random(plan.seed)
    workers = [await start_worker(plan, state, emulator) for _ in range(plan.workers)]
    told = 0.0
    try:
        while any(worker.returncode is None for worker in workers):
            await asyncio.sleep(chance.uniform(0, 2 * plan.pause))
            if time.monotonic() - told > TOLD_EVERY:
                told = time.monotonic()
                print(f"{account.kills} killed, {await jobs.status()}", file=sys.stderr)
            place = chance.randrange(len(workers))
            if account.kills < plan.kills and workers[place].returncode is None:
                workers[place].kill()
                await workers[place].wait()
                account.kills += 1
                workers[place] = await start_worker(plan, state, emulator)
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.send_signal(signal.SIGKILL)
            await worker.wait()


async def _settle(account: Account, jobs: DurableFanOut, emulator: Emulator) -> None:
    ledger = emulator.ledger
    counts = await jobs.status()
    account.done, account.failed, account.unknown = counts.done, counts.failed, counts.unknown
    account.left_open = counts.open
    told = set()
    async for job in jobs.jobs("done", "failed", "unknown"):
        outcome = job.outcome
        if outcome is not None and outcome.result is not None:
            account.accounted_for += outcome.result.deduction_credit or 0
            told.add((job.press.image_id, job.press.button))
        elif outcome is not None and isinstance(outcome.error, OutcomeUnknownError):
            account.accounted_for += PRICE * bool(outcome.error.charged)
            told.add((job.press.image_id, job.press.button))
    account.pressed_twice = len(ledger.pressed_twice())
    account.lost = len(ledger.presses_accepted.keys() - told)
    account.charged = ledger.charged
    account.peak = ledger.peak_upscales
