"""The emulator's account: authentication, the code of each refusal, and charges."""

import pytest

from akool_async.emulator import Emulator, Fault
from tests.support.bare import BUTTON, CREDIT, PROMPT, RESULT, SOURCE_PROMPT, TOKEN, emulated

TEXT_MODEL, SOURCE_MODEL = "wavespeed-ai/flux-krea-dev-lora", "wavespeed-ai/flux-kontext-dev"
PHOTO = "https://me.example/a.png"


@pytest.fixture
async def bare():
    async with emulated() as bare:
        yield bare


@pytest.fixture
def emulator(bare):
    return bare.emulator


async def test_used_buttons_can_lag():
    """With used_buttons_lag the button is offered for that long, and refused anyway."""
    async with emulated(used_buttons_lag=30) as bare:
        source = bare.emulator.add_image()
        await bare.press(source, "U1")
        assert (await bare.get_result(source))["used_buttons"] == []
        assert (await bare.press(source, "U1"))["code"] == 1010
        bare.emulator.advance(31)
        assert (await bare.get_result(source))["used_buttons"] == ["U1"]


async def test_every_code_has_its_cause(emulator, bare):
    """Wrong parameters, unknown ids, unfinished sources, upscales: each is refused with the documented code."""
    source = emulator.add_image()
    running = (await bare.post(BUTTON, _id=source, button="U4"))["data"]["_id"]
    refused = [
        (1003, await bare.post(BUTTON, button="U1")),
        (1003, await bare.post(BUTTON, _id=source, button="U5")),
        (1003, await bare.post(PROMPT)),
        (1003, await bare.post(PROMPT, prompt="a fox", scale="5:4")),
        (1003, await bare.post(PROMPT, prompt="a fox", scale="Original")),
        (1003, await bare.post(PROMPT, prompt="a fox", source_image="me.png")),
        (1003, await bare.post(SOURCE_PROMPT, prompt="a fox", batch_quantity=5)),
        (1003, await bare.post(SOURCE_PROMPT, prompt="a fox", resolution="8k")),
        (1003, await bare.post(SOURCE_PROMPT, prompt="a fox", source_images=["file:///me.png"])),
        (1003, await bare.post(SOURCE_PROMPT, prompt="a fox", source_images=["http://[::"])),
        (1003, await bare.post(SOURCE_PROMPT, prompt="a fox", similar=2)),
        (1003, await bare.post(SOURCE_PROMPT, prompt="a fox", similar="much")),
        (1003, await bare.post(SOURCE_PROMPT, prompt=["a fox"])),
        (1003, await bare.get(RESULT)),
        (1003, await bare.post(TOKEN, clientId="x")),
        (1008, await bare.post(BUTTON, _id="nowhere", button="U1")),
        (1008, await bare.get(RESULT, image_model_id="nowhere")),
        (1010, await bare.post(BUTTON, _id=running, button="U1")),
        (1101, await bare.post(TOKEN, clientId="x", clientSecret="y")),
    ]
    assert [reply["code"] for _, reply in refused] == [code for code, _ in refused]
    assert emulator.ledger.charged == 2


async def test_authentication(emulator, bare):
    """Key or token; Authorization wins; a wrong one is 1101, a missing one 1102; tokens expire."""
    token = (await bare.post(TOKEN, clientId=emulator.client_id, clientSecret=emulator.client_secret))["token"]
    key = emulator.api_key
    codes = []
    for headers in (
        {"x-api-key": key},
        {"Authorization": f"Bearer {token}"},
        {"x-api-key": "wrong"},
        {"Authorization": "Bearer wrong", "x-api-key": key},
        {},
    ):
        bare.headers = headers
        codes.append((await bare.get(CREDIT))["code"])
    assert codes == [1000, 1000, 1101, 1101, 1102]
    assert emulator.ledger.both_headers_sent == 1
    emulator.expire_tokens()
    bare.headers = {"Authorization": f"Bearer {token}"}
    assert (await bare.get(CREDIT))["code"] == 1101


