"""Compare upscales under a cap of 4 with polls only and with webhooks. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import heapq
import platform
import sys
import time
from contextlib import asynccontextmanager
from importlib.metadata import version
from statistics import mean, quantiles
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import frozen

from akool_async import AdaptivePolling, AkoolSession, ApiKey, ExponentialPolling
from akool_async.emulator import Emulator
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from akool_async import Polling

CAP = 4
SPEED = 10.0
"""Speed of the emulator, as a multiple of AKOOL's. The schedules are scaled too, so the polls per job do not change."""
BUTTONS = ("U1", "U2", "U3", "U4")
WARM_UP = 12
"""Upscales that do not count: the schedule learns from them, and the session sees that webhooks arrive."""
WEBHOOK = "webhook"
MAX_POLLS, MIN_THROUGHPUT = 1.0, 99.0
"""The targets of the webhook: polls per job, and percentage of the ideal throughput."""


@frozen
class Row:
    """The results of one contender."""

    name: str
    polls: float
    """Mean polls per job."""
    delay: float
    """Mean milliseconds between the end of a job and its outcome, at the emulator's speed."""
    delay_95: float
    """The 95th percentile of these milliseconds."""
    throughput: float
    """Throughput, as a percentage of what is possible if every slot is reused the instant its job ends."""


async def run_one(name: str, polling: Polling, jobs: int) -> Row:
    """Make upscales under the cap, and measure them.

    Args:
        name: The contender's name. ``WEBHOOK`` uses webhooks.
        polling: Its schedule.
        jobs: The number of upscales that count.
    """
    async with (
        Emulator(speed=SPEED, seed=1, credits=10 * (jobs + WARM_UP)) as emulator,
        _open_session(emulator, polling, with_webhook=name == WEBHOOK) as akool,
    ):
        await _press(emulator, akool, WARM_UP)
        before, posts_before, began = akool.counters().polls, len(emulator.ledger.posts), time.time()
        delays = await _press(emulator, akool, jobs)
        seconds = time.time() - began
        posts = emulator.ledger.posts[posts_before:]
        ideal = _ideal_seconds([emulator.ends_at(post.new_ids[0]) - post.time for post in posts])
        return Row(
            name,
            polls=(akool.counters().polls - before) / jobs,
            delay=1000 * mean(delays),
            delay_95=1000 * quantiles(delays, n=20)[-1],
            throughput=100 * ideal / seconds,
        )


async def _press(emulator: Emulator, akool: AkoolSession, jobs: int) -> list[float]:
    """Make upscales. Return the seconds between the end of each and its outcome."""
    images = [emulator.add_image() for _ in range(-(-jobs // len(BUTTONS)))]
    presses = [(image_id, button) for image_id in images for button in BUTTONS][:jobs]
    return [
        time.time() - emulator.ends_at(outcome.unwrap().id) async for outcome in akool.fan_out(presses, preflight=False)
    ]


def _ideal_seconds(durations: list[float]) -> float:
    """Return the seconds that the jobs take if every slot is reused the instant its job ends."""
    slots = [0.0] * CAP
    for duration in durations:
        heapq.heappush(slots, heapq.heappop(slots) + duration)
    return max(slots)


@asynccontextmanager
async def _open_session(emulator: Emulator, polling: Polling, *, with_webhook: bool) -> AsyncIterator[AkoolSession]:
    verifier = WebhookVerifier(emulator.client_id, emulator.client_secret)
    application = web.Application()
    runner = web.AppRunner(application, access_log=None)
    sessions: list[AkoolSession] = []

    async def handle(request: web.Request) -> web.Response:
        return await webhook_handler(sessions[0], verifier)(request)

    application.router.add_post("/akool", handle)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        address = f"http://127.0.0.1:{runner.addresses[0][1]}/akool"
        async with AkoolSession(
            ApiKey(emulator.api_key),
            base_url=emulator.base_url,
            max_concurrent_upscales=CAP,
            polling=polling,
            webhook_url=address if with_webhook else None,
        ) as akool:
            sessions.append(akool)
            yield akool
    finally:
        await runner.cleanup()


async def run_all(jobs: int) -> list[Row]:
    """Run all contenders concurrently, each with its emulator. They need little CPU time."""
    contenders = {
        "ExponentialPolling": _exponential(),
        "AdaptivePolling": _adaptive(),
        WEBHOOK: _adaptive(),
    }
    return await asyncio.gather(*(run_one(name, polling, jobs) for name, polling in contenders.items()))


def _exponential() -> ExponentialPolling:
    return ExponentialPolling(initial=1 / SPEED, max_interval=3 / SPEED)


def _adaptive() -> AdaptivePolling:
    return AdaptivePolling(delay_cost=8 * SPEED, fallback=_exponential())


def main() -> int:
    """Run from the command line. Return 1 if the webhook misses a target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200, help="upscales of each contender")
    options = parser.parse_args()
    print(
        f"akool_async {version('akool-async')}, aiohttp {version('aiohttp')}, Python {platform.python_version()}: "
        f"{options.jobs} upscales under a cap of {CAP}, {SPEED:g} times as fast as AKOOL's",
        flush=True,
    )
    rows = asyncio.run(run_all(options.jobs))
    print(f"{'':20}{'polls/job':>12}{'delay, ms':>12}{'95 %, ms':>12}{'% of ideal':>12}")
    for row in rows:
        print(f"{row.name:20}{row.polls:12.2f}{row.delay:12.1f}{row.delay_95:12.1f}{row.throughput:12.1f}")
    best = rows[-1]
    return 0 if best.polls <= MAX_POLLS and best.throughput >= MIN_THROUGHPUT else 1


if __name__ == "__main__":
    sys.exit(main())
