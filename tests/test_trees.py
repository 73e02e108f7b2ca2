"""Fan-outs of trees: prompts, presses on their images, and presses on the results of those."""

import asyncio
from collections import Counter
from contextlib import aclosing
from itertools import count

import pytest

from akool_async import (
    AkoolSession,
    AuthenticationError,
    BudgetError,
    ButtonPress,
    InsufficientCreditError,
    NotPressedError,
    OperationFailedError,
    OutcomeUnknownError,
    Prompt,
    SourcePrompt,
    WaitTimeoutError,
    events,
)
from akool_async.emulator import Emulator, Fault
from tests.support.schedules import FAST, QUICK

TREE = "U* V1>U*"
NODES = 1 + 5 + 4


async def collect(outcomes):
    return [outcome async for outcome in outcomes]


def paths(outcomes):
    return Counter("-".join(outcome.path) for outcome in outcomes)


async def test_a_prompt_becomes_pictures_in_one_run(emulator, akool):
    """A prompt, its upscales and a variation's upscales: each node has one outcome, which knows item and parent."""
    prompt = Prompt("a fox", scale="16:9", then=TREE)
    outcomes = await collect(akool.fan_out([prompt]))
    names = ["", "U1", "U2", "U3", "U4", "V1", "V1-U1", "V1-U2", "V1-U3", "V1-U4"]
    assert paths(outcomes) == Counter(names)
    assert all(outcome.ok and outcome.item is prompt for outcome in outcomes)
    by_path = {outcome.path: outcome for outcome in outcomes}
    image, variation = by_path[()], by_path["V1",]
    assert image.prompt is prompt
    assert image.press is image.button is image.parent is None
    assert image.unwrap().scale == "16:9"
    assert variation.parent is image
    assert variation.press == ButtonPress(image.operation.id, "V1")
    assert variation.prompt is None
    upscale = by_path["V1", "U3"]
    assert upscale.parent is variation
    assert upscale.button == "U3"
    assert upscale.unwrap().source_image_id == variation.operation.id
    assert emulator.ledger.accepted == NODES


async def test_a_press_may_have_a_tree(emulator, akool):
    """The presses on the result of a variation are a tree as well."""
    source = emulator.add_image()
    outcomes = await collect(akool.fan_out([ButtonPress(source, "V2", then="U1 V4>U2"), (source, "U1")]))
    assert paths(outcomes) == Counter(["V2", "U1", "V2-U1", "V2-V4", "V2-V4-U2"])


async def test_each_image_of_a_batch_has_its_own_outcome_and_tree(emulator, akool):
    """A batch of three (v4) is three images, each with a separate POST and with presses."""
    prompt = SourcePrompt("a fox", resolution="1080p", batch_quantity=3, then="U1")
    outcomes = await collect(akool.fan_out([prompt]))
    images = [outcome for outcome in outcomes if outcome.prompt is prompt]
    assert sorted(outcome.number for outcome in images) == [1, 2, 3]
    assert paths(outcomes) == {"": 3, "U1": 3}
    assert emulator.ledger.requests["create_by_source_prompt"] == 3
    assert emulator.ledger.charged == 3 * emulator.prices["1080p"] + 3 * emulator.prices["upscale"]


async def test_presses_below_a_failed_image_are_not_made_and_say_why(emulator, akool):
    """If AKOOL cannot make an image, the presses on it and below have NotPressedError with the reason."""
    emulator.faults.script("create_by_prompt", Fault.fails("too dark"))
    outcomes = await collect(akool.fan_out([Prompt("a fox", then="U1 V1>U2")]))
    assert [type(outcome.error) for outcome in outcomes] == [OperationFailedError, *[NotPressedError] * 3]
    first = outcomes[0]
    assert outcomes[1].press == ButtonPress(first.operation.id, "U1")
    assert str(outcomes[1].error).startswith(
        "U1 was not pressed, since the image of prompt 'a fox' was not made: AKOOL could not"
    )
    assert "too dark" in str(outcomes[3].error)
    assert outcomes[3].path == ("V1", "U2")
    assert outcomes[3].press is None
    assert outcomes[3].item == Prompt("a fox")
    assert emulator.ledger.accepted == 1


