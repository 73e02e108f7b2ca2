"""CPU and memory of waiting for many jobs at once, every client side by side. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import sys
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil
from attrs import define, evolve, field, frozen
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks._contenders import CONTENDERS, READY
from benchmarks._job_server import JobServer, job_server

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable, Iterable, Sequence

PLOTS = Path(__file__).parent / "plots"
PACKAGES = ("akool-async", "fal-client", "replicate", "runwayml", "openai", "httpx", "aiohttp", "orjson", "backoff")
YARDSTICK, OURS = "bare", "akool_async"
TARGETS_AT = 10_000
MOST_CPU_RATIO = 1.15
MOST_EXTRA_MEMORY = 5.0
"""KiB per job in flight beyond the yardstick's."""
LONGEST_START, LONGEST_END = 60.0, 3.0
LONGEST_OVERRUN = 30.0
"""Seconds after its own deadline in which a contender must have reported."""
TOO_SLOW = 3.0
"""Times a job's duration after which a contender is not run again: it has shown enough."""
SAMPLING = 0.05
NEARLY_ALL = 0.95
SHADES, OUR_SHADES = ("#c9d3dc", "#93a5b5", "#5b6f80"), ("#f6c28b", "#ee9a44", "#d9730d")
FAR_APART = 20.0
NOTE_AT = 0.55


# --- what is run ------------------------------------------------------------------------------------------------------


@frozen
class Plan:
    """How many jobs are in flight, how long each takes and how often it is looked at."""

    in_flight: int

    @property
    def interval(self) -> float:
        """Seconds between two looks; some 500 looks a second for a thousand, 1,000 for ten thousand."""
        return max(min(self.in_flight / 200, 2.0), self.in_flight / 1000)

    @property
    def looks(self) -> int:
        """Looks at each job: as many as the default schedule of akool_async needs for one."""
        return 8

    @property
    def duration(self) -> float:
        """Seconds that each job takes: done between two looks, so that no look comes just too early."""
        return (self.looks - 0.5) * self.interval

    @property
    def deadline(self) -> float:
        """Seconds after which the jobs that are not done are given up."""
        return 3 * self.duration + 25.0

    def __str__(self) -> str:
        return (
            f"{self.in_flight:,} jobs in flight, each {self.duration:g} s long and looked at every {self.interval:g} s"
        )


@frozen
class Measurement:
    """One run of one contender."""

    finished: int
    requests: int
    cpu_seconds: float
    seconds: float
    memory: float
    """KiB per job in flight."""
    error: str = ""

    @property
    def cpu_per_request(self) -> float:
        """Microseconds; infinite where none arrived."""
        return self.cpu_seconds / self.requests * 1e6 if self.requests else math.inf

    @property
    def cpu_per_job(self) -> float:
        """Milliseconds per finished job; infinite where none finished."""
        return self.cpu_seconds / self.finished * 1e3 if self.finished else math.inf


Results = dict[str, list[Measurement]]


async def run_all(plan: Plan, names: Sequence[str], repeats: int) -> Results:
    """Each contender in turn, and again for every repeat those that keep up with their jobs."""
    results: Results = {name: [] for name in names}
    async with job_server() as server:
        for _ in range(repeats):
            for name, runs in results.items():
                if not runs or runs[-1].seconds < TOO_SLOW * plan.duration:
                    runs.append(await measure(server, name, plan))
    return results


async def measure(server: JobServer, name: str, plan: Plan) -> Measurement:
    """One contender, in a process of its own."""
    server.begin(seconds=0.0)
    process = await _start(name, server.base_url, plan)
    try:
        if await _read_line(process, LONGEST_START) != READY:
            return Measurement(0, 0, 0.0, 0.0, 0.0, "did not start")
        return await _measure_ready(server, process, plan)
    finally:
        await _end(process)


