"""A webhook and the poll are one wait: hints wake it, the poll reads the truth, and a lost reply's id is found."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest
from attrs import evolve

from akool_async import (
    AkoolSession,
    ConfigurationError,
    ExponentialPolling,
    ImageStatus,
    OperationFailedError,
    OutcomeUnknownError,
    SessionClosedError,
)
from akool_async._limits.recent import CACHE_SIZE
from akool_async._poll.tracked import MAX_REPORTED_POLLS
from akool_async._poll.webhook_statistics import HITS_AFTER_MISS, WebhookStatistics
from akool_async._submit import recovery
from akool_async.emulator import Emulator, Fault
from akool_async.webhooks import WebhookEvent
from tests.support.looks import look_until
from tests.support.receivers import RARE, called_back
from tests.support.schedules import FAST, QUICK

DONE = ImageStatus.COMPLETED


def correlation_id_of(post):
    """Return the correlation id in the address of a POST's webhook."""
    return parse_qs(urlsplit(post.webhook_url).query)["akool_press"][0]


def polls(emulator):
    return emulator.ledger.requests["get_image_result"]


async def test_a_webhook_ends_a_wait_at_its_first_poll(emulator):
    async with called_back(emulator) as akool:
        operation = await akool.upscale(emulator.add_image(), 1)
        result = await operation.wait_until_complete(timeout=20)
    assert result.status == ImageStatus.COMPLETED
    assert polls(emulator) == 1


async def test_one_webhook_wakes_all_waiters(emulator):
    async with called_back(emulator) as akool:
        operation = await akool.vary(emulator.add_image(), 2)
        results = await asyncio.gather(*(operation.wait_until_complete(timeout=20) for _ in range(50)))
    assert len({result.urls for result in results}) == 1
    assert polls(emulator) == 1


async def test_a_webhook_of_a_failed_image_raises_what_the_poll_reads(emulator):
    emulator.faults.script("create_by_button", Fault.fails("too dark"))
    async with called_back(emulator) as akool:
        operation = await akool.upscale(emulator.add_image(), 1)
        with pytest.raises(OperationFailedError) as caught:
            await operation.wait_until_complete(timeout=20)
    assert caught.value.result.error_reasons == ("too dark",)


async def test_the_content_of_a_webhook_is_not_trusted(emulator):
    async with Emulator(speed=0.1) as slow:
        async with slow.session(polling=FAST) as akool:
            operation = await akool.upscale(slow.add_image(), 1)
            waiting = asyncio.create_task(operation.wait_until_complete())
            assert akool.notify(WebhookEvent(id=operation.id, status=DONE, url="https://forger.invalid/1.png"))
            async for snapshot in operation.updates():
                assert not snapshot.is_final
                if snapshot.status == ImageStatus.PROCESSING:
                    break
                slow.advance(30)
            slow.advance(1000)
            assert "forger" not in str((await waiting).raw)


async def test_a_webhook_that_comes_before_the_reply_to_its_post_is_not_lost(emulator):
    emulator.faults.script("create_by_button", Fault.slow(1.0, "after"))
    async with called_back(emulator) as akool:
        operation = await akool.upscale(emulator.add_image(), 1)
        assert [callback.status for callback in emulator.ledger.callbacks] == [200]
        await operation.wait_until_complete(timeout=20)
    assert polls(emulator) == 1


async def test_webhooks_twice_late_and_forged_do_no_harm(emulator):
    emulator.faults.script("webhook", Fault.twice(), Fault.slow(0.3), Fault.forged())
    async with called_back(emulator) as akool:
        image_id = emulator.add_image()
        operations = [await akool.upscale(image_id, index) for index in (1, 2, 3)]
        for operation in operations:
            result = await operation.wait_until_complete(timeout=20)
            assert result.status == ImageStatus.COMPLETED
    forged = [callback for callback in emulator.ledger.callbacks if callback.fault]
    assert [callback.status for callback in forged] == [400]
    assert emulator.ledger.pressed_twice() == []