async def test_a_lost_reply_to_a_prompt_is_unknown_and_is_not_sent_again(emulator, akool):
    """The image of a lost reply is not known: the prompt is unknown, and nothing is pressed below it."""
    emulator.faults.script("create_by_prompt", Fault.reset("after"))
    first, *below = await collect(akool.fan_out([Prompt("a fox", then="U*")]))
    assert isinstance(first.error, OutcomeUnknownError)
    assert first.error.prompt == Prompt("a fox")
    assert [type(outcome.error) for outcome in below] == [NotPressedError] * 4
    assert {outcome.press for outcome in below} == {None}
    assert emulator.ledger.requests["create_by_prompt"] == 1


async def test_a_failed_child_touches_no_sibling(emulator, akool):
    """Of two variations one fails: the tree below the other is made."""
    emulator.faults.script("create_by_button", Fault.fails())
    outcomes = await collect(akool.fan_out([Prompt("a fox", then="(V1 V2)>U1")]))
    errors = Counter(type(outcome.error) for outcome in outcomes)
    assert errors == {type(None): 3, OperationFailedError: 1, NotPressedError: 1}


async def test_a_timeout_counts_for_each_node(emulator):
    """An image that is not finished in time has no presses below it."""
    emulator.faults.script("create_by_prompt", Fault.stuck())
    async with emulator.session(polling=FAST) as akool:
        outcomes = await collect(akool.fan_out([Prompt("a fox", then="U1"), Prompt("a cat", then="U1")], timeout=2))
    assert Counter(type(outcome.error) for outcome in outcomes) == {
        type(None): 2,
        WaitTimeoutError: 1,
        NotPressedError: 1,
    }


async def test_the_budget_covers_the_tree(emulator, akool):
    """Prompts and presses beyond the budget have BudgetError, with all presses below them."""
    outcomes = await collect(akool.fan_out([Prompt(f"fox {n}", then="V1>U*") for n in range(4)], max_credits=15))
    errors = Counter(type(outcome.error) for outcome in outcomes)
    assert set(errors) == {type(None), BudgetError}
    assert len(outcomes) == 4 * 6
    assert emulator.ledger.charged == 14
    assert all(outcome.parent is None or outcome.press is None or outcome.parent.ok for outcome in outcomes)


async def test_no_credit_ends_all_trees(emulator):
    """When the account has no credit left, the other trees are yielded unpressed, each node once."""
    async with Emulator(speed=200, credits=9) as poor, poor.session(polling=FAST) as akool:
        outcomes = await collect(akool.fan_out([Prompt(f"fox {n}", then=TREE) for n in range(3)]))
        assert len(outcomes) == 3 * NODES
        assert poor.ledger.charged <= 9
    assert {type(outcome.error) for outcome in outcomes} == {type(None), InsufficientCreditError, NotPressedError}


async def test_a_bad_key_ends_prompts_before_they_are_sent(emulator):
    """Prompts that wait are not sent after AKOOL refuses the key."""
    async with AkoolSession("a-wrong-key", base_url=emulator.base_url, polling=FAST) as akool:
        outcomes = await collect(akool.fan_out([Prompt(f"fox {n}", then="U1") for n in range(100)]))
    assert len(outcomes) == 200
    assert {type(outcome.error) for outcome in outcomes} == {AuthenticationError, NotPressedError}
    assert emulator.ledger.requests["create_by_prompt"] < 50


async def test_open_trees_go_before_new_prompts(emulator, akool):
    """Not all prompts are sent first: a new tree opens only when the open ones no longer keep the slots busy."""
    most_open = 0
    opened, closed = set(), Counter()

    def note(outcome):
        nonlocal most_open
        item = id(outcome.item)
        opened.add(item)
        closed[item] += 1
        most_open = max(most_open, sum(closed[each] < 1 + 4 for each in opened))

    async for outcome in akool.fan_out([Prompt(f"fox {n}", then="U*") for n in range(16)]):
        note(outcome)
    assert most_open <= 8
    assert emulator.ledger.peak_upscales == 4


async def test_deep_presses_go_before_shallow_ones(emulator):
    """Of a tree of variations only few nodes wait at any time, although 84 are to be made."""
    waiting = most_waiting = 0
    async with emulator.session(polling=FAST, max_concurrent_operations=1) as akool:
        async for outcome in akool.fan_out([Prompt("a fox", then="V*>V*>V*")]):
            assert outcome.ok
            waiting += (4 if len(outcome.path) < 3 else 0) - (1 if outcome.path else 0)
            most_waiting = max(most_waiting, waiting)
    assert emulator.ledger.accepted == 1 + 4 + 16 + 64
    assert waiting == 0
    assert most_waiting <= 40


