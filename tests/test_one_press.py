"""One press, one POST, for any number of callers, also if some are cancelled."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akool_async import (
    AkoolError,
    AkoolSession,
    ButtonPress,
    NotOperableError,
    OutcomeUnknownError,
    SessionClosedError,
)
from akool_async._limits.recent import Recent
from akool_async.emulator import Emulator, Fault
from tests.support.examples import CREATE_BY_BUTTON_REPLY, CREATE_BY_PROMPT_REPLY
from tests.support.looks import look_until
from tests.support.schedules import FAST
from tests.support.scripted import KEY, Gate, scripted_server


async def test_forty_callers_share_one_post_one_operation_one_poll_loop(emulator, akool):
    """Forty concurrent callers of a press, and a later one, get the same operation for one POST and one charge."""
    source = emulator.add_image()
    operations = await asyncio.gather(*(akool.create_by_button(source, "U2") for _ in range(40)))
    results = await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
    again = await akool.upscale(source, 2)
    assert len({*operations, again}) == 1
    assert len({id(result) for result in [*results, again.latest]}) == 1
    assert emulator.ledger.requests["create_by_button"] == 1
    assert emulator.ledger.charged == 2


async def test_all_callers_of_a_post_get_its_refusal(emulator, akool):
    """After one POST, all callers get the refusal, each as a separate error."""
    emulator.faults.script("create_by_button", Fault.code(1010))
    source = emulator.add_image()
    errors = await asyncio.gather(*(akool.vary(source, 1) for _ in range(10)), return_exceptions=True)
    assert {error.code for error in errors} == {1010}
    assert len({id(error) for error in errors}) == 10
    assert emulator.ledger.requests["create_by_button"] == 1


async def test_a_caller_cancelled_mid_post_loses_no_id():
    """The only caller is cancelled during the POST: the same press again returns the operation, without a POST."""
    gate = Gate(CREATE_BY_BUTTON_REPLY)
    async with scripted_server(gate) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        caller = asyncio.create_task(akool.upscale("image-1", 2))
        await gate.arrived.wait()
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
        assert caller.cancelled()
        gate.open.set()
        operation = await akool.upscale("image-1", 2)
        assert operation.id == CREATE_BY_BUTTON_REPLY["data"]["_id"]
        assert len([asked for asked in server.asked if asked.method == "POST"]) == 1


async def test_unclaimed_operations_are_kept():
    """Operations whose callers were all cancelled, prompts included, are in `unclaimed` with their ids."""
    gate = Gate(CREATE_BY_BUTTON_REPLY, CREATE_BY_PROMPT_REPLY)
    async with scripted_server(gate) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        callers = [
            asyncio.create_task(akool.create_by_prompt("a fox")),
            asyncio.create_task(akool.upscale("image-1", 2)),
        ]
        await gate.arrived.wait()
        await look_until(lambda: len(server.asked) >= 2)
        for caller in callers:
            caller.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        gate.open.set()
        await akool.aclose()
        assert {operation.id for operation in akool.unclaimed} == {
            CREATE_BY_PROMPT_REPLY["data"]["_id"],
            CREATE_BY_BUTTON_REPLY["data"]["_id"],
        }


async def test_an_operation_that_a_later_caller_receives_is_no_longer_unclaimed(emulator, akool):
    """A cancelled caller leaves the operation of its press in `unclaimed`; the same press again takes it out."""
    source = emulator.add_image()
    caller = asyncio.create_task(akool.vary(source, 1))
    await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
    caller.cancel()
    await look_until(lambda: akool.unclaimed)
    operation = await akool.vary(source, 1)
    assert akool.unclaimed == ()
    assert operation.id == emulator.ledger.posts[0].new_ids[0]


async def test_an_unclaimed_operation_that_no_caller_receives_stays(emulator, akool):
    """If the session no longer remembers the press, the same press again is refused, and the id stays unclaimed."""
    source = emulator.add_image()
    caller = asyncio.create_task(akool.vary(source, 1))
    await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
    caller.cancel()
    (unclaimed,) = await look_until(lambda: akool.unclaimed)
    akool._journal._operation_ids.pop(ButtonPress(source, "V1"), None)  # as after 10,000 other presses
    with pytest.raises(NotOperableError):
        await akool.vary(source, 1)
    assert akool.unclaimed == (unclaimed,)


async def test_a_slot_survives_a_caller_cancelled_mid_post(emulator):
    """The slot of a press whose caller was cancelled stays held until the server is done, and is then free."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        source = emulator.add_image()
        emulator.faults.script("create_by_button", Fault.slow(0.1, "before"))
        caller = asyncio.create_task(akool.upscale(source, 1))
        await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"])
        caller.cancel()
        operation = await akool.upscale(source, 2)
        await operation.wait_until_complete()
    assert emulator.ledger.peak_upscales == 1
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1, (source, "U2"): 1}


async def test_one_of_several_callers_cancelled_leaves_the_post_to_the_others(emulator, akool):
    """Of three callers that queue for the same press one is cancelled; the others get the operation."""
    source = emulator.add_image()
    callers = [asyncio.create_task(akool.upscale(source, 1)) for _ in range(3)]
    await asyncio.sleep(0)
    callers[0].cancel()
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1] is outcomes[2]
    assert emulator.ledger.charged == 2


