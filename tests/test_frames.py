"""The number of calls of the library between its public verbs and aiohttp."""

import asyncio
import sys
from pathlib import Path

import aiohttp

import akool_async
from akool_async import AkoolSession
from akool_async.emulator import Emulator
from tests.support.schedules import FAST

ROOT = str(Path(akool_async.__file__).parent)
MAX_FRAMES_OF_A_PRESS = 7
MAX_FRAMES_OF_A_WAIT = 8


def recorder(chains):
    """A trace of aiohttp that records which functions of the library led to the first request of each method."""
    trace = aiohttp.TraceConfig()

    async def note(_, __, request):
        chains.setdefault(request.method, [*frames_of_the_caller(), *frames_here()])

    trace.on_request_start.append(note)
    return trace


def frames_here():
    """Return the library's functions on the stack, the outermost first."""
    frame, found = sys._getframe(1), []
    while frame is not None:
        if frame.f_code.co_filename.startswith(ROOT):
            found.append(name_of(frame))
        frame = frame.f_back
    return found[::-1]


def frames_of_the_caller():
    """Return the library's functions in which the task named "caller" waits."""
    (caller,) = [task for task in asyncio.all_tasks() if task.get_name() == "caller"]
    coroutine, found = caller.get_coro(), []
    while coroutine is not None and hasattr(coroutine, "cr_frame") and coroutine.cr_frame is not None:
        if coroutine.cr_frame.f_code.co_filename.startswith(ROOT):
            found.append(name_of(coroutine.cr_frame))
        coroutine = coroutine.cr_await
    return found


def name_of(frame):
    """Return room and function."""
    return f"{Path(frame.f_code.co_filename).relative_to(ROOT).with_suffix('')}:{frame.f_code.co_qualname}"


async def test_few_calls_lie_between_a_verb_and_aiohttp():
    """From create_by_button at most seven, from wait_until_complete at most eight."""
    chains = {}
    async with Emulator(speed=100) as emulator, aiohttp.ClientSession(trace_configs=[recorder(chains)]) as http:
        async with AkoolSession(emulator.api_key, base_url=emulator.base_url, http=http, polling=FAST) as akool:
            image_id = emulator.add_image()
            operation = await asyncio.create_task(akool.create_by_button(image_id, "U1"), name="caller")
            await asyncio.create_task(operation.wait_until_complete(), name="caller")
    press, wait = chains["POST"], chains["GET"]
    assert press[0] == "session:AkoolSession.create_by_button"
    assert wait[0] == "operations:Operation.wait_until_complete"
    assert len(press) <= MAX_FRAMES_OF_A_PRESS
    assert len(wait) <= MAX_FRAMES_OF_A_WAIT
