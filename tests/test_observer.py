"""The events of an observer, which cannot disturb the session."""

import asyncio
import logging
from collections import Counter

import pytest

from akool_async import (
    AkoolSession,
    ButtonPress,
    ConfigurationError,
    ExponentialPolling,
    ImageStatus,
    InvalidParameterError,
    NotOperableError,
    OutcomeUnknownError,
    Prompt,
    SessionClosedError,
    events,
)
from akool_async.emulator import Fault
from akool_async.events import MAX_PENDING, Reporter
from tests.support.schedules import FAST, QUICK
from tests.support.scripted import KEY, scripted_server


async def test_the_events_of_a_press_in_their_order(emulator):
    """Queued, accepted, polled (once or more), finished: with the press, the id, the credits and the times."""
    seen = []
    async with emulator.session(polling=FAST, observer=seen.append) as akool:
        source = emulator.add_image()
        operation = await akool.upscale(source, 1)
        await operation.wait_until_complete()
    press = ButtonPress(source, "U1")
    assert seen[:2] == [
        events.Queued(press=press),
        events.Accepted(operation_id=operation.id, press=press, credits=2),
    ]
    *polls, finished = seen[2:]
    assert {type(event) for event in polls} == {events.Polled}
    assert {(event.operation_id, event.kind) for event in polls} == {(operation.id, "upscale")}
    assert polls[-1].status == finished.status == ImageStatus.COMPLETED
    assert finished.polls == len(polls)
    assert 0 <= finished.detection_delay < finished.seconds == polls[-1].age


def job(status, created, stored=None):
    image = {"_id": "image-1", "image_status": status, "create_time": created, "op_button": "U1"}
    url = {} if stored is None else {"image": f"https://pictures.example/{stored}-a.jpeg"}
    return {"code": 1000, "data": image | url}


@pytest.mark.parametrize("clock", [1_714_032_863_272, 1_900_000_000_000])
async def test_the_duration_is_exact_if_akool_shows_it(clock):
    """The event, and the counters, take the duration from AKOOL's clock, even if that is wrong."""
    seen = []
    replies = [job(1, clock), job(3, clock, clock + 40)]
    async with (
        scripted_server(*replies) as server,
        AkoolSession(
            KEY,
            base_url=server.base_url,
            polling=ExponentialPolling(initial=0.05, max_interval=0.05, jitter=0),
            observer=seen.append,
        ) as akool,
    ):
        await (await akool.upscale("image-0", 1)).wait_until_complete()
        counters = akool.counters()
    finished = seen[-1]
    assert finished.duration == pytest.approx(0.04)
    assert finished.detection_delay == finished.seconds - finished.duration
    assert (counters.duration, counters.detection_delay) == (finished.duration, finished.detection_delay)


@pytest.mark.parametrize("took", [-5_000, 0, 60_000, 86_400_000])
async def test_a_duration_that_the_polls_contradict_is_not_believed(took):
    """A job of a minute that polls saw end within a second, or before it began, has no exact duration."""
    seen = []
    replies = [job(1, 1_714_032_863_272), job(3, 1_714_032_863_272, 1_714_032_863_272 + took)]
    async with (
        scripted_server(*replies) as server,
        AkoolSession(KEY, base_url=server.base_url, polling=FAST, observer=seen.append) as akool,
    ):
        await (await akool.upscale("image-0", 1)).wait_until_complete()
    assert seen[-1].duration is None
    assert seen[-1].detection_delay == seen[-1].seconds / 2


async def test_an_unknown_outcome_is_an_event(emulator):
    """A lost reply is an event with the press and its charge."""
    seen = []
    async with emulator.session(observer=seen.append) as akool:
        emulator.faults.script("create_by_button", Fault.reset("after"))
        source = emulator.add_image()
        with pytest.raises(OutcomeUnknownError):
            await akool.upscale(source, 1)
    assert seen[-1] == events.OutcomeUnknown(press=ButtonPress(source, "U1"), charged=True)


async def test_a_prompt_is_reported_before_each_post(emulator):
    """Sending comes before every POST of a prompt, and Deferred after each that AKOOL did not accept."""
    seen = []
    async with emulator.session(observer=seen.append) as akool:
        emulator.faults.script("create_by_prompt", Fault.code(1005))
        await akool.create_by_prompt("a fox")
    prompt = Prompt("a fox")
    reported = [event for event in seen if not isinstance(event, events.Accepted | events.Throttled)]
    assert reported == [
        events.Queued(prompt=prompt),
        events.Sending(prompt=prompt),
        events.Deferred(prompt=prompt),
        events.Sending(prompt=prompt),
    ]
    assert isinstance(seen[-1], events.Accepted)


