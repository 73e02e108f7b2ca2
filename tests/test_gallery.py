"""The gallery: one page that holds all it shows."""

import asyncio
import html
import io
import json
import os
import re
import shutil
import struct
import zlib
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from akool_async import ButtonPress, ImageResult, ImageStatus
from akool_async.cli.gallery.page import write_gallery
from akool_async.cli.gallery.page_file import require_free
from akool_async.cli.gallery.pictures import MAX_CONCURRENT, link_between
from akool_async.cli.gallery.sections import Contents
from akool_async.cli.gallery.thumbnails import TOO_LARGE, UNREADABLE, UnreadableError, thumbnail
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.emulator import Fault
from tests.support.commands import read_lines, run, write_batch
from tests.support.scripted import scripted_server

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PROBE = """<script>document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth,
[...document.images].every(image => image.complete && image.naturalWidth > 100), document.images.length,
document.querySelectorAll("script, .injected").length])</script>"""


class Page(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.pictures, self.missing, self.text = set(), [], [], [], ""
        self.is_missing = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        if tag == "a":
            self.links.append(given["href"])
        if tag == "img":
            self.pictures.append(given["src"])
        self.is_missing = given.get("class") == "picture none"

    def handle_endtag(self, tag):
        self.is_missing = False

    def handle_data(self, data):
        if self.is_missing:
            self.missing.append(data.strip())
        self.text += data


@pytest.fixture
async def gallery(emulator, tmp_path):
    """A batch of two images with a failure whose reason tries to be a script, and its gallery."""
    write_batch(tmp_path, [emulator.add_image(), emulator.add_image(buttons=["U1", "V1"])], "U1 V1 V2")
    emulator.faults.script("create_by_button", Fault.fails("<script class=injected>alert(1)</script>"))
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--download", "my pictures")
    arguments += ("--gallery", "gallery.html")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 3, errors
    return tmp_path / "gallery.html"


async def test_the_page_shows_every_button_and_needs_nothing_else(gallery):
    """Two sections of eight buttons; pictures are in the page; captions show id, seconds, credits and reasons."""
    page = Page(gallery.read_text())
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert len(page.pictures) == 2 + 4  # the sources, and of five presses the four that did not fail
    assert all(picture.startswith("data:image/webp;base64,") for picture in page.pictures)
    assert "<script class=injected>alert(1)</script>" in page.text
    assert "4 of 6 presses done, 10 credits" in page.text
    assert page.text.count("not pressed") >= 10
    assert len(re.findall(r"\d\.\d s · 2 credits", page.text)) == 5
    assert "V2 is not offered" in page.text
    files = [link for link in page.links if not link.startswith("http")]
    assert len(files) == 4
    assert all((gallery.parent / file.replace("%20", " ")).exists() for file in files)


async def test_it_is_made_anew_but_nothing_else_is_overwritten(emulator, gallery, tmp_path):
    """A second run replaces the page; a file that is no gallery is refused before anything is spent."""
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery")
    status, _, errors = await run(*arguments, "gallery.html", cwd=tmp_path, environment=emulator.environment())
    assert status == 3, errors
    assert len(Page(gallery.read_text()).pictures) == 6
    (tmp_path / "mine.html").write_text("mine")
    charged = emulator.ledger.charged
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "other.jsonl", "--gallery", "mine.html")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert "not a gallery" in errors
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert emulator.ledger.charged == charged


async def test_without_a_folder_the_pictures_are_fetched_for_the_page(emulator, tmp_path):
    """--gallery alone shows the pictures and leaves no file but the page and the output."""
    write_batch(tmp_path, [emulator.add_image()], "U1")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "page/gallery.html")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    page = Page((tmp_path / "page" / "gallery.html").read_text())
    assert len(page.pictures) == 2
    assert all(link.startswith(emulator.pictures_url) for link in page.links)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["out.jsonl", "page/gallery.html", "presses.csv"]


async def test_pictures_that_are_gone_are_reported_as_such(emulator, tmp_path):
    """A page whose pictures no host serves any more still has its captions."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    environment = emulator.environment()
    await run("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", cwd=tmp_path, environment=environment)
    emulator.advance(8 * 24 * 3600)
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "gallery.html")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=environment)
    assert status == 0, errors
    page = Page((tmp_path / "gallery.html").read_text())
    assert page.pictures == []
    assert page.text.count("not at AKOOL any more") == 2


async def test_the_demo_has_a_gallery(tmp_path):
    """The demo's pictures stand on one page beside them."""
    status, _, errors = await run("demo", "--speed", "100", cwd=tmp_path)
    assert status == 0
    assert "gallery.html" in errors
    assert len(Page((tmp_path / "akool-demo" / "gallery.html").read_text()).pictures) == 9


# --- pictures that are damaged, moved, or nowhere ---


