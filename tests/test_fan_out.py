"""fan_out: lazy input, bounded work, one Outcome for each press, and a budget that is never exceeded."""

import asyncio
import pickle
from collections import Counter
from contextlib import aclosing
from itertools import count, islice

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akool_async import (
    AccountBannedError,
    AkoolSession,
    AlreadyUsedError,
    ApiKey,
    AuthenticationError,
    BudgetError,
    Button,
    ButtonPress,
    ConfigurationError,
    InsufficientCreditError,
    NotFoundError,
    NotOperableError,
    OperationFailedError,
    OutcomeUnknownError,
    SessionClosedError,
    Timing,
    WaitTimeoutError,
    events,
)
from akool_async._limits.ramp import MAX_WIDTH
from akool_async.emulator import Emulator, Fault
from tests.support.looks import look_until
from tests.support.schedules import FAST
from tests.support.scripted import KEY, scripted_server

UPSCALES = ("U1", "U2", "U3", "U4")
VARIATIONS = ("V1", "V2", "V3", "V4")


async def collect(outcomes):
    return [outcome async for outcome in outcomes]


def all_buttons(emulator, images):
    return [ButtonPress(emulator.add_image(), button) for _ in range(images) for button in Button]


async def test_every_press_has_one_outcome_with_its_result(emulator, akool):
    """Eighty presses of ten images give eighty outcomes with results, one POST each, under the cap."""
    presses = all_buttons(emulator, 10)
    outcomes = await collect(akool.fan_out(presses))
    assert Counter(outcome.press for outcome in outcomes) == Counter(presses)
    assert all(outcome.ok and outcome.unwrap().op_button == outcome.press.button for outcome in outcomes)
    assert emulator.ledger.requests["create_by_button"] == 80
    assert emulator.ledger.peak_upscales <= 4


async def test_pairs_and_async_input_are_taken(emulator, akool):
    """(image_id, button) pairs from an async generator work like ButtonPress values from a list."""
    source = emulator.add_image()

    async def presses():
        for button in Button:
            await asyncio.sleep(0)
            yield source, str(button)

    outcomes = await collect(akool.fan_out(presses()))
    assert {outcome.press for outcome in outcomes} == {ButtonPress(source, button) for button in Button}


@pytest.mark.parametrize("kinds", [VARIATIONS, UPSCALES, UPSCALES + VARIATIONS])
async def test_an_endless_input_is_pulled_as_it_is_needed(emulator, akool, kinds):
    """An endless input is pulled only as far as items may run or wait, and leaving the loop ends it."""
    pulled = 0

    def endless():
        nonlocal pulled
        for _ in count():
            source = emulator.add_image()
            for button in kinds:
                pulled += 1
                yield source, button

    taken = 0
    outcomes = akool.fan_out(endless(), max_in_flight=10)
    async for outcome in outcomes:
        taken += 1
        assert outcome.ok
        assert pulled <= taken + 2 * 10
        if taken == 40:
            break
    await outcomes.aclose()
    at_the_end = pulled
    await akool.aclose()  # POSTs under way end
    assert pulled == at_the_end
    assert emulator.ledger.accepted <= 40 + 10 + 1


async def test_max_in_flight_limits_what_runs(emulator, akool):
    """Variations, which no cap limits, stay within max_in_flight at the server."""
    presses = [ButtonPress(emulator.add_image(), button) for _ in range(10) for button in VARIATIONS]
    await collect(akool.fan_out(presses, max_in_flight=3))
    assert emulator.ledger.peak_generations <= 3


async def test_a_slow_reader_does_not_make_presses_pile_up(emulator, akool):
    """Outcomes that are not taken count as in flight: if the reader stops, so does pressing."""
    outcomes = akool.fan_out((ButtonPress(emulator.add_image(), "V1") for _ in count()), max_in_flight=5)
    first = await anext(outcomes)
    await asyncio.sleep(0.5)
    assert first.ok
    assert emulator.ledger.accepted <= 5 + 1
    await outcomes.aclose()


async def test_leaving_early_loses_no_id(emulator, akool):
    """After a break each accepted press was yielded, or is in `unclaimed` with its id."""
    presses = [ButtonPress(emulator.add_image(), button) for _ in range(20) for button in Button]
    outcomes = akool.fan_out(presses, max_in_flight=30)
    yielded = [outcome.operation.id async for outcome in _first(outcomes, 5)]
    await outcomes.aclose()
    await akool.aclose()  # closing waits for POSTs that were sent
    accepted = [new_id for post in emulator.ledger.posts for new_id in post.new_ids]
    assert sorted(yielded + [operation.id for operation in akool.unclaimed]) == sorted(accepted)


