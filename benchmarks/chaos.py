"""Press under random faults, and compare the client's outcomes with the emulator's ledger. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import platform
import resource
import sys

import aiohttp

from akool_async import __version__ as our_version
from tests.support.chaos import Plan, run


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, value in (("presses", 10_000), ("cap", 200), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--fault-rate", type=float, default=0.1)
    options = parser.parse_args()
    print(
        f"akool_async {our_version}, aiohttp {aiohttp.__version__}, Python {platform.python_version()}: "
        f"{options.presses} presses, cap {options.cap}, {options.fault_rate:.0%} of requests have a fault"
    )
    account = asyncio.run(run(Plan(**vars(options))))
    print(account.table())
    print(f"{'peak memory':<22} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print("every promise kept" if account.holds else "A PROMISE WAS BROKEN")
    return 0 if account.holds else 1


if __name__ == "__main__":
    sys.exit(main())
