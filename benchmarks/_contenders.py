# ruff: noqa: PLC0415 - each contender imports its own client alone, so that its memory holds nothing of the others
"""The contenders: each starts one job, polls it at a given interval, and returns when it is done.

Run as a program, this is one contender in a process of its own, at work for ``benchmarks.peers``.
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
    """Runs the job of a number from its creation to its end."""
    Contender = Callable[["Setting"], AbstractAsyncContextManager[Job]]

KEY = "benchmark-key"
MOST_CONNECTIONS = 100
LONGEST_REQUEST = 30.0
PRESS = "/api/open/v3/content/image/createbybutton"
LOOK = "/api/open/v3/content/image/infobymodelid"
FINAL = (3, 4)
JSON_HEADERS = {"Accept": "application/json", "x-api-key": KEY}
WARM_UP_INTERVAL = 0.01
READY = "ready"


@frozen
class Setting:
    """What a contender is set up for."""

    base_url: str
    interval: float
    in_flight: int


# --- the SDKs, as they come: only the address and the interval are set -----------------------------------------------


@asynccontextmanager
async def fal(setting: Setting) -> AsyncIterator[Job]:
    """fal-client: submit and get."""
    import fal_client
    from fal_client import client as module

    module.QUEUE_URL_FORMAT = f"{setting.base_url}/fal/"  # its host can be set, its https cannot
    client = fal_client.AsyncClient(key=KEY)
    await client._client  # noqa: SLF001 - made at the first use otherwise

    async def run(_: int) -> object:
        handle = await client.submit("owner/app", arguments={"prompt": "a fox"})
        return await handle.get(interval=setting.interval)

    yield run


@asynccontextmanager
async def replicate(setting: Setting) -> AsyncIterator[Job]:
    """replicate: predictions.async_create and async_wait."""
    from replicate import Client

    client = Client(KEY, base_url=f"{setting.base_url}/replicate")
    client.poll_interval = setting.interval

    async def run(_: int) -> object:
        prediction = await client.predictions.async_create(version="0" * 64, input={"prompt": "a fox"})
        return await prediction.async_wait()

    yield run


@asynccontextmanager
async def runway(setting: Setting) -> AsyncIterator[Job]:
    """runwayml: text_to_image.create and wait_for_task_output."""
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
    """openai: videos.create_and_poll, the one job of its that it polls for."""
    from openai import AsyncOpenAI, DefaultAioHttpClient

    http_client = DefaultAioHttpClient() if over_aiohttp else None
    base_url = f"{setting.base_url}/openai"
    async with AsyncOpenAI(api_key=KEY, base_url=base_url, http_client=http_client) as client:

        async def run(_: int) -> object:
            return await client.videos.create_and_poll(prompt="a fox", poll_interval_ms=round(setting.interval * 1000))

        yield run


def openai_over_aiohttp(setting: Setting) -> AbstractAsyncContextManager[Job]:
    """The same over its aiohttp transport."""
    return openai(setting, over_aiohttp=True)


# --- by hand, AKOOL's protocol ----------------------------------------------------------------------------------------


@asynccontextmanager
async def httpx_loop(setting: Setting) -> AsyncIterator[Job]:
    """A loop by hand on httpx."""
    import httpx

    timeout = httpx.Timeout(LONGEST_REQUEST, pool=None)  # to queue for one of its 100 connections is no fault
    base_url = f"{setting.base_url}/akool"
    async with httpx.AsyncClient(base_url=base_url, headers=JSON_HEADERS, timeout=timeout) as client:

        async def run(number: int) -> object:
            reply = await client.post(PRESS, json=press_of(number))
            image = reply.json()["data"]
            while image["image_status"] not in FINAL:
                await asyncio.sleep(setting.interval)
                reply = await client.get(LOOK, params={"image_model_id": image["_id"]})
                image = reply.json()["data"]
            return image

        yield run


@asynccontextmanager
async def aiohttp_loop(setting: Setting) -> AsyncIterator[Job]:
    """A loop by hand on aiohttp."""
    import aiohttp

    async with aiohttp.ClientSession(headers=JSON_HEADERS) as session:
        press, look = setting.base_url + "/akool" + PRESS, setting.base_url + "/akool" + LOOK

        async def run(number: int) -> object:
            async with session.post(press, json=press_of(number)) as response:
                image = (await response.json())["data"]
            while image["image_status"] not in FINAL:
                await asyncio.sleep(setting.interval)
                async with session.get(look, params={"image_model_id": image["_id"]}) as response:
                    image = (await response.json())["data"]
            return image

        yield run


@asynccontextmanager
async def backoff_loop(setting: Setting) -> AsyncIterator[Job]:
    """The same, polled by backoff."""
    import aiohttp
    import backoff

    async with aiohttp.ClientSession(headers=JSON_HEADERS) as session:
        press, look = setting.base_url + "/akool" + PRESS, setting.base_url + "/akool" + LOOK

        @backoff.on_predicate(
            backoff.constant,
            lambda image: image["image_status"] not in FINAL,
            jitter=None,
            interval=setting.interval,
        )
        async def look_until_final(image_id: str) -> dict[str, Any]:
            async with session.get(look, params={"image_model_id": image_id}) as response:
                return (await response.json())["data"]

        async def run(number: int) -> object:
            async with session.post(press, json=press_of(number)) as response:
                image = (await response.json())["data"]
            await asyncio.sleep(setting.interval)
            return await look_until_final(image["_id"])

        yield run


@asynccontextmanager
async def bare(setting: Setting) -> AsyncIterator[Job]:
    """The yardstick: the least that aiohttp and orjson can do it with."""
    import aiohttp
    import orjson

    # A request that queues in aiohttp's connector is built already, and a response lives as long as its variable:
    # a semaphore before the one and functions around the other save two thirds of the memory.
    connection = asyncio.Semaphore(MOST_CONNECTIONS)
    connector, cookies = aiohttp.TCPConnector(limit=0), aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=cookies, headers=JSON_HEADERS) as session:
        press_url, look_url = setting.base_url + "/akool" + PRESS, setting.base_url + "/akool" + LOOK
        json_body = {"Content-Type": "application/json"}

        async def press(number: int) -> dict[str, Any]:
            async with (
                connection,
                session.post(press_url, data=orjson.dumps(press_of(number)), headers=json_body) as response,
            ):
                return orjson.loads(await response.read())["data"]

        async def look(image_id: str) -> dict[str, Any]:
            async with connection, session.get(look_url, params={"image_model_id": image_id}) as response:
                return orjson.loads(await response.read())["data"]

        async def run(number: int) -> object:
            image = await press(number)
            while image["image_status"] not in FINAL:
                await asyncio.sleep(setting.interval)
                image = await look(image["_id"])
            return image

        yield run


# --- ours -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def ours(setting: Setting) -> AsyncIterator[Job]:
    """akool_async: create_by_button and wait_until_complete."""
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
    """The id of the image whose button is pressed, which is none of a job's."""
    return f"f{number:023x}"