async def _first(outcomes, number):
    for _ in range(number):
        yield await anext(outcomes)


async def test_cancelling_loses_no_id_either(emulator, akool):
    """The consuming task is cancelled: nothing more is pressed, and every accepted id is known."""
    presses = [ButtonPress(emulator.add_image(), button) for _ in range(20) for button in Button]
    yielded = []

    async def consume():
        async for outcome in akool.fan_out(presses, max_in_flight=30):
            yielded.append(outcome.operation.id)  # noqa: PERF401 - kept even if the loop is cancelled

    consumer = asyncio.create_task(consume())
    await look_until(lambda: len(yielded) >= 5)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
    await asyncio.sleep(0)
    await akool.aclose()  # closing waits for POSTs that were sent
    accepted = [new_id for post in emulator.ledger.posts for new_id in post.new_ids]
    assert sorted(yielded + [operation.id for operation in akool.unclaimed]) == sorted(accepted)


async def test_a_failure_touches_no_sibling(emulator, akool):
    """Failed jobs, refusals, lost replies and timeouts concern only their own press."""
    source = emulator.add_image()
    emulator.faults.script(
        "create_by_button", Fault.fails("too dark"), Fault.code(1108), Fault.reset("after"), Fault.stuck(), None
    )
    outcomes = await collect(akool.fan_out([(source, button) for button in (*VARIATIONS, "U1")], timeout=1.0))
    kinds = Counter(type(outcome.error) for outcome in outcomes)
    assert (
        kinds[type(None)] == kinds[OperationFailedError] == kinds[OutcomeUnknownError] == kinds[WaitTimeoutError] == 1
    )
    (failed,) = [outcome for outcome in outcomes if isinstance(outcome.error, OperationFailedError)]
    assert failed.result.error_reasons == ("too dark",)
    with pytest.raises(OperationFailedError):
        failed.unwrap()
    assert all(outcome.operation is not None for outcome in outcomes if isinstance(outcome.error, WaitTimeoutError))


async def test_the_same_press_twice_is_one_post_and_two_outcomes(emulator, akool):
    """A press that the input has more than once is charged once, and has an outcome each time."""
    source = emulator.add_image()
    outcomes = await collect(akool.fan_out([(source, "V1")] * 5, max_credits=2))
    assert len(outcomes) == 5
    assert len({outcome.operation.id for outcome in outcomes}) == 1
    assert emulator.ledger.charged == 2


