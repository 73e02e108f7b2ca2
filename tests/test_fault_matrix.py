"""Every fault at every endpoint: POSTs received, presses accepted and credits charged, by the emulator's ledger."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from akool_async import (
    AkoolError,
    AkoolSession,
    APIError,
    AuthenticationError,
    ClientCredentials,
    GenerationError,
    ImageStatus,
    InvalidParameterError,
    NotOperableError,
    OutcomeUnknownError,
)
from akool_async.emulator import Emulator, Fault
from tests.support.schedules import FAST

LOST = {
    "reset": Fault.reset,
    "500": lambda when: Fault.status(500, when),
    "502": lambda when: Fault.status(502, when),
    "503": lambda when: Fault.status(503, when),
    "html": Fault.html,
    "cut": Fault.cut,
    "empty": Fault.empty,
    "huge": lambda when: Fault.huge(5 * 2**20, when),
    "stall": Fault.stall,
    "slow": lambda when: Fault.slow(60, when),
    "redirect": lambda when: Fault.redirect("http://127.0.0.1:9/", when),
}
"""Faults that lose the reply, before or after AKOOL accepted."""

PACED = {
    "429 seconds": lambda: Fault.throttle(retry_after=0),
    "429 date": lambda: Fault.throttle(retry_after=datetime.now(UTC) - timedelta(seconds=5)),
    "1005": lambda: Fault.code(1005),
}
"""Faults that refuse with a pace."""

PROMPT_PRICES = {"create_by_prompt": 2, "create_by_source_prompt": 4}
"""What a prompt costs that leaves everything to AKOOL."""


@pytest.fixture
async def akool(emulator):
    async with emulator.session(polling=FAST, request_timeout=1.0, max_concurrent_upscales=1) as akool:
        yield akool


async def assert_slot_free(akool, emulator):
    """Check that the session's only slot is free."""
    operation = await akool.upscale(emulator.add_image(), 4)
    assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED


@pytest.mark.parametrize("endpoint", ["create_by_button", "create_by_prompt"])
async def test_a_request_that_is_too_large_is_refused(akool, emulator, endpoint):
    """HTTP 413 comes from a gateway that passed nothing on: the POST is refused, and its outcome is not unknown."""
    emulator.faults.script(endpoint, Fault.status(413))
    sent = akool.create_by_prompt("a fox") if endpoint == "create_by_prompt" else akool.upscale(emulator.add_image(), 1)
    with pytest.raises(InvalidParameterError, match="too large: shorten"):
        await sent
    assert emulator.ledger.charged == 0
    assert akool.counters().credits_in_doubt == 0
    await assert_slot_free(akool, emulator)


@pytest.mark.parametrize("name", LOST)
async def test_a_press_whose_reply_is_lost_after_acceptance_is_charged(emulator, akool, name):
    """Accepted, reply lost: one POST, one charge, OutcomeUnknownError(charged=True) with the press, slot free."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", LOST[name]("after"))
    with pytest.raises(OutcomeUnknownError) as caught:
        await akool.upscale(source, 1)
    assert caught.value.charged is True
    assert (caught.value.press.image_id, caught.value.press.button) == (source, "U1")
    assert emulator.ledger.requests["create_by_button"] == 1
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1}
    assert emulator.ledger.charged == 2
    await assert_slot_free(akool, emulator)


@pytest.mark.parametrize("name", LOST)
async def test_a_press_that_is_lost_before_acceptance_is_pressed_again(emulator, akool, name):
    """Not accepted, reply lost: two reads show that AKOOL did not accept it; it is pressed again and charged once."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", LOST[name]("before"))
    operation = await akool.upscale(source, 1)
    assert (await operation.wait_until_complete()).op_button == "U1"
    assert emulator.ledger.requests["create_by_button"] == 2
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1}
    assert emulator.ledger.charged == 2


async def test_a_press_whose_reply_is_about_another_image_is_charged(emulator, akool):
    """Mixed up with another reply: one POST, one charge, OutcomeUnknownError(charged=True), slot free."""
    emulator.faults.script("create_by_button", Fault.other_image())
    with pytest.raises(OutcomeUnknownError) as caught:
        await akool.upscale(emulator.add_image(), 1)
    assert caught.value.charged is True
    assert emulator.ledger.requests["create_by_button"] == 1
    assert emulator.ledger.charged == 2
    await assert_slot_free(akool, emulator)


async def test_bad_bytes_lose_nothing(emulator, akool):
    """Invalid UTF-8 in the reply to a press, a prompt and polls: each gives its operation and result."""
    faults = [Fault.bad_bytes()] * 2
    for endpoint in ("create_by_button", "create_by_prompt", "create_by_source_prompt", "get_image_result"):
        emulator.faults.script(endpoint, *faults)
    operations = [
        await akool.upscale(emulator.add_image(), 1),
        await akool.create_by_prompt("a fox"),
        *await akool.create_by_source_prompt("a fox"),
    ]
    for operation in operations:
        assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED
    assert emulator.ledger.accepted == 3