async def test_tokens_live_as_long_as_token_lifetime():
    """token_lifetime expires a token by the clock."""
    async with emulated(token_lifetime=100) as bare:
        emulator = bare.emulator
        token = (await bare.post(TOKEN, clientId=emulator.client_id, clientSecret=emulator.client_secret))["token"]
        bare.headers = {"Authorization": f"Bearer {token}"}
        assert (await bare.get(CREDIT))["code"] == 1000
        emulator.advance(101)
        assert (await bare.get(CREDIT))["code"] == 1101


async def test_credits_and_plan_run_out():
    """A press costs 2. Without credit it is 1006, beyond the plan 1005 until a job ends, and nothing is charged."""
    async with emulated(credits=6, plan_concurrency=2) as bare:
        emulator = bare.emulator
        source = emulator.add_image()
        codes = [(await bare.press(source, button))["code"] for button in ("U1", "U2", "U3")]
        emulator.advance(60)
        codes += [(await bare.press(source, button))["code"] for button in ("U3", "U4")]
        assert codes == [1000, 1000, 1005, 1000, 1006]
        assert (await bare.get(CREDIT))["data"] == {"credit": 0}
        assert (emulator.credits, emulator.ledger.charged, emulator.ledger.accepted) == (0, 6, 3)
        assert (emulator.ledger.peak_upscales, emulator.ledger.peak_generations) == (2, 2)


async def test_a_plan_can_queue():
    """With plan_queues more jobs than the plan allows are accepted, and wait at status 1 until one ends."""
    async with emulated(plan_concurrency=2, plan_queues=True, queue_median_seconds=0) as bare:
        emulator, source = bare.emulator, bare.emulator.add_image()
        ids = [(await bare.press(source, button))["data"]["_id"] for button in ("U1", "V1", "V2", "V3")]
        ends = [emulator.ends_at(image_id) for image_id in ids]
        accepted = emulator.ledger.posts[0].time
        # U1 takes 39 s and V1 22.5; V2 follows V1, and V3 follows U1, which ends before V2.
        assert [round(end - accepted, 1) for end in ends] == [39.0, 22.5, 45.0, 61.5]
        emulator.advance(20)
        assert [(await bare.get_result(image_id))["image_status"] for image_id in ids] == [2, 2, 1, 1]
        emulator.advance(20)
        assert [(await bare.get_result(image_id))["image_status"] for image_id in ids] == [3, 3, 2, 2]


async def test_a_stuck_job_keeps_its_slot_in_the_plan():
    """A job that queues behind a stuck one never begins."""
    async with emulated(plan_concurrency=1, plan_queues=True) as bare:
        source = bare.emulator.add_image()
        bare.emulator.faults.script("create_by_button", Fault.stuck())
        ids = [(await bare.press(source, button))["data"]["_id"] for button in ("V1", "V2")]
        bare.emulator.advance(86_400)
        assert [(await bare.get_result(image_id))["image_status"] for image_id in ids] == [2, 1]


async def test_a_used_button_is_refused_with_the_given_codes():
    """Used buttons are refused with 1010, 1011, or both in turn. A button that never existed is always 1010."""
    async with emulated(used_button_codes=(1011, 1010)) as bare:
        source = bare.emulator.add_image(buttons=["U1"])
        codes = [(await bare.press(source, button))["code"] for button in ("U1", "U1", "U1", "U1", "U2")]
        assert codes == [1000, 1011, 1010, 1011, 1010]
        assert bare.emulator.ledger.charged == 2


async def test_a_missing_image_can_be_1014():
    """With not_found_code=1014 a press and a read of an unknown image both return that code."""
    async with emulated(not_found_code=1014) as bare:
        assert (await bare.press("nowhere", "U1"))["code"] == 1014
        assert (await bare.get(RESULT, image_model_id="nowhere"))["code"] == 1014


