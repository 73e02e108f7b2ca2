"""The credits that DurableFanOut.status() reports agree with the emulator's ledger, on both kinds of store."""

import asyncio

import pytest

from akool_async import AuthenticationError, ButtonPress
from akool_async.durable import JobState
from akool_async.emulator import Fault
from tests.support.looks import look_until
from tests.support.workers import open_jobs


def credits_of(counts):
    """Return the credits charged, lost, in doubt and estimated."""
    return counts.credits_charged, counts.credits_lost, counts.credits_in_doubt, counts.credits_estimated


async def carry_out(jobs, *presses):
    await jobs.submit(presses)
    await jobs.run()
    return await jobs.status()


async def test_the_sums_agree_with_the_ledger(emulator, store):
    """Replies are lost, a job fails, a press is refused, the price rises, and a reply reports too little. The credits
    charged and lost are exactly those that AKOOL took, even after a lost press is abandoned.
    """
    first, second = emulator.add_image(), emulator.add_image()
    faults = [None, Fault.reset("after"), Fault.fails(), Fault.deduction_credit(1), Fault.code(1009)]
    emulator.faults.script("create_by_button", *faults)
    async with open_jobs(emulator, store) as jobs:
        counts = await carry_out(jobs, *((first, button) for button in ("V1", "V2", "V3", "V4", "U1")))
        assert (counts.done, counts.failed, counts.unknown) == (2, 2, 1)
        assert credits_of(counts) == (6, 2, 0, 0)
        emulator.prices["upscale"] = 4
        counts = await carry_out(jobs, (first, "U2"))
        assert credits_of(counts) == (10, 2, 0, 0)
        emulator.faults.script("create_by_button", Fault.reset("after"))
        counts = await carry_out(jobs, (second, "U1"))
        assert credits_of(counts) == (10, 6, 0, 0)
        emulator.prices["upscale"] = 2
        counts = await carry_out(jobs, (second, "U2"))
        await jobs.resolve((second, "U1"), abandon=True)
        abandoned = await jobs.status()
    assert credits_of(counts) == credits_of(abandoned) == (12, 6, 0, 0)
    assert (abandoned.failed, abandoned.unknown) == (3, 1)
    assert emulator.ledger.charged == 18


async def test_a_press_without_a_price_counts_with_the_last_price_of_its_kind(emulator, store):
    """If AKOOL reports 0, null, a text or a negative number, the last price of the kind counts as an estimate."""
    image_id = emulator.add_image()
    emulator.prices["variation"] = 3
    async with open_jobs(emulator, store) as jobs:
        counts = await carry_out(jobs, (image_id, "V1"))
        assert credits_of(counts) == (3, 0, 0, 0)
        no_prices = [Fault.deduction_credit(reported) for reported in (0, None, "free", -2)]
        emulator.faults.rate(1.0, *no_prices, endpoints=["create_by_button", "get_image_result"])
        counts = await carry_out(jobs, (image_id, "V2"), (image_id, "V3"), (image_id, "U1"))
        emulator.faults.clear()
        emulator.prices["variation"] = 5
        later = await carry_out(jobs, (image_id, "V4"))
    assert counts.done == 4
    assert credits_of(counts) == (11, 0, 0, 8)
    assert credits_of(later) == (16, 0, 0, 8)
    assert emulator.ledger.charged == 16


async def test_a_press_is_in_doubt_until_akool_answers_and_then_lost_until_its_id_is_known(emulator, store):
    """A press counts as in doubt from before its POST. Each answer moves its credits, and none counts twice."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.code(1008), endpoints=["get_image_result"])
    async with open_jobs(emulator, store) as jobs:
        await jobs.submit([press])
        assert credits_of(await jobs.status()) == (0, 0, 0, 0)
        running = asyncio.create_task(jobs.run())
        await emulator.ledger.until(lambda ledger: ledger.accepted == 1)
        assert credits_of(await jobs.status()) == (0, 0, 2, 0)
        await running
        assert (await jobs.job(press)).outcome.error.charged is None
        assert credits_of(await jobs.status()) == (0, 0, 2, 0)
        emulator.faults.clear()
        await jobs.resolve(press, retry=True)
        await jobs.run()
        assert credits_of(await jobs.status()) == (0, 2, 0, 0)
        await jobs.resolve(press, operation_id=emulator.ledger.posts[0].new_ids[0])
        await jobs.run()
        assert credits_of(await jobs.status()) == (2, 0, 0, 0)
    assert emulator.ledger.charged == 2


async def test_a_press_that_is_abandoned_in_doubt_may_still_have_been_charged(emulator, store):
    """Abandoning a press does not show whether AKOOL charged it: the credits stay in doubt."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.faults.script("create_by_button", Fault.reset("after"))
    emulator.faults.rate(1.0, Fault.code(1008), endpoints=["get_image_result"])
    async with open_jobs(emulator, store) as jobs:
        await carry_out(jobs, press)
        await jobs.resolve(press, abandon=True)
        counts = await jobs.status()
    assert counts.failed == 1
    assert credits_of(counts) == (0, 0, 2, 0)


