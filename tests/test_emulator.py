"""The emulator against the facts, with a bare HTTP client that shares no code with the library."""

import asyncio
import json
import math
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import datetime

import aiohttp
import pytest
from PIL import ImageChops, ImageStat

from akool_async.emulator import Emulator, Fault
from tests.support.bare import BUTTON, CREDIT, PROMPT, RESULT, SOURCE_PROMPT, emulated
from tests.support.examples import (
    CREATE_BY_BUTTON_REPLY,
    CREATE_BY_PROMPT_REPLY,
    GET_IMAGE_RESULT_REPLY,
    JPEG_RESULT_REPLY,
    SOURCE_PROMPT_REPLY,
)

pytest_plugins = ["akool_async.emulator.pytest_plugin"]

ALL = ["U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4"]


@pytest.fixture
async def bare():
    async with emulated() as bare:
        yield bare


@pytest.fixture
def emulator(bare):
    return bare.emulator


async def test_replies_have_the_documented_fields(emulator, bare):
    """The emulator has the fields of the documented and of the observed replies, with the same types."""
    made = await bare.post(PROMPT, prompt="a fox", source_image="https://me.example/a.png")
    assert made.keys() == CREATE_BY_PROMPT_REPLY.keys()
    assert CREATE_BY_PROMPT_REPLY["data"].keys() <= made["data"].keys()
    done = await bare.finished(made)
    assert GET_IMAGE_RESULT_REPLY["data"].keys() <= done.keys()
    drawn = (await bare.post(SOURCE_PROMPT, prompt="a fox", scale="3:4"))["data"]
    pressed = await bare.post(BUTTON, _id=done["_id"], button="U2")
    assert pressed["data"].keys() == CREATE_BY_BUTTON_REPLY["data"].keys()
    for example, reply in (
        (CREATE_BY_PROMPT_REPLY, made["data"]),
        (CREATE_BY_BUTTON_REPLY, pressed["data"]),
        (SOURCE_PROMPT_REPLY, drawn),
        (JPEG_RESULT_REPLY, done),
    ):
        assert {name: type(value) for name, value in example["data"].items()} == {
            name: type(reply[name]) for name in example["data"]
        }


async def test_statuses_follow_the_clock(emulator, bare):
    """All jobs queue for 3 s. Then a prompt takes 30 s, a variation 0.75 and an upscale 1.3 times as long: 1, 2, 3."""
    source = emulator.add_image()
    ids = [
        (await bare.post(PROMPT, prompt="a fox"))["data"]["_id"],
        *[(await bare.post(BUTTON, _id=source, button=button))["data"]["_id"] for button in ("V1", "U1")],
    ]
    seen = []
    for step in (0, 1.5, 4, 18, 3, 5, 4, 5, 3):  # 0, 1.5, 5.5, 23.5, 26.5, 31.5, 35.5, 40.5, 43.5 s after the press
        emulator.advance(step)
        seen.append([(await bare.get_result(image_id))["image_status"] for image_id in ids])
    assert seen[:4] == [[1, 1, 1], [1, 1, 1], [2, 2, 2], [2, 2, 2]]
    assert seen[4:] == [[2, 3, 2], [2, 3, 2], [3, 3, 2], [3, 3, 2], [3, 3, 3]]


async def test_a_button_moves_and_works_once(emulator, bare):
    """A press moves the button to used_buttons. Pressing it again, or pressing one that is not offered, is 1010."""
    source = emulator.add_image(buttons=["U1", "V1"])
    assert (await bare.post(BUTTON, _id=source, button="U1"))["code"] == 1000
    shown = await bare.get_result(source)
    assert (shown["buttons"], shown["used_buttons"]) == (["V1"], ["U1"])
    assert (await bare.post(BUTTON, _id=source, button="U1"))["code"] == 1010
    assert (await bare.post(BUTTON, _id=source, button="U2"))["code"] == 1010
    assert emulator.ledger.presses_accepted == {(source, "U1"): 1}
    assert emulator.ledger.pressed_twice() == []


async def test_a_batch_is_a_list(emulator, bare):
    """v4 answers one image as an object, several as a list, each for 4 credits."""
    one = await bare.post(SOURCE_PROMPT, prompt="a fox")
    three = await bare.post(SOURCE_PROMPT, prompt="foxes", batch_quantity=3, webhookurl="https://me.example/")
    assert one["data"]["image_status"] == 1
    assert len({image["_id"] for image in three["data"]}) == 3
    assert emulator.ledger.charged == 16


