"""Closing a session at any time: everything ends, nothing new is sent, and nothing is lost."""

import asyncio

import aiohttp
import pytest

from akool_async import (
    AkoolError,
    AkoolSession,
    ClientCredentials,
    ConfigurationError,
    ImageResult,
    OutcomeUnknownError,
    SessionClosedError,
)
from akool_async.emulator import Emulator, Fault
from tests.support.looks import look_until
from tests.support.schedules import FAST
from tests.support.scripted import Gate, scripted_server


def tasks():
    """Return the tasks that do not belong to the emulator's server."""
    return {task for task in asyncio.all_tasks() if "RequestHandler" not in task.get_coro().__qualname__}


@pytest.mark.parametrize("verb", ["wait_until_complete", "updates"])
async def test_a_wait_that_has_only_just_begun_ends_too(emulator, verb):
    """A waiter whose first poll has not begun gets an error when the session closes, and does not hang."""
    async with emulator.session() as akool:
        operation = akool.operation(emulator.add_image())
        waiting = asyncio.create_task(
            operation.wait_until_complete() if verb != "updates" else anext(operation.updates())
        )
        closing = asyncio.create_task(akool.aclose())
        await closing
        with pytest.raises(SessionClosedError) as caught:
            await waiting
    assert caught.value.operation_ids == (operation.id,)


@pytest.mark.parametrize("steps", range(0, 60, 3))
async def test_closing_after_any_number_of_steps_ends_every_caller(emulator, steps):
    """Press, wait, and close after some iterations of the event loop: the caller ends, and every charge is reported."""
    akool = emulator.session(polling=FAST)
    source = emulator.add_image()

    async def press_and_wait():
        return await (await akool.vary(source, 1)).wait_until_complete()

    caller = asyncio.create_task(press_and_wait())
    for _ in range(steps):
        await asyncio.sleep(0)
    await akool.aclose()
    (outcome,) = await asyncio.gather(caller, return_exceptions=True)
    assert isinstance(outcome, SessionClosedError) or outcome.status == 3
    assert emulator.ledger.charged in {0, 2}
    if emulator.ledger.charged and isinstance(outcome, SessionClosedError):
        assert outcome.operation_ids


async def test_presses_that_queue_for_a_connection_are_not_sent_after_closing(emulator):
    """Of 240 variations at a slow service, those that were not sent are dropped and reported as not spent."""
    emulator.faults.rate(1.0, Fault.slow(0.3, "after"), endpoints=["create_by_button"])
    akool = emulator.session()
    sources = [emulator.add_image() for _ in range(60)]
    callers = [asyncio.create_task(akool.vary(source, index)) for source in sources for index in (1, 2, 3, 4)]
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"])
    closing = asyncio.create_task(akool.aclose())
    await asyncio.sleep(0)
    sent = emulator.ledger.requests["create_by_button"]
    await closing
    outcomes = await asyncio.gather(*callers, return_exceptions=True)
    accepted = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert len(accepted) == emulator.ledger.accepted <= sent + 4
    dropped = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert {type(error) for error in dropped} == {SessionClosedError}
    assert all(error.press is not None for error in dropped)


async def test_nothing_is_pressed_again_after_closing(emulator):
    """A press that is being reconciled when the session closes stays unknown, and is not pressed again."""
    emulator.faults.script("create_by_button", Fault.reset("before"))
    akool = emulator.session()
    caller = asyncio.create_task(akool.upscale(emulator.add_image(), 1))
    await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"])
    await akool.aclose()
    with pytest.raises(OutcomeUnknownError):
        await caller
    assert emulator.ledger.requests["create_by_button"] == 1
    assert emulator.ledger.charged == 0


async def test_a_charge_without_a_caller_is_kept_and_raised_again(emulator):
    """The caller timed out, the reply was lost, and AKOOL charged: the same press again raises the unknown outcome."""
    async with emulator.session(request_timeout=0.2) as akool:
        emulator.faults.script("create_by_button", Fault.stall("after"))
        source = emulator.add_image()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await akool.upscale(source, 1)
        await look_until(lambda: akool.unclaimed_errors)
        (error,) = akool.unclaimed_errors
        assert (error.charged, error.press.image_id, error.press.button) == (True, source, "U1")
        with pytest.raises(OutcomeUnknownError) as caught:
            await akool.upscale(source, 1)
    assert caught.value.charged is True
    assert emulator.ledger.requests["create_by_button"] == 1


async def test_a_remembered_error_holds_no_bodies(emulator, akool):
    """The journal keeps the text and the press of an unknown outcome, and no frames or bodies."""
    emulator.faults.script("create_by_button", Fault.huge(5 * 2**20, "after"))
    source = emulator.add_image()
    with pytest.raises(OutcomeUnknownError) as raised:
        await akool.vary(source, 1)
    with pytest.raises(OutcomeUnknownError) as kept:
        await akool.vary(source, 1)
    assert raised.value.__cause__ is not None
    assert str(kept.value) == str(raised.value)
    assert kept.value.__cause__ is kept.value.__context__ is None
    assert emulator.ledger.requests["create_by_button"] == 1