async def test_a_press_after_the_last_caller_was_cancelled_begins_again(emulator):
    """Cancelled while queued, then pressed again immediately: the new caller does not get the dropped submission."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        source = emulator.add_image()
        await akool.upscale(source, 1)
        queued = asyncio.create_task(akool.upscale(source, 2))
        await asyncio.sleep(0)
        queued.cancel()
        again = asyncio.create_task(akool.upscale(source, 2))
        assert (await (await again).wait_until_complete()).op_button == "U2"


async def test_closing_lets_a_post_under_way_end():
    """Closing waits for a POST that was sent, and its caller gets the operation."""
    gate = Gate(CREATE_BY_BUTTON_REPLY)
    async with (
        scripted_server(gate) as server,
        AkoolSession(KEY, base_url=server.base_url, max_concurrent_upscales=1) as akool,
    ):
        caller = asyncio.create_task(akool.upscale("image-1", 2))
        queued = [asyncio.create_task(akool.upscale("image-2", i)) for i in (1, 2, 3, 4)]
        await gate.arrived.wait()
        closing = asyncio.create_task(akool.aclose())
        await asyncio.sleep(0)
        gate.open.set()
        await closing
        assert (await caller).id == CREATE_BY_BUTTON_REPLY["data"]["_id"]
        outcomes = await asyncio.gather(*queued, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {SessionClosedError}
        with pytest.raises(SessionClosedError):
            await akool.upscale("image-1", 3)


async def test_closing_does_not_wait_for_ever_for_a_reply():
    """Closing is bounded: a POST without a reply ends in OutcomeUnknownError within the request timeout."""
    gate = Gate(CREATE_BY_BUTTON_REPLY)
    async with scripted_server(gate) as server:
        async with AkoolSession(KEY, base_url=server.base_url, request_timeout=0.2, resubmit_lost=False) as akool:
            caller = asyncio.create_task(akool.create_by_prompt("a fox"))
            await gate.arrived.wait()
        with pytest.raises(OutcomeUnknownError):
            await caller
        gate.open.set()


@given(keys=st.lists(st.integers(0, 9), max_size=50), size=st.integers(1, 5))
def test_the_memory_is_bounded(keys, size):
    """A session's memory keeps the newest entries with their newest values, and never exceeds its size."""
    memory = Recent(size)
    for value, key in enumerate(keys):
        memory[key] = value
        assert len(memory) <= size
        assert memory[key] == value
    assert list(memory) == newest(keys, size)


def newest(keys, size):
    """Return the last ``size`` keys, in the order in which each was first added."""
    kept = []
    for key in keys:
        if key not in kept:
            kept = [*kept, key][-size:]
    return kept


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["press", "press", "same again", "cancel", "wait a moment", "callback raises", "let it run"]),
        st.integers(0, 7),
    ),
    min_size=1,
    max_size=12,
)
FAULTS = st.lists(
    st.sampled_from(
        [
            None,
            None,
            Fault.code(1010),
            Fault.code(1006),
            Fault.code(1005),
            Fault.fails(reason="no"),
            Fault.reset("after"),
            Fault.status(502, "after"),
            Fault.html("after"),
            Fault.cut("after"),
        ]
    ),
    max_size=8,
)


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(actions=ACTIONS, faults=FAULTS, cap=st.integers(1, 3), close_early=st.booleans())
def test_every_slot_comes_back_on_every_path(actions, faults, cap, close_early):
    """Any sequence of presses, repetitions, cancellations, timeouts, refusals, losses, failures and closing, with any
    faults, ends with every slot free, the cap never exceeded and nothing pressed twice.
    """
    asyncio.run(drive(actions, faults, cap, close_early=close_early))


async def drive(actions, faults, cap, *, close_early):
    async with (
        Emulator(speed=500) as emulator,
        emulator.session(polling=FAST, max_concurrent_upscales=cap) as akool,
    ):
        sources = [emulator.add_image() for _ in range(2)]
        emulator.faults.script("create_by_button", *faults)
        tasks = []
        for action, number in actions:
            if action == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            elif action == "let it run":
                await asyncio.sleep(0.002 * number)
            else:
                tasks.append(asyncio.create_task(use(akool, sources[number // 4], number % 4 + 1, action)))
        if close_early:
            await akool.aclose()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        expected = (AkoolError, asyncio.CancelledError, ZeroDivisionError, TimeoutError, type(None))
        assert all(isinstance(outcome, expected) for outcome in outcomes)
        if not close_early:
            emulator.faults.clear()
            fresh = emulator.add_image()
            for index in range(1, cap + 1):  # take all slots before awaiting any operation
                await akool.upscale(fresh, index)
        # Jobs whose id was lost run on unseen: only they can exceed the cap.
        unseen = [
            post for post in emulator.ledger.posts if post.code == 1000 and post.fault not in {None, "fails after"}
        ]
        assert emulator.ledger.peak_upscales <= cap + len(unseen)
        assert emulator.ledger.pressed_twice() == []
        assert emulator.ledger.charged == 2 * emulator.ledger.accepted
    assert akool.counters().upscale_slots_held == 0


async def use(akool, source, index, then):
    operation = await akool.upscale(source, index)
    if then == "callback raises":
        raise ZeroDivisionError
    await operation.wait_until_complete(timeout=0.001 if then == "wait a moment" else None)


async def test_a_caller_that_comes_as_a_press_ends_gets_its_operation(emulator):
    """A caller at every step of the event loop, until after the reply: one POST, and one id for all."""
    image_id = emulator.add_image()
    async with emulator.session() as akool:
        callers = [asyncio.create_task(akool.upscale(image_id, 1))]
        while not callers[0].done():
            callers.append(asyncio.create_task(akool.upscale(image_id, 1)))
            await asyncio.sleep(0)
        assert len({operation.id for operation in await asyncio.gather(*callers)}) == 1
    assert emulator.ledger.requests["create_by_button"] == 1
