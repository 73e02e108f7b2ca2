"""Measure what a recorded job costs and how a store grows. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import subprocess
import sys
import time
from contextlib import ExitStack
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from akool_async import AkoolSession, ButtonPress, ExponentialPolling
from akool_async import __version__ as our_version
from akool_async.durable import DurableFanOut
from akool_async.emulator import Emulator
from tests.support.kills import BACKENDS, new_store

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

SPEED = 200.0
POLLING = ExponentialPolling(initial=0.1, max_interval=0.1)
VARIATIONS = ("V1", "V2", "V3", "V4")
SIZES = (1_000, 10_000, 100_000, 1_000_000)
WORKERS = (1, 2, 4)
CONTENDERS = (("AkoolSession.fan_out", ""), *((f"DurableFanOut, {kind}", kind) for kind in BACKENDS))
SETTLED = 12.0
"""Seconds after which a worker without jobs is idle."""
FILL_SIZE = 100_000
"""Jobs that one transaction copies."""
GROWTH = (
    *("disk, bytes/job", "enter, s", "status(), s", "job(), ms", "list unknown, s", "list all, s"),
    *("submit 1,000, s", "run 100, s"),
)


def presses_of(images: list[str]) -> list[tuple[str, str]]:
    """Return variations of images. No cap limits them."""
    return [(image_id, button) for image_id in images for button in VARIATIONS]


# --- what a job costs: each contender runs in a separate process ---


async def carry_out(store: str, presses: list[tuple[str, str]]) -> dict[str, float]:
    """Make all presses in this process. Without a store, use ``AkoolSession.fan_out``."""
    began, cpu = time.perf_counter(), time.process_time()
    submitted = 0.0
    if not store:
        async with AkoolSession(polling=POLLING) as akool:
            done = sum([outcome.ok async for outcome in akool.fan_out(presses, preflight=False)])
    else:
        async with DurableFanOut(store=store, polling=POLLING) as jobs:
            began, cpu = time.perf_counter(), time.process_time()
            await jobs.submit(presses)
            submitted = time.perf_counter() - began
            await jobs.run()
            done = (await jobs.status()).done
    if done != len(presses):
        raise RuntimeError(f"{done} of {len(presses)} presses done")
    return {
        "jobs/s": done / (time.perf_counter() - began),
        "CPU ms/job": 1000 * (time.process_time() - cpu) / done,
        "submitted/s": len(presses) / submitted if submitted else 0.0,
        "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def measure_costs(jobs: int, runs: int) -> None:
    """Print the medians of several runs for each contender."""
    print(f"{'':<26}{'jobs/s':>10}{'CPU ms/job':>12}{'submitted/s':>13}{'MiB':>7}")
    for name, backend in CONTENDERS:
        figures = [_measure_once(backend, jobs) for _ in range(runs)]
        row = {figure: median(one[figure] for one in figures) for figure in figures[0]}
        print(
            f"{name:<26}{row['jobs/s']:>10.0f}{row['CPU ms/job']:>12.2f}{row['submitted/s']:>13.0f}{row['MiB']:>7.0f}",
            flush=True,
        )


def _measure_once(backend: str, jobs: int) -> dict[str, float]:
    with Emulator(speed=SPEED, credits=10 * jobs) as emulator:
        images = [emulator.add_image() for _ in range(jobs // len(VARIATIONS))]
        if not backend:
            return _in_a_process(emulator, "", images)
        with new_store(backend) as store:
            return _in_a_process(emulator, store, images)


# --- what an idle worker costs, and how soon it presses a new job ---


async def work(store: str) -> None:
    """Run a worker until it is killed."""
    async with DurableFanOut(store=store, polling=POLLING) as jobs:
        await jobs.run(until_empty=False)


async def press_one_by_one(store: str, presses: list[tuple[str, str]]) -> None:
    """Make upscales under a cap of one."""
    if not store:
        async with AkoolSession(polling=POLLING, max_concurrent_upscales=1) as akool:
            async for _ in akool.fan_out(presses, preflight=False):
                pass
    else:
        async with DurableFanOut(store=store, polling=POLLING, max_concurrent_upscales=1) as jobs:
            await jobs.submit(presses)
            await jobs.run()


def measure_idle(seconds: float) -> None:
    """Print the CPU time, transactions and connections of an idle worker, and how soon it makes a new press."""
    print(f"{'':<14}{'% of a core':>12}{'transactions/s':>16}{'connections':>13}{'to the POST, s':>16}")
    for backend in BACKENDS:
        with new_store(backend) as store, Emulator() as emulator:
            process = _start(emulator, store, "--work")
            try:
                time.sleep(SETTLED)
                cpu, (transactions, connections) = _cpu_of(process.pid), _activity(store)
                time.sleep(seconds)
                cpu, (after, _) = _cpu_of(process.pid) - cpu, _activity(store)
                press = (emulator.add_image(), "V1")
                began = time.time()
                asyncio.run(_submit(emulator, store, [press]))
                while not emulator.ledger.posts:
                    time.sleep(0.01)
                delay = time.time() - began
            finally:
                process.kill()
                process.wait()
        per_second = (after - transactions) / seconds
        print(
            f"{backend:<14}{100 * cpu / seconds:>12.2f}{per_second:>16.1f}{connections:>13}{delay:>16.2f}", flush=True
        )


def _cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


TRANSACTIONS = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()"
CONNECTIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def _activity(store: str) -> tuple[int, int]:
    """Return the transactions so far, and the other connections. Both are 0 for SQLite."""
    if store.startswith("sqlite"):
        return 0, 0
    with psycopg.connect(store, autocommit=True) as connection:
        time.sleep(1.1)  # the server updates its statistics once a second
        return connection.execute(TRANSACTIONS).fetchone()[0], connection.execute(CONNECTIONS).fetchone()[0]


def measure_slots(jobs: int) -> None:
    """Print the median time between two POSTs under a cap of one, compared with the session's fan-out."""
    print(f"{'':<26}{'between POSTs, ms':>18}{'above the session':>19}")
    of_session = 0.0
    for name, backend in CONTENDERS:
        with ExitStack() as stack:
            emulator = stack.enter_context(Emulator(speed=SPEED, sigma=0, queue_sigma=0))
            store = stack.enter_context(new_store(backend)) if backend else ""
            images = [emulator.add_image() for _ in range(jobs)]
            _start(emulator, store, "--one-by-one").communicate(json.dumps(images))
            times = sorted(post.time for post in emulator.ledger.posts)
        gap = 1000 * median(later - earlier for earlier, later in pairwise(times))
        of_session = of_session or gap
        print(f"{name:<26}{gap:>18.1f}{gap - of_session:>19.1f}", flush=True)


