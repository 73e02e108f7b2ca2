"""wait_until_complete(), updates() and waiting again for an operation."""

import asyncio
import gc
import pickle
import time

import pytest

from akool_async import (
    AkoolSession,
    ApiKey,
    AuthenticationError,
    ButtonPress,
    ConfigurationError,
    ExponentialPolling,
    ImageStatus,
    NotFoundError,
    Operation,
    OperationFailedError,
    PollingError,
    SessionClosedError,
    Timing,
    WaitTimeoutError,
    events,
)
from akool_async.emulator import Emulator, Fault
from tests.support.looks import look_until
from tests.support.schedules import FAST
from tests.support.scripted import KEY, scripted_server

SLOW = ExponentialPolling(initial=3600, max_interval=3600)


def image(status, **fields):
    return {"code": 1000, "msg": "OK", "data": {"_id": "image-1", "image_status": status, **fields}}


DONE = image(3, op_button="U1", image="https://pictures.example/1.png")


async def test_waits_until_status_3():
    """Statuses 1 and 2, and an unknown one, continue the wait; 3 ends it."""
    async with scripted_server(image(1), image(9), image(2), DONE) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=FAST) as akool:
            result = await akool.wait_until_complete("image-1")
    assert result.status == ImageStatus.COMPLETED
    assert len(server.asked) == 4


async def test_between_two_polls_there_is_only_a_timer(emulator):
    """A hundred operations that nobody awaits hold a hundred slots without a task for each."""
    async with emulator.session(polling=SLOW, max_concurrent_upscales=100) as akool:
        operations = [await akool.upscale(emulator.add_image(), 1) for _ in range(100)]
        assert akool.counters().in_flight == len(operations)
        assert len(asyncio.all_tasks()) < len(operations) / 10


async def test_an_operation_is_awaited_like_its_wait(emulator, akool):
    """``await operation`` returns the result of wait_until_complete(), and raises the same errors."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", None, Fault.fails())
    operation, failing = await akool.upscale(source, 1), await akool.upscale(source, 2)
    assert await operation is await operation.wait_until_complete()
    with pytest.raises(OperationFailedError) as caught:
        await failing
    assert caught.value.operation_id == failing.id


async def test_forty_waiters_share_one_poll_loop():
    """Any number of waiters for an id, with any handle, cause one poll at a time."""
    async with scripted_server(image(1), image(2), DONE) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=FAST) as akool:
            handles = [akool.operation("image-1") for _ in range(20)]
            results = await asyncio.gather(
                *(handle.wait_until_complete() for handle in handles),
                *(akool.wait_until_complete("image-1") for _ in range(20)),
            )
    assert len(server.asked) == 3
    assert len({id(result) for result in results}) == 1


async def test_a_done_operation_is_never_asked_for_again():
    """Waiting again for a finished operation sends nothing."""
    async with scripted_server(DONE) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        operation = akool.operation("image-1")
        first = await operation.wait_until_complete()
        assert await operation.wait_until_complete() is first
        assert await akool.wait_until_complete("image-1") is first
    assert len(server.asked) == 1


async def test_a_deadline_does_not_wait_for_the_next_poll(emulator):
    """With the next poll an hour away, the caller's timeout ends the wait on time."""
    async with emulator.session(polling=SLOW) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        with pytest.raises(WaitTimeoutError) as caught:
            await operation.wait_until_complete(timeout=0.01)
    assert caught.value.operation_id == operation.id
    assert isinstance(caught.value, TimeoutError)
    assert emulator.ledger.requests["get_image_result"] == 0


async def test_a_deadline_does_not_wait_for_a_stalled_poll(emulator, akool):
    """A poll that hangs does not delay the caller's timeout."""
    operation = await akool.vary(emulator.add_image(), 1)
    emulator.faults.script("get_image_result", *[Fault.stall()] * 10)
    with pytest.raises(WaitTimeoutError):
        await operation.wait_until_complete(timeout=0.2)


