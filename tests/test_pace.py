"""max_requests_per_second, presses before polls, and throttling that slows all requests."""

import asyncio

import pytest
from aiohttp import web
from attrs import evolve

from akool_async import AkoolSession, RateLimitedError, Timing, events
from akool_async._http.transport import MAX_CONNECTIONS
from akool_async._limits.ramp import FIRST_WIDTH, MAX_WIDTH, Ramp
from akool_async._limits.rate import RateLimiter
from akool_async.emulator import Emulator, Fault
from tests.support.looks import look_until
from tests.support.schedules import FAST
from tests.support.scripted import KEY, scripted_server

OFTEN = RateLimitedError(1005, "often")
HASTY = Timing(throttle_delay=0.001, max_retry_delay=0.001)


async def test_requests_keep_the_rate(emulator):
    """Forty presses, their polls and the token keep the distance of 100 requests per second."""
    async with emulator.session(polling=FAST, max_requests_per_second=100) as akool:
        began = asyncio.get_running_loop().time()
        operations = await asyncio.gather(*(akool.vary(emulator.add_image(), 1) for _ in range(40)))
        await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
        took = asyncio.get_running_loop().time() - began
    assert emulator.ledger.requests.total() <= 100 * took + 2


async def test_presses_do_not_queue_behind_polls():
    """With a hundred polls waiting for their turn a press is among the next two requests."""

    async def answer(request):
        image_id = request.query.get("image_model_id", "new")
        return web.json_response({"code": 1000, "data": {"_id": image_id, "image_status": 2}})

    async with scripted_server(answer) as server:
        async with AkoolSession(KEY, base_url=server.base_url, max_requests_per_second=50) as akool:
            waiters = [asyncio.create_task(akool.wait_until_complete(f"image-{i}")) for i in range(100)]
            await look_until(lambda: len(server.asked) >= 2)
            asked = len(server.asked)
            await akool.vary("image", 1)
            (place,) = [place for place, asked in enumerate(server.asked) if asked.method == "POST"]
            assert place <= asked + 2
            for waiter in waiters:
                waiter.cancel()
            await asyncio.gather(*waiters, return_exceptions=True)


async def test_a_429_slows_everyone(emulator):
    """After a 429 with Retry-After no request of any kind is sent until it is over."""
    seen = []
    async with emulator.session(polling=FAST, observer=seen.append) as akool:
        emulator.faults.script("get_credit", Fault.throttle(retry_after=1))
        slowed = asyncio.create_task(akool.get_credit())
        await look_until(lambda: seen)
        told_at = asyncio.get_running_loop().time()
        await akool.vary(emulator.add_image(), 1)
        assert asyncio.get_running_loop().time() - told_at > 0.9
        await slowed
    assert seen[0] == events.Throttled(code=429, seconds=1.0)


@pytest.mark.parametrize("rate", [None, 500])
async def test_requests_that_queued_before_a_429_wait_too(emulator, rate):
    """Of hundreds of reads that queue for connections and for the rate, only those under way reach AKOOL."""
    async with emulator.session(max_requests_per_second=rate) as akool:
        emulator.faults.script("get_image_result", Fault.throttle(retry_after=600))
        image_id = emulator.add_image()
        reads = [asyncio.create_task(akool.get_image_result(image_id)) for _ in range(300)]
        await look_until(lambda: akool.counters().throttled)
        await asyncio.wait(reads, timeout=0.5)
        assert emulator.ledger.requests.total() <= MAX_CONNECTIONS
        for read in reads:
            read.cancel()
        await asyncio.gather(*reads, return_exceptions=True)


async def test_a_1005_slows_presses_and_not_polls():
    """While a full plan makes presses wait, one POST at a time is tried, and polls go on."""
    async with (
        Emulator(speed=100, plan_concurrency=2) as emulator,
        emulator.session(polling=FAST, timing=Timing().scaled(0.1)) as akool,
    ):
        operations = await asyncio.gather(*(akool.vary(emulator.add_image(), 1) for _ in range(30)))
        await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
        assert emulator.ledger.peak_generations == 2
        assert akool.counters().throttled == emulator.ledger.requests["create_by_button"] - 30
    assert emulator.ledger.requests["create_by_button"] < 30 * 4


