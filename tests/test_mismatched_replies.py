"""A reply about something else is no answer: a cache or a gateway may mix replies up."""

import pytest
from aiohttp import web

from akool_async import AkoolSession, OutcomeUnknownError
from tests.support.schedules import FAST
from tests.support.scripted import KEY, scripted_server

SOURCE = "65d3206b83cc000000000001"
OTHER = "65d3206b83cc000000000002"
NEW = "65d3206b83cc000000000003"


def image(image_id, **fields):
    return {"code": 1000, "msg": "OK", "data": {"_id": image_id, "image_status": 1, **fields}}


def finished(image_id, **fields):
    return image(image_id, **{"image_status": 3, "image": "https://pictures.example/1.jpeg", **fields})


class Replies:
    """Script the replies to POSTs, and those to reads of each image; the last of each is repeated."""

    def __init__(self, creates=(), **reads):
        self._creates = list(creates)
        self._reads = {image_id: list(replies) for image_id, replies in reads.items()}

    async def __call__(self, request):
        replies = self._creates if request.method == "POST" else self._reads[request.query["image_model_id"]]
        return web.json_response(replies.pop(0) if len(replies) > 1 else replies[0])


def session(server, **options):
    return AkoolSession(KEY, base_url=server.base_url, polling=FAST, **options)


def posts(server):
    return sum(asked.method == "POST" for asked in server.asked)


async def test_a_poll_answered_for_another_image_is_repeated():
    """The wait continues after an answer about another image, and ends with the right result."""
    polls = [finished(OTHER), image(NEW), finished(OTHER), finished(NEW, op_button="U1")]
    replies = Replies([image(NEW, op_button="U1")], **{NEW: polls})
    async with scripted_server(replies) as server, session(server) as akool:
        operation = await akool.upscale(SOURCE, 1)
        result = await operation.wait_until_complete()
    assert result.id == operation.id == NEW


async def test_updates_do_not_show_another_image():
    """updates() yields only snapshots of its own operation."""
    replies = Replies(**{NEW: [image(NEW), finished(OTHER), finished(NEW)]})
    async with scripted_server(replies) as server, session(server) as akool:
        assert {snapshot.id async for snapshot in akool.operation(NEW).updates()} == {NEW}


async def test_a_read_answered_for_another_image_is_repeated():
    """Get Image Result without a wait is repeated, too."""
    replies = Replies(**{SOURCE: [finished(OTHER), finished(SOURCE)]})
    async with scripted_server(replies) as server, session(server) as akool:
        assert (await akool.get_image_result(SOURCE)).id == SOURCE


async def test_reconciling_does_not_believe_another_image():
    """The outcome of a press is read from its own source image, and not from another one in the reply."""
    replies = Replies(**{SOURCE: [finished(OTHER, buttons=["U1"]), finished(SOURCE, used_buttons=["U1"])]})
    async with scripted_server(replies) as server, session(server) as akool:
        assert await akool.reconcile(SOURCE, "U1") is True


@pytest.mark.parametrize("used", [True, None])
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (image(NEW, op_button="V1"), "about V1"),
        (image(NEW, op_button="U9"), "about U9"),
        (image(SOURCE, op_button="U1"), "id of the source image itself"),
        (finished(SOURCE), "id of the source image itself"),
    ],
)
async def test_a_press_answered_for_another_is_of_unknown_outcome(reply, reason, used):
    """The reply names another button, or is the source image: the source image then shows the outcome of the press."""
    replies = Replies([reply], **{SOURCE: [finished(SOURCE, used_buttons=["U1"] if used else [])]})
    async with scripted_server(replies) as server, session(server) as akool:
        with pytest.raises(OutcomeUnknownError, match=reason) as caught:
            await akool.upscale(SOURCE, 1)
    assert caught.value.charged is used
    assert posts(server) == 1


async def test_a_prompt_answered_with_a_press_is_of_unknown_outcome():
    """A prompt's own image has no button."""
    async with scripted_server(Replies([image(NEW, op_button="V2")])) as server, session(server) as akool:
        with pytest.raises(OutcomeUnknownError, match="not about a prompt"):
            await akool.create_by_prompt("a fox")
        with pytest.raises(OutcomeUnknownError, match="not about a prompt"):
            await akool.create_by_source_prompt("a fox")
    assert posts(server) == 2


async def test_a_batch_keeps_the_images_that_can_be_its_own():
    """In a batch, images of another press or of an earlier POST are left out, and the others are kept."""
    old, new, other = (image(f"65d3206b83cc00000000001{place}")["data"] for place in range(3))
    replies = [
        {"code": 1000, "data": [old]},
        {"code": 1000, "data": [old, new]},
        {"code": 1000, "data": [{**other, "op_button": "U1"}, {**other, "_id": "65d3206b83cc000000000020"}]},
    ]
    async with scripted_server(Replies(replies)) as server, session(server) as akool:
        made = [await akool.create_by_source_prompt("foxes", batch_quantity=2) for _ in replies]
    assert [[operation.id for operation in batch] for batch in made] == [
        [old["_id"]],
        [new["_id"]],
        ["65d3206b83cc000000000020"],
    ]


async def test_an_end_that_was_seen_is_not_taken_back_by_an_error():
    """Status 3 without URLs, then 1008: the wait ends with the known result."""
    gone = {"code": 1008, "msg": "the content does not exist"}
    replies = Replies(**{NEW: [image(NEW, image_status=3), gone]})
    async with scripted_server(replies) as server, session(server) as akool:
        result = await akool.wait_until_complete(NEW)
    assert (result.status, result.urls) == (3, ())


async def test_two_presses_answered_with_one_id_are_noticed():
    """The second press does not get the operation of the first, although its button is the same."""
    reads = {OTHER: [finished(OTHER, used_buttons=["U1"])]}
    async with scripted_server(Replies([image(NEW, op_button="U1")], **reads)) as server, session(server) as akool:
        assert (await akool.upscale(SOURCE, 1)).id == NEW
        with pytest.raises(OutcomeUnknownError, match="id of an earlier operation") as caught:
            await akool.upscale(OTHER, 1)
    assert caught.value.charged is True


async def test_another_source_image_alone_is_no_sign():
    """The reply on AKOOL's own page has another image_content_model_id than the _id of its request."""
    replies = Replies([image(NEW, op_button="U1", image_content_model_id=OTHER)])
    async with scripted_server(replies) as server, session(server) as akool:
        assert (await akool.upscale(SOURCE, 1)).id == NEW
