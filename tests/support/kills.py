"""Kill workers at random times, and compare the store with the emulator's ledger."""

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
REPORT_INTERVAL = 5.0
MAX_JOB_SECONDS = 120.0
"""Seconds at AKOOL's speed after which every job has ended."""
BACKENDS = ("sqlite", "postgresql")


@frozen(kw_only=True)
class KillScenario:
    """The parameters of a run."""

    backend: str = "sqlite"
    presses: int = 5_000
    kills: int = 200
    workers: int = 3
    cap: int = 32
    seed: int = 0
    speed: float = 20.0
    pause: float = 0.85
    """Seconds between two kills, on average."""

    @property
    def budget(self) -> int:
        """Credits: a tenth more than all presses cost, since a press in doubt counts even if it was not accepted."""
        return round(1.1 * PRICE * self.presses)


@define
class KillReport:
    """What the store reports, compared with what the emulator did."""

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
    budget: int = 0
    charged: int = 0
    accounted_for: float = 0
    """Credits, from ``deduction_credit`` of the results and ``charged=True`` of the unknown outcomes."""
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        """True if every promise was kept."""
        is_complete = self.left_open == self.pressed_twice == self.lost == 0
        is_within = self.peak <= self.cap and self.charged <= self.budget
        return is_complete and is_within and self.charged == self.accounted_for > 0

    def table(self) -> str:
        """Return the report as text."""
        rows = {
            "kills": self.kills,
            "done": self.done,
            "failed": self.failed,
            "reported unknown": self.unknown,
            "pressed twice": self.pressed_twice,
            "lost": self.lost,
            "left open": self.left_open,
            "concurrent upscales": f"{self.peak}, cap {self.cap}",
            "credits charged": f"{self.charged}, budget {self.budget}",
            "credits accounted for": f"{self.accounted_for:g}",
            "seconds": f"{self.seconds:.1f}",
        }
        return "\n".join(f"{name:<22} {value}" for name, value in rows.items())


@contextmanager
def new_store(backend: str) -> Iterator[str]:
    """The URL of a new store: an SQLite file, or a database in a new PostgreSQL server."""
    if backend == "sqlite":
        with tempfile.TemporaryDirectory(prefix="akool-") as folder:
            yield f"sqlite:///{folder}/akool.db"
    else:
        with new_postgresql() as server:
            yield server.get_uri()


async def start_worker(scenario: KillScenario, store: str, emulator: Emulator) -> asyncio.subprocess.Process:
    """Start a worker in a separate process."""
    arguments = (
        f"--max-concurrent-upscales={scenario.cap}",
        f"--lost-reply-timeout={MAX_JOB_SECONDS / scenario.speed}",
    )
    return await commands.start(
        *("worker", "--store", store, *arguments, "--until-empty", "--quiet"),
        cwd=tempfile.gettempdir(),
        environment=emulator.environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=None,
        stderr=None,
    )


async def run(scenario: KillScenario) -> KillReport:
    """Submit presses, run and kill workers, and compare the store with the ledger."""
    async with AsyncExitStack() as stack:
        store = stack.enter_context(new_store(scenario.backend))
        emulator = stack.enter_context(
            Emulator(speed=scenario.speed, seed=scenario.seed, credits=10 * PRICE * scenario.presses)
        )
        jobs = await stack.enter_async_context(
            DurableFanOut(emulator.api_key, store, base_url=emulator.base_url, max_concurrent_upscales=scenario.cap)
        )
        images = [emulator.add_image() for _ in range(-(-scenario.presses // len(Button)))]
        presses = [(image_id, button) for image_id in images for button in Button][: scenario.presses]
        report = KillReport(cap=scenario.cap, budget=scenario.budget)
        began = time.monotonic()
        await jobs.submit(presses, max_credits=scenario.budget)
        await _work_and_kill(scenario, store, emulator, jobs, report)
        report.seconds = time.monotonic() - began
        await _compare(report, jobs, emulator)
    return report


async def _work_and_kill(
    scenario: KillScenario, store: str, emulator: Emulator, jobs: DurableFanOut, report: KillReport
) -> None:
    rng = random.Random(scenario.seed)
    workers = [await start_worker(scenario, store, emulator) for _ in range(scenario.workers)]
    printed_at = 0.0
    try:
        while any(worker.returncode is None for worker in workers):
            await asyncio.sleep(rng.uniform(0, 2 * scenario.pause))
            if time.monotonic() - printed_at > REPORT_INTERVAL:
                printed_at = time.monotonic()
                print(f"{report.kills} killed, {await jobs.status()}", file=sys.stderr)
            index = rng.randrange(len(workers))
            if report.kills < scenario.kills and workers[index].returncode is None:
                workers[index].kill()
                await workers[index].wait()
                report.kills += 1
                workers[index] = await start_worker(scenario, store, emulator)
    finally:
        for worker in workers:
            with suppress(ProcessLookupError):
                worker.send_signal(signal.SIGKILL)
            await worker.wait()


async def _compare(report: KillReport, jobs: DurableFanOut, emulator: Emulator) -> None:
    ledger = emulator.ledger
    counts = await jobs.status()
    report.done, report.failed = counts.done, counts.failed + counts.over_budget
    report.unknown = counts.unknown
    report.left_open = counts.open
    ended = set()
    async for job in jobs.jobs("done", "failed", "unknown"):
        outcome = job.outcome
        if outcome is not None and outcome.result is not None:
            report.accounted_for += outcome.result.deduction_credit or 0
            ended.add((job.press.image_id, job.press.button))
        elif outcome is not None and isinstance(outcome.error, OutcomeUnknownError):
            report.accounted_for += PRICE * bool(outcome.error.charged)
            ended.add((job.press.image_id, job.press.button))
    report.pressed_twice = len(ledger.pressed_twice())
    report.lost = len(ledger.presses_accepted.keys() - ended)
    report.charged = ledger.charged
    report.peak = ledger.peak_upscales