async def test_a_thousand_webhooks_for_one_running_operation_cause_a_handful_of_polls():
    async with Emulator(speed=0.1) as slow:
        async with slow.session(polling=RARE) as akool:
            operation = await akool.upscale(slow.add_image(), 1)
            event = WebhookEvent(id=operation.id, status=DONE)
            for _ in range(1000):
                assert akool.notify(event)
                await akool.get_image_result(operation.id)  # the poll after the webhook was answered
            own_reads = 1000
            assert 1 <= polls(slow) - own_reads <= MAX_REPORTED_POLLS


async def test_webhooks_of_other_processes_cost_nothing(akool, emulator):
    for number in range(CACHE_SIZE + 500):
        assert not akool.notify(WebhookEvent(id=f"{number:024x}", status=DONE))
    assert emulator.ledger.requests.total() == 0


async def test_polls_become_rare_while_webhooks_come(emulator):
    async with called_back(emulator, polling=ExponentialPolling(initial=0.01, factor=1, jitter=0)) as akool:
        image_id = emulator.add_image()
        await (await akool.upscale(image_id, 1)).wait_until_complete(timeout=20)
        await emulator.ledger.until(lambda ledger: ledger.callbacks)
        before = polls(emulator)
        for index in (2, 3, 4):
            await (await akool.upscale(image_id, index)).wait_until_complete(timeout=20)
        assert polls(emulator) == before + 3


async def test_polling_takes_over_when_webhooks_stop(emulator):
    """After one end without a webhook, operations that relied on theirs are polled by the schedule again."""
    timing = evolve(QUICK, fallback_poll_interval=2.0)  # 24 polls of two operations would take 24 s
    async with called_back(emulator, polling=FAST, timing=timing) as akool:
        image_id = emulator.add_image()
        await (await akool.upscale(image_id, 1)).wait_until_complete(timeout=20)
        await emulator.ledger.until(lambda ledger: ledger.callbacks)
        emulator.faults.rate(1.0, Fault.lost(), endpoints=["webhook"])
        emulator.faults.script("create_by_button", None, Fault.stuck(), Fault.stuck())
        first, *_ = [await akool.upscale(image_id, index) for index in (2, 3, 4)]
        before = polls(emulator)
        await first.wait_until_complete(timeout=20)
        assert polls(emulator) - before <= 3  # until then all three relied on their webhooks
        await emulator.ledger.until(lambda _: polls(emulator) - before >= 24)


async def test_a_lost_reply_is_found_again_by_its_webhook(emulator):
    emulator.faults.script("create_by_button", Fault.reset("after"))
    async with called_back(emulator) as akool:
        image_id = emulator.add_image()
        operation = await akool.upscale(image_id, 1)
        result = await operation.wait_until_complete(timeout=20)
        assert (result.source_image_id, result.op_button) == (image_id, "U1")
        again = await akool.upscale(image_id, 1)
        assert (again, again.latest) == (operation, result)
    assert emulator.ledger.accepted == 1
    assert emulator.ledger.posts[-1].new_ids == (operation.id,)


async def test_a_lost_prompt_is_found_again_by_its_webhook(emulator):
    emulator.faults.script("create_by_prompt", Fault.cut("after"))
    async with called_back(emulator) as akool:
        operation = await akool.create_by_prompt("a fox")
        assert (await operation.wait_until_complete(timeout=20)).prompt == "a fox"
    assert emulator.ledger.accepted == 1


async def test_a_lost_batch_is_found_again_image_by_image(emulator):
    emulator.faults.script("create_by_source_prompt", Fault.empty("after"))
    async with called_back(emulator) as akool:
        operations = await akool.create_by_source_prompt("a fox", batch_quantity=3)
        assert len({operation.id for operation in operations}) == 3
    assert emulator.ledger.accepted == 3