async def test_variations_are_not_starved_by_upscales_before_them(emulator):
    """With one slot, taken for ever, and fifty upscales first in the input, every variation is done."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        emulator.faults.script("create_by_button", Fault.stuck())
        await akool.upscale(emulator.add_image(), 1)
        upscales = [ButtonPress(emulator.add_image(), "U1") for _ in range(50)]
        variations = [ButtonPress(emulator.add_image(), "V1") for _ in range(50)]
        outcomes = akool.fan_out(upscales + variations)
        done = [outcome.press async for outcome in _first(outcomes, 50)]
        await outcomes.aclose()
    assert set(done) == set(variations)


async def test_upscales_are_not_starved_by_endless_variations(emulator, akool):
    """Upscales among endless variations are among the first to be done."""
    variations = (ButtonPress(emulator.add_image(), "V1") for _ in count())
    upscales = [ButtonPress(emulator.add_image(), "U1") for _ in range(4)]

    def mixed():
        yield from islice(variations, 20)
        yield from upscales
        yield from variations

    outcomes = akool.fan_out(mixed(), max_in_flight=10)
    first = [outcome.press async for outcome in _first(outcomes, 60)]
    await outcomes.aclose()
    assert set(upscales) <= set(first)


async def test_preflight_reads_each_source_once_and_refuses_before_any_press(emulator, akool):
    """A used and an unknown button are refused without a press. Three images are read three times."""
    used, absent, fine = emulator.add_image(), emulator.add_image(buttons=["V2"]), emulator.add_image()
    async with emulator.session() as other:
        await other.vary(used, 1)
    before = emulator.ledger.requests["create_by_button"]
    refused = await collect(
        akool.fan_out([(used, "V1"), (used, "V1"), (absent, "V1"), (absent, "V3"), ("nowhere", "V1")])
    )
    assert emulator.ledger.requests["create_by_button"] == before
    assert emulator.ledger.requests["get_image_result"] == 3
    assert Counter(type(outcome.error) for outcome in refused) == {
        AlreadyUsedError: 2,
        NotOperableError: 2,
        NotFoundError: 1,
    }
    assert all(
        outcome.error.press == outcome.press for outcome in refused if isinstance(outcome.error, NotOperableError)
    )
    assert all(outcome.ok for outcome in await collect(akool.fan_out([(fine, button) for button in Button])))


async def test_without_preflight_nothing_is_read_before_pressing(emulator, akool):
    """With preflight=False AKOOL decides: the used button costs one refused POST."""
    source = emulator.add_image(buttons=["V1"])
    (outcome,) = await collect(akool.fan_out([(source, "V2")], preflight=False))
    assert outcome.error.code == 1010
    assert emulator.ledger.requests == {"create_by_button": 1}


async def test_an_earlier_press_of_the_session_is_yielded_again(emulator, akool):
    """Preflight does not refuse a press that this session made before as used: its outcome has its operation."""
    source = emulator.add_image()
    operation = await akool.vary(source, 1)
    await operation.wait_until_complete()
    (outcome,) = await collect(akool.fan_out([(source, "V1")]))
    assert outcome.operation == operation
    assert outcome.ok


async def test_an_operation_known_before_is_not_given_up_when_pressing_ends(emulator, akool):
    """A banned account stops new presses. The operation of an earlier press is still awaited and yielded."""
    source = emulator.add_image()
    await akool.vary(source, 1)
    emulator.faults.script("create_by_button", Fault.code(1200))
    outcomes = await collect(akool.fan_out([(source, "V1"), (source, "V2")], preflight=False))
    by_button = {outcome.press.button: outcome for outcome in outcomes}
    assert by_button["V1"].ok
    assert isinstance(by_button["V2"].error, AccountBannedError)


@pytest.mark.parametrize("preflight", [True, False])
async def test_a_bad_key_costs_a_handful_of_posts(emulator, preflight):
    """A thousand presses with a bad key yield a thousand AuthenticationErrors, and few are sent."""
    presses = [ButtonPress(f"image-{i}", "V1") for i in range(1000)]
    async with AkoolSession(ApiKey("a-wrong-key"), base_url=emulator.base_url) as akool:
        outcomes = await collect(akool.fan_out(presses, preflight=preflight))
    assert {outcome.press for outcome in outcomes} == set(presses)
    assert all(isinstance(outcome.error, AuthenticationError) for outcome in outcomes)
    assert all(outcome.error.press == outcome.press for outcome in outcomes if "not pressed" in str(outcome.error))
    assert emulator.ledger.requests["create_by_button"] <= 8
    assert emulator.ledger.requests.total() <= 40


async def test_a_banned_account_ends_new_presses(emulator, akool):
    """1200 for one press stops the rest."""
    emulator.faults.rate(1.0, Fault.code(1200), endpoints=["create_by_button"])
    outcomes = await collect(akool.fan_out(all_buttons(emulator, 50)))
    assert len(outcomes) == 400
    assert all(isinstance(outcome.error, AccountBannedError) for outcome in outcomes)
    assert emulator.ledger.requests["create_by_button"] <= 8


async def test_exhausted_credit_ends_new_presses():
    """With credit for twenty of a thousand presses twenty are done, and a few more POSTs are refused, not 980."""
    async with (
        Emulator(speed=200, credits=40) as emulator,
        emulator.session(polling=FAST) as akool,
    ):
        presses = [ButtonPress(emulator.add_image(), button) for _ in range(250) for button in VARIATIONS]
        outcomes = await collect(akool.fan_out(presses))
    assert len(outcomes) == 1000
    assert sum(outcome.ok for outcome in outcomes) == 20
    assert sum(isinstance(outcome.error, InsufficientCreditError) for outcome in outcomes) == 980
    assert emulator.ledger.requests["create_by_button"] <= 20 + 2 * 20


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(budget=st.integers(0, 60), faults=st.lists(st.sampled_from(["", "1108", "reset after", "fails"]), max_size=20))
def test_the_budget_is_never_passed(budget, faults):
    """With any failures, the charges never exceed max_credits, and they use it up if there are presses."""
    asyncio.run(spend(budget, faults))


async def spend(budget, faults):
    known = {"": None, "1108": Fault.code(1108), "reset after": Fault.reset("after"), "fails": Fault.fails()}
    async with (
        Emulator(speed=1000) as emulator,
        emulator.session(polling=FAST) as akool,
    ):
        emulator.faults.script("create_by_button", *[known[name] for name in faults])
        outcomes = await collect(akool.fan_out(all_buttons(emulator, 10), max_credits=budget))
        assert len(outcomes) == 80
        assert emulator.ledger.charged <= budget
        assert emulator.ledger.charged >= min(budget - 1, 2 * (80 - len(faults)))
        refused = [outcome for outcome in outcomes if isinstance(outcome.error, BudgetError)]
        assert emulator.ledger.requests["create_by_button"] == 80 - len(refused)


class Prices:
    """AKOOL with other prices: what a press costs, and what the reply to it and its result report."""

    def __init__(self, price, in_reply, in_result):
        self.price, self.in_reply, self.in_result = price, in_reply, in_result
        self.charged = 0

    async def __call__(self, request):
        image = {"image_status": 3, "image": "https://pictures.example/1.jpeg"}
        if request.method == "POST":
            self.charged += self.price
            body = await request.json()
            image |= {"_id": f"{body['_id']}-{body['button']}", "image_status": 1, "deduction_credit": self.in_reply}
        else:
            image |= {"_id": request.query["image_model_id"], "deduction_credit": self.in_result}
        return web.json_response({"code": 1000, "data": image})


@pytest.mark.parametrize(
    ("price", "in_reply", "in_result"),
    [
        (2, 0, 2),
        (2, -2, 2),
        (2, None, 2),
        (2, "2 credits", 2),
        (2, 1, 2),
        (5, 0, 5),
        (5, 1, 5),
        (5, None, 5),
        (2, 0, 0),
        (2, -1, -1),
        (2, None, None),
        (5, 5, 1),
        (5, 5, 0),
    ],
)
async def test_the_budget_holds_with_any_first_report(price, in_reply, in_result):
    """With a budget of 10, at most 10 is charged, and every press that fits is made."""
    akool_at_work = Prices(price, in_reply, in_result)
    async with (
        scripted_server(akool_at_work) as server,
        AkoolSession(KEY, base_url=server.base_url, polling=FAST) as akool,
    ):
        presses = [ButtonPress(f"image-{i}", button) for i in range(6) for button in UPSCALES]
        outcomes = await collect(akool.fan_out(presses, preflight=False, max_credits=10))
    assert akool_at_work.charged == 10
    refused = [outcome for outcome in outcomes if isinstance(outcome.error, BudgetError)]
    assert len(refused) == len(presses) - 10 / price


async def test_the_budget_holds_while_the_price_rises():
    """The price of a variation rises from 2 to 100 credits midway, with many under way: at most 1,000 are charged."""
    async with Emulator(speed=50) as emulator, emulator.session(polling=FAST) as akool:
        presses = [ButtonPress(emulator.add_image(), button) for _ in range(40) for button in VARIATIONS]
        running = asyncio.create_task(collect(akool.fan_out(presses, max_credits=1_000)))
        await emulator.ledger.until(lambda ledger: ledger.accepted >= 30)
        emulator.prices["variation"] = 100
        outcomes = await running
    assert emulator.ledger.charged <= 1_000
    assert akool.counters().credits_charged == emulator.ledger.charged
    assert sum(isinstance(outcome.error, BudgetError) for outcome in outcomes) == 160 - emulator.ledger.accepted > 0


async def test_a_fan_out_that_is_left_holds_nobody_up(emulator, akool):
    """The fan-out is left while its first press is under way: callers that joined its presses get them."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.slow(0.2))
    outcomes = akool.fan_out([(source, button) for button in VARIATIONS], max_credits=6)
    taking = asyncio.create_task(anext(outcomes))
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"])
    joined = [asyncio.create_task(akool.create_by_button(source, button)) for button in VARIATIONS]
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    await outcomes.aclose()
    operations = await asyncio.gather(*joined)
    assert [operation.button for operation in operations] == list(VARIATIONS)
    again = await collect(akool.fan_out([(emulator.add_image(), "V1")], max_credits=2))
    assert again[0].ok


