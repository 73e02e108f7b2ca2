"""Other effects of webhooks than ending a wait: settling a doubt, and news before the end."""

import asyncio
import logging

from aiohttp import web

from akool_async import AkoolSession, ImageStatus
from akool_async.emulator import Emulator
from akool_async.webhooks import WebhookEvent
from tests.support.examples import CREATE_BY_BUTTON_REPLY
from tests.support.schedules import FAST
from tests.support.scripted import KEY, scripted_server


async def test_a_webhook_before_the_reply_was_lost_settles_the_doubt_alone():
    """AKOOL called back while the reply was awaited in vain: the press has its operation, and no source is read."""
    made = CREATE_BY_BUTTON_REPLY["data"] | {"image_status": 3, "image": "https://example.invalid/a.png"}
    posted, called = asyncio.Event(), asyncio.Event()

    async def lose(_):
        posted.set()
        await called.wait()
        return web.Response(status=502)

    async with scripted_server(lose, {"code": 1000, "msg": "OK", "data": made}) as server:
        hook = "https://me.example/hook"
        async with AkoolSession(KEY, base_url=server.base_url, webhook_url=hook) as akool:
            pressing = asyncio.create_task(akool.upscale(made["image_content_model_id"], 2))
            await posted.wait()
            correlation_id = server.asked[0].json["webhookUrl"].partition("akool_press=")[2]
            assert akool.notify(WebhookEvent(id=made["_id"], status=3), correlation_id=correlation_id)
            called.set()
            assert (await pressing).id == made["_id"]
            assert akool.counters().credits_in_doubt == 0
    post, *reads = server.asked
    assert post.method == "POST"
    assert {tuple(read.query.values()) for read in reads} == {(made["_id"],)}


async def test_a_webhook_without_an_end_causes_no_poll():
    """A webhook with status 2 concerns only the session that pressed, and causes no poll."""
    async with Emulator(speed=0.1) as slow:
        async with slow.session() as akool:
            operation = await akool.upscale(slow.add_image(), 1)
            assert akool.notify(WebhookEvent(id=operation.id, status=ImageStatus.PROCESSING))
            assert not akool.notify(WebhookEvent(id="a" * 24, status=ImageStatus.PROCESSING))
            waiting = asyncio.create_task(operation.wait_until_complete())
            await akool.get_credit()
            assert akool.counters().polls == 0
            waiting.cancel()


class Unlearned:
    """A user's own schedule, which has a bug."""

    def next_delay(self, progress):
        return FAST.next_delay(progress)

    def learn(self, finished):
        raise RuntimeError("no memory")


async def test_a_schedule_that_cannot_learn_loses_no_result(emulator, caplog):
    """A bug in a user's schedule is logged, and the paid result is returned anyway."""
    async with emulator.session(polling=Unlearned()) as akool:
        operation = await akool.upscale(emulator.add_image(), 1)
        with caplog.at_level(logging.ERROR, logger="akool_async"):
            assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED
    assert f"the schedule failed to learn from operation {operation.id}" in caplog.text
