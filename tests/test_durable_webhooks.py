"""Webhooks that any process of a store may receive."""

import asyncio

from akool_async import Button, ButtonPress, WebhookEvent
from akool_async.durable import JobState
from akool_async.emulator import Fault
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler
from tests.support.durable_faults import correlation_id_of
from tests.support.receivers import RARE, serve_aiohttp
from tests.support.workers import an_unknown_job, open_jobs


async def test_a_webhook_gives_the_id_of_a_lost_reply(emulator, store):
    """A webhook with the press's correlation id reports the lost id to any process. Others are ignored."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    async with (
        open_jobs(emulator, store, webhook_url="http://127.0.0.1:9/hook", lost_reply_timeout=3_600) as jobs,
        open_jobs(emulator, store) as receiver,
    ):
        await jobs.submit([press])
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.callbacks)
        callback = emulator.ledger.callbacks[0]
        correlation_id = callback.url.partition("akool_press=")[2]
        assert await receiver.notify(WebhookEvent(id="1" * 24, status=3), correlation_id="stranger") is False
        assert (
            await receiver.notify(WebhookEvent(id=callback.image_id, status=3), correlation_id=correlation_id) is True
        )
        await running
        job = await jobs.job(press)
    assert job.state is JobState.DONE
    assert job.operation_id == callback.image_id
    assert emulator.ledger.accepted == 1


async def test_an_invalid_correlation_id_is_ignored(emulator, store):
    """The correlation id is part of a URL, which is not signed. One that a database cannot store matches no job."""
    async with open_jobs(emulator, store) as jobs:
        for correlation_id in ("a\0b", "\ud800"):
            assert await jobs.notify(WebhookEvent(id="1" * 24, status=3), correlation_id=correlation_id) is False


async def test_a_webhook_at_another_process_wakes_the_worker(emulator, store):
    """Polls are 30 seconds apart, so only webhooks can end the jobs in time. Another process receives them."""
    verifier = WebhookVerifier(emulator.client_id, emulator.client_secret)
    async with (
        open_jobs(emulator, store) as receiver,
        serve_aiohttp(lambda app: app.router.add_post("/akool", webhook_handler(receiver, verifier))) as address,
        open_jobs(emulator, store, polling=RARE, webhook_url=f"{address}/akool") as jobs,
    ):
        await jobs.submit([(emulator.add_image(), button) for button in Button])
        async with asyncio.timeout(25):
            await jobs.run()
        assert (await jobs.status()).done == 8
    assert {callback.status for callback in emulator.ledger.callbacks} == {200}
    assert emulator.ledger.requests["get_image_result"] <= 24


async def test_a_webhook_that_comes_late_settles_an_unknown_job(emulator, tmp_path):
    """A late webhook with the id reopens an unknown job, and the next run finishes it."""
    store = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, store) as jobs:
        press, operation_id = await an_unknown_job(emulator, jobs)
        assert (
            await jobs.notify(WebhookEvent(id=operation_id, status=3), correlation_id=correlation_id_of(store)) is True
        )
        await jobs.run()
        job = await jobs.job(press)
    assert (job.state, job.operation_id) == (JobState.DONE, operation_id)
    assert emulator.ledger.accepted == 1