async def test_a_timeout_leaves_the_job_running_and_the_wait_can_be_taken_up(emulator, akool):
    """After a timeout the same operation is awaited again, here and in another session by id and by JSON."""
    operation = await akool.upscale(emulator.add_image(), 1)
    with pytest.raises(WaitTimeoutError):
        await operation.wait_until_complete(timeout=0.001)
    async with emulator.session(polling=FAST) as other:
        by_json = other.resume(operation.to_json())
        assert (by_json.id, by_json.button, by_json.source_image_id) == (
            operation.id,
            operation.button,
            operation.source_image_id,
        )
        assert (await by_json.wait_until_complete()).status == ImageStatus.COMPLETED
        assert (await other.operation(operation.id).wait_until_complete()).status == ImageStatus.COMPLETED
    assert (await operation.wait_until_complete()).id == operation.id
    assert emulator.ledger.accepted == 1


async def test_a_pickled_operation_is_waited_for_in_another_session(emulator, akool):
    """A handle pickles without its session. The copy says what to do, and any session can wait for it."""
    operation = await akool.vary(emulator.add_image(), 2)
    detached = pickle.loads(pickle.dumps(operation))
    assert isinstance(detached, Operation)
    with pytest.raises(ConfigurationError, match=r"session\.wait_until_complete"):
        await detached.wait_until_complete()
    assert (await akool.wait_until_complete(detached)).id == operation.id


async def test_updates_yield_each_change_and_end_with_the_result(akool):
    """updates() shows the statuses in order and ends after the final snapshot."""
    operation = await akool.create_by_prompt("a fox")
    statuses = [snapshot.status async for snapshot in operation.updates()]
    assert statuses[0] == ImageStatus.QUEUEING
    assert statuses[-1] == ImageStatus.COMPLETED
    assert statuses == sorted(statuses)
    assert operation.done()


async def test_updates_share_the_poll_loop_and_survive_a_slow_reader():
    """A reader that pauses for a while misses nothing that still matters."""
    async with scripted_server(image(1), image(2), DONE) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=FAST) as akool:
            seen = []
            async for snapshot in akool.operation("image-1").updates():
                seen.append(snapshot.status)
                await look_until(lambda: seen[1:] or server.asked)
            assert seen[-1] == ImageStatus.COMPLETED
    assert len(server.asked) == 3


async def test_a_cancelled_waiter_leaves_the_others_alone(emulator, akool):
    """One of three waiters is cancelled; the others get the result."""
    operation = await akool.vary(emulator.add_image(), 1)
    waiters = [asyncio.create_task(operation.wait_until_complete()) for _ in range(3)]
    await asyncio.sleep(0)
    waiters[0].cancel()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert results[1] is results[2]
    assert results[1].status == ImageStatus.COMPLETED


@pytest.mark.parametrize("turns", range(8))
async def test_a_waiter_that_comes_just_as_the_loop_stops_gets_the_result(turns):
    """The last waiter was cancelled and the poll loop ends at some step: the next waiter still gets its result."""
    async with scripted_server(image(2), DONE) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=FAST) as akool:
            first = asyncio.create_task(akool.wait_until_complete("image-1"))
            await look_until(lambda: server.asked)
            first.cancel()
            await look_until(lambda: akool.counters().polls)
            for _ in range(turns):
                await asyncio.sleep(0)
            assert (await akool.wait_until_complete("image-1")).status == ImageStatus.COMPLETED


async def test_a_wait_in_a_pause_gets_its_id_when_the_session_closes(emulator):
    """A poll that waits for a 429 ends before a POST that closing waits for, and its waiter gets the id."""
    source = emulator.add_image()
    akool = emulator.session(polling=FAST, request_timeout=0.5)
    operation = await akool.vary(source, 1)
    emulator.faults.script("create_by_button", Fault.stall("after"))
    stalled = asyncio.create_task(akool.vary(source, 2))
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"] >= 2)
    emulator.faults.script("get_credit", Fault.throttle(600))
    reader = asyncio.create_task(akool.get_credit())
    await look_until(lambda: akool.counters().throttled)
    waiter = asyncio.create_task(operation.wait_until_complete())
    await asyncio.sleep(0.1)
    await akool.aclose()
    reader.cancel()
    outcomes = await asyncio.gather(waiter, stalled, return_exceptions=True)
    assert isinstance(outcomes[0], SessionClosedError)
    assert outcomes[0].operation_ids == (operation.id,)


