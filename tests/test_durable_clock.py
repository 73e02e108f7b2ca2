"""Changes of the wall clock do not affect a durable run: outcomes are numbered, and timeouts use elapsed time."""

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
    """A function that sets this machine's clock forward by a number of nanoseconds, or back if it is negative."""
    seconds, nanoseconds = time.time, time.time_ns

    def move(by):
        monkeypatch.setattr(time, "time", lambda: seconds() + by / 1e9)
        monkeypatch.setattr(time, "time_ns", lambda: nanoseconds() + by)

    return move


async def test_every_outcome_is_read_once_if_the_clock_is_set_back(emulator, store):
    """Jobs that end after the clock was set back by five minutes are read after those that ended before."""
    first, *others = [ButtonPress(emulator.add_image(), button) for button in ("V1", "V2", "U1")]
    async with open_jobs(emulator, store) as jobs, aclosing(jobs.outcomes()) as outcomes:
        await jobs.submit([first])
        await jobs.run()
        set_the_clock_back_after_ends(store)
        await jobs.submit(others)
        assert (await anext(outcomes)).press == first
        await jobs.run()
        assert Counter([outcome.press async for outcome in outcomes]) == Counter(others)


async def test_outcomes_of_many_presses_are_read_if_the_clock_is_set_back(emulator, tmp_path, move_clock):
    """More presses are requested than are looked up by id. All are read although the clock is set back by a day."""
    store = f"sqlite:///{tmp_path}/a.db"
    presses = [(emulator.add_image(), f"V{index}") for _ in range(26) for index in (1, 2, 3, 4)]
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([(emulator.add_image(), "V1"), *presses])  # the first one is not requested
        read = []
        async with asyncio.TaskGroup() as group:
            group.create_task(jobs.run())
            async for outcome in jobs.outcomes(presses):
                read.append((outcome.press.image_id, outcome.press.button))
                if len(read) == 1:
                    move_clock(-DAY)
    assert Counter(read) == Counter(presses)


async def test_an_outcome_with_a_slow_commit_is_not_skipped(emulator, postgresql):
    """The end of V1 waits in its COMMIT while V2 ends. A concurrent reader gets both, each once."""
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


async def test_pruning_while_reading_hides_no_later_outcome(emulator, store):
    """All ended jobs are pruned while outcomes are read. Jobs that end later are still read."""
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
    """An unknown press that is settled has two outcomes. A reader that got the first also gets the second."""
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


async def test_a_lost_id_is_awaited_if_the_clock_is_set_forward(emulator, tmp_path, move_clock):
    """Setting the clock forward by a day ends no timeout. The next worker goes on waiting, and gets the id."""
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


async def test_an_end_is_read_if_the_clock_was_set_back(emulator, tmp_path):
    """An end that is dated long ago is yielded, too."""
    store = f"sqlite:///{tmp_path}/a.db"
    press = ButtonPress(emulator.add_image(), "V1")
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([press])
        set_the_clock_back_for_ends(store)
        reading = asyncio.create_task(outcomes_of(jobs, [press]))
        await jobs.run()
        assert [outcome.press for outcome in await reading] == [press]
