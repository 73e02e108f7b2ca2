# ruff: noqa: PLC0415 - a contender imports only the client that it measures, so that no other takes memory
"""The contenders: each starts one job, polls it at a given interval, and returns when it is done.

Run as a program, this module is one contender in a separate process, started by ``benchmarks.peers``.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from attrs import asdict, define, field, frozen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    Job = Callable[[int], Awaitable[object]]
    """Start the job with this number, and wait until it is done."""
    Contender = Callable[["Setting"], AbstractAsyncContextManager[Job]]

KEY = "benchmark-key"
MAX_CONNECTIONS = 100
REQUEST_TIMEOUT = 30.0
"""Seconds."""
PRESS = "/api/open/v3/content/image/createbybutton"
POLL = "/api/open/v3/content/image/infobymodelid"
FINAL = (3, 4)
JSON_HEADERS = {"Accept": "application/json", "x-api-key": KEY}
WARM_UP_INTERVAL = 0.01
READY = "ready"


@frozen
class Setting:
    """The parameters of a contender."""

    base_url: str
    interval: float
    """Seconds between two polls of a job."""
    in_flight: int
    """Jobs that run concurrently."""


# --- the SDKs with their defaults: only the address and the interval are set -----------------------------------------


@asynccontextmanager
async def fal(setting: Setting) -> AsyncIterator[Job]:
    """Use fal-client: ``submit`` and ``get``."""
    import fal_client
    from fal_client import client as module

    module.QUEUE_URL_FORMAT = f"{setting.base_url}/fal/"  # fal's own option sets the host, but always uses https
    client = fal_client.AsyncClient(key=KEY)
    await client._client  # noqa: SLF001 - otherwise the first job creates it

    async def run(_: int) -> object:
        handle = await client.submit("owner/app", arguments={"prompt": "a fox"})
        return await handle.get(interval=setting.interval)

    yield run


@asynccontextmanager
async def replicate(setting: Setting) -> AsyncIterator[Job]:
    """Use replicate: ``predictions.async_create`` and ``async_wait``."""
    from replicate import Client

    client = Client(KEY, base_url=f"{setting.base_url}/replicate")
    client.poll_interval = setting.interval

    async def run(_: int) -> object:
        prediction = await client.predictions.async_create(version="0" * 64, input={"prompt": "a fox"})
        return await prediction.async_wait()

    yield run


@asynccontextmanager
async def runway(setting: Setting) -> AsyncIterator[Job]:
    """Use runwayml: ``text_to_image.create`` and ``wait_for_task_output``."""
    from runwayml import AsyncRunwayML
    from runwayml.lib import polling

    polling.POLL_TIME, polling.POLL_JITTER = setting.interval, 0
    async with AsyncRunwayML(api_key=KEY, base_url=f"{setting.base_url}/runway") as client:

        async def run(_: int) -> object:
            task = await client.text_to_image.create(model="gen4_image", prompt_text="a fox", ratio="1024:1024")
            return await task.wait_for_task_output(timeout=None)

        yield run


@asynccontextmanager
async def openai(setting: Setting, *, over_aiohttp: bool = False) -> AsyncIterator[Job]:
    """Use openai: ``videos.create_and_poll``."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http_client = DefaultAioHttpClient() if over_aiohttp else None
    base_url = f"{setting.base_url}/openai"
    async with AsyncOpenAI(api_key=KEY, base_url=base_url, http_client=http_client) as client:

        async def run(_: int) -> object:
            return await client.videos.create_and_poll(prompt="a fox", poll_interval_ms=round(setting.interval * 1000))

        yield run


def openai_over_aiohttp(setting: Setting) -> AbstractAsyncContextManager[Job]:
    """Use openai over its aiohttp transport."""
    return openai(setting, over_aiohttp=True)


# --- hand-written loops for AKOOL's protocol --------------------------------------------------------------------------


@asynccontextmanager
async def httpx_loop(setting: Setting) -> AsyncIterator[Job]:
    """Poll in a loop with httpx."""
    import httpx

    timeout = httpx.Timeout(REQUEST_TIMEOUT, pool=None)  # requests may wait for one of the 100 connections
    base_url = f"{setting.base_url}/akool"
    async with httpx.AsyncClient(base_url=base_url, headers=JSON_HEADERS, timeout=timeout) as client:

        async def run(number: int) -> object:
            reply = await client.post(PRESS, json=press_of(number))
            image = reply.json()["data"]
            while image["image_status"] not in FINAL:
                await asyncio.sleep(setting.interval)
                reply = await client.get(POLL, params={"image_model_id": image["_id"]})
                image = reply.json()["data"]
            return image

        yield run


@asynccontextmanager
async def aiohttp_loop(setting: Setting) -> AsyncIterator[Job]:
    """Poll in a loop with aiohttp."""
    import aiohttp

    async with aiohttp.ClientSession(headers=JSON_HEADERS) as session:
        press_url, poll_url = setting.base_url + "/akool" + PRESS, setting.base_url + "/akool" + POLL

        async def run(number: int) -> object:
            async with session.post(press_url, json=press_of(number)) as response:
                image = (await response.json())["data"]
            while image["image_status"] not in FINAL:
                await asyncio.sleep(setting.interval)
                async with session.get(poll_url, params={"image_model_id": image["_id"]}) as response:
                    image = (await response.json())["data"]
            return image

        yield run