async def test_closing_the_session_ends_waits_with_their_ids(emulator, akool):
    """A wait that is open when the session closes ends with SessionClosedError carrying the id."""
    emulator.faults.script("create_by_button", Fault.stuck())
    operation = await akool.upscale(emulator.add_image(), 1)
    waiter = asyncio.create_task(operation.wait_until_complete())
    await asyncio.sleep(0)
    await akool.aclose()
    with pytest.raises(SessionClosedError) as caught:
        await waiter
    assert caught.value.operation_ids == (operation.id,)
    with pytest.raises(SessionClosedError):
        await operation.wait_until_complete()
    with pytest.raises(SessionClosedError):
        await akool.get_credit()


@pytest.mark.parametrize("behind", [660, 86_400 * 30, -660])
async def test_a_wrong_clock_does_not_matter(behind):
    """With AKOOL's clock far behind this machine's, or ahead, late URLs are awaited, and learning goes on."""
    created = {"create_time": (time.time() - behind) * 1000}
    replies = [image(1, op_button="V1", **created), *[image(3, op_button="V1", **created)] * 3]
    done = image(3, op_button="V1", upscaled_urls=[f"https://pictures.example/{i}.jpeg" for i in range(4)], **created)
    async with scripted_server(*replies, done) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=FAST) as akool:
            operation = await akool.vary("image-0", 1)
            assert len((await operation.wait_until_complete()).urls) == 4


LAGGING = [
    [image(3), image(2), image(1), DONE],
    [image(3), image(2), image(3), image(2), DONE],
    [image(3), image(3, image="https://pictures.example/grid.jpeg", buttons=["U1"]), image(3), image(2), DONE],
]


@pytest.mark.parametrize("polls", LAGGING)
async def test_a_replica_that_lags_behind_takes_nothing_back(polls):
    """Status 3, then 2, then 3 again: the end is reported once, and nobody sees the operation run again."""
    seen = []
    async with scripted_server(image(1, op_button="U1"), *polls) as server:
        async with AkoolSession(KEY, base_url=server.base_url, polling=FAST, observer=seen.append) as akool:
            operation = await akool.upscale("image-0", 1)
            statuses = [snapshot.status async for snapshot in operation.updates()]
            assert operation.latest.urls
            assert akool.counters().finished == 1
    assert statuses == sorted(statuses)
    assert sum(isinstance(event, events.Finished) for event in seen) == 1


async def test_an_operation_that_is_taken_up_again_has_ended_once(emulator, akool):
    """Finished comes once for an id, even if it is awaited several times with handles that were deleted."""
    operation_id = emulator.add_image()
    for _ in range(3):
        await akool.wait_until_complete(operation_id)
        await asyncio.sleep(0)  # the task of the last poll ends, and drops its reference
        gc.collect()
    assert emulator.ledger.requests["get_image_result"] == 3
    assert akool.counters().finished == 1


async def test_results_of_this_session_are_remembered(emulator, akool):
    """An operation of this session whose handle was deleted is not polled again."""
    made = await akool.create_by_prompt("a fox")
    result = await made.wait_until_complete()
    asked = emulator.ledger.requests.total()
    del made
    gc.collect()
    assert akool.operation(result.id).done()
    assert await akool.wait_until_complete(result.id) is result
    assert emulator.ledger.requests.total() == asked


@pytest.mark.parametrize("late", [0.05, 0.2])
async def test_urls_that_come_after_the_status_are_waited_for(emulator, late):
    """Status 3 without URLs is polled a little longer, until the four single images have URLs."""
    emulator.faults.script("create_by_button", Fault.late_urls(late))
    async with emulator.session(polling=FAST, timing=Timing()) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        assert len((await operation.wait_until_complete()).urls) == 5