def press_of(number: int) -> dict[str, str]:
    """The body of Create By Button."""
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


# --- one contender at work --------------------------------------------------------------------------------------------


@define
class Work:
    """What became of the jobs, and what they took."""

    finished: int = 0
    errors: Counter[str] = field(factory=Counter)
    cpu_seconds: float = 0.0
    seconds: float = 0.0


async def work(name: str, setting: Setting, deadline: float) -> Work:
    """Run all jobs at once; those that are not done at the deadline are left."""
    contender, done = CONTENDERS[name], Work()
    async with contender(Setting(setting.base_url, WARM_UP_INTERVAL, 1)) as job:
        await job(0)  # what a client loads at its first use is no job's memory
    async with contender(setting) as job:
        gc.collect()
        _wait_for_start()
        began, cpu_began = time.monotonic(), time.process_time()
        tasks = [asyncio.create_task(_attempt(job, number, done)) for number in range(setting.in_flight)]
        _, late = await asyncio.wait(tasks, timeout=deadline)
        done.seconds, done.cpu_seconds = time.monotonic() - began, time.process_time() - cpu_began
        done.errors += Counter(unfinished=len(late))
        _report_and_leave(done)
    return done


async def _attempt(job: Job, number: int, done: Work) -> None:
    try:
        await job(number)
    except Exception as error:  # noqa: BLE001 - whatever a contender raises is counted
        done.errors[type(error).__name__] += 1
    else:
        done.finished += 1


def _wait_for_start() -> None:
    print(READY, flush=True)
    sys.stdin.readline()


def _report_and_leave(done: Work) -> None:
    print(json.dumps(asdict(done)), flush=True)
    os._exit(0)  # to cancel thousands of jobs in order can take some clients minutes


def main() -> None:
    """NAME BASE_URL INTERVAL IN_FLIGHT DEADLINE, as benchmarks.peers gives them."""
    name, base_url, interval, in_flight, deadline = sys.argv[1:]
    asyncio.run(work(name, Setting(base_url, float(interval), int(in_flight)), float(deadline)))


if __name__ == "__main__":
    main()