async def test_closing_that_is_cancelled_still_ends_everything(emulator):
    """A timeout around the session's block leaves no poll loop and no waiter behind."""
    emulator.faults.script("create_by_button", Fault.stuck(), Fault.stall("after"))
    source = emulator.add_image()
    before = tasks()
    akool = emulator.session(polling=FAST)
    operation = await akool.upscale(source, 1)
    waiter = asyncio.create_task(operation.wait_until_complete())
    stalled = asyncio.create_task(akool.vary(source, 1))
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"] >= 2)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(akool.aclose(), 0.2)
    outcomes = await asyncio.gather(waiter, stalled, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [SessionClosedError, OutcomeUnknownError]
    assert akool.counters().in_flight == 0
    assert tasks() - before == set()


async def test_a_token_request_does_not_outlive_the_session(emulator):
    """Neither a caller cancelled during the fetch of the token, nor a session closed then, leaves a task behind."""
    emulator.faults.script("get_token", Fault.stall("after"))
    credentials = ClientCredentials(emulator.client_id, emulator.client_secret)
    before = tasks()
    async with AkoolSession(credentials, base_url=emulator.base_url) as akool:
        caller = asyncio.create_task(akool.get_credit())
        await emulator.ledger.until(lambda ledger: ledger.requests["get_token"])
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    await asyncio.sleep(0)
    assert tasks() - before == set()


async def test_closing_twice_concurrently_works(emulator):
    """Two concurrent calls of aclose() both return, and the session stays closed."""
    akool = emulator.session()
    await akool.get_credit()
    await asyncio.gather(akool.aclose(), akool.aclose())
    with pytest.raises(SessionClosedError):
        await akool.get_credit()


async def test_a_press_refused_for_its_pace_and_dropped_does_not_pull_down_the_next_caller():
    """A caller that presses the same button just when the last submission is dropped gets a new submission."""
    gate = Gate({"code": 1005, "msg": "often"})
    accepted = {"code": 1000, "data": {"_id": "image-2", "image_status": 1}}
    async with (
        scripted_server(gate, accepted) as server,
        AkoolSession("sk-test-key", base_url=server.base_url) as akool,
    ):
        first = asyncio.create_task(akool.vary("image-1", 1))
        await gate.arrived.wait()
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        gate.open.set()
        submission = next(iter(akool._submitter._presses.values()))
        await look_until(lambda: submission.is_dropped)
        assert (await akool.vary("image-1", 1)).id == "image-2"


async def test_a_session_belongs_to_one_event_loop(emulator):
    """A session in a second event loop raises an error before anything is sent."""
    akool = emulator.session()
    await akool.get_credit()
    with pytest.raises(AkoolError, match="event loop"):
        await asyncio.to_thread(asyncio.run, akool.get_credit())
    await akool.aclose()
    assert emulator.ledger.requests["get_credit"] == 1


async def snapshots_of(operation):
    return [snapshot async for snapshot in operation.updates()]


ELSEWHERE = {
    "wait": lambda akool, operation: operation.wait_until_complete(),
    "session wait": lambda akool, operation: akool.wait_until_complete(operation.id),
    "updates": lambda akool, operation: snapshots_of(operation),
    "press": lambda akool, operation: akool.vary("image-1", 1),
    "prompt": lambda akool, operation: akool.create_by_prompt("a fox"),
    "reconcile": lambda akool, operation: akool.reconcile("image-1", "V1"),
    "read": lambda akool, operation: akool.get_image_result("image-1"),
    "download": lambda akool, operation: akool.download(ImageResult(id="a", image="https://a.example/1"), "nowhere"),
}


@pytest.mark.parametrize("use", ELSEWHERE)
@pytest.mark.parametrize("button", ["U1", "V1"])
async def test_use_in_another_thread_is_refused_immediately(emulator, akool, use, button):
    """In another event loop every verb and wait raises ConfigurationError, and waits in the right loop go on."""
    operation = await akool.create_by_button(emulator.add_image(), button)
    with pytest.raises(ConfigurationError, match="run_coroutine_threadsafe"):
        await asyncio.to_thread(asyncio.run, ELSEWHERE[use](akool, operation))
    assert sorted(emulator.ledger.requests.keys() - {"get_image_result"}) == ["create_by_button"]
    assert emulator.ledger.requests["create_by_button"] == 1
    assert (await operation.wait_until_complete()).id == operation.id


def test_an_operation_is_not_waited_for_in_a_second_run():
    """An operation of one asyncio.run cannot be awaited in a second one: the session's event loop has ended."""
    with Emulator(speed=200) as emulator:
        image_id = emulator.add_image()

        async def press():
            async with emulator.session() as akool:
                return await akool.upscale(image_id, 1)

        async def wait(operation):
            return await operation.wait_until_complete()

        operation = asyncio.run(press())
        with pytest.raises(ConfigurationError, match="event loop"):
            asyncio.run(wait(operation))


async def test_a_header_that_an_injected_session_gets_later_ends_the_waits(emulator):
    """Two authentication headers are never sent: a wait ends with ConfigurationError, as presses and reads do."""
    async with (
        aiohttp.ClientSession() as http,
        emulator.session(http=http, polling=FAST) as akool,
    ):
        operation = await akool.vary(emulator.add_image(), 1)
        http.headers["Authorization"] = "Bearer mine"
        for use in (operation.wait_until_complete(), akool.vary("image-1", 1), akool.get_credit()):
            with pytest.raises(ConfigurationError, match="credentials"):
                await use


@pytest.mark.parametrize("turns", range(6))
async def test_closing_that_is_cancelled_still_takes_every_step(emulator, akool, turns):
    """Closing that is cancelled at any early step ends fan-outs, POSTs and poll loops, and loses no id."""
    outcomes = akool.fan_out([(emulator.add_image(), button) for button in ("V1", "U1", "V2", "U2")])
    first = await anext(outcomes)
    closing = asyncio.create_task(akool.aclose())
    for _ in range(turns):
        await asyncio.sleep(0)
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    await akool.aclose()
    accepted = {new_id for post in emulator.ledger.posts for new_id in post.new_ids}
    assert accepted == {operation.id for operation in akool.unclaimed} | {first.operation.id}
    assert (akool.counters().in_flight, akool.counters().upscale_slots_held) == (0, 0)
