"""Measure how busy a fan-out of trees keeps the slots for upscales, and how much memory it takes. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import heapq
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from akool_async import AkoolSession, ExponentialPolling, Prompt, events
from akool_async import __version__ as our_version
from akool_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Sequence

SHAPES = {"U*": 60, "U* V1>U*": 30, "V*>U*": 15, "U1": 240}
"""The presses on the image of each prompt, and the number of prompts. Each shape makes 240 upscales."""
CAP = 4
FAST = 20_000.0
"""Speed at which the emulator's jobs are done at the first poll."""
MEMORY_SHAPE = "U* V1>U*"
NODES = 10
"""Nodes of one tree of this shape."""


@define
class Slots:
    """The use of the slots for upscales, from the session's events."""

    first: float | None = None
    """The time at which the first upscale was accepted, on the monotonic clock; None before."""
    last: float = 0.0
    """The time at which a poll last saw the end of an upscale, on the monotonic clock."""
    held: list[float] = field(factory=list)
    """Seconds for which each upscale held its slot, in the order of their ends."""
    durations: list[float] = field(factory=list)
    """Seconds that each upscale took at AKOOL."""

    def observe(self, event: events.Event) -> None:
        """Record that an upscale was accepted or finished."""
        now = time.monotonic()
        match event:
            case events.Accepted(press=press) if press is not None and press.button.is_upscale:
                self.first = now if self.first is None else self.first
            case events.Finished(kind="upscale", seconds=seconds, detection_delay=delay):
                self.last = now
                self.held.append(seconds)
                self.durations.append(seconds - delay)

    @property
    def seconds(self) -> float:
        """Seconds from the acceptance of the first upscale to the end of the last."""
        return self.last - (self.first or 0.0)

    @property
    def of_held(self) -> float:
        """The time that is needed if freed slots are reused immediately, as a share of the measured time."""
        return seconds_to_finish(self.held) / self.seconds

    @property
    def of_ideal(self) -> float:
        """The time that is needed if polls also see every end immediately, as a share of the measured time."""
        return seconds_to_finish(self.durations) / self.seconds


def seconds_to_finish(held: Sequence[float]) -> float:
    """Return the seconds until all jobs have left their slots, if each takes the first free slot.

    Args:
        held: Seconds for which each job holds its slot.
    """
    free_at = [0.0] * CAP
    for seconds in held:
        heapq.heapreplace(free_at, free_at[0] + seconds)
    return max(free_at)


@frozen
class Run:
    """The measurements of one fan-out."""

    nodes: int
    """Prompts and presses that completed."""
    seconds: float
    """Seconds that the fan-out took, at AKOOL's speed."""
    of_held: float
    """See :attr:`Slots.of_held`."""
    of_ideal: float
    """See :attr:`Slots.of_ideal`."""
    max_open: int
    """The maximum number of trees that had yielded some, but not all, of their outcomes at the same time."""


async def keep_busy(shape: str, prompts: int, seed: int, speed: float) -> Run:
    """Carry out trees, and measure how busy the slots were.

    Args:
        shape: The presses on the image of each prompt.
        prompts: The number of prompts.
        seed: The emulator's seed.
        speed: The emulator's speed, as a multiple of AKOOL's.
    """
    slots, left, nodes, max_open = Slots(), {}, 0, 0
    async with (
        Emulator(speed=speed, seed=seed, credits=10**9) as emulator,
        emulator.session(max_concurrent_upscales=CAP, observer=slots.observe) as akool,
    ):
        began = time.monotonic()
        items = [Prompt(f"fox {number}", then=shape) for number in range(prompts)]
        async for outcome in akool.fan_out(items):
            nodes += outcome.ok
            root = outcome.item
            size = 1 + sum(branch.presses for branch in root.then)
            left[root] = left.get(root, size) - 1
            max_open = max(max_open, sum(count > 0 for count in left.values()))
        return Run(nodes, (time.monotonic() - began) * speed, slots.of_held, slots.of_ideal, max_open)


def measure_memory(base_url: str, api_key: str, trees: int) -> list[tuple[int, float]]:
    """Carry out many trees in this process, and measure its memory.

    Args:
        base_url: The emulator's address.
        api_key: Its API key.
        trees: The number of trees.

    Returns:
        After each tenth of the nodes: the nodes so far, and MiB.
    """
    return asyncio.run(_measure_memory(base_url, api_key, trees))


async def _measure_memory(base_url: str, api_key: str, trees: int) -> list[tuple[int, float]]:
    polling = ExponentialPolling(initial=0.01, max_interval=0.01)
    total, done, sizes = trees * NODES, 0, []
    async with AkoolSession(api_key, base_url=base_url, max_concurrent_upscales=64, polling=polling) as akool:
        prompts = (Prompt(f"fox {number}", then=MEMORY_SHAPE) for number in range(trees))
        async for _ in akool.fan_out(prompts):
            done += 1
            if done % (total // 10) == 0:
                sizes.append((done, _memory()))
    return sizes


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def run_all(runs: int, trees: int, speed: float) -> None:
    """Print the medians of the runs, then the memory of one process.

    Args:
        runs: Runs of each shape.
        trees: Trees of the process whose memory is measured.
        speed: The emulator's speed in the runs, as a multiple of AKOOL's.
    """
    print(f"{'then':>12}{'prompts':>10}{'nodes':>10}{'AKOOL s':>10}{'of held':>10}{'of ideal':>10}{'open trees':>12}")
    for shape, prompts in SHAPES.items():
        measured = [await keep_busy(shape, prompts, seed, speed) for seed in range(runs)]
        print(
            f"{shape:>12}{prompts:>10}{measured[0].nodes:>10}{median(run.seconds for run in measured):>10.0f}"
            f"{median(run.of_held for run in measured):>10.1%}{median(run.of_ideal for run in measured):>10.1%}"
            f"{max(run.max_open for run in measured):>12}",
            flush=True,
        )
    loop, spawn = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    async with Emulator(speed=FAST, credits=10**9) as emulator:
        with ProcessPoolExecutor(1, mp_context=spawn) as process:
            sizes = await loop.run_in_executor(process, measure_memory, emulator.base_url, emulator.api_key, trees)
    print(f"\n{'nodes':>12}{'MiB':>10}")
    for done, memory in sizes:
        print(f"{done:>12,}{memory:>10.1f}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="runs of each shape; medians are printed")
    parser.add_argument("--trees", type=int, default=10_000, help="trees of the process whose memory is measured")
    parser.add_argument("--speed", type=float, default=20.0, help="speed of the emulator, as a multiple of AKOOL's")
    options = parser.parse_args()
    machine = f"Python {platform.python_version()}, {os.cpu_count()} CPUs"
    print(f"akool_async {our_version}, {machine}, {CAP} slots, speed {options.speed:g}")
    asyncio.run(run_all(options.runs, options.trees, options.speed))


if __name__ == "__main__":
    main()