async def test_a_lost_reply_whose_webhook_is_late_turns_into_its_operation_later(emulator):
    emulator.faults.script("create_by_button", Fault.reset("after"))
    emulator.faults.script("webhook", Fault.slow(2.0))
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.1)) as akool:
        image_id = emulator.add_image()
        with pytest.raises(OutcomeUnknownError) as caught:
            await akool.upscale(image_id, 1)
        assert caught.value.charged is True
        (unclaimed,) = await look_until(lambda: akool.unclaimed)
        operation = await akool.upscale(image_id, 1)
        assert operation == unclaimed
        assert akool.unclaimed == ()
        await operation.wait_until_complete(timeout=20)
    assert emulator.ledger.accepted == 1


async def test_a_lost_prompt_whose_webhooks_come_twice_is_recovered_once(emulator):
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    emulator.faults.script("webhook", Fault.slow(1.0))
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.1)) as akool:
        with pytest.raises(OutcomeUnknownError):
            await akool.create_by_prompt("a fox")
        await look_until(lambda: akool.unclaimed)
        correlation_id = correlation_id_of(emulator.ledger.posts[-1])
        (operation,) = akool.unclaimed
        for _ in range(3):
            assert akool.notify(WebhookEvent(id=operation.id, status=DONE), correlation_id=correlation_id)
        await akool.get_credit()
        assert akool.unclaimed == (operation,)


async def test_a_correlation_id_does_not_make_one_press_of_another(emulator):
    emulator.faults.script("create_by_button", None, Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.lost(), endpoints=["webhook"])
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.5)) as akool:
        image_id = emulator.add_image()
        other = await akool.upscale(image_id, 1)
        pressing = asyncio.create_task(akool.upscale(image_id, 2))
        await emulator.ledger.until(lambda ledger: len(ledger.posts) == 2)
        correlation_id = correlation_id_of(emulator.ledger.posts[-1])
        akool.notify(WebhookEvent(id=other.id, status=DONE), correlation_id=correlation_id)
        with pytest.raises(OutcomeUnknownError):
            await pressing


async def test_only_the_sessions_own_address_gets_a_correlation_id(emulator):
    async with called_back(emulator) as akool:
        image_id = emulator.add_image()
        await akool.upscale(image_id, 1, webhook_url="http://127.0.0.1:9/elsewhere?a=b")
        await akool.upscale(image_id, 2)
        await emulator.ledger.until(lambda ledger: len({callback.image_id for callback in ledger.callbacks}) == 2)
    elsewhere = {callback.url for callback in emulator.ledger.callbacks if ":9/" in callback.url}
    own = [callback.url for callback in emulator.ledger.callbacks if "akool_press=" in callback.url]
    assert elsewhere == {"http://127.0.0.1:9/elsewhere?a=b"}
    assert len(own) == 1


async def test_a_closed_session_takes_no_webhook_in(emulator):
    async with called_back(emulator) as akool:
        pass
    with pytest.raises(SessionClosedError):
        akool.notify(WebhookEvent(id="a" * 24, status=DONE))


async def test_an_unknown_outcome_whose_webhook_did_not_come_is_a_warning(emulator, caplog):
    emulator.faults.rate(1.0, Fault.lost(), endpoints=["webhook"])
    emulator.faults.script("create_by_button", Fault.reset("after"))
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.05)) as akool:
        with pytest.raises(OutcomeUnknownError):
            await akool.upscale(emulator.add_image(), 1)
    assert "no webhook came for a POST of unknown outcome; are webhooks refused?" in caplog.text


async def test_closing_does_not_wait_for_a_webhook_of_a_lost_reply(emulator):
    emulator.faults.script("create_by_button", Fault.reset("after"))
    emulator.faults.script("webhook", Fault.lost())
    async with called_back(emulator) as akool:
        pressing = asyncio.create_task(akool.upscale(emulator.add_image(), 1))
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"])
    with pytest.raises(OutcomeUnknownError) as caught:
        await pressing
    assert caught.value.charged is True


