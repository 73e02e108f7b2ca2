"""Budgets of a store apply to all workers together, whatever AKOOL charges and reports."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from akool_async import BudgetError, Button, ButtonPress
from akool_async.durable import JobState
from akool_async.emulator import Fault
from tests.support.durable_faults import count_workers
from tests.support.looks import look_until
from tests.support.workers import open_jobs, worker

VARIATIONS = ("V1", "V2", "V3", "V4")


def variations(emulator, images):
    return [ButtonPress(emulator.add_image(), button) for _ in range(images) for button in VARIATIONS]


async def test_a_budget_is_used_up_and_not_exceeded(emulator, store):
    """Of eight presses at 2 credits, five fit a budget of 10. The others are not sent and fail with BudgetError."""
    presses = variations(emulator, 2)
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(presses, max_credits=10)
        await jobs.run()
        counts = await jobs.status()
        errors = [job.outcome.error async for job in jobs.jobs("failed")]
    assert (counts.done, counts.over_budget) == (5, 3)
    assert {type(error) for error in errors} == {BudgetError}
    assert emulator.ledger.charged == 10


async def test_presses_over_budget_can_be_submitted_again(emulator, store):
    """With a new budget, only the presses that were over the first one are made."""
    presses = variations(emulator, 2)
    async with open_jobs(emulator, store) as jobs:
        assert await jobs.submit(presses, max_credits=10) == 8
        await jobs.run()
        assert await jobs.submit(presses, max_credits=6) == 3
        await jobs.run()
        assert (await jobs.status()).done == 8
    assert emulator.ledger.charged == 16


async def test_the_budget_of_one_submission_does_not_limit_others(emulator, store):
    """One worker carries out presses with two budgets and presses without one. Each budget limits only its presses."""
    first, second, free = (variations(emulator, 1) for _ in range(3))
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(first, max_credits=4)
        await jobs.submit(second, max_credits=6)
        await jobs.submit(free)
        await jobs.run()
        done = [[job.state for job in await jobs.find(some)].count(JobState.DONE) for some in (first, second, free)]
    assert done == [2, 3, 4]


@pytest.mark.parametrize("reported", [0, None, -1])
async def test_a_budget_holds_if_akool_reports_no_price(emulator, store, reported):
    """Without a price in reply and result, the documented one counts, and the budget is still used up."""
    emulator.faults.rate(1.0, Fault.deduction_credit(reported), endpoints=["create_by_button"])
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit(variations(emulator, 2), max_credits=10)
        await jobs.run()
        assert (await jobs.status()).done == 5
    assert emulator.ledger.charged == 10


async def test_four_workers_share_a_budget_while_the_price_rises(slow, store, tmp_path):
    """The price of a variation rises from 2 to 100 credits midway. The charges never exceed the budget."""
    presses = variations(slow, 40)
    async with open_jobs(slow, store) as jobs, AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(worker(slow, store, tmp_path)) for _ in range(4)]
        await look_until(lambda: count_workers(store) == 4)
        await jobs.submit(presses, max_credits=1_000)
        await slow.ledger.until(lambda ledger: ledger.accepted >= 30)
        slow.prices["variation"] = 100

        async def are_ended():
            return (await jobs.status()).open == 0

        await look_until(are_ended)
        counts = await jobs.status()
        assert all(process.returncode is None for process in processes)
    assert slow.ledger.charged <= 1_000
    assert counts.credits_charged == slow.ledger.charged
    assert counts.over_budget > 0
    assert slow.ledger.pressed_twice() == []


async def test_a_lost_reply_counts_against_the_budget(emulator, store):
    """A press that AKOOL accepted counts even if its id is lost: a budget for two of three presses is used up."""
    presses = variations(emulator, 1)[:3]
    async with open_jobs(emulator, store) as jobs:
        emulator.faults.script("create_by_button", Fault.reset("after"))
        await jobs.submit(presses, max_credits=4)
        await jobs.run()
        counts = await jobs.status()
    assert (counts.done, counts.unknown, counts.over_budget) == (1, 1, 1)
    assert emulator.ledger.charged == 4


async def test_a_lost_press_is_followed_although_its_budget_is_used_up(emulator, store):
    """Its credits are spent already. Once its id is found, it is followed without another POST."""
    press = ButtonPress(emulator.add_image(), "V1")
    async with open_jobs(emulator, store) as jobs:
        emulator.faults.script("create_by_button", Fault.reset("after"))
        await jobs.submit([press], max_credits=2)
        await jobs.run()
        await jobs.resolve(press, retry=True)
        await jobs.run()
        counts = await jobs.status()
        assert (counts.unknown, counts.credits_lost) == (1, 2)
        (post,) = [post for post in emulator.ledger.posts if post.new_ids]
        await jobs.resolve(press, operation_id=post.new_ids[0])
        await jobs.run()
        assert (await jobs.status()).done == 1
    assert emulator.ledger.charged == 2


async def test_the_budget_of_a_day_leaves_jobs_open(emulator, store):
    """run() raises once the credits of the day are spent, and no job fails. With a larger budget, it goes on."""
    presses = [ButtonPress(emulator.add_image(), button) for button in Button]
    async with open_jobs(emulator, store, max_credits_per_day=10) as jobs:
        await jobs.submit(presses)
        with pytest.raises(BudgetError):
            await jobs.run()
        counts = await jobs.status()
        assert (counts.done, counts.failed, counts.open) == (5, 0, 3)
    async with open_jobs(emulator, store, max_credits_per_day=100) as jobs:
        await jobs.run()
        assert (await jobs.status()).done == 8
    assert emulator.ledger.charged == 16


async def test_a_worker_that_does_not_stop_waits_for_the_next_day(emulator, tmp_path):
    """With until_empty=False a worker keeps running when the credits of the day are spent, and no job fails."""
    store = f"sqlite:///{tmp_path}/a.db"
    async with open_jobs(emulator, store, max_credits_per_day=4) as jobs:
        await jobs.submit(variations(emulator, 1))
        running = asyncio.create_task(jobs.run(until_empty=False))
        await emulator.ledger.until(lambda ledger: ledger.accepted == 2)
        await look_until(lambda: emulator.ledger.requests["get_image_result"] >= 2)
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])
        assert (await jobs.status()).failed == 0
    assert emulator.ledger.charged == 4


@pytest.mark.parametrize("wrong", [-1, "5", float("nan"), float("inf")])
async def test_an_invalid_budget_is_refused(emulator, tmp_path, wrong):
    """The error names the argument, and nothing is recorded."""
    async with open_jobs(emulator, f"sqlite:///{tmp_path}/a.db") as jobs:
        with pytest.raises(ValueError, match="max_credits must be"):
            await jobs.submit(variations(emulator, 1), max_credits=wrong)
        assert (await jobs.status()).open == 0
    with pytest.raises(ValueError, match="max_credits_per_day must be"):
        open_jobs(emulator, f"sqlite:///{tmp_path}/a.db", max_credits_per_day=wrong)
