"""Compare the time of ``import akool_async`` with that of ``import aiohttp``, which it includes. See README.md."""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory

import aiohttp

from akool_async import __version__ as our_version

OURS, THEIRS = "akool_async", "aiohttp"
ROUNDS = 15
"""Times that each module is imported, in a new interpreter each time."""
MAX_RATIO = 1.3
PROGRAM = "import time; began = time.perf_counter(); import {module}; print(time.perf_counter() - began)"


def import_seconds(module: str, bytecode: str) -> float:
    """Return the seconds that an import takes in a new interpreter.

    Args:
        module: The module to import.
        bytecode: The folder for compiled modules.
    """
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
    """Return the median seconds of each module. The first round compiles them and does not count."""
    with TemporaryDirectory() as bytecode:
        _, *rounds = [
            {module: import_seconds(module, bytecode) for module in (THEIRS, OURS)} for _ in range(1 + ROUNDS)
        ]
    return {module: median(times[module] for times in rounds) for module in (THEIRS, OURS)}


def main() -> int:
    """Run from the command line."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(f"akool_async {our_version}, aiohttp {aiohttp.__version__}, Python {platform.python_version()}")
    medians = measure()
    for module, seconds in medians.items():
        print(f"import {module:<12} {1000 * seconds:6.0f} ms")
    ratio = medians[OURS] / medians[THEIRS]
    print(f"{'kept  ' if ratio <= MAX_RATIO else 'MISSED'} ratio {ratio:.2f}, at most {MAX_RATIO:g}")
    return 0 if ratio <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
