"""Measure jobs per second and peak memory of ``session.fan_out`` by the number of jobs in flight. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import resource
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from attrs import frozen

from akool_async import AkoolSession, ButtonPress, ExponentialPolling
from akool_async import __version__ as our_version
from benchmarks._contenders import source_image
from benchmarks._job_server import job_server

if TYPE_CHECKING:
    from collections.abc import Sequence

PLOT = Path(__file__).parent / "plots" / "fan-out.png"
MAX_JOBS_PER_SECOND = 10_000
"""Jobs per second that the interval between polls allows. No client is nearly as fast, so the client is the limit."""
COLOUR = "#d9730d"


@frozen
class Measurement:
    """The measurements of one fan-out."""

    in_flight: int
    finished: int
    seconds: float
    cpu_seconds: float
    memory_before: float
    """Peak memory of the process before the fan-out, in MiB."""
    memory_peak: float
    """Peak memory of the process after it, in MiB."""

    @property
    def jobs_per_second(self) -> float:
        """Finished jobs per second, from the first press to the last outcome."""
        return self.finished / self.seconds

    @property
    def cpu_per_job(self) -> float:
        """Milliseconds of CPU time per finished job."""
        return self.cpu_seconds / max(self.finished, 1) * 1e3


def measure(base_url: str, in_flight: int, presses: int) -> Measurement:
    """Run one fan-out in this process.

    Args:
        base_url: The job server's address.
        in_flight: Maximum number of jobs in flight.
        presses: Number of presses.

    Raises:
        AkoolError: A press failed.
    """
    return asyncio.run(measure_here(base_url, in_flight, presses))


async def measure_here(base_url: str, in_flight: int, presses: int) -> Measurement:
    """Run one fan-out in this event loop. See :func:`measure`."""
    interval = in_flight / MAX_JOBS_PER_SECOND
    async with AkoolSession(
        "benchmark-key",
        base_url=base_url,
        max_concurrent_upscales=in_flight,
        polling=ExponentialPolling(initial=interval, factor=1, max_interval=interval),
    ) as akool:
        inputs = (ButtonPress(source_image(number), "U1") for number in range(presses))
        finished, memory_before = 0, _peak_memory()
        began, cpu_began = time.monotonic(), time.process_time()
        async for outcome in akool.fan_out(inputs, max_in_flight=in_flight, preflight=False):
            outcome.unwrap()
            finished += 1
        seconds, cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
    return Measurement(in_flight, finished, seconds, cpu_seconds, memory_before, _peak_memory())


def _peak_memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def run_all(numbers: Sequence[int], presses: int) -> list[Measurement]:
    """Measure each number in flight in a new process. The server runs in this one."""
    loop, spawn = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    measurements = []
    async with job_server() as server:
        for in_flight in numbers:
            server.begin(seconds=0.0)  # done at the first poll
            with ProcessPoolExecutor(1, mp_context=spawn) as process:
                address = f"{server.base_url}/akool"
                measurements.append(await loop.run_in_executor(process, measure, address, in_flight, presses))
                print(row(measurements[-1]), flush=True)
    return measurements


def row(measured: Measurement) -> str:
    """Return a line of the table."""
    cells = (
        f"{measured.in_flight:,}",
        f"{measured.finished:,}",
        f"{measured.jobs_per_second:,.0f}",
        f"{measured.cpu_per_job:.2f} ms",
        f"{measured.memory_before:.0f} MiB",
        f"{measured.memory_peak:.0f} MiB",
    )
    return "".join(f"{cell:>14}" for cell in cells)


def plot(measurements: Sequence[Measurement]) -> None:
    """Draw jobs per second and peak memory by the number of jobs in flight."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - the measured processes do not load matplotlib

    figure = Figure(figsize=(9, 3.4), layout="constrained")
    numbers = [measured.in_flight for measured in measurements]
    panels = {
        "jobs per second": [measured.jobs_per_second for measured in measurements],
        "peak memory, MiB": [measured.memory_peak for measured in measurements],
    }
    for axes, (title, values) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.plot(numbers, values, "o-", color=COLOUR)
        for number, value in zip(numbers, values, strict=True):
            axes.annotate(f"{value:,.0f}", (number, value), (0, 8), textcoords="offset points", ha="center", fontsize=9)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(numbers, [f"{number:,}" for number in numbers])
        axes.set_ylim(0, 1.2 * max(values))
        axes.margins(x=0.1)
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xlabel("in flight")
        axes.grid(axis="y", color="#e6e6e6")
        axes.spines[["top", "right"]].set_visible(False)
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=130)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--in-flight",
        type=int,
        nargs="+",
        default=[10, 100, 1000, 10_000],
        help="maximum number of jobs in flight, for each run",
    )
    parser.add_argument("--presses", type=int, default=20_000, help="presses in each run")
    options = parser.parse_args()
    print(
        f"akool_async {our_version}, aiohttp {aiohttp.__version__}, Python {platform.python_version()}, "
        f"{os.cpu_count()} CPUs: {options.presses:,} presses, each done at its first poll"
    )
    heads = ("in flight", "finished", "jobs/s", "CPU/job", "memory before", "peak memory")
    print("".join(f"{head:>14}" for head in heads), flush=True)
    plot(asyncio.run(run_all(options.in_flight, options.presses)))


if __name__ == "__main__":
    main()
