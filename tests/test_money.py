"""The credits that a session counts, compared with the emulator's ledger."""

import asyncio
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async import ButtonPress, OutcomeUnknownError
from akool_async._limits.credits import Account, Prices
from akool_async.emulator import Emulator, Fault
from akool_async.items import Prompt, SourcePrompt
from tests.support.commands import start, write_batch
from tests.support.schedules import FAST


async def test_the_account_agrees_with_the_ledger_to_the_last_credit(emulator, akool):
    """Every kind, lost replies, rising prices, reports that are too low, and another program: everything adds up."""
    source, other = emulator.add_image(), emulator.add_image()
    await akool.get_credit()
    operations = [
        await akool.upscale(source, 1),
        await akool.vary(source, 1),
        await akool.create_by_prompt("a fox"),
        *await akool.create_by_source_prompt("foxes", batch_quantity=2),
        *await akool.create_by_source_prompt("foxes", resolution="1080p"),
    ]
    await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
    emulator.prices["upscale"] = 4
    emulator.faults.script("create_by_button", Fault.deduction_credit(0), Fault.fails(), Fault.reset("after"))
    await (await akool.upscale(source, 2)).wait_until_complete()
    await (await akool.upscale(source, 3)).wait_until_complete(raise_on_failure=False)
    with pytest.raises(OutcomeUnknownError):
        await akool.upscale(source, 4)
    emulator.spend_elsewhere(3)
    await akool.get_credit()
    counters = akool.counters()
    assert counters.credits_lost == 4
    assert counters.credits_charged + counters.credits_lost == emulator.ledger.charged == 2 + 2 + 2 + 8 + 3 + 4 + 4 + 4
    assert (counters.credits_estimated, counters.credits_in_doubt, counters.credits_elsewhere) == (0, 0, 3)
    assert other not in {press[0] for press in emulator.ledger.presses_accepted}


async def test_a_charge_without_a_reported_price_is_an_estimate(emulator, akool):
    """If AKOOL reports no price, the expected one is counted, as an estimate."""
    emulator.reported_prices["variation"] = 0
    await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    counters = akool.counters()
    assert (counters.credits_charged, counters.credits_estimated) == (2, 2)


async def test_a_lost_prompt_is_in_doubt(emulator, akool):
    """Nothing shows whether AKOOL accepted a prompt: its price is in doubt, and the balance shows the charge."""
    await akool.get_credit()
    emulator.faults.script("create_by_source_prompt", Fault.reset("after"))
    with pytest.raises(OutcomeUnknownError):
        await akool.create_by_source_prompt("foxes", batch_quantity=2)
    await akool.get_credit()
    counters = akool.counters()
    assert (counters.credits_charged, counters.credits_lost, counters.credits_in_doubt) == (0, 0, 8)
    assert counters.credits_elsewhere == emulator.ledger.charged == 8


async def test_a_refund_or_a_top_up_is_negative(emulator, akool):
    """A balance above the expected one is a negative difference."""
    await akool.get_credit()
    emulator.spend_elsewhere(5)
    await akool.get_credit()
    assert akool.counters().credits_elsewhere == 5
    async with Emulator(speed=200, prices={"upscale": 1}, reported_prices={"upscale": 3}) as cheap:
        async with cheap.session(polling=FAST) as akool_of_cheap:
            await akool_of_cheap.get_credit()
            await (await akool_of_cheap.upscale(cheap.add_image(), 1)).wait_until_complete()
            await akool_of_cheap.get_credit()
            assert akool_of_cheap.counters().credits_elsewhere == -2


@pytest.mark.parametrize(
    ("made_by", "kind"),
    [
        (ButtonPress("image-1", "U1"), "upscale"),
        (ButtonPress("image-1", "V1"), "variation"),
        (Prompt("a fox"), "prompt"),
        (SourcePrompt("a fox"), "v4 4k"),
        (SourcePrompt("a fox", resolution="4k"), "v4 4k"),
        (SourcePrompt("a fox", resolution="1080p"), "v4 1080p"),
    ],
)
def test_prices_are_learned_by_kind_endpoint_and_resolution(made_by, kind):
    """A resolution that is not given is AKOOL's default."""
    assert made_by.kind == kind


def test_a_price_is_what_was_charged_last_and_the_budget_takes_the_largest():
    """After 2, 5 and 3 the next one is expected to cost 3, and may cost 5; another kind may cost as much."""
    prices = Prices()
    for credits_charged in (2, 5, 3):
        prices.learn("upscale", credits_charged)
    assert (prices.expected("upscale"), prices.largest("upscale")) == (3, 5)
    assert (prices.expected("variation"), prices.largest("variation"), prices.is_known("variation")) == (2, 5, False)


REPORTS = st.sampled_from([None, 0.0, 1.0, 2.0, 4.0])


@given(st.lists(st.tuples(REPORTS, REPORTS, st.booleans()), max_size=30))
def test_the_sum_is_that_of_the_larger_reports(operations):
    """For every accepted operation the larger of its reports counts, or the estimate until there is one."""
    account, known = Account(), 0.0
    for place, (in_reply, in_result, ends) in enumerate(operations):
        account.accept(str(place), "upscale", in_reply)
        if ends:
            account.end(str(place), in_result)
            account.end(str(place), 100.0)  # AKOOL's replicas may show an end twice
        known += max(in_reply or 0.0, (in_result or 0.0) if ends else 0.0)
    assert account.charged - account.estimated == known
    assert (account.estimated == 0) == all(in_reply or (ends and in_result) for in_reply, in_result, ends in operations)


async def test_the_statement_of_fan_out_adds_up(tmp_path):
    """Replies are lost, the price rises midway and another program spends: the printed sums equal the ledger."""
    async with Emulator(speed=200) as emulator:
        write_batch(tmp_path, [emulator.add_image() for _ in range(3)], "U*")
        lost = Fault.reset("after")
        emulator.faults.script("create_by_button", None, lost, *[None] * 8, lost)
        arguments = ("--yes", "-o", "out.jsonl", "--max-concurrent-upscales", "1")
        process = await start("fan-out", "presses.csv", *arguments, cwd=tmp_path, environment=emulator.environment())
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 6)
        emulator.prices["upscale"] = 4
        emulator.spend_elsewhere(3)
        _, errors = await process.communicate()
    text = errors.decode()
    assert process.returncode == 5
    charged, for_lost, left = re.search(
        r"10 of 12 presses done, at least (\d+) credits charged by this run, (\d+) of them for 2 presses whose id is "
        r"lost, ([\d,]+) left",
        text,
    ).groups()
    assert int(charged) == emulator.ledger.charged
    assert int(for_lost) == 2 + 4
    assert int(left.replace(",", "")) == emulator.credits == 10_000 - emulator.ledger.charged - 3
    assert "3 credits went elsewhere: another program on this account" in text
