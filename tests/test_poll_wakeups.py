"""The time of an operation's next poll: after its timer, a webhook, or never."""

import asyncio
import sys

import aiohttp
import pytest
from aiohttp import web

from akool_async import AkoolSession, ExponentialPolling, SessionClosedError, WebhookEvent
from tests.support.looks import look_until
from tests.support.scripted import KEY, Gate, scripted_server

SLOW = ExponentialPolling(initial=3600, max_interval=3600)
IN_TIME = 10
"""Seconds; the next poll by the schedule is an hour away."""
ENDED = WebhookEvent(id="image-1", status=3)


def image(status, **fields):
    return {"code": 1000, "msg": "OK", "data": {"_id": "image-1", "image_status": status, **fields}}


DONE = image(3, op_button="U1", image="https://pictures.example/1.png")


def session(server, **options):
    return AkoolSession(KEY, base_url=server.base_url, polling=SLOW, **options)


class Timer:
    """A timer that is not an asyncio.TimerHandle, like those of uvloop."""

    def __init__(self, handle):
        self._handle = handle

    def __getattr__(self, name):
        return getattr(self._handle, name)


class OtherLoop(asyncio.SelectorEventLoop):
    """An event loop with such timers."""

    def call_at(self, when, callback, *args, context=None):
        return Timer(super().call_at(when, callback, *args, context=context))


def test_a_webhook_wakes_a_poll_on_any_event_loop():
    """With another event loop than asyncio's, the wait ends at the webhook as well."""

    async def wait_for_a_webhook():
        async with scripted_server(image(2), DONE) as server, session(server) as akool:
            waiting = asyncio.create_task(akool.wait_until_complete("image-1"))
            await look_until(lambda: akool.operation("image-1").latest is not None)
            akool.notify(ENDED)
            return await asyncio.wait_for(waiting, IN_TIME)

    with asyncio.Runner(loop_factory=OtherLoop) as runner:
        assert runner.run(wait_for_a_webhook()).is_final


@pytest.mark.parametrize("webhooks", [1, 3, 4, 10])
async def test_webhooks_during_a_poll_cause_another_however_many_there_are(webhooks):
    """The poll under way may have been answered before the end, so the next one follows immediately."""
    gate = Gate(image(2))
    async with scripted_server(gate, DONE) as server, session(server) as akool:
        waiting = asyncio.create_task(akool.wait_until_complete("image-1"))
        await gate.arrived.wait()
        for _ in range(webhooks):
            akool.notify(ENDED)
        gate.open.set()
        assert (await asyncio.wait_for(waiting, IN_TIME)).is_final


async def test_a_webhook_before_the_reply_hurries_an_operation_that_is_polled_by_its_id():
    """The webhook reports the id, a poll gets an old state from a lagging replica, and then the press is answered."""
    press_gate, polls = Gate(image(1)), []

    async def answer(request):
        if request.method == "POST":
            return await press_gate(request)
        polls.append(request)
        return web.json_response(image(2) if len(polls) == 1 else DONE)

    async with scripted_server(answer) as server, session(server) as akool:
        press = asyncio.create_task(akool.upscale("f" * 24, 1))
        await press_gate.arrived.wait()
        akool.notify(ENDED)
        waiting = asyncio.create_task(akool.wait_until_complete("image-1"))
        await look_until(lambda: akool.operation("image-1").latest is not None)
        press_gate.open.set()
        await press
        assert (await asyncio.wait_for(waiting, IN_TIME)).is_final


async def test_a_poll_that_somebody_cancels_ends_the_wait_and_not_the_polls_to_come():
    """A poll cancelled before its first step ends like a cancelled request, and the next wait polls again."""
    async with scripted_server(image(2), DONE) as server, session(server) as akool:
        waiting = asyncio.create_task(akool.wait_until_complete("image-1"))
        await look_until(lambda: akool.operation("image-1").latest is not None)
        akool.notify(ENDED)
        (poll,) = [task for task in asyncio.all_tasks() if task.get_name() == "image-1"]
        poll.cancel()
        with pytest.raises(SessionClosedError):
            await asyncio.wait_for(waiting, IN_TIME)
        assert akool.counters().in_flight == 0
        assert (await akool.wait_until_complete("image-1", timeout=IN_TIME)).is_final


@pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with Python 3.12")
async def test_a_poll_that_ends_in_its_first_step_does_not_stay():
    """With eager tasks, a poll through a closed aiohttp session is over before it is recorded as under way."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
    async with scripted_server(DONE) as server:
        http = aiohttp.ClientSession()
        async with session(server, http=http) as akool:
            await http.close()
            for _ in range(2):
                with pytest.raises(SessionClosedError):
                    await akool.wait_until_complete("image-1", timeout=IN_TIME)
            assert akool.counters().in_flight == 0
