"""Kill workers at random times, and compare the store with the emulator's ledger. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import platform
import sys
from importlib.metadata import version

from akool_async import __version__ as our_version
from tests.support.kills import BACKENDS, KillScenario, run


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("presses", 5_000), ("kills", 200), ("workers", 3), ("cap", 32), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--backend", choices=BACKENDS, action="append", help="default: both")
    options = vars(parser.parse_args())
    held = []
    for backend in options.pop("backend") or BACKENDS:
        scenario = KillScenario(backend=backend, **options)
        print(
            f"akool_async {our_version}, dbos {version('dbos')}, Python {platform.python_version()}, {backend}: "
            f"{scenario.presses} presses, cap {scenario.cap}, {scenario.workers} workers, {scenario.kills} kills"
        )
        report = asyncio.run(run(scenario))
        print(report.table())
        held.append(report.holds)
        print("every promise kept" if report.holds else "A PROMISE WAS BROKEN", flush=True)
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