async def test_a_wrong_id_ends_the_wait_immediately(akool):
    """An id that this session did not press and AKOOL does not know is polled once."""
    with pytest.raises(NotFoundError) as caught:
        await akool.wait_until_complete("64dd82eef0b6684651e90131")
    assert caught.value.operation_id == "64dd82eef0b6684651e90131"


async def test_a_new_operation_may_be_unknown_at_first(emulator):
    """A 1008 just after the press does not end the wait."""
    async with emulator.session(polling=FAST, timing=Timing()) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        emulator.faults.script("get_image_result", *[Fault.code(1008)] * 3)
        assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED


async def test_a_bad_key_ends_the_wait_immediately(emulator):
    """An authentication error ends the wait immediately."""
    async with AkoolSession(ApiKey("a-wrong-key"), base_url=emulator.base_url, polling=FAST) as akool:
        with pytest.raises(AuthenticationError):
            await akool.wait_until_complete(emulator.add_image())
    assert emulator.ledger.requests["get_image_result"] == 1


async def test_a_long_streak_of_failed_polls_ends_in_polling_error(emulator):
    """When polls no longer succeed the wait ends, reports the last status, and can be repeated later."""
    async with emulator.session(polling=ExponentialPolling(initial=0.001, max_interval=0.005)) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        emulator.faults.rate(1.0, Fault.status(502), endpoints=["get_image_result"])
        with pytest.raises(PollingError, match="502") as caught:
            await operation.wait_until_complete()
        assert (caught.value.operation_id, caught.value.status) == (operation.id, ImageStatus.QUEUEING)
        assert caught.value.age > 0
        emulator.faults.clear()
        assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED


@pytest.mark.parametrize("delay", [-1.0, float("nan"), float("inf"), "1", None])
async def test_a_wrong_delay_of_a_users_schedule_is_reported(emulator, delay):
    """A delay that is not a number of seconds ends the wait with an error that shows it, without a busy loop."""

    class Odd(ExponentialPolling):
        def next_delay(self, progress):
            return delay

    async with emulator.session(polling=Odd()) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        with pytest.raises(ConfigurationError, match="polling"):
            await operation.wait_until_complete()
    assert emulator.ledger.requests["get_image_result"] == 0


async def test_errors_about_an_operation_carry_its_press(emulator, akool):
    """The errors of a timeout and of a failed job name the press besides the id; handles of one id are equal."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.fails())
    operation = await akool.vary(source, 1)
    with pytest.raises(WaitTimeoutError) as timed_out:
        await operation.wait_until_complete(timeout=0.001)
    with pytest.raises(OperationFailedError) as failed:
        await operation.wait_until_complete()
    assert timed_out.value.press == failed.value.press == ButtonPress(source, "V1")
    assert pickle.loads(pickle.dumps(operation)) == operation == akool.operation(operation.id)


async def test_the_waiter_gets_the_error_of_a_users_schedule(emulator):
    """A schedule with a bug ends the wait with that bug, instead of hanging it."""

    class Broken:
        def next_delay(self, progress):
            if progress.polls:
                raise ZeroDivisionError
            return 0.0

        def learn(self, finished):
            pass

    async with (
        Emulator(speed=1) as slow,
        slow.session(polling=Broken()) as akool,
    ):
        operation = await akool.vary(slow.add_image(), 1)
        with pytest.raises(ZeroDivisionError):
            await operation.wait_until_complete()


async def test_a_time_out_of_the_users_own_polling_is_no_time_out_of_the_wait(emulator):
    """A TimeoutError from a schedule is raised as it is, and is not mistaken for the caller's timeout."""

    class Late:
        def next_delay(self, progress):
            raise TimeoutError("of mine")

        def learn(self, finished):
            pass

    async with emulator.session(polling=Late()) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        with pytest.raises(TimeoutError, match="of mine"):
            await operation.wait_until_complete(timeout=60)
