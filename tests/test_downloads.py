"""Results to disk: whole or not at all, nothing overwritten."""

from datetime import UTC, datetime

import pytest
from PIL import Image
from scripted import KEY, scripted_server

from akool_async import AkoolSession, DownloadError, ImageResult, ResultExpiredError


async def test_every_picture_is_saved_under_the_id(emulator, akool, tmp_path):
    """A variation's four singles and grid become ID-1.png to ID-5.png, real pictures of the right size."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    paths = await akool.download(result, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"{result.id}-{i}.png" for i in (1, 2, 3, 4, 5)]
    sizes = []
    for path in paths:
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes[4][0] == 2 * sizes[0][0]
    assert len({path.read_bytes() for path in paths}) == 5


async def test_an_equal_file_is_kept_and_another_is_not_overwritten(emulator, akool, tmp_path):
    """Saving twice gives the same files; a name that is taken by something else is an error that leaves it alone."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    first = await akool.download(result, tmp_path)
    assert await akool.download(result, tmp_path) == first
    first[0].write_text("mine")
    with pytest.raises(DownloadError, match="exists") as caught:
        await akool.download(result, tmp_path)
    assert caught.value.operation_id == result.id
    assert first[0].read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize(
    "reply",
    [{"status": 403, "text": "gone"}, {"text": "<html>", "content_type": "text/html"}, {"body": b""}],
    ids=["403", "html", "empty"],
)
async def test_what_is_no_picture_is_not_saved(tmp_path, reply):
    """An error page or an empty body is a DownloadError, and no file or part of one is left."""
    async with scripted_server(reply) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        result = ImageResult(id="../../escape", image=f"{server.base_url}/x.png")
        with pytest.raises(DownloadError):
            await akool.download(result, tmp_path)
        assert "x-api-key" not in server.asked[0].headers
    assert list(tmp_path.iterdir()) == []


async def test_the_id_cannot_lead_out_of_the_folder(tmp_path):
    """File names are made of the id's harmless characters only."""
    png = b"\x89PNG\r\n\x1a\n rest"
    async with scripted_server({"body": png}) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        (path,) = await akool.download(ImageResult(id="../../escape", image=f"{server.base_url}/x"), tmp_path)
    assert path == tmp_path / "______escape-1.png"
    assert path.read_bytes() == png


async def test_an_expired_result_is_told_as_such(tmp_path):
    """After 7 days nothing is asked for: ResultExpiredError with the id."""
    result = ImageResult(id="image-1", image="http://127.0.0.1:9/x", created_at=datetime(2026, 1, 1, tzinfo=UTC))
    async with AkoolSession(KEY) as akool:
        with pytest.raises(ResultExpiredError) as caught:
            await akool.download(result, tmp_path)
    assert caught.value.operation_id == "image-1"


async def test_a_folder_that_cannot_be_made_is_a_download_error(tmp_path):
    """A file where the folder should be is told as a DownloadError, before anything is fetched."""
    (tmp_path / "taken").write_text("mine")
    async with scripted_server({"body": b""}) as server, AkoolSession(KEY, base_url=server.base_url) as akool:
        with pytest.raises(DownloadError, match="folder"):
            await akool.download(ImageResult(id="image-1", image=f"{server.base_url}/x"), tmp_path / "taken")
    assert server.asked == []
