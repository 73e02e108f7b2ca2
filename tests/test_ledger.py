"""Waiting for the emulator's ledger, as tests do."""

import asyncio
import copy
import dataclasses
import operator
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
from aiohttp import web

from akool_async.emulator import Emulator
from tests.support.bare import BUTTON, CREDIT, Bare, emulated
from tests.support.receivers import serve_aiohttp


@pytest.fixture
async def bare():
    async with emulated() as bare:
        yield bare


async def test_a_condition_that_is_true_already_returns_immediately(bare):
    """The condition's value is returned, even if nothing changes."""
    await bare.press(bare.emulator.add_image(), "U1")
    post = await bare.emulator.ledger.until(lambda ledger: ledger.accepted == 1 and ledger.posts[-1])
    assert post.button == "U1"


async def test_every_kind_of_change_wakes(bare):
    """A request, a POST that spends, a callback, a picture and credits spent elsewhere each end a wait."""
    emulator = bare.emulator
    called = asyncio.Event()

    async def handle(_):
        called.set()
        return web.Response()

    async with serve_aiohttp(lambda app: app.router.add_post("/", handle)) as address:
        source = emulator.add_image()
        changes = {
            lambda ledger: ledger.requests["get_credit"]: lambda: bare.get(CREDIT),
            lambda ledger: ledger.posts: lambda: bare.post(BUTTON, _id=source, button="V1", webhookUrl=address),
            lambda ledger: ledger.callbacks: lambda: asyncio.to_thread(emulator.advance, 60),
            lambda ledger: ledger.picture_ranges: lambda: bare.http.get(f"{emulator.pictures_url}/none.jpeg"),
            lambda ledger: ledger.spent_elsewhere: lambda: asyncio.to_thread(emulator.spend_elsewhere, 1),
        }
        for condition, change in changes.items():
            waiting = asyncio.create_task(emulator.ledger.until(condition))
            await asyncio.sleep(0)
            assert not waiting.done()
            await change()
            assert await waiting
    assert called.is_set()


async def test_a_post_is_seen_whole(bare):
    """A press is accepted, charged and recorded in one step: no condition sees a part of it."""
    seen = []

    def condition(ledger):
        seen.append((ledger.accepted, ledger.charged, len(ledger.posts)))
        return ledger.accepted

    waiting = asyncio.create_task(bare.emulator.ledger.until(condition))
    await asyncio.sleep(0)
    await bare.press(bare.emulator.add_image(), "U1")
    await waiting
    assert set(seen) == {(0, 0, 0), (1, 2, 1)}


async def test_the_condition_is_evaluated_at_changes_only(bare):
    """The condition is called once, and once more after each change: nothing polls."""
    asked = []
    waiting = asyncio.create_task(bare.emulator.ledger.until(asked.append, timeout=0.2))
    await asyncio.sleep(0)
    await bare.get(CREDIT)
    with pytest.raises(TimeoutError):
        await waiting
    assert len(asked) <= 3  # at the start, when the request came in, and when it was answered
    await bare.get(CREDIT)
    assert len(asked) <= 3


def test_an_emulator_in_a_thread_wakes_every_event_loop():
    """Three event loops in three threads wait, and the presses of a fourth wake them all."""

    async def wait(emulator, accepted):
        await emulator.ledger.until(lambda ledger: ledger.accepted >= accepted)
        return emulator.ledger.accepted

    async def press(emulator):
        async with aiohttp.ClientSession() as http:
            for button in ("U1", "U2", "U3"):
                await Bare(emulator, http).press(source, button)

    with Emulator() as emulator, ThreadPoolExecutor(3) as threads:
        source = emulator.add_image()
        waiting = [threads.submit(asyncio.run, wait(emulator, accepted)) for accepted in (1, 2, 3)]
        asyncio.run(press(emulator))
        for accepted, future in enumerate(waiting, start=1):
            assert future.result(timeout=30) >= accepted


async def test_a_condition_that_stays_false_is_shown(bare):
    """The error shows the condition, the timeout and the ledger."""
    await bare.press(bare.emulator.add_image(), "U1")
    with pytest.raises(TimeoutError) as caught:
        await bare.emulator.ledger.until(lambda ledger: ledger.accepted >= 2, timeout=0.05)
    message = str(caught.value)
    assert "lambda ledger: ledger.accepted >= 2" in message
    assert "not true within 0.05 s" in message
    assert "requests={'create_by_button': 1}" in message
    assert "accepted=1, charged=2" in message
    assert "button='U1'" in message


async def test_a_condition_without_source_is_shown_by_its_repr(bare):
    """A function written in C, or typed at a prompt, has no source to show."""
    wants_callbacks = operator.attrgetter("callbacks")
    with pytest.raises(
        TimeoutError, match=r"not true within 0\.01 s: operator\.attrgetter\('callbacks'\); the ledger has"
    ):
        await bare.emulator.ledger.until(wants_callbacks, timeout=0.01)


async def test_an_error_of_the_condition_is_raised(bare):
    """A condition that raises ends the wait with that error, even a TimeoutError, and is not called again."""

    def fail(ledger):
        if ledger.requests:
            raise TimeoutError("mine")

    waiting = asyncio.create_task(bare.emulator.ledger.until(fail))
    await asyncio.sleep(0)
    await bare.get(CREDIT)
    with pytest.raises(TimeoutError, match="mine"):
        await waiting
    assert (await bare.get(CREDIT))["code"] == 1000


def test_a_loop_that_was_closed_is_not_waited_for():
    """A loop that ends during a wait does not disturb the emulator."""

    async def ask():
        async with aiohttp.ClientSession() as http:
            await Bare(emulator, http).get(CREDIT)

    with Emulator() as emulator:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)  # it would report a task that was left behind
        waiting = loop.create_task(emulator.ledger.until(lambda ledger: ledger.requests))
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.run(ask())
        assert emulator.ledger.requests == {"get_credit": 1}
        assert not waiting.done()


async def test_a_ledger_can_be_copied(bare):
    """A test may copy the ledger, also during a wait. A ledger works without an emulator, too."""
    ledger = bare.emulator.ledger
    waiting = asyncio.create_task(ledger.until(lambda ledger: ledger.requests))
    await asyncio.sleep(0)
    before = copy.deepcopy(ledger)
    assert dataclasses.asdict(ledger)["accepted"] == 0
    await bare.get(CREDIT)
    await waiting
    assert (before.requests.total(), ledger.requests.total()) == (0, 1)
    with pytest.raises(TimeoutError):
        await before.until(lambda ledger: ledger.requests, timeout=0.01)