@pytest.mark.parametrize(
    ("state", "spending", "reading"),
    [("unpaid", 1103, 1000), ("unverified", 1004, 1000), ("missing", 1109, 1109), ("banned", 1200, 1200)],
)
async def test_accounts_in_other_states_are_refused(emulator, bare, state, spending, reading):
    """Unpaid and unverified accounts cannot spend, missing and banned ones can do nothing; `active` works again."""
    source = emulator.add_image()
    emulator.account_state = state
    for path, body in (
        (BUTTON, {"_id": source, "button": "U1"}),
        (PROMPT, {"prompt": "a fox"}),
        (SOURCE_PROMPT, {"prompt": "a fox"}),
    ):
        assert (await bare.post(path, **body))["code"] == spending
    assert (await bare.get(RESULT, image_model_id=source))["code"] == reading
    pair = {"clientId": emulator.client_id, "clientSecret": emulator.client_secret}
    assert (await bare.post(TOKEN, **pair))["code"] == reading
    assert emulator.ledger.charged == 0
    assert (await bare.get_result(source) or {}).get("used_buttons", []) == []
    emulator.account_state = "active"
    assert (await bare.press(source, "U1"))["code"] == 1000


async def test_a_client_id_is_no_key(emulator, bare):
    """A client id sent as the API key is refused as an account that does not exist: 1109."""
    bare.headers = {"x-api-key": emulator.client_id}
    assert (await bare.get(CREDIT))["code"] == 1109


async def test_v4_knows_two_models(emulator, bare):
    """An unknown model, and one that needs pictures without any, are 1003 with the reason."""
    unknown = await bare.post(SOURCE_PROMPT, prompt="a fox", model_name="flux-dev")
    assert unknown["code"] == 1003
    assert TEXT_MODEL in unknown["msg"]
    assert SOURCE_MODEL in unknown["msg"]
    without = await bare.post(SOURCE_PROMPT, prompt="a fox", model_name=SOURCE_MODEL)
    assert without["code"] == 1003
    assert "source_images" in without["msg"]
    assert emulator.ledger.charged == 0


async def test_v4_reports_its_model_and_task(bare):
    """Each image of a v4 reply has a separate task_id and the chosen model; a press has neither."""
    text = await bare.post(SOURCE_PROMPT, prompt="a fox", batch_quantity=2)
    sourced = await bare.post(SOURCE_PROMPT, prompt="a fox", source_images=[PHOTO], scale="Original")
    asked = await bare.post(SOURCE_PROMPT, prompt="a fox", source_images=[PHOTO], model_name=TEXT_MODEL)
    assert [image["model_name"] for image in text["data"]] == [TEXT_MODEL] * 2
    assert len({image["task_id"] for image in text["data"]}) == 2
    assert (sourced["data"]["model_name"], asked["data"]["model_name"]) == (SOURCE_MODEL, TEXT_MODEL)
    done = await bare.finished(sourced)
    assert (done["model_name"], done["task_id"]) == (SOURCE_MODEL, sourced["data"]["task_id"])
    pressed = await bare.press(done["_id"], "V1")
    assert not pressed["data"].keys() & {"task_id", "model_name"}


async def test_prices_are_those_of_october_2026(emulator, bare):
    """A prompt or a press costs 2, "4k" 4 and "1080p" 3 for each image of a batch. The ledger has it for each POST."""
    source = emulator.add_image()
    replies = [
        await bare.post(PROMPT, prompt="a fox"),
        await bare.press(source, "U1"),
        await bare.press(source, "V1"),
        await bare.post(SOURCE_PROMPT, prompt="a fox"),
        await bare.post(SOURCE_PROMPT, prompt="a fox", resolution="1080p", batch_quantity=3),
        await bare.post(SOURCE_PROMPT, prompt="a fox", resolution="8k"),
    ]
    assert [post.charged for post in emulator.ledger.posts] == [2, 2, 2, 4, 9, 0]
    assert [reply["data"]["deduction_credit"] for reply in replies[:4]] == [2, 2, 2, 4]
    assert [image["deduction_credit"] for image in replies[4]["data"]] == [3, 3, 3]
    assert emulator.ledger.charged == 19
    assert emulator.credits == 10_000 - 19