async def test_a_budget_counts_a_press_that_another_fan_out_began(emulator, akool):
    """A fan-out counts presses that it shares with one that was left: two presses do not fit a budget for one."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.slow(0.2))
    first = akool.fan_out([(source, "V1"), (source, "V2")], max_credits=2)
    taking = asyncio.create_task(anext(first))
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"])
    second = asyncio.create_task(collect(akool.fan_out([(source, "V2"), (source, "V3")], max_credits=2)))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    await first.aclose()
    assert sorted(outcome.ok for outcome in await second) == [False, True]


async def test_a_first_press_that_never_ends_does_not_stop_the_others(emulator, akool):
    """With enough credits, presses of a kind without a known price run beside the first."""
    emulator.faults.script("create_by_button", Fault.stuck())
    presses = [ButtonPress(emulator.add_image(), "V1") for _ in range(6)]
    outcomes = akool.fan_out(presses, max_credits=1000)
    assert [outcome.ok async for outcome in _first(outcomes, 5)] == [True] * 5
    await outcomes.aclose()


async def test_a_price_that_makes_no_sense_does_not_end_a_budget(emulator, akool):
    """A reply that reports a thousand million credits is ignored, and the result's price counts."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.deduction_credit(1e9))
    await (await akool.upscale(source, 1)).wait_until_complete()
    outcomes = await collect(akool.fan_out([(source, "U2"), (source, "V1")], max_credits=10))
    assert all(outcome.ok for outcome in outcomes)
    assert akool.counters().credits_charged == emulator.ledger.charged == 6
    emulator.faults.script("create_by_button", Fault.deduction_credit(1e9))
    outcomes = await collect(akool.fan_out([(source, "U3"), (source, "V2")], max_credits=10, max_in_flight=1))
    assert all(outcome.ok for outcome in outcomes)