@pytest.mark.parametrize("event", [None, "662a10df4197b3af58532e89", {"_id": "1"}])
async def test_an_event_of_another_type_is_refused(akool, event):
    with pytest.raises(ValueError, match="event must be a WebhookEvent"):
        akool.notify(event)


async def test_a_press_that_is_cancelled_in_the_queue_leaves_nothing_behind(emulator):
    emulator.faults.script("create_by_button", Fault.stuck())
    async with called_back(emulator, max_concurrent_upscales=1) as akool:
        image_id = emulator.add_image()
        await akool.upscale(image_id, 1)
        queued = [asyncio.create_task(akool.upscale(emulator.add_image(), 1)) for _ in range(50)]
        await asyncio.sleep(0)
        for press in queued:
            press.cancel()
        await asyncio.gather(*queued, return_exceptions=True)
        await look_until(lambda: not akool.counters().waiting)


async def test_of_a_batch_found_in_part_the_rest_is_found_later(emulator):
    emulator.faults.script("create_by_source_prompt", Fault.reset("after"))
    emulator.faults.script("webhook", Fault.slow(2.5))
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=1.0)) as akool:
        operations = await akool.create_by_source_prompt("a fox", batch_quantity=4)
        await look_until(lambda: akool.unclaimed)
        found = {operation.id for operation in (*operations, *akool.unclaimed)}
    assert found == set(emulator.ledger.posts[0].new_ids)


@pytest.mark.parametrize("fault", [Fault.code(1008), Fault.code(500)])
@pytest.mark.parametrize("lost_reply_timeout", [0.05, 20.0], ids=["late", "in time"])
async def test_an_id_that_cannot_be_read_yet_is_not_lost(emulator, fault, lost_reply_timeout):
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    emulator.faults.script("get_image_result", fault)
    emulator.faults.script("webhook", Fault.slow(0.5))
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=lost_reply_timeout)) as akool:
        try:
            operation = await akool.create_by_prompt("a fox")
        except OutcomeUnknownError:
            await look_until(lambda: akool.unclaimed)
            (operation,) = akool.unclaimed
        assert (await operation.wait_until_complete(timeout=20)).prompt == "a fox"
    assert emulator.ledger.accepted == 1


async def test_an_id_that_is_being_read_when_the_session_closes_is_not_lost(emulator):
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.slow(30), endpoints=["get_image_result"])
    emulator.faults.script("webhook", Fault.slow(0.5))
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.05)) as akool:
        with pytest.raises(OutcomeUnknownError):
            await akool.create_by_prompt("a fox")
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"])
    assert [operation.id for operation in akool.unclaimed] == list(emulator.ledger.posts[0].new_ids)


async def test_repeated_webhooks_of_a_lost_post_cause_no_further_reads(emulator):
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.lost(), endpoints=["webhook"])
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.05)) as akool:
        with pytest.raises(OutcomeUnknownError):
            await akool.create_by_prompt("a fox")
        correlation_id = correlation_id_of(emulator.ledger.posts[-1])
        for number in range(300):
            akool.notify(WebhookEvent(id=f"{number:024x}", status=DONE), correlation_id=correlation_id)
        await look_until(lambda: akool.unclaimed)
        await akool.get_credit()
        assert polls(emulator) <= recovery.MAX_IMAGES
        assert len(akool.unclaimed) <= recovery.MAX_IMAGES


def test_webhooks_are_relied_on_after_one_hit_and_after_a_miss_only_once_many_came_in_a_row():
    webhooks = WebhookStatistics(QUICK.webhook_grace)
    for needed in (1, HITS_AFTER_MISS, HITS_AFTER_MISS):
        assert not webhooks.are_reliable
        for _ in range(needed - 1):
            webhooks.on_hit()
        assert not webhooks.are_reliable
        webhooks.on_hit()
        assert webhooks.are_reliable
        webhooks.on_miss()
    for _ in range(HITS_AFTER_MISS):  # like two processes behind one address
        webhooks.on_hit()
        webhooks.on_miss()
        assert not webhooks.are_reliable