async def test_prices_change_while_it_serves(emulator, bare):
    """Accepted jobs keep their price, and later ones have the new price, also when the credit runs out."""
    source = emulator.add_image()
    first = await bare.press(source, "U1")
    emulator.prices["upscale"] = 4
    second = await bare.press(source, "U2")
    emulator.prices["upscale"] = 10_000
    assert (await bare.press(source, "U3"))["code"] == 1006
    assert [(await bare.finished(reply))["deduction_credit"] for reply in (first, second)] == [2, 4]
    assert emulator.ledger.charged == 6


async def test_prices_can_be_given():
    """prices= changes the kinds that it names and no others."""
    async with emulated(prices={"upscale": 4, "1080p": 1}) as bare:
        source = bare.emulator.add_image()
        await bare.press(source, "U1")
        await bare.press(source, "V1")
        await bare.post(SOURCE_PROMPT, prompt="a fox", resolution="1080p")
        assert [post.charged for post in bare.emulator.ledger.posts] == [4, 2, 1]


async def test_replies_can_report_less_than_is_charged():
    """Every reply has reported_prices. The balance and the ledger have the charges."""
    async with emulated(prices={"upscale": 4}, reported_prices={"upscale": 1}) as bare:
        emulator = bare.emulator
        source = emulator.add_image()
        first = await bare.press(source, "U1")
        assert (first["data"]["deduction_credit"], (await bare.finished(first))["deduction_credit"]) == (1, 1)
        del emulator.reported_prices["upscale"]
        assert (await bare.press(source, "U2"))["data"]["deduction_credit"] == 4
        assert (emulator.ledger.charged, (await bare.get(CREDIT))["data"]["credit"]) == (8, 9_992)


@pytest.mark.parametrize("reported", [0, -2, 1.5, "4", None])
async def test_one_reply_can_report_anything(emulator, bare, reported):
    """A fault changes the deduction_credit of one reply: 0 in the POST's, and the price in the result."""
    emulator.faults.script("create_by_button", Fault.deduction_credit(reported))
    pressed = await bare.press(emulator.add_image(), "U1")
    assert pressed["data"]["deduction_credit"] == reported
    assert (await bare.finished(pressed))["deduction_credit"] == 2
    assert emulator.ledger.posts[0].charged == emulator.ledger.charged == 2


async def test_a_misreported_price_reaches_each_image_of_a_batch(emulator, bare):
    """The fault fits results and batches as well as single replies, and no other endpoint of a rate."""
    emulator.faults.rate(1.0, Fault.deduction_credit(1))
    batch = await bare.post(SOURCE_PROMPT, prompt="a fox", batch_quantity=2)
    assert [image["deduction_credit"] for image in batch["data"]] == [1, 1]
    assert (await bare.get_result(batch["data"][0]["_id"]))["deduction_credit"] == 1
    assert (await bare.get(CREDIT))["data"] == {"credit": 9_992}


async def test_another_program_spends_on_the_account(emulator, bare):
    """It shows in the balance and in a separate counter, and not in the accepted jobs."""
    await bare.press(emulator.add_image(), "V1")
    emulator.spend_elsewhere(3)
    ledger = emulator.ledger
    assert (await bare.get(CREDIT))["data"] == {"credit": 9_995}
    assert (ledger.charged, ledger.spent_elsewhere, ledger.accepted, len(ledger.posts)) == (2, 3, 1, 1)
    emulator.spend_elsewhere(9_995)
    assert (await bare.press(emulator.add_image(), "V1"))["code"] == 1006


async def test_a_lost_reply_is_charged_in_the_ledger(emulator, bare):
    """The ledger has a POST's charge even if its reply was lost, and 0 if it was never accepted."""
    emulator.faults.script("create_by_button", Fault.status(502, "after"), Fault.status(502, "before"))
    source = emulator.add_image()
    for button in ("U1", "U2"):
        with pytest.raises(ValueError, match="Expecting value"):
            await bare.press(source, button)
    assert [(post.charged, post.code) for post in emulator.ledger.posts] == [(2, 1000), (0, None)]


def test_the_state_of_the_account_can_be_read():
    """account_state returns what was set, and active by default."""
    emulator = Emulator()
    assert emulator.account_state == "active"
    emulator.account_state = "banned"
    assert emulator.account_state == "banned"