def _in_a_process(emulator: Emulator, store: str, images: list[str]) -> dict[str, float]:
    process = _start(emulator, store)
    figures: dict[str, float] = json.loads(process.communicate(json.dumps(images))[0])
    return figures


def _start(emulator: Emulator, store: str, task: str = "--contender") -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - this file itself
        [sys.executable, "-m", "benchmarks.durable", task],
        env={**os.environ, **emulator.environment(), "STORE": store},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# --- how many jobs several workers carry out on one store ---


def measure_workers(jobs: int, runs: int) -> None:
    """Print the median jobs per second, from the start of the first process to the end of the last."""
    print("".join(f"{name:>14}" for name in ("workers", *BACKENDS)))
    for workers in WORKERS:
        rates = [median(_rate_of(backend, workers, jobs) for _ in range(runs)) for backend in BACKENDS]
        print(f"{workers:>14}" + "".join(f"{rate:>14.0f}" for rate in rates), flush=True)


def _rate_of(backend: str, workers: int, jobs: int) -> float:
    with new_store(backend) as store, Emulator(speed=SPEED, credits=10 * jobs) as emulator:
        images = [emulator.add_image() for _ in range(jobs // len(VARIATIONS))]
        asyncio.run(_submit(emulator, store, presses_of(images)))
        began = time.perf_counter()
        processes = [_start(emulator, store) for _ in range(workers)]
        for process in processes:
            with process.stdin as stdin:
                stdin.write(json.dumps(images))
        for process in processes:
            process.wait()
        return jobs / (time.perf_counter() - began)


async def _submit(emulator: Emulator, store: str, presses: list[tuple[str, str]]) -> None:
    async with DurableFanOut(emulator.api_key, store, base_url=emulator.base_url) as jobs:
        await jobs.submit(presses)


# --- how a store grows ---


async def measure_growth(backend: str, sizes: list[int]) -> None:
    """Fill a store with copies of a finished job, and measure how long common calls take."""
    print("".join(f"{name:>18}" for name in (backend, *GROWTH)))
    with new_store(backend) as store, Emulator(speed=SPEED, credits=10_000) as emulator:
        options: dict[str, Any] = {"store": store, "base_url": emulator.base_url, "polling": POLLING}
        engine = sa.create_engine(store.replace("postgresql://", "postgresql+psycopg://"))
        async with DurableFanOut(emulator.api_key, **options) as jobs:
            seed = ButtonPress(emulator.add_image(), "V1")
            await jobs.submit([seed])
            await jobs.run()
            filled = 1
            for size in sizes:
                while filled < size:
                    filled += _fill(engine, seed, filled, min(FILL_SIZE, size - filled))
                await _print_size(engine, emulator, jobs, options, filled)
        engine.dispose()


async def _print_size(
    engine: sa.Engine, emulator: Emulator, jobs: DurableFanOut, options: dict[str, Any], filled: int
) -> None:
    async def enter() -> None:
        async with DurableFanOut(emulator.api_key, **options):
            pass

    async def list_jobs(*states: str) -> int:
        return sum([1 async for _ in jobs.jobs(*states)])

    fresh = [(f"{filled:012x}{index:012x}", "V1") for index in range(1_000)]
    others = presses_of([emulator.add_image() for _ in range(25)])
    figures = [
        _disk(engine) / filled,
        await _time(enter),
        await _time(jobs.status),
        1000 * await _time(lambda: jobs.job(others[0])),
        await _time(lambda: list_jobs("unknown", "failed")),
        await _time(list_jobs),
        await _time(lambda: jobs.submit(fresh)),
    ]
    with engine.begin() as connection:  # the emulator does not have these images
        table = _table(engine)
        connection.execute(sa.delete(table).where(table.c.job.contains(f":{filled:012x}")))
    await jobs.submit(others)
    figures.append(await _time(jobs.run))
    print(f"{filled:>18,}" + "".join(f"{figure:>18,.3f}" for figure in figures), flush=True)


async def _time(call: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await call()
    return time.perf_counter() - began


def _table(engine: sa.Engine) -> sa.Table:
    return sa.Table("akool_jobs", sa.MetaData(), autoload_with=engine)


def _fill(engine: sa.Engine, seed: ButtonPress, filled: int, number: int) -> int:
    """Copy the job under other image ids, and return the number of copies."""
    numbers = sa.select(sa.cast(filled, sa.BigInteger).label("i")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.i + 1).where(numbers.c.i < filled + number - 1))
    new_id = sa.literal("ffffffff") + sa.cast(10**15 + numbers.c.i, sa.String)
    table = _table(engine)
    with engine.begin() as connection:
        copy = dict(table.c)
        copy |= dict.fromkeys(("image_id", "operation_id", "correlation_id"), new_id)
        copy["job"] = sa.func.replace(table.c.job, seed.image_id, new_id)
        of_seed = table.c.image_id == seed.image_id
        source = sa.select(*copy.values()).where(of_seed).select_from(table.join(numbers, sa.true()))
        connection.execute(table.insert().from_select(list(copy), source))
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.text("ANALYZE"))
    return number


def _disk(engine: sa.Engine) -> float:
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            return float(connection.execute(sa.text("SELECT pg_database_size(current_database())")).scalar_one())
        pages = connection.execute(sa.text("PRAGMA page_count")).scalar_one()
        return float(pages * connection.execute(sa.text("PRAGMA page_size")).scalar_one())


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--largest", type=int, default=SIZES[-1])
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    for task in ("--contender", "--work", "--one-by-one"):
        parser.add_argument(task, action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        asyncio.run(work(os.environ["STORE"]))
        return
    if options.one_by_one:
        asyncio.run(press_one_by_one(os.environ["STORE"], [(image_id, "U1") for image_id in json.load(sys.stdin)]))
        return
    if options.contender:
        print(json.dumps(asyncio.run(carry_out(os.environ["STORE"], presses_of(json.load(sys.stdin))))))
        return
    print(f"akool_async {our_version}, dbos {version('dbos')}, Python {platform.python_version()}")
    print(f"\nWhat a job costs ({options.jobs:,} variations, medians of {options.runs})")
    measure_costs(options.jobs, options.runs)
    print("\nAn idle worker")
    measure_idle(options.idle_seconds)
    print("\nFrom a free slot to the next POST")
    measure_slots(40)
    print(f"\nJobs per second of several workers ({options.jobs:,} variations, medians of {options.runs})")
    measure_workers(options.jobs, options.runs)
    print("\nHow a store grows")
    for backend in BACKENDS:
        asyncio.run(measure_growth(backend, [size for size in SIZES if size <= options.largest]))


if __name__ == "__main__":
    main()
