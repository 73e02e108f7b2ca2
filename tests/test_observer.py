"""What an observer is told, and that it can break nothing."""

import asyncio
import logging

import pytest
from conftest import FAST

from akool_async import AkoolSession, ButtonPress, ConfigurationError, ImageStatus, OutcomeUnknownError, events
from akool_async.emulator import Fault


async def test_the_events_of_a_press_in_their_order(emulator):
    """Queued, pressed, polled (once or more), finished: with the press, the id, the credits and the times."""
    seen = []
    async with AkoolSession(emulator.api_key, base_url=emulator.base_url, polling=FAST, observer=seen.append) as akool:
        source = emulator.add_image()
        operation = await akool.upscale(source, 1)
        await operation.wait_until_complete()
    press = ButtonPress(source, "U1")
    assert seen[:2] == [
        events.Queued(press=press),
        events.Pressed(operation_id=operation.id, press=press, credits=2),
    ]
    *polls, finished = seen[2:]
    assert {type(event) for event in polls} == {events.Polled}
    assert {(event.operation_id, event.kind) for event in polls} == {(operation.id, "upscale")}
    assert polls[-1].status == finished.status == ImageStatus.COMPLETED
    assert finished.polls == len(polls)
    assert 0 < finished.lateness < finished.seconds == polls[-1].age


async def test_an_unknown_outcome_is_told(emulator):
    """A lost reply is an event with the press and whether it was charged."""
    seen = []
    async with AkoolSession(emulator.api_key, base_url=emulator.base_url, observer=seen.append) as akool:
        emulator.faults.script("create_by_button", Fault.reset("after"))
        source = emulator.add_image()
        with pytest.raises(OutcomeUnknownError):
            await akool.upscale(source, 1)
    assert seen[-1] == events.Unknown(press=ButtonPress(source, "U1"), charged=True)


async def _failing(event):
    raise ZeroDivisionError(str(event))


def _raising(event):
    raise ZeroDivisionError(str(event))


def _cancelled(event):
    raise asyncio.CancelledError(str(event))


@pytest.mark.parametrize("observer", [_failing, _raising, _cancelled], ids=["async", "sync", "cancelled"])
async def test_an_observer_that_raises_breaks_nothing(emulator, caplog, observer):
    """The operation goes on to its end; the observer's error is logged."""
    async with AkoolSession(emulator.api_key, base_url=emulator.base_url, polling=FAST, observer=observer) as akool:
        result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    assert result.status == ImageStatus.COMPLETED
    assert "the observer failed" in caplog.text


async def test_an_async_observer_hears_everything_before_closing_ends(emulator):
    """What a coroutine function was told is taken in, in order, by the time the session is closed."""
    seen = []

    async def observer(event):
        await asyncio.sleep(0)
        seen.append(type(event).__name__)

    async with AkoolSession(emulator.api_key, base_url=emulator.base_url, polling=FAST, observer=observer) as akool:
        await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    assert seen[:2] == ["Queued", "Pressed"]
    assert seen[-1] == "Finished"


async def test_an_observer_that_never_ends_does_not_hold_up_closing_for_ever(emulator, monkeypatch):
    """A stuck observer is given its time and then ended."""
    monkeypatch.setattr("akool_async.session.CLOSING_MARGIN", 0.05)
    async with AkoolSession(
        emulator.api_key, base_url=emulator.base_url, observer=lambda _: asyncio.Event().wait()
    ) as akool:
        await akool.vary(emulator.add_image(), 1)


def test_an_observer_must_be_callable():
    """Anything else is refused when the session is made."""
    with pytest.raises(ConfigurationError, match="observer"):
        AkoolSession("key", observer=[])


async def test_logs_carry_their_fields(emulator, caplog):
    """At DEBUG each event is a record with its fields as attributes, for structured logs."""
    caplog.set_level(logging.DEBUG, logger="akool_async")
    async with AkoolSession(emulator.api_key, base_url=emulator.base_url, polling=FAST) as akool:
        operation = await akool.vary(emulator.add_image(), 1)
        await operation.wait_until_complete()
    records = [record for record in caplog.records if hasattr(record, "akool_event")]
    assert [record.akool_event for record in records][:2] == ["queued", "pressed"]
    assert records[-1].akool_event == "finished"
    assert records[-1].akool_operation_id == operation.id
    assert records[-1].akool_seconds > 0


async def test_the_counters_say_how_the_session_stands(emulator):
    """In flight, waiting, slots, totals, polls per job and lateness, while work is under way and after."""
    async with AkoolSession(
        emulator.api_key, base_url=emulator.base_url, polling=FAST, max_concurrent_upscales=1
    ) as akool:
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
    assert counters.lateness > 0