def png(size=(64, 64)):
    file = io.BytesIO()
    Image.effect_noise(size, 60).save(file, "PNG")
    return file.getvalue()


def damaged(content=None):
    """The same with its head and its end, and with no chunk where the data should go on."""
    content = bytearray(content or png())
    place = content.find(b"IDAT")
    length = int.from_bytes(content[place - 4 : place], "big")
    content[place - 4 : place] = (length // 2).to_bytes(4, "big")
    return bytes(content)


def claiming(width, height):
    """A small file that says it is a picture of that size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


BAD = {
    "no picture": (b"<html>", UNREADABLE),
    "empty": (b"", UNREADABLE),
    "damaged": (damaged(), UNREADABLE),
    "cut": (png()[:3000], UNREADABLE),
    "data that is no zlib": (png().replace(b"IDAT\x78", b"IDAT\x00"), UNREADABLE),
    "zeros": (png()[:60] + bytes(500), UNREADABLE),
    "a head that is cut": (png()[:20], UNREADABLE),
    "gif that is cut": (b"GIF89a" + bytes(5), UNREADABLE),
    "webp of noise": (b"RIFF\x00\x10\x00\x00WEBPVP8L" + png()[:900], UNREADABLE),
    "jpeg of noise": (b"\xff\xd8\xff\xe0" + png(), UNREADABLE),
    "huge": (claiming(12_000, 12_000), TOO_LARGE),
    "a bomb": (claiming(60_000, 60_000), TOO_LARGE),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_picture_has_a_reason(tmp_path, kind):
    """Whatever a decoder raises, or would unpack, people get one sentence."""
    content, reason = BAD[kind]
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        thumbnail(tmp_path / "a.png")
    assert str(caught.value) == reason


def test_damage_anywhere_is_reported_or_harmless(tmp_path):
    """A flipped byte in any place gives a thumbnail or that reason, and nothing else."""
    whole = png((16, 16))
    for place in range(8, len(whole), 5):
        content = bytearray(whole)
        content[place] ^= 0xFF
        (tmp_path / "a.png").write_bytes(content)
        with suppress(UnreadableError):
            assert thumbnail(tmp_path / "a.png").startswith("data:image/webp;base64,")


async def test_a_damaged_picture_is_one_marked_card(emulator, tmp_path):
    """The page, the summary and the exit status are as usual, also where AKOOL has the picture no more."""
    write_batch(tmp_path, [emulator.add_image()], "U1 V1")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--download", "pictures")
    await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    (upscale,) = (line["files"] for line in read_lines(tmp_path / "out.jsonl") if line["button"] == "U1")
    (tmp_path / upscale[0]).write_bytes(damaged())
    emulator.advance(8 * 24 * 3600)
    status, _, errors = await run(*arguments, "--gallery", "g.html", cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert "2 of 2 presses done" in errors
    page = Page((tmp_path / "g.html").read_text())
    assert len(page.pictures) == 1
    assert f"{UNREADABLE}, and its pictures are not at AKOOL any more" in page.missing


class Counted:
    """How many pictures were reported as drawn."""

    def __init__(self):
        self.drawn = []

    def show_drawn(self, drawn, total):
        self.drawn.append(drawn)


@pytest.fixture
async def finished(emulator, akool, tmp_path):
    """A source with a finished variation whose pictures are on disk, and a function that writes their page."""
    source = emulator.add_image()
    result = await (await akool.vary(source, 1)).wait_until_complete()
    files = await akool.download(result, tmp_path / "pictures")

    async def show(folder=tmp_path, *, page=tmp_path / "g.html", progress=None, **changes):
        fields = {"id": result.id, "status": 3, "ok": True, "urls": result.urls}
        fields["files"] = tuple(str(folder / "pictures" / file.name) for file in files)
        line = OutcomeLine(image_id=source, button="V1", **fields | changes)
        contents = Contents(title="t", image_ids=[source], lines={line.press: line}, seconds={})
        await write_gallery(page, akool, contents, progress)
        return Page(page.read_text(encoding="utf-8"))

    show.files, show.source, show.result = files, source, result
    return show


async def test_pictures_that_were_moved_are_fetched_again(finished, tmp_path):
    """A folder that is elsewhere now, and a command that was started elsewhere: the link leads to AKOOL's picture."""
    page = await finished(tmp_path / "archive")
    assert len(page.pictures) == 2
    assert page.links[1] == finished.result.image


@pytest.mark.parametrize(
    "spoil", [lambda file: file.write_bytes(damaged()), Path.unlink, lambda file: file.write_bytes(b"")]
)
async def test_pictures_that_are_damaged_are_fetched_again(finished, spoil):
    """A file that is cut, empty or gone is no reason to show nothing."""
    spoil(finished.files[-1])
    assert len((await finished()).pictures) == 2


async def test_without_a_recorded_address_akool_is_asked(finished):
    """A line of a run that saw the end before the addresses: they are there now."""
    page = await finished(files=(), urls=())
    assert len(page.pictures) == 2


async def test_what_keeps_a_picture_away_is_reported(emulator, finished, tmp_path):
    """A host that refuses, and files that are elsewhere: not that AKOOL has it no more, which is not so."""
    emulator.faults.rate(1.0, Fault.status(403), endpoints=["pictures"])
    page = await finished(tmp_path / "archive")
    assert page.pictures == []
    refused = "the pictures' host answered HTTP 403 Forbidden"
    assert [reason for reason in page.missing if reason not in {"", "not pressed"}] == [
        refused,
        f"its file is not there, and {refused}",
    ]
    assert "any more" not in page.text
    assert finished.result.image in page.links  # by which one may try later


async def test_a_source_that_cannot_be_read_is_not_said_to_be_gone(emulator, finished):
    """What AKOOL answers stands in its place; what is on disk is shown all the same."""
    emulator.faults.script("get_image_result", Fault.code(1200))
    page = await finished()
    assert len(page.pictures) == 1
    assert "banned" in page.missing[0]
    assert "any more" not in page.text


async def test_an_id_that_never_was_is_not_said_to_be_gone(akool, tmp_path):
    """An image that AKOOL does not know, and of which nothing was made, may never have been there."""
    press = ButtonPress("65d3206b83cc", "U1")
    line = OutcomeLine(image_id=press.image_id, button=press.button, error="no such image")
    contents = Contents(title="t", image_ids=[press.image_id], lines={press: line}, seconds={})
    await write_gallery(tmp_path / "g.html", akool, contents)
    page = Page((tmp_path / "g.html").read_text())
    assert "AKOOL has no such image" in page.missing
    assert "any more" not in page.text


async def test_progress_counts_every_picture(finished):
    """Also one that is missing; a batch shows these numbers while people wait."""
    counted = Counted()
    await finished(progress=counted)
    assert counted.drawn == [1, 2]
    counted.drawn.clear()
    finished.files[-1].unlink()
    await finished(progress=counted, urls=("http://127.0.0.1:1/a.png",), status=4)
    assert counted.drawn == [1]


async def test_few_fetched_pictures_are_on_disk_at_a_time(emulator, akool, tmp_path, monkeypatch):
    """Each is removed when it is drawn, so that a small TMPDIR suffices for any number."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    sources = {image.id: image for image in [await akool.get_image_result(emulator.add_image()) for _ in range(30)]}
    most = 0

    class Progress:
        def show_drawn(self, drawn, total):
            nonlocal most
            most = max(most, sum(path.is_file() for path in (tmp_path / "tmp").rglob("*")))

    contents = Contents(title="t", image_ids=list(sources), sources=sources, lines={}, seconds={})
    await write_gallery(tmp_path / "g.html", akool, contents, Progress())
    assert len(Page((tmp_path / "g.html").read_text()).pictures) == 30
    assert most <= 2 * MAX_CONCURRENT  # one that gets its name has two for a moment
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_full_tmpdir_is_a_reason_in_a_tile(finished, tmp_path, monkeypatch):
    """A temporary folder that cannot be used keeps pictures out of the page, and nothing else."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    page = await finished()
    assert len(page.pictures) == 1
    assert "missing" in page.missing[0]


# --- where a click leads, and where the page is ---


@pytest.mark.parametrize(
    ("folder", "file", "link"),
    [
        ("/a", "/a/b 1/c.png", "b%201/c.png"),
        ("/a/pages", "/a/b/c.png", "../b/c.png"),
        ("/a/b", "/x/c#?.png", "../../x/c%23%3F.png"),
        ("/a", "/a/b:c.png", "b%3Ac.png"),
        ("/a", os.fsdecode(b"/a/b-\xe4/c.png"), "b-%E4/c.png"),
    ],
)
def test_a_link_is_relative_and_quoted(folder, file, link):
    """So that page and pictures can be moved together, whatever their names are."""
    assert link_between(PurePosixPath(folder), PurePosixPath(file)) == link


@pytest.mark.parametrize(
    ("folder", "file", "link"),
    [
        (r"C:\b", r"D:\a\x 1.png", "file:///D:/a/x%201.png"),
        (r"C:\b", r"\\nas\share\x.png", "file://nas/share/x.png"),
        (r"C:\Pages", r"c:\pictures\x.png", "../pictures/x.png"),
        (r"C:\Pages", r"C:\pages\ä\x.png", "%C3%A4/x.png"),
    ],
)
def test_a_link_on_windows_uses_slashes_and_crosses_drives(folder, file, link):
    """Between two drives nothing is relative."""
    assert link_between(PureWindowsPath(folder), PureWindowsPath(file)) == link


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_link_to_a_page_stays(finished, tmp_path, is_there):
    """The page behind it is written, with the permissions it had; its links lead to the files by either name."""
    (tmp_path / "site").mkdir()
    page, link = tmp_path / "site" / "page.html", tmp_path / "a" / "b" / "g.html"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../site/page.html")
    if is_there:
        await finished(page=page)
        page.chmod(0o640)
    shown = await finished(page=link)
    assert link.is_symlink()
    assert page.is_file()
    assert len(shown.pictures) == 2
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]
    (file,) = (unquote(urlsplit(link).path) for link in shown.links if link.startswith("file:"))
    assert Path(file) == finished.files[-1]
    if is_there:
        assert page.stat().st_mode & 0o777 == 0o640