async def test_a_running_press_counts_as_charged(emulator, store):
    """The reply to the press has its price, long before the job ends. Every reader of the store sees it."""
    emulator.faults.script("create_by_button", Fault.stuck(), Fault.stuck())
    emulator.prices["upscale"] = 4
    async with open_jobs(emulator, store) as jobs, open_jobs(emulator, store) as others:
        await jobs.submit([(emulator.add_image(), button) for button in ("U1", "V1")])
        running = asyncio.create_task(jobs.run())

        async def are_accepted():
            return (await others.status()).credits_charged == 6

        await look_until(are_accepted)
        counts = await others.status()
        running.cancel()
        await asyncio.wait([running])
    assert counts.open == 2
    assert credits_of(counts) == (6, 0, 0, 0)


async def test_a_press_that_was_not_accepted_costs_nothing(emulator, store):
    """A refused press, a throttled press that is sent again, and presses that a bad key prevents."""
    image_id = emulator.add_image()
    async with open_jobs(emulator, store) as jobs:
        emulator.faults.script("create_by_button", Fault.code(1009))
        counts = await carry_out(jobs, (image_id, "V1"))
        assert credits_of(counts) == (0, 0, 0, 0)
        emulator.faults.rate(1.0, Fault.code(1101), endpoints=["create_by_button"])
        with pytest.raises(AuthenticationError):
            await carry_out(jobs, (image_id, "V2"))
        assert credits_of(await jobs.status()) == (0, 0, 0, 0)
        emulator.faults.clear()
        emulator.faults.script("create_by_button", Fault.throttle(0))
        await jobs.run()
        counts = await jobs.status()
    assert (counts.done, counts.failed) == (1, 1)
    assert credits_of(counts) == (2, 0, 0, 0)
    assert emulator.ledger.charged == 2


async def test_a_mistyped_id_does_not_lose_the_credit(emulator, store):
    """With an id that AKOOL does not know, the press still counts as charged. The right id adds its price."""
    press = ButtonPress(emulator.add_image(), "U1")
    emulator.prices["upscale"] = 4
    async with open_jobs(emulator, store) as jobs:
        await carry_out(jobs, (emulator.add_image(), "U1"))
        emulator.faults.script("create_by_button", Fault.reset("after"))
        await carry_out(jobs, press)
        await jobs.resolve(press, operation_id="0" * 24)
        await jobs.run()
        counts = await jobs.status()
        assert (await jobs.job(press)).state is JobState.UNKNOWN
        assert counts.credits_charged + counts.credits_lost == emulator.ledger.charged == 8
        await jobs.resolve(press, operation_id=emulator.ledger.posts[1].new_ids[0])
        await jobs.run()
        assert credits_of(await jobs.status()) == (8, 0, 0, 0)


async def test_accounts_in_one_store_have_separate_sums_and_prices(emulator, store):
    """The charges and prices of one account do not affect another."""
    image_id = emulator.add_image()
    emulator.prices["variation"] = 3
    async with open_jobs(emulator, store, account="one") as jobs:
        await carry_out(jobs, (image_id, "V1"))
        emulator.reported_prices["variation"] = 0
        assert credits_of(await carry_out(jobs, (image_id, "V2"))) == (6, 0, 0, 3)
    async with open_jobs(emulator, store, account="two") as jobs:
        assert credits_of(await carry_out(jobs, (image_id, "V3"))) == (2, 0, 0, 2)
