"""How busy a fan-out of trees keeps the slots for upscales, and how much memory it takes. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import platform
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import mean, median

from attrs import define, frozen

from akool_async import AkoolSession, ExponentialPolling, Prompt, events
from akool_async import __version__ as our_version
from akool_async.emulator import Emulator

SHAPES = {"U*": 60, "U* V1>U*": 30, "V*>U*": 15, "U1": 240}
"""What is pressed on each prompt's image, and how many prompts."""
CAP = 4
SPEED = 100.0
FAST = 20_000.0
"""Speed at which the emulator's jobs are done at the first poll."""
MEMORY_SHAPE = "U* V1>U*"
NODES = 10
"""Of one tree of this shape."""


@define
class Slots:
    """How long slots were held, as events show."""

    first: float | None = None
    last: float = 0.0
    durations: float = 0.0

    def observe(self, event: events.Event) -> None:
        """Note when upscales are accepted, and how long AKOOL worked on them."""
        now = time.monotonic()
        match event:
            case events.Accepted(press=press) if press is not None and press.button.is_upscale:
                self.first = now if self.first is None else self.first
            case events.Finished(kind="upscale", duration=duration, seconds=seconds):
                self.last = now
                self.durations += seconds if duration is None else duration

    @property
    def of_ideal(self) -> float:
        """The time that AKOOL worked on upscales, of the time for which all slots were there."""
        return self.durations / (CAP * (self.last - (self.first or 0.0)))


@frozen
class Run:
    """One fan-out."""

    nodes: int
    seconds: float
    of_ideal: float
    most_open: int
    """Trees that were open together, at most."""


async def keep_busy(shape: str, prompts: int, seed: int) -> Run:
    """Carry out trees, and measure how busy the slots were."""
    slots, left, nodes, most_open = Slots(), {}, 0, 0
    async with (
        Emulator(speed=SPEED, seed=seed, credits=10**9) as emulator,
        emulator.session(max_concurrent_upscales=CAP, observer=slots.observe) as akool,
    ):
        began = time.monotonic()
        items = [Prompt(f"fox {number}", then=shape) for number in range(prompts)]
        async for outcome in akool.fan_out(items):
            nodes += outcome.ok
            root = outcome.item
            size = 1 + sum(branch.presses for branch in root.then)
            left[root] = left.get(root, size) - 1
            most_open = max(most_open, sum(count > 0 for count in left.values()))
        return Run(nodes, (time.monotonic() - began) * SPEED, slots.of_ideal, most_open)


def measure_memory(base_url: str, api_key: str, trees: int) -> list[tuple[int, float]]:
    """Carry out many trees in this process: MiB after each tenth of their nodes."""
    return asyncio.run(_measure_memory(base_url, api_key, trees))


async def _measure_memory(base_url: str, api_key: str, trees: int) -> list[tuple[int, float]]:
    polling = ExponentialPolling(initial=0.01, max_interval=0.01)
    total, seen, sizes = trees * NODES, 0, []
    async with AkoolSession(api_key, base_url=base_url, max_concurrent_upscales=64, polling=polling) as akool:
        prompts = (Prompt(f"fox {number}", then=MEMORY_SHAPE) for number in range(trees))
        async for _ in akool.fan_out(prompts):
            seen += 1
            if seen % (total // 10) == 0:
                sizes.append((seen, _memory()))
    return sizes


def _memory() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def run_all(runs: int, trees: int) -> None:
    """Print both tables."""
    print(f"{'then':>12}{'prompts':>10}{'nodes':>10}{'AKOOL s':>10}{'of ideal':>10}{'lowest':>10}{'open trees':>12}")
    for shape, prompts in SHAPES.items():
        measured = [await keep_busy(shape, prompts, seed) for seed in range(runs)]
        ideal = [run.of_ideal for run in measured]
        print(
            f"{shape:>12}{prompts:>10}{measured[0].nodes:>10}{median(run.seconds for run in measured):>10.0f}"
            f"{mean(ideal):>10.1%}{min(ideal):>10.1%}{max(run.most_open for run in measured):>12}",
            flush=True,
        )
    loop, spawn = asyncio.get_running_loop(), multiprocessing.get_context("spawn")
    async with Emulator(speed=FAST, credits=10**9) as emulator:
        with ProcessPoolExecutor(1, mp_context=spawn) as fresh:
            sizes = await loop.run_in_executor(fresh, measure_memory, emulator.base_url, emulator.api_key, trees)
    print(f"\n{'nodes':>12}{'MiB':>10}")
    for seen, memory in sizes:
        print(f"{seen:>12,}{memory:>10.1f}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--trees", type=int, default=10_000)
    options = parser.parse_args()
    print(f"akool_async {our_version}, Python {platform.python_version()}, {os.cpu_count()} CPUs, {CAP} slots")
    asyncio.run(run_all(options.runs, options.trees))


if __name__ == "__main__":
    main()