async def test_a_link_that_leads_to_no_page_is_refused(finished, tmp_path):
    """A link to a folder, to a file that is no gallery, or to itself: it and what is behind it stay as they are."""
    (tmp_path / "mine.txt").write_text("mine")
    for name, target in (("folder", "pictures"), ("file", "mine.txt"), ("itself", "itself")):
        link = tmp_path / name
        link.symlink_to(target)
        with pytest.raises(OSError):
            require_free(link)
        with pytest.raises(OSError):
            await finished(page=link)
        assert os.readlink(link) == target  # noqa: PTH115
    assert (tmp_path / "mine.txt").read_text() == "mine"


async def test_a_long_name_has_room(finished, tmp_path):
    """A page may have a name as long as the file system allows."""
    await finished(page=tmp_path / ("g" * 250 + ".html"))
    assert len(list(tmp_path.glob("*.html"))) == 1
    assert not list(tmp_path.glob(".*"))


async def test_what_no_encoding_can_carry_is_replaced(akool, tmp_path):
    """Half an emoji and a mark that turns the text around, in a prompt, a title or a reason."""
    half = "a \u202e\ud83d<b>"
    source = ImageResult(id="65d3206b83cc", status=ImageStatus.COMPLETED, prompt=half)
    line = OutcomeLine(image_id=source.id, button="U1", id="65d3206b83cd", status=4, error=half)
    contents = Contents(
        title=half, image_ids=[source.id], sources={source.id: source}, lines={line.press: line}, seconds={}
    )
    await write_gallery(tmp_path / "g.html", akool, contents)
    page = Page((tmp_path / "g.html").read_text(encoding="utf-8"))
    assert page.text.count("a \ufffd<b>") == 4
    assert "\u202e" not in page.text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here: the gallery was seen in no browser")