async def test_a_fan_out_says_so_in_another_event_loop(emulator):
    """A fan-out that is iterated in another thread's event loop raises immediately, before it pulls or sends."""
    async with emulator.session() as akool:
        await akool.get_credit()
        outcomes = akool.fan_out([(emulator.add_image(), "V1")])
        with pytest.raises(ConfigurationError, match="run_coroutine_threadsafe"):
            await asyncio.to_thread(asyncio.run, collect(outcomes))
    assert emulator.ledger.requests["create_by_button"] == 0


async def test_an_error_of_the_input_is_raised_when_all_else_is_out(emulator, akool):
    """A bad item is named by its position. Earlier items are done, and nothing after it is pressed."""
    source = emulator.add_image()
    done = []

    async def consume():
        async for outcome in akool.fan_out([(source, "V1"), (source, "V2"), ("", "V4"), (source, "V3")]):
            done.append(outcome.press.button)  # noqa: PERF401 - kept even if the loop fails

    with pytest.raises(ValueError, match=r"items\[2\]: image_id must be"):
        await consume()
    assert sorted(done) == ["V1", "V2"]
    assert emulator.ledger.accepted == 2


@pytest.mark.parametrize("name", ["V5", "R", "u1", ""])
@pytest.mark.parametrize("as_press", [True, False])
async def test_a_button_that_this_version_does_not_know_is_one_refused_outcome(emulator, akool, name, as_press):
    """AKOOL may list new buttons: pressing all buttons of an image continues, and reports the unknown one."""
    source = emulator.add_image()
    unlisted = ButtonPress(source, Button.unlisted(name)) if as_press else (source, name)
    outcomes = await collect(akool.fan_out([(source, "V1"), unlisted, (source, "V3")]))
    by_button = {outcome.press.button: outcome for outcome in outcomes}
    assert [by_button["V1"].ok, by_button["V3"].ok] == [True, True]
    assert isinstance(by_button[name].error, ValueError)
    assert "button must be one of U1" in str(by_button[name].error)
    assert by_button[name].press.image_id == source
    assert pickle.loads(pickle.dumps(by_button[name])).press == by_button[name].press
    with pytest.raises(ValueError, match="button"):
        await akool.create_by_button(source, by_button[name].press.button)


async def test_an_endless_input_of_unknown_buttons_stays_lazy(emulator, akool):
    """Refused presses count as in flight until they are taken, like any other."""
    pulled = count()
    outcomes = akool.fan_out(((f"image-{next(pulled)}", "V9") for _ in count()), max_in_flight=5)
    assert len([outcome async for outcome in _first(outcomes, 20)]) == 20
    await outcomes.aclose()
    assert next(pulled) <= 20 + 5 + 1


