"""The wall clock changes nothing in a durable run: outcomes are counted, and timeouts are measured."""

import asyncio
import time
from collections import Counter
from contextlib import aclosing
from datetime import timedelta

import pytest

from akool_async import Button, ButtonPress
from akool_async.durable import JobState
from akool_async.emulator import Fault
from tests.support.durable_faults import (
    count_leased,
    hold_up_the_end_of,
    lock_15,
    seconds_searched,
    set_the_clock_back_after_ends,
    set_the_clock_back_for_ends,
)
from tests.support.looks import look_until
from tests.support.workers import open_jobs, outcomes_of

DAY = 86_400_000_000_000
"""Nanoseconds."""


@pytest.fixture
def move_clock(monkeypatch):
    """Set this machine's clock forward, or back, by so many nanoseconds."""
    seconds, nanoseconds = time.time, time.time_ns

    def move(by):
        monkeypatch.setattr(time, "time", lambda: seconds() + by / 1e9)
        monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + by)

    return move


async def test_every_outcome_is_read_once_though_the_clock_is_set_back(emulator, store):
    """What ends after the clock was set back by five minutes is read after what ended before it."""
    first, *others = [ButtonPress(emulator.add_image(), button) for button in ("V1", "V2", "U1")]
    async with open_jobs(emulator, store) as jobs, aclosing(jobs.outcomes()) as outcomes:
        await jobs.submit([first])
        await jobs.run()
        set_the_clock_back_after_ends(store)
        await jobs.submit(others)
        assert (await anext(outcomes)).press == first
        await jobs.run()
        assert Counter([outcome.press async for outcome in outcomes]) == Counter(others)


async def test_outcomes_of_many_presses_come_though_the_clock_is_set_back(emulator, tmp_path, move_clock):
    """Asked for more presses than are looked up by id, while the clock is set back by a day: all are read."""
    store = f"sqlite:///{tmp_path}/a.db"
    presses = [(emulator.add_image(), f"V{index}") for _ in range(26) for index in (1, 2, 3, 4)]
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([(emulator.add_image(), "V1"), *presses])  # one that is not asked for
        read = []
        async with asyncio.TaskGroup() as group:
            group.create_task(jobs.run())
            async for outcome in jobs.outcomes(presses):
                read.append((outcome.press.image_id, outcome.press.button))
                if len(read) == 1:
                    move_clock(-DAY)
    assert Counter(read) == Counter(presses)


async def test_an_outcome_that_is_slow_to_be_committed_is_not_skipped(emulator, postgresql):
    """The end of V1 waits in its COMMIT while V2 ends: whoever reads meanwhile gets both, each once."""
    store = postgresql()
    presses = [ButtonPress(emulator.add_image(), button) for button in ("V1", "V2")]
    read = []

    async def read_outcomes(jobs):
        async for outcome in jobs.outcomes():
            read.append(outcome.press)  # noqa: PERF401 - checked while it grows

    async with open_jobs(emulator, store) as jobs:
        with lock_15(store) as lock:
            hold_up_the_end_of(lock.connection, "V1")
            await jobs.submit(presses[:1])
            reading = asyncio.create_task(read_outcomes(jobs))
            running = asyncio.create_task(jobs.run(until_empty=False))
            await look_until(lambda: lock.count_waiting() == 1)
            await jobs.submit(presses[1:])
            await look_until(lambda: read or lock.count_waiting("transactionid") == 1)
            lock.unlock()
            await reading
            running.cancel()
            await asyncio.wait([running])
    assert Counter(read) == Counter(presses)


async def test_pruning_what_was_read_hides_nothing_that_comes(emulator, store):
    """All that has ended is pruned while it is read: what ends later is read all the same."""
    first, later = (ButtonPress(emulator.add_image(), "V1") for _ in range(2))
    async with open_jobs(emulator, store) as jobs, aclosing(jobs.outcomes()) as outcomes:
        await jobs.submit([first])
        await jobs.run()
        await jobs.submit([later])
        assert (await anext(outcomes)).press == first
        assert await jobs.prune(timedelta(0)) == 1
        await jobs.run()
        assert [outcome.press async for outcome in outcomes] == [later]


async def test_a_job_that_ends_again_is_read_again(emulator, store):
    """A press that was unknown and is settled has two outcomes: whoever has read the first gets the second."""
    press = ButtonPress(emulator.add_image(), Button.U1)
    emulator.faults.script("create_by_button", Fault.reset("after"))
    async with open_jobs(emulator, store) as jobs, aclosing(jobs.outcomes()) as outcomes:
        await jobs.submit([press])
        await jobs.run()
        (post,) = emulator.ledger.posts
        await jobs.submit([(emulator.add_image(), "V1")])
        assert (await anext(outcomes)).error.charged is True
        await jobs.resolve(press, operation_id=post.new_ids[0])
        await jobs.run()
        assert {outcome.press.button: outcome.ok async for outcome in outcomes} == {"U1": True, "V1": True}


async def test_a_lost_id_is_awaited_though_the_clock_is_set_forward(emulator, tmp_path, move_clock):
    """A day that passed only by the clock ends no timeout: the next worker goes on waiting, and gets the id."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    store = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, store, lost_reply_timeout=3_600) as jobs:
        await jobs.submit([press])
        running = asyncio.create_task(jobs.run())
        await look_until(lambda: seconds_searched(store) is not None)
        running.cancel()
        await asyncio.wait([running])
        (post,) = emulator.ledger.posts
        move_clock(DAY)
        running = asyncio.create_task(jobs.run())
        await look_until(lambda: count_leased(store) == 1)
        assert (await jobs.job(press)).state is JobState.OPEN
        await jobs.resolve(press, operation_id=post.new_ids[0])
        await running
        assert (await jobs.job(press)).outcome.ok


async def test_an_end_is_read_though_the_clock_was_set_back(emulator, tmp_path):
    """A job whose end is dated before what was read already is yielded when no job is open."""
    store = f"sqlite:///{tmp_path}/a.db"
    press = ButtonPress(emulator.add_image(), "V1")
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([press])
        set_the_clock_back_for_ends(store)
        reading = asyncio.create_task(outcomes_of(jobs, [press]))
        await jobs.run()
        assert [outcome.press for outcome in await reading] == [press]