@pytest.mark.parametrize("width", [500, 1280])
async def test_a_browser_shows_it(gallery, tmp_path, width):
    """In Chromium, wide and narrow: all pictures are decoded, nothing is wider than the window, no script got in."""
    probed = tmp_path / "probed.html"
    probed.write_text(gallery.read_text().replace("</body>", PROBE + "</body>").replace(' loading="lazy"', ""))
    options = ("--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}")
    window = (f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom")
    browser = await asyncio.create_subprocess_exec(
        BROWSER,
        *options,
        *window,
        probed.as_uri(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    shown, _ = await browser.communicate()
    title = html.unescape(re.search("<title>(.*?)</title>", shown.decode())[1])
    content, window_width, decoded, pictures, scripts = json.loads(title)
    assert (decoded, pictures, scripts) == (True, 6, 1)
    assert content <= window_width


async def test_a_press_that_runs_on_is_a_tile_without_a_picture(akool, emulator, tmp_path):
    """It is paid for and not finished: the page says so, with its id, and fetches nothing for it."""
    press = ButtonPress(emulator.add_image(), "U1")
    line = OutcomeLine(image_id=press.image_id, button="U1", id="f" * 24, status=2)
    contents = Contents(title="a title", image_ids=[press.image_id], lines={press: line}, seconds={})
    await write_gallery(tmp_path / "page.html", akool, contents)
    text = (tmp_path / "page.html").read_text()
    assert "runs on at AKOOL" in text
    assert "f" * 24 in text
    assert emulator.ledger.requests["pictures"] <= 1  # the source's


async def test_a_fetched_picture_that_is_too_large_is_reported(akool, emulator, tmp_path):
    """It came whole, and is not drawn: the card has a reason, and its link all the same."""
    press = ButtonPress(emulator.add_image(), "U1")
    async with scripted_server({"body": claiming(20_000, 20_000)}) as host:
        line = OutcomeLine(
            image_id=press.image_id, button="U1", id="f" * 24, status=3, urls=(f"{host.base_url}/x.png",)
        )
        contents = Contents(title="a title", image_ids=[press.image_id], lines={press: line}, seconds={})
        await write_gallery(tmp_path / "page.html", akool, contents)
        assert f"{host.base_url}/x.png" in (tmp_path / "page.html").read_text()
    assert TOO_LARGE in (tmp_path / "page.html").read_text()
