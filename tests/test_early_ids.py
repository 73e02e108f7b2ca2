"""An operation whose id a webhook reports before the reply to its press."""

import asyncio
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from akool_async import AdaptivePolling, ExponentialPolling, Timing, WebhookEvent, events
from akool_async.emulator import Emulator, Fault
from tests.support.schedules import FAST


async def test_a_slot_comes_back_if_the_end_is_seen_before_the_reply(emulator):
    """The operation is polled to its end while the reply to its press is slow, and the next upscale gets the slot."""
    image_id = emulator.add_image()
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        emulator.faults.script("create_by_button", Fault.slow(1, "after"))
        pressing = asyncio.create_task(akool.upscale(image_id, 1))
        (post,) = await emulator.ledger.until(lambda ledger: ledger.posts)
        operation = akool.operation(post.new_ids[0])
        result = await operation
        assert not pressing.done()
        assert ((await pressing).id, (await pressing).latest) == (operation.id, result)
        assert akool.counters().upscale_slots_held == 0
        await akool.upscale(image_id, 2)


async def test_an_operation_polled_before_its_reply_teaches_no_nonsense():
    """The reply comes while a poll is under way: the event names the button's kind and no negative delay, and what was
    learned can be read again.
    """
    seen = []
    polling = AdaptivePolling(fallback=ExponentialPolling(initial=0.2, max_interval=0.2, factor=1, jitter=0))
    async with (
        Emulator(speed=20, median_seconds=30, sigma=0, queue_median_seconds=1, queue_sigma=0) as emulator,
        emulator.session(observer=seen.append, polling=polling) as akool,
    ):
        emulator.faults.script("create_by_button", Fault.slow(0.7, "after"))
        emulator.faults.rate(1.0, Fault.slow(0.4, "after"), endpoints=["get_image_result"])
        pressing = asyncio.create_task(akool.upscale(emulator.add_image(), 1))
        (post,) = await emulator.ledger.until(lambda ledger: ledger.posts)
        await akool.operation(post.new_ids[0])
        await pressing
    (finished,) = [event for event in seen if isinstance(event, events.Finished)]
    assert finished.kind == "upscale"
    assert finished.detection_delay >= 0
    assert AdaptivePolling.from_json(polling.to_json()).to_json() == polling.to_json()


async def test_a_press_whose_id_a_webhook_reports_is_not_sent_again():
    """The button only seemed to be offered, and the webhook comes while the second POST waits for its turn."""
    timing = Timing(reconcile_gap=0.01, lost_reply_timeout=5, throttle_delay=0.5, max_retry_delay=0.5)
    async with (
        Emulator(speed=100, used_buttons_lag=100_000) as emulator,
        emulator.session(webhook_url="http://127.0.0.1:9/hook", timing=timing) as akool,
    ):
        emulator.faults.script("create_by_button", Fault.reset("after"), Fault.code(1005))
        pressing = asyncio.create_task(akool.upscale(emulator.add_image(), 1))
        await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"] == 2)
        lost = emulator.ledger.posts[0]
        (correlation_id,) = parse_qs(urlsplit(lost.webhook_url).query)["akool_press"]
        akool.notify(WebhookEvent(id=lost.new_ids[0], status=3), correlation_id=correlation_id)
        assert (await pressing).id == lost.new_ids[0]
        assert emulator.ledger.requests["create_by_button"] == 2


async def test_callers_share_a_post_when_a_timer_has_just_ended(emulator):
    """A pause ends while the event loop is busy: a caller of the same press at that time joins the POST."""
    image_id = emulator.add_image()
    async with emulator.session() as akool:
        emulator.faults.script("get_image_result", Fault.throttle(1))
        reading = asyncio.create_task(akool.get_image_result(image_id))
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"])
        while not akool.counters().throttled:
            await asyncio.sleep(0)
        first = asyncio.create_task(akool.upscale(image_id, 1))
        second = asyncio.create_task(after(0.8, akool.upscale(image_id, 1)))
        for _ in range(20):  # until the first caller waits for the end of the pause
            await asyncio.sleep(0)
        time.sleep(1.5)  # noqa: ASYNC251 - the event loop is busy: both timers have ended when it goes on
        assert await first == await second
        await reading
    assert emulator.ledger.requests["create_by_button"] == 1


async def after(seconds, press):
    """Press after the pause."""
    await asyncio.sleep(seconds)
    return await press


def test_a_finished_operation_can_be_awaited_in_another_loop():
    """Its result is known, and nothing is requested."""

    async def make():
        async with Emulator(speed=100) as emulator, emulator.session(polling=FAST) as akool:
            operation = await akool.vary(emulator.add_image(), 1)
            await operation
            return operation

    async def wait(operation):
        return await operation

    operation = asyncio.run(make())
    assert asyncio.run(wait(operation)) == operation.latest


async def test_closing_does_not_wait_for_a_press_that_will_not_be_sent_again(emulator):
    """A reply was lost, AKOOL had not accepted the press, and the next try waits: closing ends it as unknown."""
    emulator.faults.script("create_by_button", Fault.reset("before"), Fault.throttle(600))
    akool = emulator.session(timing=Timing(reconcile_gap=0.01))
    pressing = asyncio.create_task(akool.upscale(emulator.add_image(), 1))
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"] == 2)
    while not akool.counters().throttled:
        await asyncio.sleep(0)
    async with asyncio.timeout(20):  # closing waits up to 35 s for a POST under way
        await akool.aclose()
    with pytest.raises(Exception, match="closed") as caught:
        await pressing
    assert type(caught.value).__name__ == "OutcomeUnknownError"