async def _start(name: str, base_url: str, plan: Plan) -> Process:
    settings = (name, base_url, str(plan.interval), str(plan.in_flight), str(plan.deadline))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "ignore", "-m", "benchmarks._contenders"),
        *settings,
        cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def _measure_ready(server: JobServer, process: Process, plan: Plan) -> Measurement:
    watched = psutil.Process(process.pid)
    server.begin(plan.duration)
    gauge = MemoryGauge(server, watched, before=watched.memory_info().rss)
    began = time.monotonic()
    process.stdin.write(b"\n")  # type: ignore[union-attr] - it is a pipe
    sampling = asyncio.create_task(gauge.run())
    report = await _read_line(process, plan.deadline + LONGEST_OVERRUN)
    sampling.cancel()
    told = json.loads(report) if report else _tell_for(server, watched, time.monotonic() - began)
    errors = Counter(told["errors"]).most_common(1)
    return Measurement(
        finished=told["finished"],
        requests=server.requests,
        cpu_seconds=told["cpu_seconds"],
        seconds=told["seconds"],
        memory=gauge.per_job(),
        error=" ".join(f"{count} {name}" for name, count in errors),
    )


def _tell_for(server: JobServer, watched: psutil.Process, seconds: float) -> dict[str, Any]:
    """What can be seen from outside of a contender that does not report."""
    cpu_seconds = sum(watched.cpu_times()[:2]) if watched.is_running() else 0.0
    finished = len(server.reported_done)
    return {"finished": finished, "cpu_seconds": cpu_seconds, "seconds": seconds, "errors": {"was killed": 1}}


async def _end(process: Process) -> None:
    try:
        async with asyncio.timeout(LONGEST_END):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


async def _read_line(process: Process, seconds: float) -> str:
    try:
        async with asyncio.timeout(seconds):
            return (await process.stdout.readline()).decode().strip()  # type: ignore[union-attr] - it is a pipe
    except TimeoutError:
        return ""


@define
class MemoryGauge:
    """The memory of a contender while as many of its jobs are in flight as ever are."""

    _server: JobServer
    _process: psutil.Process
    _before: int = field(kw_only=True)
    """Bytes, before the first job."""
    _samples: list[tuple[int, int]] = field(factory=list, init=False)

    async def run(self) -> None:
        """Sample until cancelled, or until the process is gone."""
        with suppress(psutil.Error):
            while self._process.is_running():
                self._samples.append((self._server.in_flight, self._process.memory_info().rss))
                await asyncio.sleep(SAMPLING)

    def per_job(self) -> float:
        """KiB per job in flight."""
        most = max((in_flight for in_flight, _ in self._samples), default=0)
        if not most:
            return 0.0
        steady = [resident for in_flight, resident in self._samples if in_flight >= NEARLY_ALL * most]
        return (max(steady) - self._before) / most / 1024


# --- what is told -----------------------------------------------------------------------------------------------------


@frozen
class Row:
    """A contender's medians over its repeats, and how they compare with the yardstick's."""

    name: str
    cpu_per_request: float
    cpu_per_job: float
    memory: float
    requests: int
    seconds: float
    finished: str
    cpu_ratio: float | None = None
    memory_ratio: float | None = None


def summarize(results: Results, plan: Plan) -> dict[str, Row]:
    """One row per contender."""
    rows = {name: _summarize_one(name, runs, plan) for name, runs in results.items()}
    yardstick = rows.get(YARDSTICK)
    if yardstick is None or not yardstick.memory:
        return rows
    return {
        name: evolve(
            row,
            cpu_ratio=row.cpu_per_request / yardstick.cpu_per_request if row.requests else None,
            memory_ratio=row.memory / yardstick.memory if row.requests else None,
        )
        for name, row in rows.items()
    }


def _summarize_one(name: str, runs: list[Measurement], plan: Plan) -> Row:
    worst = min(runs, key=lambda run: run.finished)
    finished = f"{worst.finished} of {plan.in_flight}" + (f" ({worst.error})" if worst.error else "")
    return Row(
        name=name,
        cpu_per_request=median(run.cpu_per_request for run in runs),
        cpu_per_job=median(run.cpu_per_job for run in runs),
        memory=median(run.memory for run in runs),
        requests=round(median(run.requests for run in runs)),
        seconds=median(run.seconds for run in runs),
        finished=finished,
    )


def table(rows: Iterable[Row]) -> str:
    """The rows, for people."""
    head = ("contender", "CPU/request", "x bare", "CPU/job", "memory/job", "x bare", "requests", "seconds", "finished")
    lines = [head] + [
        (
            row.name,
            "-" if math.isinf(row.cpu_per_request) else f"{row.cpu_per_request:.0f} us",
            _ratio(row.cpu_ratio),
            "-" if math.isinf(row.cpu_per_job) else f"{row.cpu_per_job:.2f} ms",
            f"{row.memory:.1f} KiB" if row.requests else "-",
            _ratio(row.memory_ratio),
            f"{row.requests}",
            f"{row.seconds:.1f}",
            row.finished,
        )
        for row in rows
    ]
    return "\n".join(
        f"{name:<15}" + "".join(f"{cell:>12}" for cell in cells) + f"   {end}" for name, *cells, end in lines
    )