async def test_results_are_gone_after_seven_days(emulator, bare):
    """On the eighth day the image is 1008 and its pictures are 404."""
    source = emulator.add_image()
    url = (await bare.get_result(source))["image"]
    emulator.advance(7 * 86_400 + 1)
    assert (await bare.get(RESULT, image_model_id=source))["code"] == 1008
    async with bare.http.get(url) as response:
        assert response.status == 404


async def test_pictures_are_real_and_distinguishable(emulator, bare):
    """Four different singles, their 2x2 grid, and an upscale in 4K that shows the same as its single."""
    source = emulator.add_image()
    shown = await bare.get_result(source)
    singles = [await bare.picture(url) for url in shown["upscaled_urls"]]
    grid = await bare.picture(shown["image"])
    width, height = singles[0].size
    assert grid.size == (2 * width, 2 * height)
    for number, single in enumerate(singles):
        corner = (width * (number % 2), height * (number // 2))
        assert difference(grid.crop((*corner, corner[0] + width, corner[1] + height)), single) < 1
    assert min(difference(a, b) for a in singles for b in singles if a is not b) > 1
    pressed = await bare.post(BUTTON, _id=source, button="U3")
    upscale = await bare.picture((await bare.finished(pressed))["image"])
    assert max(upscale.size) == 3840
    near = [difference(upscale.resize(single.size), single) for single in singles]
    assert near.index(min(near)) == 2
    assert shown["image"].startswith(emulator.pictures_url)
    assert not shown["image"].startswith(emulator.base_url)


def difference(one, other):
    return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean)


async def test_scale_shapes_the_pictures(emulator, bare):
    """A 16:9 prompt has 16:9 pictures."""
    done = await bare.finished(await bare.post(PROMPT, prompt="a fox", scale="16:9"))
    width, height = (await bare.picture(done["upscaled_urls"][0])).size
    assert width * 9 == height * 16


@pytest.mark.parametrize(
    ("options", "suffix", "begins"), [({}, ".jpeg", b"\xff\xd8\xff"), ({"picture_format": "png"}, ".png", b"\x89PNG")]
)
async def test_pictures_are_jpeg_or_png(options, suffix, begins):
    """Names, content types and bytes agree: JPEG, as AKOOL's are, or PNG on request."""
    async with emulated(**options) as bare:
        source = bare.emulator.add_image()
        for url in (
            *(await bare.get_result(source))["upscaled_urls"],
            (await bare.finished(await bare.press(source, "U1")))["image"],
        ):
            async with bare.http.get(url) as response:
                assert url.endswith(suffix)
                assert response.content_type == f"image/{suffix[1:]}"
                assert (await response.read()).startswith(begins)


@pytest.mark.parametrize(("resolution", "size"), [("4k", (1152, 1536)), ("1080p", (864, 1152))])
async def test_the_resolution_is_what_akool_makes_of_it(bare, resolution, size):
    """The grids of both resolutions have the sizes observed at 3:4."""
    made = await bare.post(SOURCE_PROMPT, prompt="a fox", resolution=resolution, scale="3:4")
    assert (await bare.picture((await bare.finished(made))["image"])).size == size


async def test_a_picture_has_one_address(emulator, bare):
    """A name that differs from a picture's in time, number or suffix is 404, and so is any other name."""
    url = (await bare.get_result(emulator.add_image()))["image"]
    folder, _, name = url.rpartition("/")
    milliseconds, rest = name.split("-", 1)
    wrong = [
        f"{int(milliseconds) + 1}-{rest}",
        name.replace("-8010.", "-8015."),
        name.replace(".jpeg", ".png"),
        name[1:],
        "0.jpeg",
        f"{milliseconds}-{'0' * 36}-8010.jpeg",
    ]
    statuses = []
    for other in wrong:
        async with bare.http.get(f"{folder}/{other}") as response:
            statuses.append(response.status)
    assert statuses == [404] * len(wrong)


async def test_faults_of_a_job(emulator, bare):
    """A stuck job stays at 2, a failing one ends at 4 with its reason, and late URLs come after the status."""
    source = emulator.add_image()
    emulator.faults.script("create_by_button", Fault.stuck(), Fault.fails(reason="too dark"), Fault.late_urls(5))
    stuck, fails, late = [await bare.post(BUTTON, _id=source, button=button) for button in ("V1", "V2", "V3")]
    emulator.advance(25)
    while (await bare.get_result(late["data"]["_id"]))["image_status"] != 3:
        emulator.advance(0.1)
    assert "image" not in await bare.get_result(late["data"]["_id"])
    emulator.advance(6)
    assert len((await bare.get_result(late["data"]["_id"]))["upscaled_urls"]) == 4
    failed = await bare.get_result(fails["data"]["_id"])
    assert (failed["image_status"], failed["error_reasons"]) == (4, "too dark")
    emulator.advance(86_400)
    assert (await bare.get_result(stuck["data"]["_id"]))["image_status"] == 2


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["reset", "cut", "empty", "html"])
async def test_a_faulty_reply_was_accepted_after_or_not_before(emulator, bare, kind, when):
    """`before` leaves no trace, and `after` accepts and charges. Only the ledger shows it, not the reply."""
    emulator.faults.script("create_by_button", getattr(Fault, kind)(when))
    source = emulator.add_image()
    with pytest.raises((aiohttp.ClientError, ValueError)):
        await bare.post(BUTTON, _id=source, button="U1")
    (post,) = emulator.ledger.posts
    assert (post.image_id, post.button, post.fault) == (source, "U1", f"{kind} {when}")
    assert post.code == (1000 if when == "after" else None)
    assert emulator.ledger.charged == (2 if when == "after" else 0)