@pytest.mark.parametrize("when", ["before", "after"])
async def test_repress_false_never_presses_again(emulator, when):
    """With resubmit_lost=False a lost reply is unknown after one POST, whether AKOOL accepted it or not."""
    async with emulator.session(polling=FAST, resubmit_lost=False) as akool:
        emulator.faults.script("create_by_button", Fault.reset(when))
        with pytest.raises(OutcomeUnknownError) as caught:
            await akool.upscale(emulator.add_image(), 1)
    assert caught.value.charged is (True if when == "after" else None)
    assert emulator.ledger.requests["create_by_button"] == 1


@pytest.mark.parametrize("name", PACED)
async def test_a_paced_refusal_is_tried_again(emulator, akool, name):
    """429 with either Retry-After and 1005 leave no doubt: sent again, accepted once, source image not read."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", PACED[name](), PACED[name]())
    await akool.upscale(source, 1)
    assert emulator.ledger.requests["create_by_button"] == 3
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1}
    assert emulator.ledger.charged == 2


@pytest.mark.parametrize("verb", PROMPT_PRICES)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", LOST)
async def test_a_prompt_whose_reply_is_lost_is_never_sent_again(emulator, akool, verb, when, name):
    """A prompt has no natural guard: one POST, then OutcomeUnknownError(charged=None)."""
    emulator.faults.script(verb, LOST[name](when))
    with pytest.raises(OutcomeUnknownError) as caught:
        await getattr(akool, verb)("a fox")
    assert caught.value.charged is None
    assert emulator.ledger.requests == {verb: 1}
    assert emulator.ledger.charged == (PROMPT_PRICES[verb] if when == "after" else 0)


@pytest.mark.parametrize("verb", PROMPT_PRICES)
@pytest.mark.parametrize("name", PACED)
async def test_a_prompt_that_is_paced_is_sent_again(emulator, akool, verb, name):
    """A prompt that was refused for a pause is not accepted: it is sent again, and charged once."""
    emulator.faults.script(verb, PACED[name]())
    made = await getattr(akool, verb)("a fox")
    assert made
    assert emulator.ledger.requests == {verb: 2}
    assert emulator.ledger.charged == PROMPT_PRICES[verb]


@pytest.mark.parametrize("name", [*LOST, *PACED, "1108", "9"])
async def test_a_wait_survives_any_single_fault(emulator, akool, name):
    """One bad poll of any kind does not end a wait."""
    operation = await akool.vary(emulator.add_image(), 1)
    extra = {"1108": lambda: Fault.code(1108), "9": lambda: Fault.image_status(9)}
    fault = LOST[name]("before") if name in LOST else {**PACED, **extra}[name]()
    emulator.faults.script("get_image_result", fault)
    assert (await operation.wait_until_complete()).status == ImageStatus.COMPLETED
    assert emulator.ledger.charged == 2


async def test_a_wait_survives_a_mix_of_faults(emulator, akool):
    """Every other poll has a random fault, drawn with a seed, and every wait ends with its result."""
    faults = [Fault.reset(), Fault.status(502), Fault.html(), Fault.cut(), Fault.code(1108), Fault.image_status(9)]
    operations = [await akool.vary(emulator.add_image(), 1) for _ in range(20)]
    emulator.faults.rate(0.5, *faults, endpoints=["get_image_result"], seed=3)
    results = await asyncio.gather(*(operation.wait_until_complete() for operation in operations))
    assert {result.status for result in results} == {ImageStatus.COMPLETED}


@pytest.mark.parametrize("endpoint", ["get_credit", "get_image_result", "get_token"])
@pytest.mark.parametrize("name", LOST)
async def test_a_read_survives_any_single_fault(emulator, endpoint, name):
    """Reads and Get Token cost nothing and are repeated."""
    credentials = ClientCredentials(emulator.client_id, emulator.client_secret)
    async with AkoolSession(credentials, base_url=emulator.base_url, request_timeout=1.0) as akool:
        emulator.faults.script(endpoint, LOST[name]("before"))
        image_id = emulator.add_image()
        assert await akool.get_credit() == emulator.credits
        assert (await akool.get_image_result(image_id)).id == image_id
    assert emulator.ledger.charged == 0


@pytest.mark.parametrize("code", [1003, 1009, 1101, 1102, 1200])
async def test_a_wait_ends_immediately_after_a_permanent_error(emulator, akool, code):
    """Authentication, a ban, no permission, a wrong parameter: the wait ends after one poll, with the id."""
    operation = await akool.vary(emulator.add_image(), 1)
    emulator.faults.script("get_image_result", Fault.code(code))
    with pytest.raises(APIError) as caught:
        await operation.wait_until_complete()
    assert (caught.value.code, caught.value.operation_id) == (code, operation.id)
    assert emulator.ledger.requests["get_image_result"] == 1


async def test_used_buttons_may_lag_behind_the_press():
    """AKOOL accepts, the reply is lost, and the button is still offered at both reads: the second press is refused
    with 1010, which shows that AKOOL accepted the first. There is never a second charge.
    """
    async with Emulator(speed=200, used_buttons_lag=3600) as emulator:
        async with emulator.session(polling=FAST) as akool:
            source = emulator.add_image()
            emulator.faults.script("create_by_button", Fault.reset("after"))
            with pytest.raises(OutcomeUnknownError) as caught:
                await akool.upscale(source, 1)
        assert caught.value.charged is True
        assert emulator.ledger.presses_accepted == {(source, "U1"): 1}
        assert emulator.ledger.charged == 2


async def test_a_lag_with_repress_false_stays_unknown():
    """Without a second press it cannot be found out."""
    async with Emulator(speed=200, used_buttons_lag=3600) as emulator:
        async with emulator.session(resubmit_lost=False) as akool:
            emulator.faults.script("create_by_button", Fault.reset("after"))
            with pytest.raises(OutcomeUnknownError) as caught:
                await akool.upscale(emulator.add_image(), 1)
        assert caught.value.charged is None


async def test_a_button_that_is_neither_used_nor_offered_stays_unknown(emulator, akool):
    """A source image without the button shows nothing: charged=None, no second press."""
    source = emulator.add_image(buttons=["V1"])
    emulator.faults.script("create_by_button", Fault.reset("before"))
    with pytest.raises(OutcomeUnknownError) as caught:
        await akool.upscale(source, 1)
    assert caught.value.charged is None
    assert emulator.ledger.requests["create_by_button"] == 1


async def test_a_source_that_cannot_be_read_leaves_the_outcome_unknown(emulator, akool):
    """If reconciling fails permanently, the outcome is unknown, with charged=None."""
    emulator.faults.script("create_by_button", Fault.reset("after"))
    emulator.faults.script("get_image_result", Fault.code(1009))
    with pytest.raises(OutcomeUnknownError, match="1009") as caught:
        await akool.upscale(emulator.add_image(), 1)
    assert caught.value.charged is None
    assert emulator.ledger.charged == 2


async def test_a_press_lost_again_and_again_is_given_up(emulator, akool):
    """Three lost replies to presses that AKOOL did not accept end in an error, not in a loop."""
    emulator.faults.rate(1.0, Fault.status(502, "before"), endpoints=["create_by_button"])
    with pytest.raises(OutcomeUnknownError):
        await akool.upscale(emulator.add_image(), 1)
    assert emulator.ledger.requests["create_by_button"] == 3
    assert emulator.ledger.charged == 0


async def test_a_refusal_after_a_lost_reply_stays_in_doubt(emulator, akool):
    """Reply lost, not accepted, then refused for too little credit: the first POST still counts."""
    emulator.faults.script("create_by_button", Fault.reset("before"), Fault.code(1006))
    with pytest.raises(OutcomeUnknownError, match="1006") as caught:
        await akool.upscale(emulator.add_image(), 1)
    assert caught.value.charged is None


@pytest.mark.parametrize(("pressed", "charged"), [(True, True), (False, False)])
async def test_reconcile_by_hand(emulator, akool, pressed, charged):
    """session.reconcile finds the outcome of a press, later and in another process, and only sends reads."""
    source = emulator.add_image()
    if pressed:
        await akool.vary(source, 2)
    async with emulator.session() as other:
        assert await other.reconcile(source, "V2") is charged
    assert emulator.ledger.requests["create_by_button"] == int(pressed)


async def test_reconcile_returns_none_if_nothing_shows_the_outcome(emulator, akool):
    """A button that the source does not have is None; a source that does not exist is an error."""
    assert await akool.reconcile(emulator.add_image(buttons=["V1"]), "U1") is None
    with pytest.raises(AkoolError):
        await akool.reconcile("nowhere", "U1")


async def test_a_used_button_is_refused(emulator, akool):
    """Pressed by another program: 1010, one POST, nothing charged to us."""
    source = emulator.add_image()
    async with emulator.session() as other:
        await other.vary(source, 1)
    with pytest.raises(NotOperableError):
        await akool.vary(source, 1)
    assert emulator.ledger.charged == 2


async def test_1108_on_a_press_is_raised_and_can_be_pressed_later(emulator, akool):
    """1108 is a refusal, after which the caller may press again."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.code(1108))
    with pytest.raises(GenerationError):
        await akool.vary(source, 1)
    assert (await akool.vary(source, 1)).id


async def test_1101_mid_flight_is_renewed_on_a_press(emulator):
    """A token that ends during a press is renewed. AKOOL refused the first POST, so the second is no repetition."""
    credentials = ClientCredentials(emulator.client_id, emulator.client_secret)
    async with AkoolSession(credentials, base_url=emulator.base_url) as akool:
        source = emulator.add_image()
        emulator.faults.script("create_by_button", Fault.code(1101))
        await akool.vary(source, 1)
        emulator.faults.script("create_by_button", Fault.code(1101), Fault.code(1101))
        with pytest.raises(AuthenticationError):
            await akool.vary(source, 2)
    assert emulator.ledger.presses_accepted == {(source, "V1"): 1}
    assert emulator.ledger.requests["create_by_button"] == 4
