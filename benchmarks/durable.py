"""What a recorded job costs, and how a store grows. See README.md."""

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
from importlib.metadata import version
from statistics import median
from typing import TYPE_CHECKING, Any

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
FILLED_TOGETHER = 100_000
GROWTH = (
    *("disk, bytes/job", "enter, s", "status(), s", "job(), ms", "list unknown, s", "list all, s"),
    *("submit 1,000, s", "run 100, s"),
)


def presses_of(images: list[str]) -> list[tuple[str, str]]:
    """Variations, which no cap holds up."""
    return [(image_id, button) for image_id in images for button in VARIATIONS]


# --- what a job costs: each contender in a process of its own ---


async def carry_out(store: str, presses: list[tuple[str, str]]) -> dict[str, float]:
    """Press all of them in this process; without a store by ``AkoolSession.fan_out``."""
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
    """Medians of several runs, side by side."""
    print(f"{'':<26}{'jobs/s':>10}{'CPU ms/job':>12}{'submitted/s':>13}{'MiB':>7}")
    for name, backend in (("AkoolSession.fan_out", ""), *((f"DurableFanOut, {kind}", kind) for kind in BACKENDS)):
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


def _in_a_process(emulator: Emulator, store: str, images: list[str]) -> dict[str, float]:
    process = _start(emulator, store)
    figures: dict[str, float] = json.loads(process.communicate(json.dumps(images))[0])
    return figures


def _start(emulator: Emulator, store: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.durable", "--contender"],
        env={**os.environ, **emulator.environment(), "STORE": store},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


# --- what a store carries: more and more workers on one ---


def measure_workers(jobs: int, runs: int) -> None:
    """Medians of jobs a second, from the start of the processes to the end of the last."""
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
    """Fill a store with finished jobs, copies of a real one, and time what users do."""
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
                    filled += _fill(engine, seed, filled, min(FILLED_TOGETHER, size - filled))
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

    fresh = [(f"{filled:012x}{place:012x}", "V1") for place in range(1_000)]
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
    with engine.begin() as connection:  # they are of no emulator's
        for table, key in _tables(engine):
            connection.execute(sa.delete(table).where(key.contains(f":{filled:012x}")))
    await jobs.submit(others)
    figures.append(await _time(jobs.run))
    print(f"{filled:>18,}" + "".join(f"{figure:>18,.3f}" for figure in figures), flush=True)


async def _time(ask: Callable[[], Awaitable[object]]) -> float:
    began = time.perf_counter()
    await ask()
    return time.perf_counter() - began


def _tables(engine: sa.Engine) -> list[tuple[sa.Table, sa.Column[str]]]:
    """Ours and DBOS's, each with the column that names the job."""
    schema = "dbos" if engine.dialect.name == "postgresql" else None
    ours = sa.Table("akool_jobs", sa.MetaData(), autoload_with=engine)
    theirs = sa.Table("workflow_status", sa.MetaData(), autoload_with=engine, schema=schema)
    return [(ours, ours.c.job), (theirs, theirs.c.workflow_uuid)]


def _fill(engine: sa.Engine, seed: ButtonPress, filled: int, number: int) -> int:
    """Copies of the job and of its workflow, under other image ids."""
    numbers = sa.select(sa.cast(filled, sa.BigInteger).label("i")).cte("numbers", recursive=True)
    numbers = numbers.union_all(sa.select(numbers.c.i + 1).where(numbers.c.i < filled + number - 1))
    new_id = sa.literal("ffffffff") + sa.cast(10**15 + numbers.c.i, sa.String)
    with engine.begin() as connection:
        for table, key in _tables(engine):
            copy = {column.name: column for column in table.c}
            copy |= {name: new_id for name in ("image_id", "operation_id", "word") if name in copy}
            copy[key.name] = sa.func.replace(key, seed.image_id, new_id)
            its_key = connection.execute(sa.select(key).where(key.contains(seed.image_id))).scalar_one()
            source = sa.select(*copy.values()).where(key == its_key).select_from(table.join(numbers, sa.true()))
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
    parser.add_argument("--contender", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contender:
        print(json.dumps(asyncio.run(carry_out(os.environ["STORE"], presses_of(json.load(sys.stdin))))))
        return
    print(f"akool_async {our_version}, dbos {version('dbos')}, Python {platform.python_version()}")
    print(f"\nWhat a job costs ({options.jobs:,} variations, medians of {options.runs})")
    measure_costs(options.jobs, options.runs)
    print(f"\nJobs a second by several workers ({options.jobs:,} variations, medians of {options.runs})")
    measure_workers(options.jobs, options.runs)
    print("\nHow a store grows")
    for backend in BACKENDS:
        asyncio.run(measure_growth(backend, [size for size in SIZES if size <= options.largest]))


if __name__ == "__main__":
    main()