@asynccontextmanager
async def backoff_loop(setting: Setting) -> AsyncIterator[Job]:
    """Poll with aiohttp and ``backoff.on_predicate``."""
    import aiohttp
    import backoff

    async with aiohttp.ClientSession(headers=JSON_HEADERS) as session:
        press_url, poll_url = setting.base_url + "/akool" + PRESS, setting.base_url + "/akool" + POLL

        @backoff.on_predicate(
            backoff.constant,
            lambda image: image["image_status"] not in FINAL,
            jitter=None,
            interval=setting.interval,
        )
        async def poll_until_final(image_id: str) -> dict[str, Any]:
            async with session.get(poll_url, params={"image_model_id": image_id}) as response:
                return (await response.json())["data"]

        async def run(number: int) -> object:
            async with session.post(press_url, json=press_of(number)) as response:
                image = (await response.json())["data"]
            await asyncio.sleep(setting.interval)
            return await poll_until_final(image["_id"])

        yield run


@asynccontextmanager
async def bare(setting: Setting) -> AsyncIterator[Job]:
    """Poll with as little work as aiohttp and orjson allow. All others are compared with this."""
    import aiohttp
    import orjson

    # Two things save two thirds of the memory: a semaphore, since a request that waits in aiohttp's connector is
    # already built, and functions around responses, since a response lives as long as its variable.
    connection = asyncio.Semaphore(MAX_CONNECTIONS)
    connector, cookies = aiohttp.TCPConnector(limit=0), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=cookies, headers=JSON_HEADERS) as session:
        press_url, poll_url = setting.base_url + "/akool" + PRESS, setting.base_url + "/akool" + POLL
        json_body = {"Content-Type": "application/json"}

        async def press(number: int) -> dict[str, Any]:
            async with (
                connection,
                session.post(press_url, data=orjson.dumps(press_of(number)), headers=json_body) as response,
            ):
                return orjson.loads(await response.read())["data"]

        async def poll(image_id: str) -> dict[str, Any]:
            async with connection, session.get(poll_url, params={"image_model_id": image_id}) as response:
                return orjson.loads(await response.read())["data"]

        async def run(number: int) -> object:
            image = await press(number)
            while image["image_status"] not in FINAL:
                await asyncio.sleep(setting.interval)
                image = await poll(image["_id"])
            return image

        yield run


# --- this library -----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def ours(setting: Setting) -> AsyncIterator[Job]:
    """Use akool_async: ``create_by_button`` and ``wait_until_complete``."""
    from akool_async import AkoolSession, ExponentialPolling

    interval = setting.interval
    async with AkoolSession(
        KEY,
        base_url=f"{setting.base_url}/akool",
        max_concurrent_upscales=setting.in_flight,
        polling=ExponentialPolling(initial=interval, factor=1, max_interval=interval, jitter=0),
    ) as akool:

        async def run(number: int) -> object:
            operation = await akool.create_by_button(source_image(number), "U1")
            return await operation.wait_until_complete()

        yield run


def source_image(number: int) -> str:
    """Return the id of the image whose button is pressed. No job has the same id."""
    return f"f{number:023x}"


def press_of(number: int) -> dict[str, str]:
    """Return the body of Create By Button."""
    return {"_id": source_image(number), "button": "U1"}


CONTENDERS: dict[str, Contender] = {
    "fal-client": fal,
    "replicate": replicate,
    "runwayml": runway,
    "openai": openai,
    "openai-aiohttp": openai_over_aiohttp,
    "httpx-loop": httpx_loop,
    "aiohttp-loop": aiohttp_loop,
    "backoff-loop": backoff_loop,
    "bare": bare,
    "akool_async": ours,
}


# --- running one contender --------------------------------------------------------------------------------------------


@define
class Work:
    """The outcomes of the jobs, and the time they took."""

    finished: int = 0
    errors: Counter[str] = field(factory=Counter)
    """Jobs that did not finish, by the name of their exception."""
    cpu_seconds: float = 0.0
    seconds: float = 0.0


async def work(name: str, setting: Setting, deadline: float) -> Work:
    """Run all jobs concurrently, report them on stdout, and end the process.

    Args:
        name: The contender's name.
        setting: Its parameters.
        deadline: Seconds after which jobs that are not done count as unfinished.
    """
    contender, done = CONTENDERS[name], Work()
    async with contender(Setting(setting.base_url, WARM_UP_INTERVAL, 1)) as job:
        await job(0)  # load what the client loads at its first use, before memory is measured
    async with contender(setting) as job:
        gc.collect()
        _wait_for_start()
        began, cpu_began = time.monotonic(), time.process_time()
        tasks = [asyncio.create_task(_attempt(job, number, done)) for number in range(setting.in_flight)]
        _, unfinished = await asyncio.wait(tasks, timeout=deadline)
        done.seconds, done.cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
        done.errors += Counter(unfinished=len(unfinished))
        _report_and_exit(done)
    return done


async def _attempt(job: Job, number: int, done: Work) -> None:
    try:
        await job(number)
    except Exception as error:  # noqa: BLE001 - count every exception
        done.errors[type(error).__name__] += 1
    else:
        done.finished += 1


def _wait_for_start() -> None:
    print(READY, flush=True)
    sys.stdin.readline()


def _report_and_exit(done: Work) -> None:
    print(json.dumps(asdict(done)), flush=True)
    os._exit(0)  # some clients need minutes to cancel thousands of jobs


def main() -> None:
    """Run one contender. ``benchmarks.peers`` passes NAME BASE_URL INTERVAL IN_FLIGHT DEADLINE."""
    name, base_url, interval, in_flight, deadline = sys.argv[1:]
    asyncio.run(work(name, Setting(base_url, float(interval), int(in_flight)), float(deadline)))


if __name__ == "__main__":
    main()