async def test_a_refused_press_and_prompt_are_events(emulator):
    """A refusal by AKOOL is a Refused event with the error, and is counted."""
    seen = []
    async with emulator.session(observer=seen.append) as akool:
        source = emulator.add_image()
        emulator.faults.script("create_by_button", Fault.code(1010))
        emulator.faults.script("create_by_prompt", Fault.code(1003))
        with pytest.raises(NotOperableError):
            await akool.upscale(source, 1)
        with pytest.raises(InvalidParameterError):
            await akool.create_by_prompt("a fox")
        counters = akool.counters()
    press = ButtonPress(source, "U1")
    assert [type(event) for event in seen] == [
        *(events.Queued, events.Refused),
        *(events.Queued, events.Sending, events.Refused),
    ]
    assert [event.press for event in seen if isinstance(event, events.Refused)] == [press, None]
    assert [event.error.code for event in seen if isinstance(event, events.Refused)] == [1010, 1003]
    assert (counters.refused, counters.pressed, counters.unknown) == (2, 0, 0)


async def test_every_press_that_queued_has_one_end(emulator):
    """Accepted, refused, unknown, cancelled while queued, closed during the POST: one event for each."""
    seen = []
    akool = emulator.session(
        observer=seen.append,
        max_concurrent_upscales=1,
        request_timeout=1.0,
    )
    emulator.faults.script(
        "create_by_button", Fault.stuck(), Fault.code(1009), Fault.reset("after"), Fault.stall("after")
    )
    source = emulator.add_image()
    await akool.upscale(source, 1)
    queued = asyncio.create_task(akool.upscale(source, 2))
    await asyncio.gather(akool.vary(source, 1), return_exceptions=True)
    await asyncio.gather(akool.vary(source, 2), return_exceptions=True)
    queued.cancel()
    await asyncio.gather(queued, return_exceptions=True)
    stalled = asyncio.create_task(akool.vary(source, 3))
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"] >= 4)
    await akool.aclose()
    await asyncio.gather(stalled, return_exceptions=True)
    began = [event.press.button for event in seen if isinstance(event, events.Queued)]
    (unsent,) = [event for event in seen if isinstance(event, events.Refused) and event.press.button == "U2"]
    assert unsent.error is None  # all callers were cancelled
    ends = {
        event.press.button: type(event)
        for event in seen
        if isinstance(event, events.Accepted | events.Refused | events.OutcomeUnknown)
    }
    assert sorted(began) == ["U1", "U2", "V1", "V2", "V3"]
    assert ends == {
        "U1": events.Accepted,
        "U2": events.Refused,
        "V1": events.Refused,
        "V2": events.OutcomeUnknown,
        "V3": events.OutcomeUnknown,
    }


async def test_every_press_of_a_fan_out_that_stops_has_one_end(emulator):
    """A used button, a budget, a banned account and an unknown button: each press has one Accepted or Refused."""
    seen = []
    async with emulator.session(polling=FAST, observer=seen.append) as akool:
        used = emulator.add_image(buttons=["V2"])
        presses = [(used, "V1"), (used, "V9"), *((emulator.add_image(), button) for button in ("V1", "V2") * 20)]
        emulator.faults.script("create_by_button", *[None] * 5, Fault.code(1200))
        outcomes = [outcome async for outcome in akool.fan_out(presses, max_credits=30)]
    ends = Counter(event.press for event in seen if isinstance(event, events.Accepted | events.Refused))
    assert ends == Counter(outcome.press for outcome in outcomes)
    assert sum(isinstance(event, events.Accepted) for event in seen) == sum(outcome.ok for outcome in outcomes)


async def test_a_press_that_waits_for_a_budget_in_vain_has_one_end(emulator):
    """With credits for one of four presses, three wait for its price and are refused: one event for each."""
    seen = []
    async with emulator.session(polling=FAST, observer=seen.append) as akool:
        presses = [(emulator.add_image(), "V1") for _ in range(4)]
        outcomes = [outcome async for outcome in akool.fan_out(presses, preflight=False, max_credits=2)]
    ends = Counter(event.press for event in seen if isinstance(event, events.Accepted | events.Refused))
    assert ends == Counter(outcome.press for outcome in outcomes)
    assert sum(isinstance(event, events.Refused) for event in seen) == 3


async def test_an_immediate_end_still_has_all_events():
    """A reply that is already final: Queued, Sending, Accepted, Finished, and its price is known."""
    seen = []
    made = {"code": 1000, "data": {"_id": "image-1", "image_status": 3, "image": "https://a.example/1.jpeg"}}
    async with scripted_server(made) as server:
        async with AkoolSession(KEY, base_url=server.base_url, observer=seen.append) as akool:
            await akool.create_by_prompt("a fox")
    assert [type(event) for event in seen] == [events.Queued, events.Sending, events.Accepted, events.Finished]