async def test_notifying_from_another_thread_says_what_to_do(akool):
    with pytest.raises(ConfigurationError, match="call_soon_threadsafe"):
        await asyncio.to_thread(akool.notify, WebhookEvent(id="a" * 24, status=DONE))


async def test_an_address_with_a_correlation_id_is_refused():
    with pytest.raises(ConfigurationError, match="akool_press"):
        AkoolSession("key", webhook_url="https://me.example/?akool_press=mine")


async def test_ids_that_are_being_read_when_the_session_closes_are_not_lost(emulator):
    emulator.faults.script("create_by_source_prompt", Fault.reset("after"))
    emulator.faults.script("get_image_result", None)
    emulator.faults.rate(1.0, Fault.status(502), endpoints=["get_image_result"])
    async with called_back(emulator, request_timeout=1.0) as akool:
        pressing = asyncio.create_task(akool.create_by_source_prompt("a fox", batch_quantity=3))
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"] >= 2)
        await emulator.ledger.until(lambda ledger: len({callback.image_id for callback in ledger.callbacks}) == 3)
    operations = await pressing
    assert {operation.id for operation in operations} == set(emulator.ledger.posts[0].new_ids)


async def test_an_id_reported_during_closing_is_not_lost(emulator):
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.lost(), endpoints=["webhook"])
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.05)) as akool:
        with pytest.raises(OutcomeUnknownError):
            await akool.create_by_prompt("a fox")
        correlation_id = correlation_id_of(emulator.ledger.posts[-1])
        (new_id,) = emulator.ledger.posts[0].new_ids
        akool.notify(WebhookEvent(id=new_id, status=DONE), correlation_id=correlation_id)
    assert [operation.id for operation in akool.unclaimed] == [new_id]


async def test_notifying_from_another_event_loop_is_refused(akool, emulator):
    await akool.get_credit()

    async def notify():
        akool.notify(WebhookEvent(id="a" * 24, status=DONE))

    with pytest.raises(ConfigurationError, match="belongs to the event loop"):
        await asyncio.to_thread(asyncio.run, notify())


async def test_ids_that_are_not_read_when_the_session_stops_waiting_are_not_lost(emulator):
    """Closing while the first of two images is being read ends, and the prompt has the ids of both."""
    emulator.faults.script("create_by_source_prompt", Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.slow(30), endpoints=["get_image_result"])
    async with called_back(emulator, request_timeout=0.2) as akool:
        pressing = asyncio.create_task(akool.create_by_source_prompt("a fox", batch_quantity=2))
        await emulator.ledger.until(lambda ledger: len({callback.image_id for callback in ledger.callbacks}) == 2)
    assert {operation.id for operation in await pressing} == set(emulator.ledger.posts[0].new_ids)


async def test_an_id_under_the_correlation_ids_of_two_lost_posts_is_recovered_once(emulator):
    """One paid image is one operation, with any address for its webhook."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"), Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.lost(), endpoints=["webhook"])
    async with called_back(emulator, timing=evolve(QUICK, lost_reply_timeout=0.05)) as akool:
        for _ in range(2):
            with pytest.raises(OutcomeUnknownError):
                await akool.create_by_prompt("a fox")
        first, second = emulator.ledger.posts
        for post in (first, second):
            akool.notify(WebhookEvent(id=first.new_ids[0], status=DONE), correlation_id=correlation_id_of(post))
        await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"] == 2)
        akool.notify(WebhookEvent(id=second.new_ids[0], status=DONE), correlation_id=correlation_id_of(second))
        await look_until(lambda: len(akool.unclaimed) > 1)
        assert [operation.id for operation in akool.unclaimed] == [first.new_ids[0], second.new_ids[0]]


@pytest.mark.parametrize("correlation_id", [1, b"id"])
async def test_a_correlation_id_that_is_no_text_is_refused(akool, correlation_id):
    with pytest.raises(ValueError, match="correlation_id must be"):
        akool.notify(WebhookEvent(id="a" * 24, status=DONE), correlation_id=correlation_id)