@pytest.mark.parametrize("item", ["V1", ("image-1",), ("image-1", "V1", 3), None, 7, ("", "V1")])
async def test_an_item_that_is_no_press_is_refused(akool, item):
    """Anything but a ButtonPress or a valid pair is a ValueError that names its position."""
    with pytest.raises(ValueError, match=r"items\[0\]"):
        await collect(akool.fan_out([item]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_in_flight", 0),
        ("max_in_flight", True),
        ("max_credits", -1),
        ("max_credits", float("nan")),
        ("max_credits", float("inf")),
        ("timeout", 0),
        ("timeout", float("nan")),
        ("preflight", "no"),
        ("items", 7),
        ("items", "image-1"),
        ("items", {"image-1": "U1"}),
    ],
)
async def test_a_bad_argument_is_named_before_anything_is_pulled(emulator, akool, name, value):
    """Each argument of fan_out is checked when it is called."""
    with pytest.raises(ValueError, match=name):
        akool.fan_out(**{"items": [], name: value})
    assert emulator.ledger.requests == {}


async def test_a_busy_plan_is_kept_full_without_a_cap_of_ours():
    """A plan of three jobs and no cap of ours: everything is done, and few POSTs are refused."""
    async with (
        Emulator(speed=100, plan_concurrency=3) as emulator,
        emulator.session(polling=FAST, timing=Timing()) as akool,
    ):
        presses = [ButtonPress(emulator.add_image(), button) for _ in range(10) for button in VARIATIONS]
        outcomes = await collect(akool.fan_out(presses))
    assert all(outcome.ok for outcome in outcomes)
    assert emulator.ledger.peak_generations == 3
    assert emulator.ledger.requests["create_by_button"] <= 4 * 40


@pytest.mark.parametrize("fault", [Fault.reset("before"), Fault.status(502), Fault.code(1005)])
@pytest.mark.parametrize("buttons", [VARIATIONS, UPSCALES])
async def test_a_budget_does_not_keep_out_the_press_it_waits_for(emulator, akool, fault, buttons):
    """The first press of a kind, which shows the price, may have to be sent again while all others wait for it."""
    emulator.faults.script("create_by_button", fault)
    presses = [(emulator.add_image(), button) for _ in range(5) for button in buttons]
    outcomes = await collect(akool.fan_out(presses, max_credits=100, preflight=False))
    assert [outcome.ok for outcome in outcomes] == [True] * 20
    assert emulator.ledger.charged == 40


@pytest.mark.parametrize("turns", range(12))
async def test_cancelling_twice_loses_no_id(emulator, akool, turns):
    """A second cancellation, during the first one's cleanup, leaves every accepted operation in ``unclaimed``."""
    presses = all_buttons(emulator, 4)
    yielded = []

    async def run():
        async for outcome in akool.fan_out(presses):
            yielded.append(outcome.operation.id)  # noqa: PERF401 - kept even if the loop fails

    running = asyncio.create_task(run())
    await emulator.ledger.until(lambda ledger: ledger.accepted >= 12)
    running.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await akool.aclose()
    accepted = {new_id for post in emulator.ledger.posts for new_id in post.new_ids}
    assert accepted == {operation.id for operation in akool.unclaimed} | set(yielded)


async def test_closing_the_session_ends_a_fan_out_that_was_left_open(emulator, akool):
    """A generator that was not closed presses nothing after the session, and its accepted operations are unclaimed."""
    outcomes = akool.fan_out(all_buttons(emulator, 10), max_in_flight=20)
    first = await anext(outcomes)
    await akool.aclose()
    accepted = {new_id for post in emulator.ledger.posts for new_id in post.new_ids}
    assert accepted == {operation.id for operation in akool.unclaimed} | {first.operation.id}
    with pytest.raises(SessionClosedError):
        await anext(outcomes)


async def test_the_input_is_closed_with_the_fan_out(emulator, akool):
    """A generator that feeds the fan-out is closed with it, so that it releases its resources."""
    closed = []

    def presses():
        try:
            while True:
                yield emulator.add_image(), "V1"
        finally:
            closed.append("sync")

    async def presses_from_afar():
        try:
            while True:
                yield emulator.add_image(), "V1"
        finally:
            closed.append("async")

    for source in (presses(), presses_from_afar()):
        async with aclosing(akool.fan_out(source, max_in_flight=4)) as outcomes:
            await anext(outcomes)
    assert closed == ["sync", "async"]


