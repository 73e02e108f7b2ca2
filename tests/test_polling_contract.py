"""What a schedule of the user's own is given: ``Progress`` before each poll, ``Finished`` once."""

import asyncio

from attrs import evolve

from akool_async import AkoolSession
from akool_async.emulator import Emulator, Fault
from akool_async.polling import Finished
from tests.support.looks import look_until
from tests.support.receivers import called_back
from tests.support.schedules import QUICK
from tests.support.scripted import KEY, scripted_server

CREATED = 1_714_032_863_272
DONE = {"image": f"https://cdn.example/{CREATED + 40}.png", "create_time": CREATED}


class Recorder:
    """Polls every 10 ms, and keeps what it was given."""

    def __init__(self, delay=0.01):
        self.delay = delay
        self.progress = []
        self.finished = []

    def next_delay(self, progress):
        self.progress.append(progress)
        return self.delay

    def learn(self, finished):
        self.finished.append(finished)


def image(status, **fields):
    return {"code": 1000, "data": {"_id": "image-1", "image_status": status, "op_button": "U1", **fields}}


async def test_a_schedule_is_told_what_the_polls_saw():
    """Kind, ages, the number of polls, the last status, and since when the operation was seen processing."""
    polling = Recorder()
    replies = [image(1), image(1), {"status": 502}, image(2), image(2), image(3, **DONE)]
    async with scripted_server(*replies) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await (await akool.upscale("image-0", 1)).wait_until_complete()
    before = polling.progress
    assert [seen.kind for seen in before] == ["upscale"] * 5
    assert [seen.polls for seen in before] == [0, 1, 2, 3, 4]
    assert [seen.status for seen in before] == [1, 1, 1, 2, 2]
    ages = [seen.age for seen in before]
    assert ages == sorted(ages)
    assert ages[0] == 0.0
    assert [seen.processing_since for seen in before[:3]] == [None] * 3
    since = before[3].processing_since
    assert before[4].processing_since == since
    assert ages[2] < since <= ages[3]


async def test_a_schedule_learns_when_each_status_was_seen():
    """The ages bound the moments of both changes of status and of the end, and the duration is AKOOL's."""
    polling = Recorder()
    async with scripted_server(image(1), image(1), image(1), image(2), image(2), image(3, **DONE)) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await (await akool.upscale("image-0", 1)).wait_until_complete()
    (finished,) = polling.finished
    assert finished.kind == "upscale"
    assert 0 < finished.queued_at < finished.processing_at < finished.running_at < finished.ended_at
    # Of what AKOOL's clock says only as much is taken as the polls allow.
    assert finished.duration == max(min(0.04, finished.ended_at), finished.running_at)


async def test_what_no_poll_saw_is_not_made_up():
    """An operation that the first poll sees finished, without AKOOL's times, has an age of its end and no more."""
    polling = Recorder()
    async with scripted_server(image(1), image(3, image="https://cdn.example/1.png")) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await (await akool.upscale("image-0", 1)).wait_until_complete()
    (finished,) = polling.finished
    assert finished == Finished(kind="upscale", running_at=0.0, ended_at=finished.ended_at)
    assert finished.ended_at > 0


async def test_a_schedule_does_not_know_the_age_of_what_was_not_pressed_here():
    """Such an operation has no kind, though its button is known, and nothing is learned of it."""
    polling = Recorder()
    async with scripted_server(image(1), image(2), image(3, **DONE)) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await akool.resume('{"version": 1, "id": "image-1", "button": "U1"}').wait_until_complete()
    assert [(seen.kind, seen.status) for seen in polling.progress] == [(None, 1), (None, 2)]
    assert polling.finished == []


async def test_an_abandoned_operation_is_learned_from_once():
    """Nobody waits any more: it ran for so long at least. Its end, waited for later, is not one more."""
    polling = Recorder()
    async with Emulator(speed=0.1) as slow, slow.session(polling=polling) as akool:
        operation = await akool.vary(slow.add_image(), 1)
        waiting = asyncio.create_task(operation.wait_until_complete())
        await look_until(lambda: akool.counters().polls > 1)
        waiting.cancel()
        await look_until(lambda: polling.finished)
        (abandoned,) = polling.finished
        assert (abandoned.kind, abandoned.ended_at, abandoned.duration) == ("variation", None, None)
        assert abandoned.running_at > 0
        slow.advance(1000)
        await operation.wait_until_complete()
        assert polling.finished == [abandoned]


async def test_a_webhook_dates_the_end(emulator):
    """The age of the end is that of the webhook, which is before that of the poll that it caused."""
    polling = Recorder(delay=30.0)
    async with called_back(emulator, polling=polling, timing=evolve(QUICK, fallback_poll_interval=60.0)) as akool:
        emulator.faults.script("get_image_result", Fault.slow(0.3))
        await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete(timeout=20)
        delay = akool.counters().detection_delay
    (finished,) = polling.finished
    assert finished.ended_at - finished.running_at <= 1.0
    assert delay >= 0.3
