"""The values that users handle."""

import pickle
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from akool_async import AkoolSession, Button, ButtonPress, ImageResult, ImageStatus, Outcome
from tests.support.examples import GET_IMAGE_RESULT_REPLY, JPEG_RESULT_REPLY, SOURCE_PROMPT_REPLY
from tests.support.scripted import KEY, scripted_server


def test_kinds_of_buttons():
    """U1-U4 are upscales, V1-V4 variations, and a button equals its name."""
    assert [button for button in Button if button.is_upscale] == ["U1", "U2", "U3", "U4"]
    assert (Button.upscale(3), Button.vary(4), Button.parse("V1")) == (Button.U3, Button.V4, Button.V1)


@pytest.mark.parametrize("value", ["U5", "u2", "", None, 2])
def test_a_button_that_does_not_exist_is_named(value):
    """The error lists the eight buttons."""
    with pytest.raises(ValueError, match=r"^button must be one of U1, U2.*V4, not"):
        Button.parse(value)


def test_urls_are_single_images_first_each_once_grid_last():
    """Urls drops repeats and has the grid last; external_img is used only if there is no other."""
    result = ImageResult(id="a", upscaled_urls=("1", "2"), images=("2", "3"), image="grid", external_img="x")
    assert result.urls == ("1", "2", "3", "grid")
    assert ImageResult(id="a", image="one", upscaled_urls=("one",)).urls == ("one",)
    assert ImageResult(id="a", external_img="x").urls == ("x",)
    assert ImageResult(id="a").urls == ()


STORED = datetime(2024, 4, 25, 8, 14, 52, 336000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "moment"),
    [
        ({"image": "https://a.example/1714032892336-e0ec9305-e217-4b79-8704-e595a822c12b-8013.png"}, STORED),
        ({"image": "https://a.example/b/1714032892336.jpeg?Expires=1714099999999"}, STORED),
        (
            {"image": "https://a.example/1714032892335-g.png", "upscaled_urls": ("https://a/1714032892336-1.png",)},
            STORED,
        ),
        ({"image": "https://a.example/e0ec9305-1714032892336.png"}, None),
        ({"image": "https://a.example/17140328923361-a.png"}, None),
        ({"image": "https://a.example/171403289233-a.png"}, None),
        ({"image": "https://a.example/1714032892336/a.png"}, None),
        ({"image": "https://a.example/a.png?1714032892336-a.png"}, None),
        ({"image": "https://a.example/\u0661714032892336-a.png"}, None),
        ({}, None),
    ],
)
def test_the_url_of_a_result_shows_when_it_was_stored(fields, moment):
    """finished_at is the newest of the file names' epoch milliseconds; other names are ignored."""
    assert ImageResult(id="a", **fields).finished_at == moment


def test_a_result_stored_before_it_was_created_has_no_finished_at():
    """finished_at is None unless it is later than created_at."""
    url = "https://a.example/1714032892336-a.png"
    assert ImageResult(id="a", image=url, created_at=STORED + timedelta(seconds=1)).finished_at is None
    assert ImageResult(id="a", image=url, created_at=STORED - timedelta(seconds=1)).finished_at == STORED


def test_results_expire_seven_days_after_creation():
    """expires_at is timezone-aware and 7 days later; None without created_at, or beyond the calendar."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    assert ImageResult(id="a", created_at=created).expires_at == created + timedelta(days=7)
    assert ImageResult(id="a").expires_at is None
    assert ImageResult(id="a", created_at=datetime.max.replace(tzinfo=UTC)).expires_at is None


@pytest.mark.parametrize(("status", "final"), [(1, False), (2, False), (3, True), (4, True), (9, False), (None, False)])
def test_only_3_and_4_are_final(status, final):
    """An unknown status is not an end."""
    assert ImageResult(id="a", status=status).is_final is final


def test_values_are_frozen_and_pickle():
    """A press can be a dictionary's key; results pickle with raw."""
    press = ButtonPress("image-1", "U1")
    assert {press: 1}[ButtonPress("image-1", Button.U1)] == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        press.button = Button.U2
    result = ImageResult(id="a", status=ImageStatus.COMPLETED, raw={"_id": "a"})
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.raw == result.raw
    assert len({result, again}) == 1


@pytest.mark.parametrize("reply", [GET_IMAGE_RESULT_REPLY, JPEG_RESULT_REPLY])
async def test_a_finished_example_is_read(reply):
    """PNG as documented or JPEG as observed: urls, status, time and raw are those of the reply."""
    data = reply["data"]
    async with scripted_server(reply) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        result = await akool.wait_until_complete(data["_id"])
    assert (result.id, result.status, result.deduction_credit) == (data["_id"], ImageStatus.COMPLETED, 2)
    assert result.urls == (*data["upscaled_urls"], data["image"])
    assert result.created_at.timestamp() * 1000 == data["create_time"]
    assert result.raw == data


@pytest.mark.parametrize("images", [1, 3])
async def test_a_v4_example_is_read(images):
    """Each image of Create By Source Prompt keeps its price, its task_id and its model_name."""
    data = [SOURCE_PROMPT_REPLY["data"] | {"_id": f"{number:024x}"} for number in range(images)]
    reply = SOURCE_PROMPT_REPLY | {"data": data if images > 1 else data[0]}
    async with scripted_server(reply) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        operations = await akool.create_by_source_prompt("a lighthouse in a storm", batch_quantity=images)
        latest = [operation.latest for operation in operations]
    assert [(result.id, result.deduction_credit, result.status) for result in latest] == [
        (f"{number:024x}", 4, ImageStatus.QUEUEING) for number in range(images)
    ]
    assert [result.raw for result in latest] == data


def test_an_outcome_that_holds_nothing_gives_no_result():
    """An outcome with neither a result nor an error, as for an open job: the error of unwrap() names the press."""
    with pytest.raises(ValueError, match="holds neither a result nor an error"):
        Outcome(ButtonPress("image-1", "U1")).unwrap()


async def test_handles_of_one_operation_are_one_in_a_set(akool):
    assert {akool.operation("image-1"), akool.operation("image-1")} == {akool.operation("image-1")}