async def test_an_input_that_is_cancelled_from_within_is_an_error(emulator, akool):
    """A CancelledError from the caller's own input is not mistaken for the end of the input."""

    async def presses():
        yield emulator.add_image(), "V1"
        raise asyncio.CancelledError

    with pytest.raises(RuntimeError, match="before their end"):
        await collect(akool.fan_out(presses()))


@pytest.mark.parametrize("code", [1006, 1101, 1200])
async def test_a_widened_ramp_stops_after_the_posts_under_way(emulator, code):
    """After dozens were accepted, an account error costs only the POSTs under way."""
    async with emulator.session(polling=FAST, max_concurrent_upscales=50) as akool:
        await collect(akool.fan_out(all_buttons(emulator, 8), preflight=False))
        emulator.faults.rate(1.0, Fault.code(code), endpoints=["create_by_button"])
        before = len(emulator.ledger.posts)
        outcomes = await collect(akool.fan_out(all_buttons(emulator, 40), preflight=False))
    assert len(outcomes) == 320
    assert len(emulator.ledger.posts) - before <= MAX_WIDTH + 1


async def test_a_spent_budget_is_not_read_for(emulator, akool):
    """When the credits are used up, no more source images are read."""
    presses = [(emulator.add_image(), "V1") for _ in range(100)]
    outcomes = await collect(akool.fan_out(presses, max_credits=4, max_in_flight=8))
    assert sum(outcome.ok for outcome in outcomes) == 2
    assert {type(outcome.error) for outcome in outcomes if not outcome.ok} == {BudgetError}
    assert emulator.ledger.requests["get_image_result"] < 40


async def test_an_image_that_was_not_finished_is_read_again(emulator, akool):
    """Preflight reads a running image again when it has finished."""
    source = await akool.create_by_prompt("a fox")

    async def presses():
        yield source.id, "V1"
        await source.wait_until_complete()
        yield source.id, "V2"

    outcomes = {outcome.press.button: outcome async for outcome in akool.fan_out(presses(), max_in_flight=1)}
    assert outcomes["V2"].ok


async def test_an_image_that_is_not_there_is_read_once(emulator, akool):
    """Eight buttons of an id that AKOOL does not know cost one read."""
    outcomes = await collect(akool.fan_out([("f" * 24, button) for button in Button], max_in_flight=1))
    assert {type(outcome.error) for outcome in outcomes} == {NotFoundError}
    assert emulator.ledger.requests["get_image_result"] == 1


async def test_variations_run_with_a_small_max_in_flight(emulator):
    """Eight upscales before four variations, eight in flight: the waiting upscales leave room."""
    async with emulator.session(polling=FAST) as akool:
        images = [emulator.add_image() for _ in range(4)]
        emulator.faults.script("create_by_button", *[Fault.stuck()] * 4)
        presses = [(image, button) for image in images[:2] for button in UPSCALES] + [(image, "V1") for image in images]
        async with aclosing(akool.fan_out(presses, max_in_flight=8)) as outcomes:
            first = [(await anext(outcomes)).press.button for _ in range(4)]
    assert first == ["V1"] * 4


async def test_the_budget_of_a_fan_out_binds_nobody_else(emulator, akool):
    """Other callers can make a press that waits for a fan-out's budget, and pay for it themselves."""
    first, second = emulator.add_image(), emulator.add_image()
    emulator.faults.script("create_by_button", Fault.slow(0.3))
    running = asyncio.create_task(collect(akool.fan_out([(first, "V1"), (second, "V1")], max_credits=2)))
    await emulator.ledger.until(lambda ledger: ledger.requests["create_by_button"])
    operation = await akool.vary(second, 1)
    errors = {outcome.press.image_id: type(outcome.error) for outcome in await running}
    assert operation.source_image_id == second
    assert errors == {first: type(None), second: BudgetError}


async def test_the_input_may_close_the_session(emulator, akool):
    """An input that closes the session ends the fan-out, and leaves no task behind."""

    async def presses():
        yield emulator.add_image(), "V1"
        await akool.aclose()
        yield emulator.add_image(), "V1"

    with pytest.raises(SessionClosedError):
        await collect(akool.fan_out(presses()))
    async with asyncio.timeout(10):
        await look_until(lambda: not any("FanOut" in repr(task) for task in asyncio.all_tasks()))