async def test_scripts_run_in_order_and_rates_by_their_seed(emulator, bare):
    """None in a script means no fault. The same seed draws the same requests."""
    emulator.faults.script("get_credit", None, Fault.code(1108), None)
    assert [(await bare.get(CREDIT))["code"] for _ in range(4)] == [1000, 1108, 1000, 1000]
    drawn = []
    for _ in range(2):
        emulator.faults.rate(0.3, Fault.code(1005), Fault.code(1108), endpoints=["get_credit"], seed=5)
        drawn.append([(await bare.get(CREDIT))["code"] for _ in range(40)])
        emulator.faults.clear()
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {1000, 1005, 1108}


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda faults: faults.script("nowhere", Fault.reset()), "endpoint"),
        (lambda faults: faults.script("get_credit", Fault.stuck()), "does not fit"),
        (lambda faults: faults.script("get_credit", "reset"), "constructors"),
        (lambda faults: faults.rate(2.0, Fault.reset()), "probability"),
        (lambda faults: faults.rate(0.5), "faults"),
        (lambda _: Fault.reset("never"), "when"),
        (lambda faults: faults.script("get_credit", Fault.deduction_credit(0)), "does not fit"),
        (lambda _: Emulator(speed=0), "speed"),
        (lambda _: Emulator(host="0.0.0.0"), "host"),
        (lambda _: Emulator(failure_rate=2), "failure_rate"),
        (lambda _: Emulator(queue_median_seconds=-1), "queue_median_seconds"),
        (lambda _: Emulator(queue_sigma=math.inf), "queue_sigma"),
        (lambda _: Emulator(plan_queues="yes"), "plan_queues"),
        (lambda _: Emulator(used_button_codes=(1009,)), "used_button_codes"),
        (lambda _: Emulator(used_button_codes=()), "used_button_codes"),
        (lambda _: Emulator(not_found_code=404), "not_found_code"),
        (lambda _: Emulator(picture_format="gif"), "picture_format"),
        (lambda _: Emulator(clock_skew=math.nan), "clock_skew"),
        (lambda _: Emulator(prices={"upscal": 4}), "kind of a price"),
        (lambda _: Emulator(reported_prices={"4k": 0.5}), "price of 4k"),
        (lambda _: Emulator().prices.update(upscale=-1), "price of upscale"),
        (lambda _: setattr(Emulator(), "account_state", "broke"), "account_state"),
        (lambda _: Emulator(credits=5).spend_elsewhere(6), "credits"),
        (lambda _: Emulator().spend_elsewhere(-1), "credits"),
        (lambda _: Emulator().advance(-1), "seconds"),
        (lambda _: Emulator().add_image(buttons=["U9"]), "buttons"),
        (lambda _: Emulator().ends_at("nowhere"), "image_id"),
        (lambda _: Fault("rest"), "kind must be one of"),
        (lambda _: Fault.huge(-1), "number of a huge fault"),
        (lambda _: Fault.slow(math.nan), "number of a slow fault"),
        (lambda _: Fault.status(200), "status must be an HTTP error"),
        (lambda _: Fault.throttle(-1), "retry_after must be at least 0"),
        (lambda _: Fault.throttle(datetime(2026, 10, 1)), "aware datetime"),  # noqa: DTZ001 - the bad argument
    ],
)
def test_a_script_that_makes_no_sense_is_refused(mistake, message):
    """A typo in a test raises an error, instead of causing no fault."""
    with pytest.raises(ValueError, match=message):
        mistake(Emulator().faults)


async def test_stopping_does_not_wait_for_stalled_replies(emulator, bare):
    """An emulator with endless replies stops immediately and cleanly."""
    emulator.faults.script("get_credit", Fault.stall(), Fault.slow(3600))
    hanging = [asyncio.create_task(bare.get(CREDIT)) for _ in range(2)]
    await emulator.ledger.until(lambda ledger: ledger.requests["get_credit"] >= 2)
    await emulator.__aexit__(None, None, None)
    outcomes = await asyncio.gather(*hanging, return_exceptions=True)
    assert isinstance(outcomes[0], Exception)


