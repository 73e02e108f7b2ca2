"""The time that ``import akool_async`` takes beside ``import aiohttp``, which it needs. See README.md."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

import aiohttp

from akool_async import __version__ as our_version

OURS, THEIRS = "akool_async", "aiohttp"
INTERPRETERS = 15
MOST_RATIO = 1.3
PROGRAM = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"


def import_seconds(module: str, bytecode: str) -> float:
    """Seconds in a fresh interpreter, which keeps compiled modules in a folder of its own."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    finished = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM.format(module=module)],
        env={**environment, "PYTHONPYCACHEPREFIX": bytecode},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return float(finished.stdout)


def measure() -> dict[str, float]:
    """The median seconds of each; the first round, which compiles, does not count."""
    with TemporaryDirectory() as bytecode:
        _, *rounds = [
            {module: import_seconds(module, bytecode) for module in (THEIRS, OURS)} for _ in range(1 + INTERPRETERS)
        ]
    return {module: median(times[module] for times in rounds) for module in (THEIRS, OURS)}


def main() -> int:
    """Run from the command line."""
    print(f"akool_async {our_version}, aiohttp {aiohttp.__version__}, Python {platform.python_version()}")
    medians = measure()
    for module, seconds in medians.items():
        print(f"import {module:<12} {1000 * seconds:6.0f} ms")
    ratio = medians[OURS] / medians[THEIRS]
    print(f"{'kept  ' if ratio <= MOST_RATIO else 'MISSED'} ratio {ratio:.2f}, at most {MOST_RATIO:g}")
    return 0 if ratio <= MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