async def test_a_press_in_a_pause_is_not_sent_when_the_session_closes(emulator):
    """A press that waits for a long Retry-After ends unsent when the session closes."""
    akool = emulator.session()
    emulator.faults.script("get_credit", Fault.throttle(600))
    first = asyncio.create_task(akool.get_credit())
    await look_until(lambda: akool.counters().throttled)
    caller = asyncio.create_task(akool.create_by_prompt("a fox"))
    await asyncio.sleep(0)
    await akool.aclose()
    with pytest.raises(Exception, match="closed") as caught:
        await caller
    assert type(caught.value).__name__ == "SessionClosedError"
    first.cancel()
    assert emulator.ledger.requests == {"get_credit": 1}


async def test_the_ramp_widens_with_acceptance_and_narrows_with_a_refusal():
    """Four POSTs at first, one more for each accepted one up to the limit, and a single one after 1005 or 429."""
    ramp = Ramp(HASTY)
    inside, widths = 0, []

    async def go(*, then):
        nonlocal inside
        async with ramp.turn():
            inside += 1
            await asyncio.sleep(0)
            widths.append(inside)
            inside -= 1
            then()

    await asyncio.gather(*(go(then=lambda: None) for _ in range(20)))
    assert max(widths) == FIRST_WIDTH
    await asyncio.gather(*(go(then=ramp.on_success) for _ in range(100)))
    assert max(widths) == MAX_WIDTH
    ramp.on_throttled(OFTEN)
    widths.clear()
    await asyncio.gather(*(go(then=lambda: None) for _ in range(20)))
    assert max(widths) == 1


@pytest.mark.parametrize("leaver", range(4))
async def test_a_turn_given_to_one_that_leaves_goes_to_the_next(leaver):
    """If a queued POST is cancelled, before its turn or just as it comes, the others get their turns in order."""
    ramp = Ramp(HASTY)
    ramp.on_account_error()
    gate, got = asyncio.Event(), []

    async def go(number):
        async with ramp.turn():
            await gate.wait()
            got.append(number)

    tasks = [asyncio.create_task(go(number)) for number in range(4)]
    await asyncio.sleep(0)
    gate.set()
    for _ in range(leaver):
        await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert got in ([0, 2, 3], [0, 1, 2, 3])
    async with ramp.turn():
        pass


async def test_a_retry_goes_before_those_that_were_not_sent_yet():
    """The press that AKOOL refused with 1005 gets the first turn after the pause."""
    ramp, got = Ramp(HASTY), []
    ramp.on_throttled(OFTEN)

    async def go(name, *, is_retry=False):
        async with ramp.turn(is_retry=is_retry):
            got.append(name)

    await asyncio.gather(go("first"), go("second"), go("again", is_retry=True))
    assert got == ["again", "first", "second"]


@pytest.mark.parametrize("asked", [False, True])
async def test_a_pause_ends_early_when_there_may_be_room(asked):
    """Without a Retry-After the pause ends when an operation of the session ends; with one it does not."""
    ramp = Ramp(evolve(Timing(), throttle_delay=3600, max_retry_delay=3600, throttle_timeout=1e6))
    ramp.on_throttled(RateLimitedError(1005, "often", retry_after=3600 if asked else None))

    async def go():
        async with ramp.turn():
            pass

    waiting = asyncio.create_task(go())
    await asyncio.sleep(0)
    ramp.on_capacity()
    for _ in range(3):
        await asyncio.sleep(0)
    assert waiting.done() is not asked
    waiting.cancel()


async def test_of_two_refusals_the_longer_wait_counts():
    """A second refusal, of another POST under way, does not shorten a pause that AKOOL asked for."""
    ramp = Ramp(Timing())
    ramp.on_throttled(RateLimitedError(1005, "often", retry_after=600))
    ramp.on_throttled(OFTEN)
    ramp.on_capacity()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01), ramp.turn():
            pass


async def test_a_shorter_wait_does_not_end_a_longer_one():
    """AKOOL asks for ten minutes, and in a later reply for no pause: ten minutes count."""
    rate_limiter = RateLimiter(None)
    rate_limiter.pause(600.0)
    rate_limiter.pause(0.0)
    assert rate_limiter.is_paused
