"""Compare the CPU time and memory that clients need to wait for many concurrent jobs. See README.md."""

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
MAX_CPU_RATIO = 1.15
MAX_EXTRA_MEMORY = 5.0
"""KiB per job in flight more than the yardstick needs."""
START_TIMEOUT, EXIT_TIMEOUT = 60.0, 3.0
"""Seconds that a contender may take to start, and to exit after its report."""
REPORT_TIMEOUT = 30.0
"""Seconds after its deadline within which a contender must report. Then its process is killed."""
TOO_SLOW = 3.0
"""A contender whose run takes this multiple of a job's duration is not run again."""
SAMPLING_INTERVAL = 0.05
"""Seconds between two samples of the memory."""
STEADY_SHARE = 0.95
"""Samples count if at least this share of the maximum number of jobs is in flight."""
SHADES, OUR_SHADES = ("#c9d3dc", "#93a5b5", "#5b6f80"), ("#f6c28b", "#ee9a44", "#d9730d")
LOG_SCALE_FROM = 20.0
"""A plot has a logarithmic axis if a value is larger than this."""
NOTE_X = 0.55
"""The horizontal position of the notes in a plot."""


# --- what is run ------------------------------------------------------------------------------------------------------


@frozen
class Workload:
    """The number of jobs in flight, how long each takes and how often it is polled."""

    in_flight: int

    @property
    def interval(self) -> float:
        """Seconds between two polls of a job. All jobs together are polled 200 to 1,000 times a second."""
        return max(min(self.in_flight / 200, 2.0), self.in_flight / 1000)

    @property
    def polls(self) -> int:
        """Polls of each job: about as many as the default schedule of akool_async needs."""
        return 8

    @property
    def duration(self) -> float:
        """Seconds that each job takes. It ends halfway between two polls, so no poll comes just too early."""
        return (self.polls - 0.5) * self.interval

    @property
    def deadline(self) -> float:
        """Seconds after which jobs that are not done count as unfinished."""
        return 3 * self.duration + 25.0

    def __str__(self) -> str:
        return (
            f"{self.in_flight:,} jobs in flight, each takes {self.duration:g} s and is polled every {self.interval:g} s"
        )


@frozen
class Measurement:
    """The measurements of one run of a contender."""

    finished: int
    """Jobs that were done before the deadline."""
    requests: int
    cpu_seconds: float
    seconds: float
    """Seconds from the start to the last job's end, or to the deadline."""
    memory: float
    """KiB per job in flight."""
    error: str = ""
    """The most frequent error, and how many jobs had it; empty if there was no error."""

    @property
    def cpu_per_request(self) -> float:
        """Microseconds of CPU time per request; infinite if no request arrived."""
        return self.cpu_seconds / self.requests * 1e6 if self.requests else math.inf

    @property
    def cpu_per_job(self) -> float:
        """Milliseconds of CPU time per finished job; infinite if no job finished."""
        return self.cpu_seconds / self.finished * 1e3 if self.finished else math.inf


Results = dict[str, list[Measurement]]


async def run_all(workload: Workload, names: Sequence[str], repeats: int) -> Results:
    """Run the contenders one after the other.

    Args:
        workload: The jobs of each contender.
        names: The contenders.
        repeats: Runs of each contender. One that is too slow is run only once.
    """
    results: Results = {name: [] for name in names}
    async with job_server() as server:
        for _ in range(repeats):
            for name, runs in results.items():
                if not runs or runs[-1].seconds < TOO_SLOW * workload.duration:
                    runs.append(await measure(server, name, workload))
    return results


async def measure(server: JobServer, name: str, workload: Workload) -> Measurement:
    """Run one contender in a separate process.

    Args:
        server: The server of its jobs.
        name: The contender's name.
        workload: Its jobs.
    """
    server.begin(seconds=0.0)
    process = await _start(name, server.base_url, workload)
    try:
        if await _read_line(process, START_TIMEOUT) != READY:
            return Measurement(0, 0, 0.0, 0.0, 0.0, "did not start")
        return await _measure_ready(server, process, workload)
    finally:
        await _end(process)


async def _start(name: str, base_url: str, workload: Workload) -> Process:
    settings = (name, base_url, str(workload.interval), str(workload.in_flight), str(workload.deadline))
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "ignore", "-m", "benchmarks._contenders"),
        *settings,
        cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def _measure_ready(server: JobServer, process: Process, workload: Workload) -> Measurement:
    contender = psutil.Process(process.pid)
    server.begin(workload.duration)
    gauge = MemoryGauge(server, contender, before=contender.memory_info().rss)
    began = time.monotonic()
    process.stdin.write(b"\n")  # type: ignore[union-attr] - it is a pipe
    sampling = asyncio.create_task(gauge.run())
    report = await _read_line(process, workload.deadline + REPORT_TIMEOUT)
    sampling.cancel()
    result = json.loads(report) if report else _result_of_silent(server, contender, time.monotonic() - began)
    errors = Counter(result["errors"]).most_common(1)
    return Measurement(
        finished=result["finished"],
        requests=server.requests,
        cpu_seconds=result["cpu_seconds"],
        seconds=result["seconds"],
        memory=gauge.per_job(),
        error=" ".join(f"{count} {name}" for name, count in errors),
    )