async def test_presses_of_the_input_are_not_shut_out_by_trees(emulator, akool):
    """A press at the end of the input is made while trees before it are open."""
    source = emulator.add_image()
    outcomes = await collect(akool.fan_out([*[Prompt(f"fox {n}", then="U*") for n in range(12)], (source, "U1")]))
    place = next(place for place, outcome in enumerate(outcomes) if outcome.item == ButtonPress(source, "U1"))
    assert place < len(outcomes) // 2


async def test_prompts_are_not_shut_out_by_presses(emulator, akool):
    """A prompt in an endless row of upscales is made."""
    source = iter(range(10**9))

    def items():
        for number in source:
            image = emulator.add_image()
            yield from ((image, f"U{n}") for n in (1, 2, 3, 4))
            if number == 2:
                yield Prompt("a fox", then="U*")

    seen = Counter()
    async with aclosing(akool.fan_out(items(), max_in_flight=16)) as outcomes:
        async for outcome in outcomes:
            seen[outcome.prompt is not None or outcome.parent is not None] += 1
            if seen[True] == 5:
                break
    assert seen[False] < 200


@pytest.mark.parametrize("max_in_flight", [1, 2, 7])
async def test_few_in_flight_are_enough_for_trees(emulator, akool, max_in_flight):
    """With any max_in_flight, every node has its outcome."""
    prompts = [Prompt(f"fox {n}", then="U1 V1>V2>U3") for n in range(3)]
    outcomes = await collect(akool.fan_out(prompts, max_in_flight=max_in_flight))
    assert len(outcomes) == 15
    assert all(outcome.ok for outcome in outcomes)


@pytest.mark.parametrize("cap", [1, 2, 4])
async def test_trees_share_the_cap_of_all_operations(emulator, cap):
    """Prompts, variations and upscales together stay under max_concurrent_operations, and all are made."""
    async with emulator.session(polling=FAST, max_concurrent_operations=cap) as akool:
        outcomes = await collect(akool.fan_out([Prompt(f"fox {n}", then=TREE) for n in range(3)]))
    assert len(outcomes) == 3 * NODES
    assert all(outcome.ok for outcome in outcomes)
    assert emulator.ledger.peak_generations <= cap


async def test_an_endless_input_of_trees_stays_lazy(emulator, akool):
    """Endless prompts are pulled only as far as they may run or wait."""
    pulled = count()

    def endless():
        for number in pulled:
            yield Prompt(f"fox {number}", then="U1")

    seen = 0
    async with aclosing(akool.fan_out(endless(), max_in_flight=20)) as outcomes:
        async for _ in outcomes:
            seen += 1
            if seen == 30:
                break
    assert next(pulled) <= 30 + 2 * 20 + 2


