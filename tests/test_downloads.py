"""Results are saved to disk whole or not at all, and nothing is overwritten."""

import asyncio
import errno
import io
import os
import resource
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from PIL import Image

from akool_async import (
    AkoolSession,
    DownloadError,
    ImageResult,
    ResultExpiredError,
    SessionClosedError,
)
from akool_async._download.downloader import MAX_PICTURE_SIZE, MAX_TRIES
from akool_async.emulator import Fault
from tests.support.looks import look_until
from tests.support.schedules import QUICK
from tests.support.scripted import KEY, scripted_server


def picture(kind, colour="red"):
    file = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(file, kind)
    return file.getvalue()


def half_of(old):
    """Return a reply that breaks off in the middle of a picture of the version "old"."""

    async def half(request):
        response = web.StreamResponse(headers={"ETag": '"old"'})
        response.content_length = len(old)
        await response.prepare(request)
        await response.write(old[: len(old) // 2])
        request.transport.close()
        return response

    return half


async def test_every_picture_is_saved_under_the_id(emulator, akool, tmp_path):
    """A variation's four singles and grid become ID-1.jpg to ID-5.jpg, real pictures of the right size."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    paths = await akool.download(result, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [f"{result.id}-{i}.jpg" for i in (1, 2, 3, 4, 5)]
    sizes = []
    for path in paths:
        with Image.open(path) as picture:
            sizes.append(picture.size)
    assert sizes[4][0] == 2 * sizes[0][0]
    assert len({path.read_bytes() for path in paths}) == 5


async def test_pictures_may_have_a_name(emulator, akool, tmp_path):
    """A name replaces the id, in any script: for a variation's singles and grid, and for the picture of an upscale."""
    image_id = emulator.add_image()
    variation = await (await akool.vary(image_id, 1)).wait_until_complete()
    upscale = await (await akool.upscale(image_id, 2)).wait_until_complete()
    files = await akool.download(variation, tmp_path, name="phare-d'été-V1")
    assert [file.stem for file in files] == [f"phare-d'été-V1-{end}" for end in (1, 2, 3, 4, "grid")]
    assert [file.stem for file in await akool.download(upscale, tmp_path, name="灯台-U2")] == ["灯台-U2"]
    assert await akool.download(variation, tmp_path, name="phare-d'été-V1") == files
    with pytest.raises(DownloadError, match="is another picture"):
        await akool.download(
            await (await akool.vary(image_id, 2)).wait_until_complete(), tmp_path, name="phare-d'été-V1"
        )
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize(
    "name", ["", " ", "../a", "a/b", "a\\b", ".a", "..", "a.", " a", "a ", "a\nb", "a\0", "c:", "a" * 181, "\ud800", 5]
)
async def test_a_name_cannot_lead_out_of_the_folder(akool, tmp_path, name):
    """An invalid name of a file, on any system, is refused before anything is requested."""
    with pytest.raises(ValueError, match=r"^name must"):
        await akool.download(ImageResult(id="a", image="http://127.0.0.1:9/a.png"), tmp_path, name=name)
    assert list(tmp_path.iterdir()) == []


async def test_an_equal_file_is_kept_and_another_is_not_overwritten(emulator, akool, tmp_path):
    """Saving twice gives the same files. A name that another file has is an error, and that file stays."""
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
    """An error page or an empty body is a DownloadError, and leaves no file or part of one."""
    async with scripted_server(reply) as server, AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
        result = ImageResult(id="../../escape", image=f"{server.base_url}/x.png")
        with pytest.raises(DownloadError):
            await akool.download(result, tmp_path)
        assert "x-api-key" not in server.asked[0].headers
    assert list(tmp_path.iterdir()) == []


async def test_the_id_cannot_lead_out_of_the_folder(tmp_path):
    """File names contain only the harmless characters of the id."""
    png = picture("PNG")
    async with (
        scripted_server({"body": png}) as server,
        AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool,
    ):
        (path,) = await akool.download(ImageResult(id="../../escape", image=f"{server.base_url}/x"), tmp_path)
    assert path == tmp_path / "______escape-1.png"
    assert path.read_bytes() == png


CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("years", [-30, 30])
async def test_no_clock_of_this_machine_makes_a_picture_expire(tmp_path, years):
    """A picture that its host serves is saved, with any clock of this machine."""
    created = datetime.now(UTC) + timedelta(days=365 * years)
    async with (
        scripted_server({"body": picture("PNG")}) as server,
        AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool,
    ):
        result = ImageResult(id="image-1", image=f"{server.base_url}/x", created_at=created)
        assert len(await akool.download(result, tmp_path)) == 1


@pytest.mark.parametrize(
    ("status", "date", "expected"),
    [
        (403, "Thu, 08 Jan 2026 00:00:00 GMT", ResultExpiredError),
        (404, "Thu, 08 Jan 2026 00:00:00 GMT", ResultExpiredError),
        (410, "Sat, 08 Jan 2028 00:00:00 GMT", ResultExpiredError),
        (400, "Thu, 08 Jan 2026 00:00:00 GMT", DownloadError),
        (404, "Wed, 07 Jan 2026 23:59:59 GMT", DownloadError),
        (404, "no date", DownloadError),
    ],
)
async def test_a_refused_picture_is_expired_by_the_hosts_clock(tmp_path, status, date, expected):
    """If the host refuses a URL that AKOOL still lists, the date of its reply decides whether the 7 days are over."""
    image = {"_id": "image-1", "image_status": 3, "create_time": int(CREATED.timestamp() * 1000)}

    async def akool_lists_it(request):
        return web.json_response({"code": 1000, "msg": "OK", "data": image})

    refusal = {"status": status, "headers": {"Date": date}}
    async with scripted_server(refusal, akool_lists_it, refusal) as server:
        image["image"] = f"{server.base_url}/x"
        async with AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
            with pytest.raises(expected, match=f"HTTP {status}") as caught:
                await akool.download(ImageResult(id="image-1", image=image["image"], created_at=CREATED), tmp_path)
    assert type(caught.value) is expected
    assert caught.value.operation_id == "image-1"


async def test_a_folder_that_cannot_be_made_is_a_download_error(tmp_path):
    """A file in place of the folder is a DownloadError, before anything is requested."""
    (tmp_path / "taken").write_text("mine")
    async with (
        scripted_server({"body": b""}) as server,
        AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool,
    ):
        with pytest.raises(DownloadError, match="folder"):
            await akool.download(ImageResult(id="image-1", image=f"{server.base_url}/x"), tmp_path / "taken")
    assert server.asked == []


FAULTS = [
    Fault.cut(),
    Fault.reset(),
    Fault.status(503),
    Fault.status(429),
    Fault.status(403),
    Fault.status(404),
    Fault.html(),
    Fault.empty(),
    Fault.wrong_length(),
    Fault.slow(0.05),
]


@pytest.mark.parametrize("fault", FAULTS, ids=str)
async def test_a_fault_of_the_pictures_host_is_outlived(emulator, akool, tmp_path, fault):
    """After one bad answer a picture is requested again, and is the one that the host has."""
    result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    emulator.faults.script("pictures", fault)
    (path,) = await akool.download(result, tmp_path / "first")
    (again,) = await akool.download(result, tmp_path / "second")
    assert path.read_bytes() == again.read_bytes()
    assert [file.name for file in (tmp_path / "first").iterdir()] == [path.name]


async def test_a_picture_that_breaks_off_is_resumed(emulator, akool, tmp_path):
    """Bytes before a cut are not requested again: the rest comes by Range, and only of the same picture."""
    result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    emulator.faults.script("pictures", Fault.cut(), Fault.cut())
    (path,) = await akool.download(result, tmp_path)
    first, second, third = emulator.ledger.picture_ranges
    assert 0 == first < second < third < path.stat().st_size
    with Image.open(path) as saved:
        saved.load()


async def test_a_picture_that_changed_meanwhile_starts_over(tmp_path):
    """A host that has another picture by now, or no ranges, sends all of it: two pictures are never mixed."""
    old, new = picture("PNG", "red"), picture("PNG", "blue")
    async with scripted_server(half_of(old), {"body": new, "headers": {"ETag": '"new"'}}) as server:
        async with AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
            (path,) = await akool.download(ImageResult(id="image-1", image=f"{server.base_url}/x"), tmp_path)
    assert path.read_bytes() == new
    assert server.asked[1].headers["if-range"] == '"old"'
    assert server.asked[1].headers["range"] == f"bytes={len(old) // 2}-"


async def test_the_rest_of_another_picture_is_not_taken(tmp_path):
    """A host that answers with a part of another version is asked for the whole picture."""
    old, new = picture("PNG", "red"), picture("PNG", "blue")
    part = {"Content-Range": f"bytes {len(old) // 2}-{len(new) - 1}/{len(new)}", "ETag": '"new"'}
    wrong = {"status": 206, "body": new[len(old) // 2 :], "headers": part}
    async with scripted_server(half_of(old), wrong, {"body": new}) as server:
        async with AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
            (path,) = await akool.download(ImageResult(id="image-1", image=f"{server.base_url}/x"), tmp_path)
    assert path.read_bytes() == new


async def test_an_invalid_host_name_is_a_download_error(tmp_path):
    """A URL with an impossible host name fails like any other that cannot be requested."""
    same = {"code": 1000, "msg": "OK", "data": {"_id": "image-1", "image_status": 3, "image": "http://a..b/x.png"}}
    async with scripted_server(same) as server, AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
        with pytest.raises(DownloadError):
            await akool.download(ImageResult(id="image-1", image="http://a..b/x.png"), tmp_path)


async def test_new_urls_are_requested_once(emulator, akool, tmp_path):
    """If a host refuses all URLs of a result, the result is read once for all pictures."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    asked = emulator.ledger.requests["get_image_result"]
    emulator.faults.rate(1.0, Fault.status(403), endpoints=["pictures"])
    with pytest.raises(DownloadError, match="403"):
        await akool.download(result, tmp_path)
    assert emulator.ledger.requests["get_image_result"] == asked + 1
    assert list(tmp_path.iterdir()) == []


async def test_the_new_url_is_used(emulator, akool, tmp_path):
    """An outdated URL is replaced by the one that AKOOL returns now."""
    result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    outdated = ImageResult(id=result.id, image=f"{emulator.pictures_url}/{'0' * 24}/0.png")
    (path,) = await akool.download(outdated, tmp_path)
    with Image.open(path) as saved:
        assert saved.size == (3840, 3840)


async def test_the_new_url_is_that_of_the_same_picture(emulator, akool, tmp_path):
    """A result with only the grid gets the grid's new URL, and not that of the first single picture."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    (grid,) = await akool.download(ImageResult(id=result.id, image=result.image), tmp_path / "as it is")
    outdated = ImageResult(id=result.id, image=f"{emulator.pictures_url}/{'0' * 24}/0.png")
    (path,) = await akool.download(outdated, tmp_path / "outdated")
    assert path.read_bytes() == grid.read_bytes()


async def test_a_result_that_akool_no_longer_has_is_expired(emulator, akool, tmp_path):
    """If neither the host nor AKOOL has the result it is expired, even without a date."""
    result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    emulator.advance(8 * 24 * 3600)
    with pytest.raises(ResultExpiredError) as caught:
        await akool.download(ImageResult(id=result.id, image=result.image), tmp_path)
    assert caught.value.operation_id == result.id


async def test_a_picture_without_bounds_is_an_error(tmp_path):
    """Reading stops at the largest size of a picture, and nothing of it stays on disk."""
    chunk = picture("PNG").ljust(2**20, b" ")

    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        with suppress(ConnectionError):
            for _ in range(2 * MAX_PICTURE_SIZE // len(chunk)):
                await response.write(chunk)
        return response

    async with (
        scripted_server(endless) as server,
        AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool,
    ):
        with pytest.raises(DownloadError, match="more than 268435456 bytes"):
            await akool.download(ImageResult(id="image-1", image=f"{server.base_url}/x"), tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_host_that_stalls_is_a_download_error(emulator, tmp_path):
    """A host that sends half a picture and stalls is tried again after the request timeout, until DownloadError."""
    async with emulator.session(request_timeout=0.2) as akool:
        emulator.faults.rate(1.0, Fault.stall(), endpoints=["pictures"])
        image = await akool.get_image_result(emulator.add_image())
        with pytest.raises(DownloadError):
            await akool.download(image, tmp_path)
    assert list(tmp_path.iterdir()) == []


OTHER_SCHEMES = ["ftp://127.0.0.1/x.png", "file:///etc/passwd", "javascript:x"]


@pytest.mark.parametrize("url", OTHER_SCHEMES)
async def test_only_http_is_fetched(tmp_path, url):
    """A URL of another scheme is refused, even if AKOOL returns it again."""
    same = {"code": 1000, "msg": "OK", "data": {"_id": "image-1", "image_status": 3, "image": url}}
    async with scripted_server(same) as server, AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
        with pytest.raises(DownloadError, match="http"):
            await akool.download(ImageResult(id="image-1", image=url), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", OTHER_SCHEMES)
async def test_no_redirect_leads_away_from_http(emulator, akool, tmp_path, url):
    """A redirect to another scheme is not followed."""
    result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    emulator.faults.rate(1.0, Fault.redirect(url), endpoints=["pictures"])
    with pytest.raises(DownloadError, match="cannot be used"):
        await akool.download(result, tmp_path)
    assert list(tmp_path.iterdir()) == []


async def test_a_redirect_elsewhere_carries_nothing_along(emulator, tmp_path):
    """A picture that has moved to another host comes from there. That host gets no key and no cookie."""
    async with scripted_server({"body": picture("PNG")}) as elsewhere:
        async with emulator.session() as akool:
            result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
            emulator.faults.script("pictures", Fault.redirect(f"{elsewhere.base_url}/x.png"))
            await akool.download(result, tmp_path)
    (asked,) = elsewhere.asked
    assert not {"x-api-key", "authorization", "cookie"} & asked.headers.keys()
    assert emulator.ledger.pictures_with_key == 0


async def test_a_result_without_pictures_is_an_error(emulator, akool, tmp_path):
    """A result without pictures is an error, not a success."""
    emulator.faults.script("create_by_button", Fault.fails())
    operation = await akool.upscale(emulator.add_image(), 1)
    failed = await operation.wait_until_complete(raise_on_failure=False)
    with pytest.raises(DownloadError, match="no pictures") as caught:
        await akool.download(failed, tmp_path)
    assert caught.value.operation_id == operation.id


async def test_one_bad_picture_does_not_take_the_others(emulator, akool, tmp_path):
    """If one of five pictures cannot be saved the others are, and the next download adds the missing one."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    emulator.faults.script("pictures", *[None] * 4, *[Fault.status(503)] * MAX_TRIES)
    with pytest.raises(DownloadError, match="503"):
        await akool.download(result, tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    assert len(await akool.download(result, tmp_path)) == 5


async def test_a_cancelled_download_leaves_no_part(emulator, akool, tmp_path):
    """Cancelling removes pictures that are not whole."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    emulator.faults.rate(1.0, Fault.stall(), endpoints=["pictures"])
    saving = asyncio.create_task(akool.download(result, tmp_path))
    await look_until(lambda: len(list(tmp_path.iterdir())) == 5)
    saving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert list(tmp_path.iterdir()) == []


async def test_a_closed_session_downloads_nothing(emulator, akool, tmp_path):
    """A download in a closed session is refused, and one under way ends with SessionClosedError."""
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    emulator.faults.rate(1.0, Fault.stall(), endpoints=["pictures"])
    saving = asyncio.create_task(akool.download(result, tmp_path))
    await look_until(lambda: len(list(tmp_path.iterdir())) == 5)
    await akool.aclose()
    for download in (saving, akool.download(result, tmp_path)):
        with pytest.raises(SessionClosedError) as caught:
            await download
        assert caught.value.operation_id == result.id
    assert list(tmp_path.iterdir()) == []


async def test_without_hard_links_nothing_is_overwritten_either(emulator, akool, tmp_path, monkeypatch):
    """On a file system without hard links the name is reserved first, and an existing file stays."""

    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    result = await (await akool.vary(emulator.add_image(), 1)).wait_until_complete()
    first = await akool.download(result, tmp_path)
    assert await akool.download(result, tmp_path) == first
    first[0].write_text("mine")
    with pytest.raises(DownloadError, match="exists"):
        await akool.download(result, tmp_path)
    assert first[0].read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 5


async def test_a_name_that_is_too_long_for_the_disk_is_a_download_error(emulator, akool, tmp_path):
    """AKOOL's id becomes a file name, and file systems allow about 255 bytes."""
    with pytest.raises(DownloadError, match="could not be saved"):
        await akool.download(ImageResult(id="a" * 300, image=f"{emulator.pictures_url}/x.png"), tmp_path)


async def test_a_full_disk_is_an_error_and_not_tried_again(emulator, akool, tmp_path):
    """A full disk raises the error after one request, and leaves no part of a file."""
    result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(DownloadError, match="could not be saved"):
            await akool.download(result, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert emulator.ledger.requests["pictures"] == 1
    assert list(tmp_path.iterdir()) == []


async def test_closing_ends_a_download_that_reads_new_urls(emulator, akool, tmp_path):
    """During a pause that AKOOL asked for, closing the session raises SessionClosedError and not DownloadError."""
    result = await (await akool.upscale(emulator.add_image(), 1)).wait_until_complete()
    outdated = ImageResult(id=result.id, image=f"{emulator.pictures_url}/{'0' * 24}/0.png")
    emulator.faults.script("create_by_button", Fault.slow(0.2, "after"))
    emulator.faults.script("get_image_result", Fault.throttle(600))
    pressing = asyncio.create_task(akool.vary(emulator.add_image(), 1))
    await emulator.ledger.until(lambda ledger: len(ledger.posts) == 2)
    saving = asyncio.create_task(akool.download(outdated, tmp_path))
    await look_until(lambda: akool.counters().throttled)
    await akool.aclose()  # closing waits for the reply to the press
    with pytest.raises(SessionClosedError):
        await saving
    await pressing


async def test_a_picture_that_akool_no_longer_lists_is_refused(tmp_path):
    """The host does not have the second picture, and AKOOL's new result has only one: the host's refusal is raised."""
    one = {"code": 1000, "msg": "OK", "data": {"_id": "image-1", "image_status": 3, "upscaled_urls": ["http://a/1"]}}

    async def answer(request):
        if "infobymodelid" in request.path:
            return web.json_response(one)
        return web.Response(status=404) if request.path == "/2" else web.Response(body=picture("PNG"))

    async with scripted_server(answer) as server, AkoolSession(KEY, base_url=server.base_url, timing=QUICK) as akool:
        urls = tuple(f"{server.base_url}/{n}" for n in (1, 2))
        with pytest.raises(DownloadError, match="404"):
            await akool.download(ImageResult(id="image-1", upscaled_urls=urls), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["image-1-1.png"]
