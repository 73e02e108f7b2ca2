"""A user's own schedule gets ``Progress`` before each poll, and ``Finished`` once for each operation."""

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
    """A schedule that polls every ``delay`` seconds and keeps its arguments."""

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


async def test_a_schedule_gets_the_progress_that_polls_saw():
    """Progress has the kind, the age, the number of polls, the last status, and the age at the first status 2."""
    polling = Recorder()
    replies = [image(1), image(1), {"status": 502}, image(2), image(2), image(3, **DONE)]
    async with scripted_server(*replies) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await (await akool.upscale("image-0", 1)).wait_until_complete()
    seen = polling.progress
    assert [progress.kind for progress in seen] == ["upscale"] * 5
    assert [progress.polls for progress in seen] == [0, 1, 2, 3, 4]
    assert [progress.status for progress in seen] == [1, 1, 1, 2, 2]
    ages = [progress.age for progress in seen]
    assert ages == sorted(ages)
    assert ages[0] == 0.0
    assert [progress.processing_since for progress in seen[:3]] == [None] * 3
    since = seen[3].processing_since
    assert seen[4].processing_since == since
    assert ages[2] < since <= ages[3]


async def test_a_schedule_learns_when_each_status_was_seen():
    """The ages bound the times of both status changes and of the end. The duration is by AKOOL's clock."""
    polling = Recorder()
    async with scripted_server(image(1), image(1), image(1), image(2), image(2), image(3, **DONE)) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await (await akool.upscale("image-0", 1)).wait_until_complete()
    (finished,) = polling.finished
    assert finished.kind == "upscale"
    assert 0 < finished.queued_at < finished.processing_at < finished.running_at < finished.ended_at
    # AKOOL's duration is 0.04 s. It is limited to the range that the polls allow.
    assert finished.duration == max(min(0.04, finished.ended_at), finished.running_at)


async def test_times_that_no_poll_saw_are_not_invented():
    """If the first poll sees the end, and AKOOL reports no times, only the age at the end is known."""
    polling = Recorder()
    async with scripted_server(image(1), image(3, image="https://cdn.example/1.png")) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await (await akool.upscale("image-0", 1)).wait_until_complete()
    (finished,) = polling.finished
    assert finished == Finished(kind="upscale", running_at=0.0, ended_at=finished.ended_at)
    assert finished.ended_at > 0


async def test_the_age_of_a_resumed_operation_is_not_known():
    """Its progress has no kind, although its button is known, and the schedule does not learn from it."""
    polling = Recorder()
    async with scripted_server(image(1), image(2), image(3, **DONE)) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=polling) as akool:
            await akool.resume('{"version": 1, "id": "image-1", "button": "U1"}').wait_until_complete()
    assert [(progress.kind, progress.status) for progress in polling.progress] == [(None, 1), (None, 2)]
    assert polling.finished == []


async def test_an_abandoned_operation_is_learned_from_once():
    """If nobody waits any longer, the schedule learns how long it ran at least. Its later end is not learned too."""
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
    """The end is dated by the webhook, and not by the later poll that the webhook caused."""
    polling = Recorder(delay=30.0)
    async with called_back(emulator, polling=polling, timing=evolve(QUICK, fallback_poll_interval=60.0)) as akool:
        emulator.faults.script("get_image_result", Fault.slow(0.3))
        await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete(timeout=20)
        delay = akool.counters().detection_delay
    (finished,) = polling.finished
    assert finished.ended_at - finished.running_at <= 1.0
    assert delay >= 0.3