async def test_presses_without_an_image_are_yielded_next(emulator, akool):
    """Each failed image is followed by all presses below it, also if other outcomes are ready."""
    emulator.faults.rate(1.0, Fault.code(1003), endpoints=["create_by_prompt"])
    prompts = (Prompt(f"fox {number}", then="U1 V1>U2") for number in count())
    seen = []
    async with aclosing(akool.fan_out(prompts, max_in_flight=4)) as outcomes:
        async for outcome in outcomes:
            seen.append("-".join(outcome.path))
            if len(seen) == 40:
                break
            await emulator.ledger.until(lambda ledger: ledger.requests["create_by_prompt"] >= len(seen) // 4 + 2)
    assert seen == ["", "U1", "V1", "V1-U2"] * 10


async def test_buttons_that_nobody_knows_open_no_trees(emulator, akool):
    """A refusal before the beginning does not change the number of open trees."""
    opened, closed, most_open = set(), Counter(), 0
    source = emulator.add_image()
    unknown = [(source, "U9")] * 100
    async for outcome in akool.fan_out([*unknown, *[Prompt(f"fox {n}", then="U*") for n in range(16)]]):
        if outcome.item.kind == "prompt":
            opened.add(outcome.item)
            closed[outcome.item] += 1
            most_open = max(most_open, sum(closed[each] < 1 + 4 for each in opened))
    assert most_open <= 8


async def test_leaving_keeps_the_ids_of_trees(emulator, akool):
    """Accepted operations that were not yielded are in ``unclaimed``, prompts included."""
    async with aclosing(akool.fan_out([Prompt(f"fox {n}", then="V*") for n in range(6)])) as outcomes:
        taken = [await anext(outcomes) for _ in range(3)]
    await akool.aclose()  # which waits for the replies to POSTs under way
    ids = {outcome.operation.id for outcome in taken} | {operation.id for operation in akool.unclaimed}
    assert ids == {image_id for post in emulator.ledger.posts for image_id in post.new_ids}


async def test_a_session_that_closes_ends_trees(emulator, akool):
    """Closing the session ends a fan-out of trees, and loses no id."""

    async def take():
        async for _ in akool.fan_out([Prompt(f"fox {n}", then=TREE) for n in range(20)]):
            pass

    taking = asyncio.create_task(take())
    await emulator.ledger.until(lambda ledger: ledger.accepted >= 12)
    await akool.aclose()
    await asyncio.gather(taking, return_exceptions=True)
    assert taking.done()


async def test_events_name_the_prompt(emulator):
    """Events of a prompt say which prompt they are about."""
    seen = []
    async with emulator.session(polling=FAST, observer=seen.append) as akool:
        prompt = Prompt("a fox", key="1", then="U1")
        await collect(akool.fan_out([prompt]))
    named = [type(event).__name__ for event in seen if getattr(event, "prompt", None) is prompt]
    assert named == ["Queued", "Sending", "Accepted"]


async def test_children_are_checked_without_another_read(emulator, akool):
    """The result of the parent shows its buttons: no source image is read before pressing."""
    outcomes = await collect(akool.fan_out([Prompt("a fox", then="U1")]))
    assert emulator.ledger.requests["get_image_result"] == akool.counters().polls
    assert all(outcome.ok for outcome in outcomes)


async def test_trees_survive_faults(emulator):
    """With faults in ten per cent of the requests, thirty trees yield each node once, and press nothing twice."""
    faults = [Fault.reset(), Fault.status(502), Fault.code(1005), Fault.reset("after"), Fault.fails()]
    emulator.faults.rate(0.1, *faults, endpoints=["create_by_button", "create_by_prompt", "get_image_result"])
    async with emulator.session(polling=FAST, timing=QUICK, max_concurrent_upscales=16) as akool:
        outcomes = await collect(akool.fan_out([Prompt(f"fox {n}", then=TREE) for n in range(30)]))
    assert len(outcomes) == 30 * NODES
    assert set(paths(outcomes).values()) == {30}
    assert not emulator.ledger.pressed_twice()
    lost = sum(isinstance(outcome.error, OutcomeUnknownError) for outcome in outcomes)
    known = sum(outcome.operation is not None for outcome in outcomes)
    assert known <= emulator.ledger.accepted <= known + lost


async def test_a_refused_prompt_is_reported_as_refused(emulator):
    """A prompt that AKOOL refuses, and each press below it, is counted as refused."""
    seen = []
    emulator.faults.script("create_by_prompt", Fault.code(1003))
    async with emulator.session(polling=FAST, observer=seen.append) as akool:
        await collect(akool.fan_out([Prompt("a fox", then="U1")]))
        assert akool.counters().refused == 2
    refused = [event for event in seen if isinstance(event, events.Refused)]
    assert refused[0].prompt == Prompt("a fox")


async def test_five_hundred_prompts_within_a_budget_under_faults():
    """Five thousand nodes with ten per cent of faults: each is accepted once, and our credits equal the ledger's."""
    faults = [Fault.reset(), Fault.status(502), Fault.code(1005), Fault.reset("after"), Fault.fails()]
    async with Emulator(speed=2000, credits=10**6) as emulator:
        emulator.faults.rate(0.1, *faults, endpoints=["create_by_button", "create_by_prompt"])
        async with emulator.session(polling=FAST, timing=QUICK, max_concurrent_upscales=64) as akool:
            prompts = [Prompt(f"fox {n}", then=TREE) for n in range(500)]
            outcomes = await collect(akool.fan_out(prompts, max_credits=6_000))
            counters = akool.counters()
    assert len(outcomes) == 500 * NODES
    assert set(paths(outcomes).values()) == {500}
    assert not emulator.ledger.pressed_twice()
    assert emulator.ledger.charged <= 6_000
    assert counters.credits_charged <= emulator.ledger.charged
    assert emulator.ledger.charged <= counters.credits_charged + counters.credits_lost + counters.credits_in_doubt
    known = {outcome.operation.id for outcome in outcomes if outcome.operation is not None}
    accepted = {image_id for post in emulator.ledger.posts for image_id in post.new_ids}
    lost = sum(isinstance(outcome.error, OutcomeUnknownError) for outcome in outcomes)
    assert known <= accepted
    assert len(accepted - known) <= lost