def test_the_fixture_serves_synchronous_tests(akool_emulator):
    """akool_emulator runs in a separate thread, so that a blocking client in the test's thread can use it."""
    request = urllib.request.Request(
        f"{akool_emulator.base_url}{RESULT}?image_model_id={akool_emulator.add_image()}",
        headers={"x-api-key": akool_emulator.api_key},
    )
    with urllib.request.urlopen(request) as response:
        assert json.load(response)["data"]["buttons"] == ALL
    assert akool_emulator.ledger.requests["get_image_result"] == 1
    assert akool_emulator.api_key not in repr(akool_emulator)


def test_a_thread_is_gone_when_its_emulator_is():
    """After the with block the port is closed."""
    with Emulator() as emulator:
        base_url = emulator.base_url
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(base_url)


async def test_a_body_without_an_end_goes_on_until_its_reader_leaves(emulator, bare):
    """Far more bytes come than AKOOL ever sends, until the reader has gone or the emulator is stopped."""
    emulator.faults.script("get_credit", Fault.endless(), Fault.endless())
    async with bare.http.get(emulator.base_url + CREDIT, headers=bare.headers) as response:
        assert response.content_length is None
        await response.content.readexactly(2**20)
        response.close()
    async with bare.http.get(emulator.base_url + CREDIT, headers=bare.headers) as response:
        await response.content.readexactly(2**20)
        rest = asyncio.create_task(read_to_its_end(response))
        await emulator.__aexit__(None, None, None)
        assert await rest > 0


async def read_to_its_end(response):
    """Return the number of bytes that arrive, however the reply ends."""
    size = 0
    with suppress(aiohttp.ClientError):
        async for chunk in response.content.iter_any():
            size += len(chunk)
    return size


async def test_a_fault_that_has_nothing_to_change_leaves_the_reply(emulator, bare):
    """A refusal has no image that could be mixed up."""
    emulator.faults.script("get_image_result", Fault.other_image())
    assert (await bare.get(RESULT, image_model_id="nowhere"))["code"] == 1008


async def test_a_slow_request_is_served_all_the_same(emulator, bare):
    """A client that waits gets its reply, late."""
    emulator.faults.script("get_credit", Fault.slow(0.01))
    assert (await bare.get(CREDIT))["data"]["credit"] == emulator.credits


async def test_other_requests_to_the_pictures_host(emulator, bare):
    """A key that is sent to the pictures is counted, a range beyond the end is 416, and an upscale has one picture."""
    upscale = await bare.finished(await bare.press(emulator.add_image(), "U1"))
    for headers, status in ((bare.headers, 200), ({"Range": "bytes=100000000-"}, 416)):
        async with bare.http.get(upscale["image"], headers=headers) as response:
            assert response.status == status
    assert emulator.ledger.pictures_with_key == 1
    async with bare.http.get(upscale["image"].replace("-8010.", "-8011.")) as response:
        assert response.status == 404


def test_the_clock_can_be_moved_before_the_emulator_serves():
    """advance() before the start moves the clock that serves later."""
    emulator = Emulator(sigma=0, queue_sigma=0)
    image_id = emulator.add_image()
    ended = emulator.ends_at(image_id)
    emulator.advance(3600)
    assert emulator.ends_at(image_id) == ended
    with emulator:
        assert emulator.ends_at(emulator.add_image()) >= ended + 3600


async def test_an_emulator_serves_once(emulator):
    """Entering it again would start a second service with the first one's account."""
    with pytest.raises(RuntimeError, match="already serves"):
        await emulator.__aenter__()
    with pytest.raises(RuntimeError, match="already serves"):
        emulator.__enter__()


async def test_a_port_that_is_taken_leaves_nothing_behind(emulator):
    """Neither a thread nor a server remains, and the other emulator on the port continues."""
    port = int(emulator.base_url.rpartition(":")[2])
    other = Emulator(port=port)
    for _ in range(2):
        with pytest.raises(OSError, match="address"):
            await asyncio.to_thread(other.__enter__)
    with pytest.raises(OSError, match="address"):
        await other.__aenter__()
    assert not [thread for thread in threading.enumerate() if thread.name == "akool-emulator"]


async def test_leaving_an_emulator_twice_does_no_harm():
    """A second exit does nothing, in a thread or in an event loop."""
    with Emulator() as emulator:
        emulator.__exit__(None, None, None)
    async with Emulator() as emulator:
        await emulator.__aexit__(None, None, None)