def _ratio(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"


def targets(rows: dict[str, Row]) -> dict[str, bool]:
    """What akool_async is held to, and whether it holds."""
    ours, yardstick = rows[OURS], rows[YARDSTICK]
    cpu, extra = ours.cpu_per_request / yardstick.cpu_per_request, ours.memory - yardstick.memory
    return {
        f"CPU per request {cpu:.2f} times bare, at most {MOST_CPU_RATIO:g}": cpu <= MOST_CPU_RATIO,
        f"memory per job {extra:+.1f} KiB beside bare, at most {MOST_EXTRA_MEMORY:+g}": extra <= MOST_EXTRA_MEMORY,
    }


# --- pictures ---------------------------------------------------------------------------------------------------------


def plot(summaries: dict[int, dict[str, Row]], read: Callable[[Row], float | None], title: str, path: Path) -> None:
    """A group of bars per contender, one bar for each number in flight; on a log scale where they lie far apart."""
    values = {name: [read(rows[name]) or 0.0 for rows in summaries.values()] for name in next(iter(summaries.values()))}
    names = sorted(values, key=lambda name: max(values[name]))
    largest = max(map(max, values.values()))
    figure = Figure(figsize=(9, 1.2 + 0.24 * len(names) * len(summaries)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(summaries)
    for index in range(len(summaries)):
        places = [place + (index + 0.5) * height - 0.4 for place in range(len(names))]
        colours = [(OUR_SHADES if name == OURS else SHADES)[index % len(SHADES)] for name in names]
        bars = axes.barh(places, [values[name][index] for name in names], 0.88 * height, color=colours)
        axes.bar_label(bars, fmt=_short, padding=3, fontsize=8, bbox={"color": "white", "pad": 0.5})
        for place, name in zip(places, names, strict=True):
            if not values[name][index]:
                axes.text(NOTE_AT, place, "not one request in time", va="center", fontsize=8)
    if largest > FAR_APART:
        axes.set_xscale("log")
        axes.set_xlim(0.5, 2 * largest)
        axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.set_xlim(0, 1.1 * largest)
    axes.axvline(1.0, color="#333333", linewidth=1, linestyle=":")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    keys = [Patch(color=SHADES[index % len(SHADES)], label=f"{number:,}") for index, number in enumerate(summaries)]
    axes.legend(handles=keys, title="in flight", frameon=False, loc="upper right")
    PLOTS.mkdir(exist_ok=True)
    figure.savefig(path, dpi=130)


def _short(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < FAR_APART / 2 else f"{ratio:.0f}"


# --- the command ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3, help="of those that keep up")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, " + ", ".join(map(_version, PACKAGES)))
    summaries: dict[int, dict[str, Row]] = {}
    for in_flight in options.in_flight:
        plan = Plan(in_flight)
        print(f"\n{plan}; median of {options.repeats}", flush=True)
        summaries[in_flight] = summarize(asyncio.run(run_all(plan, options.only, options.repeats)), plan)
        print(table(summaries[in_flight].values()), flush=True)
    if set(options.only) == set(CONTENDERS):
        plot(
            summaries, lambda row: row.cpu_ratio, "CPU per request, bare aiohttp + orjson = 1", PLOTS / "peers-cpu.png"
        )
        plot(
            summaries,
            lambda row: row.memory_ratio,
            "Memory per job in flight, bare aiohttp + orjson = 1",
            PLOTS / "peers-memory.png",
        )
    return _judge(summaries.get(TARGETS_AT, {}))


def _version(package: str) -> str:
    return f"{package} {version(package)}"


def _judge(rows: dict[str, Row]) -> int:
    if not {YARDSTICK, OURS} <= rows.keys():
        return 0
    verdicts = targets(rows)
    print(f"\ntargets at {TARGETS_AT:,} in flight")
    for target, holds in verdicts.items():
        print(f"{'kept  ' if holds else 'MISSED'} {target}")
    return 0 if all(verdicts.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