def _result_of_silent(server: JobServer, contender: psutil.Process, seconds: float) -> dict[str, Any]:
    """Return the result of a contender that does not report, as far as the server and the system know it."""
    cpu_seconds = sum(contender.cpu_times()[:2]) if contender.is_running() else 0.0
    finished = len(server.reported_done)
    return {"finished": finished, "cpu_seconds": cpu_seconds, "seconds": seconds, "errors": {"process killed": 1}}


async def _end(process: Process) -> None:
    try:
        async with asyncio.timeout(EXIT_TIMEOUT):
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
    """Measures the memory of a contender while the maximum number of its jobs is in flight."""

    _server: JobServer
    _process: psutil.Process
    _before: int = field(kw_only=True)
    """Bytes before the first job."""
    _samples: list[tuple[int, int]] = field(factory=list, init=False)
    """Jobs in flight, and bytes."""

    async def run(self) -> None:
        """Take samples until this is cancelled or the process ends."""
        with suppress(psutil.Error):
            while self._process.is_running():
                self._samples.append((self._server.in_flight, self._process.memory_info().rss))
                await asyncio.sleep(SAMPLING_INTERVAL)

    def per_job(self) -> float:
        """Return the KiB per job in flight."""
        peak = max((in_flight for in_flight, _ in self._samples), default=0)
        if not peak:
            return 0.0
        steady = [resident for in_flight, resident in self._samples if in_flight >= STEADY_SHARE * peak]
        return (max(steady) - self._before) / peak / 1024


# --- the report -------------------------------------------------------------------------------------------------------


@frozen
class Row:
    """A contender's medians over its runs, and their ratios to the yardstick's."""

    name: str
    cpu_per_request: float
    """Microseconds."""
    cpu_per_job: float
    """Milliseconds."""
    memory: float
    """KiB per job in flight."""
    requests: int
    seconds: float
    finished: str
    """Jobs finished in the worst run, and its error."""
    cpu_ratio: float | None = None
    """CPU time per request, relative to the yardstick; None if no request arrived or the yardstick did not run."""
    memory_ratio: float | None = None
    """Memory per job, likewise."""


def summarize(results: Results, workload: Workload) -> dict[str, Row]:
    """Return one row for each contender."""
    rows = {name: _summarize_one(name, runs, workload) for name, runs in results.items()}
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


def _summarize_one(name: str, runs: list[Measurement], workload: Workload) -> Row:
    worst = min(runs, key=lambda run: run.finished)
    finished = f"{worst.finished} of {workload.in_flight}" + (f" ({worst.error})" if worst.error else "")
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
    """Return the rows as text."""
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
    """Return the targets of akool_async, and whether it meets them."""
    ours, yardstick = rows[OURS], rows[YARDSTICK]
    cpu, extra = ours.cpu_per_request / yardstick.cpu_per_request, ours.memory - yardstick.memory
    return {
        f"CPU per request {cpu:.2f} times bare, at most {MAX_CPU_RATIO:g}": cpu <= MAX_CPU_RATIO,
        f"memory per job {extra:+.1f} KiB compared with bare, at most {MAX_EXTRA_MEMORY:+g}": extra <= MAX_EXTRA_MEMORY,
    }


# --- plots ------------------------------------------------------------------------------------------------------------


def plot(summaries: dict[int, dict[str, Row]], read: Callable[[Row], float | None], title: str, path: Path) -> None:
    """Draw a group of bars for each contender, with a bar for each number in flight.

    Args:
        summaries: The rows of the contenders, by the number of jobs in flight.
        read: Returns the value of a row.
        title: The plot's title.
        path: The file.
    """
    values = {name: [read(rows[name]) or 0.0 for rows in summaries.values()] for name in next(iter(summaries.values()))}
    names = sorted(values, key=lambda name: max(values[name]))
    largest = max(map(max, values.values()))
    figure = Figure(figsize=(9, 1.2 + 0.24 * len(names) * len(summaries)), layout="constrained")
    axes = figure.add_subplot()
    height = 0.8 / len(summaries)
    for index in range(len(summaries)):
        positions = [center + (index + 0.5) * height - 0.4 for center in range(len(names))]
        colours = [(OUR_SHADES if name == OURS else SHADES)[index % len(SHADES)] for name in names]
        bars = axes.barh(positions, [values[name][index] for name in names], 0.88 * height, color=colours)
        axes.bar_label(bars, fmt=_short, padding=3, fontsize=8, bbox={"color": "white", "pad": 0.5})
        for position, name in zip(positions, names, strict=True):
            if not values[name][index]:
                axes.text(NOTE_X, position, "not one request in time", va="center", fontsize=8)
    if largest > LOG_SCALE_FROM:
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
    return f"{ratio:.2f}" if ratio < LOG_SCALE_FROM / 2 else f"{ratio:.0f}"


# --- the command ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[100, 1000, 10_000], help="jobs in flight")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=CONTENDERS,
        default=list(CONTENDERS),
        metavar="NAME",
        help="run only these contenders",
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of each contender that keeps up with its jobs")
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} CPUs, " + ", ".join(map(_version, PACKAGES)))
    summaries: dict[int, dict[str, Row]] = {}
    for in_flight in options.in_flight:
        workload = Workload(in_flight)
        print(f"\n{workload}; median of {options.repeats}", flush=True)
        summaries[in_flight] = summarize(asyncio.run(run_all(workload, options.only, options.repeats)), workload)
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
    results = targets(rows)
    print(f"\ntargets at {TARGETS_AT:,} in flight")
    for target, is_met in results.items():
        print(f"{'kept  ' if is_met else 'MISSED'} {target}")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
