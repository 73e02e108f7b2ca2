"""Times in the emulator's replies: ids, create_time, names of files, and durations of jobs."""

import re
import statistics
import time

import pytest
from aiohttp import web

from tests.support.bare import PROMPT, emulated
from tests.support.examples import DURATIONS_OF_2026
from tests.support.receivers import serve_aiohttp

NAME = re.compile(r"(\d{13})-[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}-\d{4}\.(?:jpeg|png)")


def stored_at(url):
    """Return the epoch milliseconds at the beginning of a result's file name."""
    return int(NAME.fullmatch(url.rpartition("/")[2])[1])


@pytest.mark.parametrize(("name", "created", "seconds"), [(name, *job) for name, job in DURATIONS_OF_2026.items()])
def test_names_are_read_as_akools_are(name, created, seconds):
    """The names of AKOOL's own files have the form that these tests require of the emulator's."""
    assert (stored_at(f"https://example.invalid/{name}") - created) / 1000 == seconds


async def test_a_result_shows_how_long_it_took():
    """The times of the id and of the file differ by the job's duration, by the clock of create_time."""
    async with emulated() as bare:
        pressed = await bare.press(bare.emulator.add_image(), "V1")
        done = await bare.finished(pressed)
        created = done["create_time"]
        assert created == pressed["data"]["create_time"]
        assert int(done["_id"][:8], 16) == created // 1000
        assert {stored_at(url) - created for url in (done["image"], *done["upscaled_urls"])} <= {25_499, 25_500, 25_501}
        assert abs(stored_at(done["image"]) / 1000 - bare.emulator.ends_at(done["_id"])) < 0.001


async def test_times_are_real_ones_at_any_speed():
    """At any speed, the times of acceptance and storage are those of the wall clock."""
    async with emulated(speed=500) as bare:
        before = time.time() * 1000
        pressed = await bare.press(bare.emulator.add_image(), "U1")
        accepted = time.time() * 1000
        last_unfinished, done = accepted, None
        while done is None:
            asked = time.time() * 1000
            shown = await bare.get_result(pressed["data"]["_id"])
            if shown["image_status"] == 3:
                done = shown
            else:
                last_unfinished = asked
        assert before - 2 <= done["create_time"] <= accepted + 2
        assert last_unfinished - 2 <= stored_at(done["image"]) <= time.time() * 1000 + 2
        assert 80 <= stored_at(done["image"]) - done["create_time"] <= 88  # 42 s, 500 times faster


async def test_an_added_image_took_its_time_too():
    """An image that was added for free has a duration as well, and is new."""
    async with emulated() as bare:
        shown = await bare.get_result(bare.emulator.add_image())
        assert stored_at(shown["image"]) - shown["create_time"] in {32_999, 33_000, 33_001}
        assert abs(stored_at(shown["image"]) - time.time() * 1000) < 60_000


@pytest.mark.parametrize("skew", [3600, -90.5])
async def test_akools_clock_can_differ_from_ours(skew):
    """clock_skew moves the times in ids, replies, file names and webhooks equally, and changes no duration."""
    arrived = []

    async def handle(request):
        arrived.append(await request.json())
        return web.Response()

    async with (
        emulated(clock_skew=skew, speed=500) as bare,
        serve_aiohttp(lambda app: app.router.add_post("/", handle)) as address,
    ):
        made = await bare.post(PROMPT, prompt="a fox", webhookUrl=f"{address}/")
        while not arrived:
            done = await bare.get_result(made["data"]["_id"])
        done = await bare.get_result(made["data"]["_id"])
        now = (time.time() + skew) * 1000
        for shown in (int(done["_id"][:8], 16) * 1000, done["create_time"], arrived[0]["timestamp"]):
            assert abs(shown - now) < 60_000
        assert 60 <= stored_at(done["image"]) - done["create_time"] <= 72


async def test_ids_are_new_in_every_run():
    """Ids count up. Another emulator with the same seed has other ids, and the same keys and durations."""
    runs = []
    for _ in range(2):
        async with emulated(seed=7, sigma=0.3) as bare:
            source = bare.emulator.add_image()
            ids = [source, *[(await bare.press(source, button))["data"]["_id"] for button in ("U1", "U2", "V1")]]
            durations = [
                round(bare.emulator.ends_at(post.new_ids[0]) - post.time, 1) for post in bare.emulator.ledger.posts
            ]
            runs.append((ids, durations, bare.emulator.api_key))
    (ids, durations, key), (other_ids, other_durations, other_key) = runs
    assert all(re.fullmatch(r"[\da-f]{24}", image_id) for image_id in ids)
    assert len({image_id[8:18] for image_id in ids}) == 1
    counts = [int(image_id[18:], 16) for image_id in ids]
    assert [(count - counts[0]) % 2**24 for count in counts] == [0, 1, 2, 3]
    assert not {image_id[8:18] for image_id in ids} & {image_id[8:18] for image_id in other_ids}
    assert (durations, key) == (other_durations, other_key)


async def test_jobs_take_as_long_as_akools():
    """At speed 1 most jobs take 20-60 s, an upscale longer than a variation, and the queue takes a small part."""
    async with emulated(sigma=0.25, queue_sigma=0.5) as bare:
        ends = {"U": [], "V": []}
        for source in (bare.emulator.add_image() for _ in range(40)):
            for button in ("U1", "V1"):
                pressed = (await bare.press(source, button))["data"]
                ends[button[0]].append(bare.emulator.ends_at(pressed["_id"]) - pressed["create_time"] / 1000)
        upscale, variation = map(statistics.median, ends.values())
        assert 20 <= variation < upscale <= 60
        assert sum(20 <= seconds <= 60 for seconds in [*ends["U"], *ends["V"]]) >= 64
        bare.emulator.advance(10)
        statuses = [(await bare.get_result(post.new_ids[0]))["image_status"] for post in bare.emulator.ledger.posts]
        assert statuses.count(1) <= 5


async def test_both_phases_can_be_chosen():
    """The queue and the work have separate durations. The POST's reply has status 1 even without a queue."""
    async with emulated(queue_median_seconds=100, median_seconds=10) as long, emulated(queue_median_seconds=0) as short:
        queueing = (await long.press(long.emulator.add_image(), "V1"))["data"]["_id"]
        straight = (await short.press(short.emulator.add_image(), "V1"))["data"]
        assert straight["image_status"] == 1
        assert (await short.get_result(straight["_id"]))["image_status"] == 2
        long.emulator.advance(99)
        assert (await long.get_result(queueing))["image_status"] == 1
        long.emulator.advance(5)
        assert (await long.get_result(queueing))["image_status"] == 2
        long.emulator.advance(5)
        assert (await long.get_result(queueing))["image_status"] == 3