@pytest.mark.parametrize("turns", range(4))
async def test_reads_before_pressing_end_with_the_fan_out(emulator, akool, turns):
    """After one or two cancellations no preflight read goes on, and asyncio logs none of their errors."""
    emulator.faults.rate(1.0, Fault.slow(0.05), endpoints=["get_image_result"])
    fan_out = akool.fan_out([(f"{number:024x}", "V1") for number in range(12)])
    running = asyncio.create_task(collect(fan_out))
    await emulator.ledger.until(lambda ledger: ledger.requests["get_image_result"])
    running.cancel()
    for _ in range(turns):
        await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(0)
    assert not [task for task in asyncio.all_tasks() if "_read_in_turn" in repr(task) and not task.cancelling()]


async def test_a_closed_session_begins_no_fan_out(akool):
    """fan_out after aclose is refused immediately."""
    await akool.aclose()
    with pytest.raises(SessionClosedError):
        akool.fan_out([])


async def test_an_unknown_outcome_that_nobody_took_is_kept(emulator):
    """Two replies are lost, and the loop is left after the first outcome: the other charge is in unclaimed_errors."""
    lost = asyncio.Semaphore(0)

    def observe(event):
        if isinstance(event, events.OutcomeUnknown):
            lost.release()

    image_id = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.cut("after"), Fault.cut("after"))
    async with emulator.session(polling=FAST, observer=observe) as akool:
        async with aclosing(akool.fan_out([(image_id, "V1"), (image_id, "V2")])) as outcomes:
            taken = await anext(outcomes)
            for _ in range(2):
                await lost.acquire()
            await akool.get_credit()  # both outcomes were yielded before its reply
        (kept,) = akool.unclaimed_errors
    assert kept.charged is True
    assert {taken.press.button, kept.press.button} == {"V1", "V2"}


async def test_a_place_that_comes_free_is_given_to_one_press(emulator):
    """An upscale and a variation wait for the last free place: no more than max_in_flight are begun."""
    opened, gave = asyncio.Event(), asyncio.Event()

    async def presses():
        for button in (*UPSCALES, "U1", "U2"):
            yield images[button in given], button
            given.append(button)
        await opened.wait()
        gave.set()
        yield images[0], "V1"

    images, given = [emulator.add_image(), emulator.add_image()], []
    async with emulator.session(polling=FAST, max_concurrent_upscales=1) as akool:
        async with aclosing(akool.fan_out(presses(), max_in_flight=4)) as outcomes:
            await anext(outcomes)
            await look_until(lambda: akool.counters().finished == 5)  # four of them are not taken
            opened.set()
            await gave.wait()
            await anext(outcomes)
            await look_until(lambda: akool.counters().finished == 6)
            assert emulator.ledger.accepted == 6
            assert {outcome.press.button async for outcome in outcomes} >= {"V1"}


async def test_a_fan_out_whose_session_is_closed_before_it_begins_presses_nothing(emulator, akool):
    outcomes = akool.fan_out([(emulator.add_image(), "V1")])
    await akool.aclose()
    with pytest.raises(SessionClosedError):
        await collect(outcomes)
    assert not [task for task in asyncio.all_tasks() if "FanOut" in repr(task)]
    assert emulator.ledger.requests == {}


async def test_an_image_that_is_not_finished_is_read_once_for_all_who_wait(emulator, akool):
    """Two buttons of a running image at the same time: one read refuses both."""
    emulator.faults.script("create_by_prompt", Fault.stuck())
    source = await akool.create_by_prompt("a fox")
    emulator.faults.script("get_image_result", Fault.slow(0.1))
    outcomes = await collect(akool.fan_out([(source.id, "V1"), (source.id, "V2")]))
    assert [type(outcome.error) for outcome in outcomes] == [NotOperableError] * 2
    assert emulator.ledger.requests["create_by_button"] == 0


async def test_a_tight_budget_leaves_no_slot_idle(emulator):
    """When a price is known, presses go one at a time only until AKOOL has answered, and then run concurrently."""
    async with emulator.session(polling=FAST) as akool:
        await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
        presses = [(emulator.add_image(), "U1") for _ in range(8)]
        outcomes = await collect(akool.fan_out(presses, max_credits=20))
    assert all(outcome.ok for outcome in outcomes)
    assert emulator.ledger.peak_upscales == 4