async def test_closing_refuses_queued_presses(emulator):
    """A press that is queued when the session closes is refused with the error that its caller gets."""
    seen = []
    akool = emulator.session(observer=seen.append, max_concurrent_upscales=1)
    emulator.faults.script("create_by_button", Fault.stuck())
    source = emulator.add_image()
    await akool.upscale(source, 1)
    queued = asyncio.create_task(akool.upscale(source, 2))
    while len(seen) < 3:  # it has queued
        await asyncio.sleep(0)
    await akool.aclose()
    await asyncio.gather(queued, return_exceptions=True)
    assert isinstance(seen[-1].error, SessionClosedError)
    assert isinstance(queued.exception(), SessionClosedError)


async def _failing(event):
    raise ZeroDivisionError(str(event))


def _raising(event):
    raise ZeroDivisionError(str(event))


def _cancelled(event):
    raise asyncio.CancelledError(str(event))


@pytest.mark.parametrize("observer", [_failing, _raising, _cancelled], ids=["async", "sync", "cancelled"])
async def test_an_observer_that_raises_breaks_nothing(emulator, caplog, observer):
    """The operation goes on to its end, and the observer's error is logged."""
    async with emulator.session(polling=FAST, observer=observer) as akool:
        result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    assert result.status == ImageStatus.COMPLETED
    assert "the observer failed" in caplog.text


async def test_an_async_observer_hears_everything_before_closing_ends(emulator):
    """A coroutine function has processed all events, in order, when the session is closed."""
    seen = []

    async def observer(event):
        await asyncio.sleep(0)
        seen.append(type(event).__name__)

    async with emulator.session(polling=FAST, observer=observer) as akool:
        await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    assert seen[:2] == ["Queued", "Accepted"]
    assert seen[-1] == "Finished"


async def test_an_observer_that_never_ends_does_not_hold_up_closing_for_ever(emulator):
    """A stuck observer gets its time and is then cancelled."""
    async with emulator.session(observer=lambda _: asyncio.Event().wait(), timing=QUICK) as akool:
        await akool.vary(emulator.add_image(), 1)


def test_an_observer_must_be_callable():
    """Anything but a function is refused when the session is made."""
    with pytest.raises(ConfigurationError, match="observer"):
        AkoolSession("key", observer=[])


async def test_logs_carry_their_fields(emulator, caplog):
    """At DEBUG each event is a record with its fields as attributes, for structured logs."""
    caplog.set_level(logging.DEBUG, logger="akool_async")
    async with emulator.session(polling=FAST) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        await operation.wait_until_complete()
    records = [record for record in caplog.records if hasattr(record, "akool_event")]
    assert [record.akool_event for record in records][:2] == ["queued", "accepted"]
    assert records[-1].akool_event == "finished"
    assert records[-1].akool_operation_id == operation.id
    assert records[-1].akool_seconds > 0


async def test_the_counters_during_and_after_work(emulator):
    """In flight, waiting, slots, totals, polls per job and detection delay, during work and after it."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        source = emulator.add_image()
        operation = await akool.upscale(source, 1)
        queued = asyncio.create_task(akool.upscale(source, 2))
        await asyncio.sleep(0)
        counters = akool.counters()
        assert (counters.waiting, counters.in_flight) == (1, 1)
        assert (counters.upscale_slots, counters.upscale_slots_held) == (1, 1)
        await operation.wait_until_complete()
        await (await queued).wait_until_complete()
        counters = akool.counters()
    assert (counters.pressed, counters.finished, counters.failed, counters.unknown) == (2, 2, 0, 0)
    assert counters.upscale_slots_held == counters.waiting == 0
    assert counters.polls == emulator.ledger.requests["get_image_result"]
    assert counters.polls_per_job == counters.polls / 2
    assert counters.detection_delay > 0


async def test_an_observer_that_does_not_keep_up_takes_no_memory_without_end(caplog):
    """If too many events wait for a stuck observer, the rest is counted and dropped, which is logged once."""
    received = []

    async def stuck(event):
        received.append(event)
        await asyncio.Event().wait()

    reporter = Reporter(stuck)
    for _ in range(MAX_PENDING + 10):
        reporter.report(events.Refused(press=None, error=None))
    await reporter.aclose(0.0)
    assert len(received) == MAX_PENDING
    assert reporter.totals.refused == MAX_PENDING + 10
    assert caplog.text.count("the observer is too slow") == 1
