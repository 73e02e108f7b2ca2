"""The other endpoints, against the emulator and against their documented requests."""

import pytest

from akool_async import AkoolSession, ImageStatus, OperationFailedError
from akool_async.emulator import Fault
from tests.support.examples import CREATE_BY_PROMPT_REPLY, GET_IMAGE_RESULT_REPLY
from tests.support.scripted import KEY, scripted_server


async def test_get_image_result_sends_the_documented_query():
    """Get Image Result sends image_model_id and reads the page's example."""
    async with scripted_server(GET_IMAGE_RESULT_REPLY) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        result = await akool.get_image_result("662a10df4197b3af58532e89")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/api/open/v3/content/image/infobymodelid")
    assert asked.query == {"image_model_id": "662a10df4197b3af58532e89"}
    assert (result.id, result.status, result.deduction_credit) == ("662a10df4197b3af58532e89", 3, 2)
    assert result.urls == (GET_IMAGE_RESULT_REPLY["data"]["image"],)


async def test_a_documented_finished_image_ends_a_wait_immediately():
    """The page's completed example, years old and without single images, is accepted at the first poll."""
    async with scripted_server(GET_IMAGE_RESULT_REPLY) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        result = await akool.wait_until_complete("662a10df4197b3af58532e89")
    assert result.status == ImageStatus.COMPLETED
    assert len(server.asked) == 1


async def test_create_by_prompt_sends_the_documented_body():
    """Create By Prompt sends prompt, scale, source_image and webhookUrl, and leaves out defaults."""
    another = {**CREATE_BY_PROMPT_REPLY, "data": {**CREATE_BY_PROMPT_REPLY["data"], "_id": "64dd82eef0b6684651e90132"}}
    async with (
        scripted_server(CREATE_BY_PROMPT_REPLY, another) as server,
        AkoolSession(KEY, base_url=server.base_url) as akool,
    ):
        plain = await akool.create_by_prompt("a fox")
        await akool.create_by_prompt(
            "a fox", scale="16:9", source_image="https://me.example/a.png", webhook_url="https://me.example/hook"
        )
    assert plain.id == "64dd82eef0b6684651e90131"
    assert {asked.path for asked in server.asked} == {"/api/open/v3/content/image/createbyprompt"}
    assert [asked.json for asked in server.asked] == [
        {"prompt": "a fox"},
        {
            "prompt": "a fox",
            "scale": "16:9",
            "source_image": "https://me.example/a.png",
            "webhookUrl": "https://me.example/hook",
        },
    ]


async def test_create_by_source_prompt_sends_the_v4_body():
    """Create By Source Prompt spells webhookurl in lower case and sends every argument."""
    async with scripted_server(CREATE_BY_PROMPT_REPLY) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        operations = await akool.create_by_source_prompt(
            "a fox",
            model_name="m",
            source_images=["https://me.example/a.png"],
            scale="Original",
            resolution="1080p",
            similar=0.7,
            negative_prompt="blur",
            webhook_url="https://me.example/hook",
        )
    (asked,) = server.asked
    assert [operation.id for operation in operations] == ["64dd82eef0b6684651e90131"]
    assert asked.path == "/api/open/v4/content/image/createBySourcePrompt"
    assert asked.json == {
        "prompt": "a fox",
        "model_name": "m",
        "source_images": ["https://me.example/a.png"],
        "scale": "Original",
        "resolution": "1080p",
        "similar": 0.7,
        "negative_prompt": "blur",
        "webhookurl": "https://me.example/hook",
    }


async def test_a_batch_gives_one_operation_per_image(emulator, akool):
    """batch_quantity 3 gives three operations, each with its own id and result."""
    operations = await akool.create_by_source_prompt("three foxes", batch_quantity=3)
    results = [await operation.wait_until_complete() for operation in operations]
    assert len({result.id for result in results}) == 3
    assert all(result.status == ImageStatus.COMPLETED for result in results)


async def test_an_image_a_variation_and_an_upscale_bring_their_pictures(akool):
    """A prompt and a variation have four singles and a grid, an upscale has one picture."""
    made = await (await akool.create_by_prompt("a fox")).wait_until_complete()
    varied = await (await akool.vary(made.id, 3)).wait_until_complete()
    upscaled = await (await akool.upscale(made.id, 3)).wait_until_complete()
    assert [len(result.urls) for result in (made, varied, upscaled)] == [5, 5, 1]
    assert made.urls[-1] == made.image


async def test_credit_is_charged_per_operation(emulator, akool):
    """The balance falls by the credits that the operations report."""
    before = await akool.get_credit()
    operation = await akool.create_by_button(emulator.add_image(), "V1")
    assert await akool.get_credit() == before - operation.latest.deduction_credit


async def test_a_failed_image_raises_with_the_result_in_hand(emulator, akool):
    """Status 4 raises OperationFailedError with the result, or returns it on request."""
    emulator.faults.script("create_by_button", Fault.fails(reason="not today"))
    operation = await akool.create_by_button(emulator.add_image(), "U1")
    with pytest.raises(OperationFailedError, match="not today") as caught:
        await operation.wait_until_complete()
    assert caught.value.result.status == ImageStatus.FAILED
    assert caught.value.operation_id == operation.id
    returned = await operation.wait_until_complete(raise_on_failure=False)
    assert returned == caught.value.result
