"""The gallery: one self-contained page."""

import asyncio
import errno
import html
import io
import json
import os
import re
import shutil
import signal
import struct
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from akool_async import ButtonPress, ImageResult, ImageStatus
from akool_async.cli.gallery.contents import Contents, Root
from akool_async.cli.gallery.kept import DEAD_PART, KeptThumbnails, cache_folder
from akool_async.cli.gallery.live import LiveGallery
from akool_async.cli.gallery.page import draw_page, write_gallery
from akool_async.cli.gallery.page_file import require_free
from akool_async.cli.gallery.pictures import MAX_CONCURRENT, Pictures, link_between
from akool_async.cli.gallery.thumbnails import TOO_LARGE, UNREADABLE, UnreadableError, thumbnail
from akool_async.cli.gallery.tree import grow, nodes_below
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.emulator import Fault
from akool_async.items import read_then
from tests.support.commands import read_lines, run, start, write_batch
from tests.support.looks import look_until
from tests.support.scripted import scripted_server
from tests.support.terminals import run_on_terminal

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PROBE = """document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth,
[...document.images].every(image => image.complete && image.naturalWidth > 100 || !image.src),
document.querySelectorAll("main img").length, document.querySelectorAll("script, .injected").length])"""
FILTER = """const cards = [...document.querySelectorAll("figure[data-state]")];
const name = card => card.querySelector(".name").textContent;
const names = () => cards.filter(card => card.offsetParent).map(name);
const filter = state => document.querySelector(`[aria-pressed][data-state="${state}"]`);
const seen = [names()];
filter("failed").click(); seen.push(names());
filter("over budget").click(); seen.push(names(), document.querySelectorAll(".jump li:not([hidden])").length);
filter("failed").click(); filter("over budget").click(); seen.push(names());
document.title = JSON.stringify(seen)"""
ENLARGE = """const picture = document.querySelector("figure a.picture"), dialog = document.querySelector("dialog");
picture.focus();
picture.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true}));
const large = dialog.querySelector("img"), link = dialog.querySelector("a");
const first = [dialog.open, large.alt, large.src.slice(0, 10)];
setTimeout(() => { const second = [large.src.slice(0, 5), large.naturalWidth, link.href];
  dialog.querySelector("button").click();
  document.title = JSON.stringify([first, second, dialog.open, location.hash]); }, 1000)"""
NARROW = """document.body.style.width = "340px";
document.title = JSON.stringify([document.body.scrollWidth, document.querySelectorAll("figure[data-state]").length])"""
LOADS = """const loads = 1 + +sessionStorage.getItem("loads");
sessionStorage.setItem("loads", loads);
document.title = JSON.stringify([document.querySelector(".live").textContent, loads]);"""
RELOAD = """if (sessionStorage.getItem("before") === null) {
  document.querySelector('[aria-pressed][data-state="failed"]').click();
  document.querySelectorAll(".root")[20].scrollIntoView();
  sessionStorage.setItem("before", scrollY);
} else { stop(); setTimeout(() => { document.title = JSON.stringify([+sessionStorage.getItem("before"), scrollY,
  document.querySelector('[aria-pressed="true"]').dataset.state]); }, 500); }"""


class Page(HTMLParser):
    """The tags, attributes and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.pictures, self.missing, self.text = set(), [], [], [], ""
        self.is_missing = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        if tag == "a":
            self.links += [given["href"]] if not given.get("href", "#").startswith("#") else []
        if tag == "img" and "src" in given:
            self.pictures.append(given["src"])
        self.is_missing = given.get("class") == "picture missing"

    def handle_endtag(self, tag):
        self.is_missing = False

    def handle_data(self, data):
        if self.is_missing:
            self.missing.append(data.strip())
        self.text += data


def contents_of(*lines):
    """The contents of a page with the roots of these lines."""
    return Contents(title="a title", roots=[], lines={line.node: line for line in lines})


@pytest.fixture
async def gallery(emulator, tmp_path):
    """A batch of two images, one failure whose reason contains a script, and its gallery."""
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
    assert not page.tags & {"link", "iframe", "object"}
    assert len(page.pictures) == 2 + 4  # the sources, and of five presses the four that did not fail
    assert all(picture.startswith("data:image/webp;base64,") for picture in page.pictures)
    assert "<script class=injected>alert(1)</script>" in page.text
    assert "4 of 6 presses done, 10 credits" in page.text
    assert page.text.count("Free:") == 2
    assert len(re.findall(r"\d\.\d s · 2 credits", page.text)) == 5
    assert "V2 is not available" in page.text
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
    """--gallery without --download writes no file except the page, the output and what was learned."""
    write_batch(tmp_path, [emulator.add_image()], "U1")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "page/gallery.html")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    page = Page((tmp_path / "page" / "gallery.html").read_text())
    assert len(page.pictures) == 2
    assert all(link.startswith(emulator.pictures_url) for link in page.links)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["out.jsonl", "out.jsonl.learned", "page/gallery.html", "presses.csv"]


async def test_pictures_that_are_gone_are_reported_as_such(emulator, tmp_path):
    """A page still has its captions after AKOOL has deleted the pictures."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    environment = emulator.environment()
    await run("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", cwd=tmp_path, environment=environment)
    emulator.advance(8 * 24 * 3600)
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "gallery.html")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=environment)
    assert status == 0, errors
    page = Page((tmp_path / "gallery.html").read_text())
    assert page.pictures == []
    assert page.text.count("AKOOL no longer has its pictures") == 2


async def test_the_demo_has_a_gallery(tmp_path):
    """The demo's page shows nine pictures and the four single ones of its image."""
    status, _, errors = await run("demo", "--speed", "100", cwd=tmp_path)
    assert status == 0
    assert "gallery.html" in errors
    assert len(Page((tmp_path / "akool-demo" / "gallery.html").read_text()).pictures) == 9 + 4


XDG_OPEN = """#!/bin/sh
echo "$@" >> opened
"""


@pytest.fixture
def desktop(tmp_path):
    """The environment of a desktop whose browser writes the page that it opens to the file ``opened``."""
    browser = tmp_path / "bin" / "xdg-open"
    browser.parent.mkdir()
    browser.write_text(XDG_OPEN)
    browser.chmod(0o755)
    return {"PATH": f"{browser.parent}:{os.environ['PATH']}", "DISPLAY": ":0"}


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="pages are opened by xdg-open on Linux alone")


@on_linux
@pytest.mark.parametrize(
    ("environment", "options", "is_opened"),
    [
        ({}, (), True),
        ({"DISPLAY": "", "WAYLAND_DISPLAY": "wayland-0"}, (), True),
        ({"DISPLAY": ""}, (), False),
        ({"SSH_CONNECTION": "192.0.2.1 1 192.0.2.2 22"}, (), False),
        ({}, ("--no-open",), False),
        ({}, ("--quiet",), False),
    ],
)
async def test_the_demo_opens_its_gallery_on_a_desktop(tmp_path, desktop, environment, options, is_opened):
    """On a desktop the page opens in the browser, but not over SSH and not if it is not wanted."""
    environment = desktop | environment
    status, _ = await run_on_terminal("demo", "--speed", "100", *options, cwd=tmp_path, environment=environment)
    assert status == 0
    opened = tmp_path / "opened"
    if is_opened:
        await look_until(lambda: opened.exists() and opened.read_text())
        assert opened.read_text().strip() == str(tmp_path / "akool-demo" / "gallery.html")
    else:
        assert not opened.exists()


@on_linux
async def test_a_batch_opens_its_gallery_once(emulator, tmp_path, desktop):
    """The first version of the page is opened, and later ones reload by themselves."""
    write_batch(tmp_path, [emulator.add_image()], "V*")
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "page.html")
    environment = desktop | emulator.environment()
    status, _ = await run_on_terminal(*arguments, cwd=tmp_path, environment=environment)
    assert status == 0
    opened = tmp_path / "opened"
    await look_until(lambda: opened.exists() and opened.read_text())
    assert opened.read_text().split() == [str(tmp_path / "page.html")]


# --- pictures that are damaged, moved, or nowhere ---


def png(size=(64, 64)):
    file = io.BytesIO()
    Image.effect_noise(size, 60).save(file, "PNG")
    return file.getvalue()


def damaged(content=None):
    """The same picture with its head and its end, but without data between."""
    content = bytearray(content or png())
    place = content.find(b"IDAT")
    length = int.from_bytes(content[place - 4 : place], "big")
    content[place - 4 : place] = (length // 2).to_bytes(4, "big")
    return bytes(content)


def claiming(width, height):
    """A small file that claims to be a picture of that size."""

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
    """For any error of a decoder, and for huge pictures, people get one sentence."""
    content, reason = BAD[kind]
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UnreadableError) as caught:
        thumbnail(tmp_path / "a.png")
    assert str(caught.value) == reason


def test_damage_anywhere_is_reported_or_harmless(tmp_path):
    """A flipped byte gives a thumbnail or the usual reason, wherever it is."""
    whole = png((16, 16))
    for place in range(8, len(whole), 5):
        content = bytearray(whole)
        content[place] ^= 0xFF
        (tmp_path / "a.png").write_bytes(content)
        with suppress(UnreadableError):
            assert thumbnail(tmp_path / "a.png").startswith(b"RIFF")


async def test_a_damaged_picture_is_one_marked_card(emulator, tmp_path):
    """The page, the summary and the exit status are as usual, even after AKOOL has deleted the picture."""
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
    assert f"{UNREADABLE}, and AKOOL no longer has its pictures" in page.missing


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
        contents = contents_of(line)
        await write_gallery(page, akool, contents, progress)
        return Page(page.read_text(encoding="utf-8"))

    show.files, show.source, show.result = files, source, result
    return show


async def test_pictures_that_were_moved_are_fetched_again(finished, tmp_path):
    """If the folder was moved, or the command runs elsewhere, the link leads to AKOOL's picture."""
    page = await finished(tmp_path / "archive")
    assert len(page.pictures) == 2
    assert page.links[1] == finished.result.image


@pytest.mark.parametrize(
    "spoil", [lambda file: file.write_bytes(damaged()), Path.unlink, lambda file: file.write_bytes(b"")]
)
async def test_pictures_that_are_damaged_are_fetched_again(finished, spoil):
    """If a file is cut, empty or missing, AKOOL's picture is shown."""
    spoil(finished.files[-1])
    assert len((await finished()).pictures) == 2


async def test_without_a_recorded_address_akool_is_asked(finished):
    """A run saw the end before the addresses were there: the page gets them."""
    page = await finished(files=(), urls=())
    assert len(page.pictures) == 2


async def test_what_keeps_a_picture_away_is_reported(emulator, finished, tmp_path):
    """If the host refuses and the files have moved, the page does not claim that AKOOL deleted the picture."""
    emulator.faults.rate(1.0, Fault.status(403), endpoints=["pictures"])
    page = await finished(tmp_path / "archive")
    assert page.pictures == []
    refused = "the pictures' host answered HTTP 403 Forbidden"
    assert [reason for reason in page.missing if reason not in {"", "not pressed"}] == [
        refused,
        f"its file is missing, and {refused}",
    ]
    assert "any more" not in page.text
    assert finished.result.image in page.links  # by which one may try later


async def test_a_source_that_cannot_be_read_is_not_said_to_be_gone(emulator, finished):
    """AKOOL's answer replaces the source image; pictures on disk are shown."""
    emulator.faults.script("get_image_result", Fault.code(1200))
    page = await finished()
    assert len(page.pictures) == 1
    assert "banned" in page.missing[0]
    assert "any more" not in page.text


async def test_an_id_that_never_was_is_not_said_to_be_gone(akool, tmp_path):
    """For an image that AKOOL does not know, and without results, the page says that AKOOL has no such image."""
    press = ButtonPress("65d3206b83cc", "U1")
    line = OutcomeLine(image_id=press.image_id, button=press.button, error="no such image")
    contents = contents_of(line)
    await write_gallery(tmp_path / "g.html", akool, contents)
    page = Page((tmp_path / "g.html").read_text())
    assert "AKOOL has no such image" in page.missing
    assert "any more" not in page.text


async def test_progress_counts_every_picture(finished):
    """Missing pictures count too; a batch shows these numbers during the wait."""
    counted = Counted()
    await finished(progress=counted)
    assert counted.drawn == [0, 1, 2]
    counted.drawn.clear()
    finished.files[-1].unlink()
    await finished(progress=counted, urls=("http://127.0.0.1:1/a.png",), status=4, ok=False)
    assert counted.drawn == [0, 1]


async def test_few_fetched_pictures_are_on_disk_at_a_time(emulator, akool, tmp_path, monkeypatch):
    """Each fetched picture is removed once it is drawn, so a small TMPDIR is enough."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    sources = [await akool.get_image_result(emulator.add_image()) for _ in range(30)]
    most = 0

    class Progress:
        def show_drawn(self, drawn, total):
            nonlocal most
            most = max(most, sum(path.is_file() for path in (tmp_path / "tmp").rglob("*")))

    contents = Contents(title="t", roots=[Root.of_image(image.id, image) for image in sources], lines={})
    await write_gallery(tmp_path / "g.html", akool, contents, Progress())
    assert len(Page((tmp_path / "g.html").read_text()).pictures) == 30
    assert most <= 2 * MAX_CONCURRENT  # one that gets its name has two for a moment
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_a_full_tmpdir_is_a_reason_in_a_tile(finished, tmp_path, monkeypatch):
    """Without a usable temporary folder the page lacks the fetched pictures, and is otherwise complete."""
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
    """Links are relative whatever the names are, so that page and pictures can be moved together."""
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
    """Between two drives the link is absolute."""
    assert link_between(PureWindowsPath(folder), PureWindowsPath(file)) == link


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_link_to_a_page_stays(finished, tmp_path, is_there):
    """The page behind a link is written with the permissions it had, and its links work from both names."""
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
    """A link to a folder, to another file or to itself is refused, and its target is unchanged."""
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
    """A page may have as long a name as the file system allows."""
    await finished(page=tmp_path / ("g" * 250 + ".html"))
    assert len(list(tmp_path.glob("*.html"))) == 1
    assert not list(tmp_path.glob(".*"))


async def test_what_no_encoding_can_carry_is_replaced(akool, tmp_path):
    """Half an emoji and a mark that reverses the text are harmless in a prompt, a title and a reason."""
    half = "a \u202e\ud83d<b>"
    source = ImageResult(id="65d3206b83cc", status=ImageStatus.COMPLETED, prompt=half)
    line = OutcomeLine(image_id=source.id, button="U1", id="65d3206b83cd", status=4, error=half)
    contents = Contents(title=half, roots=[Root.of_image(source.id, source)], lines={line.node: line})
    await write_gallery(tmp_path / "g.html", akool, contents)
    page = Page((tmp_path / "g.html").read_text(encoding="utf-8"))
    assert page.text.count("a \ufffd<b>") == 4
    assert "\u202e" not in page.text


in_a_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium is installed here: the gallery was seen in no browser"
)


async def look_at(page, probe, width=1280):
    """The result of a script that Chromium runs at the end of the page: JSON in its title."""
    probed = page.with_name("probed.html")
    text = page.read_text().replace("</body>", f"<script>{probe}</script></body>").replace(' loading="lazy"', "")
    probed.write_text(text)
    browser = await asyncio.create_subprocess_exec(
        *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / 'profile'}"),
        *(f"--window-size={width},900", "--virtual-time-budget=5000", "--dump-dom", probed.as_uri()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    shown, _ = await browser.communicate()
    return json.loads(html.unescape(re.search("<title>(.*?)</title>", shown.decode())[1]))


@in_a_browser
@pytest.mark.parametrize("width", [500, 1280])
async def test_a_browser_shows_it(gallery, width):
    """In Chromium, wide and narrow, all pictures are decoded, nothing overflows, and no script was injected."""
    content, window_width, decoded, pictures, scripts = await look_at(gallery, PROBE, width)
    assert (decoded, pictures, scripts) == (True, 6, 2)  # the page's own and this one
    assert content <= window_width


async def test_a_press_that_runs_on_is_a_tile_without_a_picture(akool, emulator, tmp_path):
    """An unfinished press is shown as paid, with its id, and nothing is fetched for it."""
    press = ButtonPress(emulator.add_image(), "U1")
    line = OutcomeLine(image_id=press.image_id, button="U1", id="f" * 24, status=2)
    contents = contents_of(line)
    await write_gallery(tmp_path / "page.html", akool, contents)
    text = (tmp_path / "page.html").read_text()
    assert "still runs at AKOOL" in text
    assert "f" * 24 in text
    assert emulator.ledger.requests["pictures"] <= 1  # the source's


async def test_a_fetched_picture_that_is_too_large_is_reported(akool, emulator, tmp_path):
    """A picture that is whole but cannot be drawn has a reason and a link."""
    press = ButtonPress(emulator.add_image(), "U1")
    async with scripted_server({"body": claiming(20_000, 20_000)}) as host:
        line = OutcomeLine(
            image_id=press.image_id, button="U1", id="f" * 24, status=3, urls=(f"{host.base_url}/x.png",)
        )
        contents = contents_of(line)
        await write_gallery(tmp_path / "page.html", akool, contents)
        assert f"{host.base_url}/x.png" in (tmp_path / "page.html").read_text()
    assert TOO_LARGE in (tmp_path / "page.html").read_text()


# --- trees ---


class Outline(HTMLParser):
    """The sections of a page: the name of each, its cards with their states, and the nested sections."""

    def __init__(self, text):
        super().__init__()
        self.sections, self.filters, self.places, self.attributes = [], {}, [], set()
        self._open, self._card, self._reading, self._filter = [], None, None, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.attributes |= given.keys()
        classes = (given.get("class") or "").split()
        if "image" in classes:
            section = {"name": "", "cards": {}, "below": []}
            (self._open[-1]["below"] if self._open else self.sections).append(section)
            self._open.append(section)
        elif tag == "figure" and "data-state" in given:
            self._card = given["data-state"]
        elif tag == "button" and "data-state" in given:
            self._filter = given["data-state"]
            self.filters[self._filter] = ""
        self._reading = "name" if tag in {"summary", "h2"} else "button" if "name" in classes else None
        if tag == "a" and (given.get("href") or "").startswith("#") and "class" not in given:
            self._reading = "place"

    def handle_endtag(self, tag):
        self._reading = None
        if tag in {"section", "details"} and self._open:
            self._open.pop()
        if tag == "button":
            self._filter = None

    def handle_data(self, data):
        if self._reading == "place":
            self.places.append(data)
        elif self._filter is not None:
            self.filters[self._filter] += data
        elif self._open and self._reading == "name":
            self._open[-1]["name"] += data
        elif self._open and self._reading == "button":
            self._open[-1]["cards"][data] = self._card


def line_of(*path, key="sea", **fields):
    """The line of a prompt, or of a press below it, with these fields."""
    name = "-".join((key, *path))
    given = {"id": f"id-{name}", "ok": True, "status": 3, "charged": False} | fields
    if not path:
        return OutcomeLine(image_id=None, button=None, prompt="a sea", key=key, name=name, **given)
    parent = "-".join((key, *path[:-1]))
    return OutcomeLine(image_id=f"id-{parent}", button=path[-1], key=key, path=path, name=name, parent=parent, **given)


FAILED = {"ok": False, "status": 4, "error": "content policy"}
NOT_PRESSED = {"ok": False, "status": None, "id": None}


class OverBudget(OutcomeLine):
    """A line in a state that the page does not know."""

    state = "over budget"


@pytest.fixture
def write(akool, tmp_path):
    """A function that writes the page of these lines and returns its text."""

    async def write(*lines, **options):
        await write_gallery(tmp_path / "g.html", akool, contents_of(*lines), **options)
        return (tmp_path / "g.html").read_text()

    return write


async def test_a_tree_is_nested(write):
    """Presses on a variation are nested in the section of its parent, three levels deep, by name."""
    paths = [("U2",), ("V1",), ("V1", "V3"), ("V1", "V3", "U4"), ("V1", "U1"), ()]
    page = Outline(await write(*(line_of(*path) for path in paths)))
    third = {"name": "sea-V1-V3", "cards": {"U4": "completed"}, "below": []}
    second = {"name": "sea-V1", "cards": {"U1": "completed", "V3": "completed"}, "below": [third]}
    first = {"name": "a sea", "cards": {"U2": "completed", "V1": "completed"}, "below": [second]}
    assert page.sections == [first]
    assert page.places == ["sea", "sea-V1", "sea-V1-V3"]


async def test_a_tree_of_a_real_fan_out_is_nested_with_its_pictures(emulator, akool, tmp_path):
    """A source image, a variation of it and an upscale of that: the grid has its four single pictures."""
    source = emulator.add_image()
    lines, pictures = [], 0
    async for outcome in akool.fan_out([ButtonPress(source, "V2", then="U3")]):
        files = await akool.download(outcome.result, tmp_path / "pictures")
        pictures += len(files)
        is_first = outcome.parent is None
        line = OutcomeLine(image_id=outcome.press.image_id, button=str(outcome.button), ok=True, status=3)
        fields = {"id": outcome.operation.id, "files": tuple(map(str, files))}
        fields |= {} if is_first else {"root_id": source, "path": tuple(map(str, outcome.path))}
        lines.append(OutcomeLine(**{**{name: getattr(line, name) for name in line.__annotations__}, **fields}))
    await write_gallery(tmp_path / "g.html", akool, contents_of(*lines))
    text = (tmp_path / "g.html").read_text()
    (root,) = Outline(text).sections
    assert root["cards"] == {"V2": "completed"}
    assert root["below"] == [{"name": f"{source}-V2", "cards": {"U3": "completed"}, "below": []}]
    files = [link for link in Page(text).links if link.startswith("pictures/")]
    assert len(set(files)) == pictures == 6
    assert f'alt="picture 4 of {source}-V2"' in text


async def test_every_state_is_shown_and_counted(write):
    """Failed, unknown, lost, not pressed, over budget and any later state are on cards, with reasons and filters."""
    over = line_of("V4", **NOT_PRESSED)
    lines = [
        line_of(),
        line_of("U1"),
        line_of("U2", **FAILED),
        line_of("U3", **NOT_PRESSED, charged=None, error="the reply was lost"),
        line_of("U4", **NOT_PRESSED | {"charged": True}),
        line_of("V1", **NOT_PRESSED, error="not pressed: AKOOL refused it", code=1003),
        line_of("V2", ok=False, status=2),
        line_of("V3", **FAILED),
        OverBudget(**{name: getattr(over, name) for name in OutcomeLine.__annotations__}),
    ]
    text = await write(*lines)
    page = Outline(text)
    assert page.sections[0]["cards"] == {
        "U1": "completed",
        "U2": "failed",
        "U3": "outcome unknown",
        "U4": "charged, id lost",
        "V1": "not pressed",
        "V2": "not finished",
        "V3": "failed",
        "V4": "over budget",
    }
    counted = {"completed": 2, "failed": 2, "not finished": 1, "not pressed": 1, "charged, id lost": 1}
    counted |= {"outcome unknown": 1, "over budget": 1}
    assert page.filters == {state: f"{state} {count}" for state, count in counted.items()}
    shown = Page(text).text
    assert "content policy" in shown
    assert "the reply was lost" in shown
    assert "not pressed: " not in shown  # a state is said once
    assert 'class="over-budget" data-state="over budget"' in text
    assert "Free:" not in shown


async def test_a_press_on_an_image_that_was_never_made_is_shown(write):
    """A failed prompt and the presses below it are nested, with the reason and without pictures."""
    below = {**NOT_PRESSED, "error": "its source image was not made"}
    text = await write(line_of(**FAILED), line_of("V1", **below), line_of("V1", "U1", **below))
    (root,) = Outline(text).sections
    assert root["cards"] == {"V1": "not pressed"}
    assert root["below"] == [{"name": "sea-V1", "cards": {"U1": "not pressed"}, "below": []}]
    page = Page(text)
    assert page.pictures == page.missing == []
    assert page.text.count("its source image was not made") == 2
    assert "content policy" in page.text
    assert "Free:" not in page.text


async def test_what_a_run_still_does_is_shown(akool, tmp_path):
    """Running presses show their ids, queued ones how many presses follow, and neither button counts as free."""
    root = Root.of_prompt("sea", "a sea", "the sea")
    planned = set(nodes_below(root.node, read_then("U1 U2 V1>U*"))) | {root.node}
    contents = Contents(
        title="t",
        roots=[root],
        lines={root.node: line_of()},
        running={root.node.child("U1"): "id-running"},
        planned=planned,
    )
    await write_gallery(tmp_path / "g.html", akool, contents)
    text = (tmp_path / "g.html").read_text()
    page = Outline(text)
    assert page.sections[0]["cards"] == {"U1": "running", "U2": "queued", "V1": "queued"}
    assert page.filters == {"completed": "completed 1", "running": "running 1", "queued": "queued 2"}
    assert "id-running" in text
    assert "then 4 presses" in text
    assert "Free: U3 U4 V2 V3 V4" in text
    assert page.places == ["the sea"]


async def test_lines_without_the_beginning_of_their_tree_are_shown(write):
    """Below a prompt without a line, and below an id that AKOOL cannot know, the page shows the known nodes."""
    odd = OutcomeLine(image_id=None, button="U1", root_id="../odd", path=("V1", "U1"), error="why")
    page = Outline(await write(line_of("V1", "U3"), odd))
    assert [root["below"][0]["cards"] for root in page.sections] == [{"U3": "completed"}, {"U1": "not pressed"}]
    assert [root["cards"] for root in page.sections] == [{"V1": "unknown"}, {"V1": "unknown"}]


BUTTONS = st.sampled_from(["U1", "U2", "V1", "V4", "V3", "X9"])
PATHS = st.tuples(st.sampled_from(["sea", "sky"]), st.lists(BUTTONS, max_size=4).map(tuple))


@given(st.lists(PATHS, unique=True), st.randoms())
def test_a_tree_has_every_line_in_its_place(paths, random):
    """In any order of the lines, and with any of them missing, the trees are the same and have each line once."""
    lines = [line_of(*path, key=key) for key, path in paths]
    shuffled = random.sample(lines, len(lines))
    trees = dict(grow(contents_of(*lines)))
    assert trees == dict(grow(contents_of(*shuffled)))
    found = []

    def check(node, path):
        assert node.id.path == path
        assert node.line is None or node.line.node == node.id
        found.extend([] if node.line is None else [node.line])
        buttons = [child.button for child in node.children]
        assert buttons == sorted(set(buttons))  # U before V, as it happens to be in the alphabet
        for child in node.children:
            check(child, (*path, child.button))

    for tree in trees.values():
        check(tree, ())
    assert len(found) == len(lines)
    assert set(found) == set(lines)


HOSTILE = (
    """'"><img src=x onerror=alert(1)><script class=injected>alert(1)</script>{{ 7 * 7 }}&#34; </style></script>"""
)


async def test_hostile_texts_are_only_text(akool, tmp_path):
    """A name, prompt, button, error, address or title that contains HTML is shown literally."""
    prompt = OutcomeLine(
        image_id=None, button=None, prompt=HOSTILE, key=HOSTILE, name=HOSTILE, id=HOSTILE, ok=False, error=HOSTILE
    )
    press = OutcomeLine(
        image_id=HOSTILE,
        button=HOSTILE,
        key=HOSTILE,
        path=(HOSTILE,),
        name=HOSTILE,
        id="id",
        status=3,
        error=HOSTILE,
        urls=("javascript:alert(1)",),
        files=(f"/x/{HOSTILE}",),
    )
    contents = Contents(title=HOSTILE, roots=[], lines={line.node: line for line in (prompt, press)})
    await write_gallery(tmp_path / "g.html", akool, contents)
    text = (tmp_path / "g.html").read_text()
    page = Page(text)
    assert text.count("<script") == 1
    assert "img" not in page.tags
    assert page.links == []
    assert not {name for name in Outline(text).attributes if name.startswith("on")}
    assert page.text.count(HOSTILE) >= 8


# --- thumbnails that are kept ---


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The cache folder of this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "akool_async" / "thumbnails"


def touch_like(file, content):
    """Replace the contents of a file without changing its size and time."""
    before = file.stat()
    file.write_bytes(content[: before.st_size].ljust(before.st_size))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


async def test_a_second_page_uses_kept_thumbnails(cache, finished):
    """A file is not read again until its size or time changes."""
    first = await finished()
    touch_like(finished.files[-1], b"no picture")
    assert (await finished()).pictures == first.pictures
    finished.files[-1].write_bytes(png((300, 300)))
    assert (await finished()).pictures[1] not in first.pictures


async def test_a_damaged_thumbnail_is_drawn_anew(cache, finished):
    """Anything in the place of a cache entry leaves the page as before, and is left alone."""
    first = await finished()
    entries = {path: path.read_bytes() for path in cache.iterdir()}
    assert len(entries) == 2
    for place, damage in zip(entries, (b"", b"RIFF of something else"), strict=True):
        place.write_bytes(damage)
    assert (await finished()).pictures == first.pictures
    assert {path: path.read_bytes() for path in cache.iterdir()} == entries
    one, other = entries
    one.write_bytes(entries[other])
    assert (await finished()).pictures == first.pictures


async def test_what_was_fetched_is_shown_when_akool_has_it_no_more(cache, emulator, finished):
    """Fetched pictures are cached by the image's id: after 7 days the page is the same."""
    first = await finished(files=())
    emulator.advance(8 * 24 * 3600)
    requests = emulator.ledger.requests["pictures"]
    assert (await finished(files=())).pictures == first.pictures
    assert len(first.pictures) == 2
    assert emulator.ledger.requests["pictures"] == requests


async def test_a_cache_that_cannot_be_used_harms_nothing(finished, monkeypatch, tmp_path):
    """If the folder is a file, the page has its pictures and no file is left."""
    (tmp_path / "cache").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert len((await finished()).pictures) == 2
    assert (tmp_path / "cache").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "g.html", "pictures"]
    kept = KeptThumbnails()
    kept.keep("a key", b"drawn")
    assert kept.find("a key") == b"drawn"  # in memory, for the pages of this run


@pytest.mark.parametrize("named", ["", "relative"])
def test_the_cache_is_at_home_if_nothing_else_is_named(monkeypatch, tmp_path, named):
    """A relative cache folder is ignored, as the XDG specification says."""
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "akool_async" / "thumbnails"


def test_the_cache_is_bounded(cache):
    """The least recently used entry goes first; foreign files stay, and leftovers of killed programs go."""
    kept = KeptThumbnails(max_total=100_000)
    for number in range(200):
        kept.keep(f"key {number}", bytes(1000))
        for path in cache.iterdir():  # the clock of a file system is too coarse for the order
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))
        assert sum(path.stat().st_size for path in cache.iterdir()) <= 100_000
    assert [kept.find(f"key {number}") for number in (0, 199)] == [None, bytes(1000)]
    (cache / "mine").write_bytes(bytes(200_000))
    (cache / ".dead.part").write_bytes(b"half")
    (cache / ".new.part").write_bytes(b"half")
    os.utime(cache / ".dead.part", (0, time.time() - 2 * DEAD_PART))
    kept.keep("another", b"")
    kept.prune()
    assert kept.find("another") == b""
    assert {path.name for path in cache.iterdir() if path.suffix != ".thumbnail"} == {"mine", ".new.part"}


def test_a_thumbnail_in_use_is_not_the_oldest(cache):
    """An old entry that is found again outlives newer ones that are not."""
    kept = KeptThumbnails(max_total=30_000)
    for number in range(20):
        kept.keep(f"key {number}", bytes(1000))
    for path in cache.iterdir():
        os.utime(path, (0, 1000.0))
    assert kept.find("key 7") is not None
    for number in range(20, 40):
        kept.keep(f"key {number}", bytes(1000))
    assert kept.find("key 7") is not None
    assert sum(kept.find(f"key {number}") is not None for number in range(20)) < 20


def test_several_may_use_the_cache(cache):
    """While others write and remove entries, each read gives a whole entry or nothing."""
    drawn = {f"key {number}": bytes([number]) * 5000 for number in range(30)}

    def use(_):
        kept = KeptThumbnails(max_total=60_000)
        for key, content in drawn.items():
            assert kept.find(key) in {None, content}
            kept.keep(key, content)
            assert kept.find(key) in {None, content}

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))


# --- in a browser ---


@in_a_browser
async def test_a_deep_tree_fits_a_phone(write, tmp_path):
    """Twelve levels, a long name and a long reason are not wider than 340 pixels."""
    path = ("V1", "V2") * 6
    lines = [line_of(*path[:depth], key="s" * 90) for depth in range(len(path))]
    await write(*lines, line_of(*path, key="s" * 90, **{**FAILED, "error": "reason" * 40}))
    width, shown = await look_at(tmp_path / "g.html", NARROW, 500)
    assert shown == len(path)
    assert width <= 340


@in_a_browser
async def test_a_browser_filters(write, tmp_path):
    """Clicks on the filters show failed cards, those over budget as well, and then everything again."""
    over = line_of("V1", "U2", **NOT_PRESSED)
    over = OverBudget(**{name: getattr(over, name) for name in OutcomeLine.__annotations__})
    await write(line_of(), line_of("U1"), line_of("U3", **FAILED), line_of("V1"), line_of("V1", "U1"), over)
    everything, failed, both, places, again = await look_at(tmp_path / "g.html", FILTER)
    assert everything == again == ["U1", "U3", "V1", "U1", "U2"]
    assert (failed, both, places) == (["U3"], ["U3", "U2"], 2)


@in_a_browser
async def test_a_browser_enlarges_a_picture_in_place(finished, tmp_path):
    """A picture is enlarged by click and by keyboard: the thumbnail first, then the linked file."""
    await finished()
    first, second, is_open, place = await look_at(tmp_path / "g.html", ENLARGE)
    assert first == [True, f"V1 of {finished.source}", "data:image"]
    with Image.open(finished.files[-1]) as file:
        assert second == ["file:", file.width, finished.files[-1].as_uri()]
    assert (is_open, place) == (False, "")


@in_a_browser
async def test_a_page_that_reloads_itself_keeps_the_readers_place(akool, tmp_path):
    """Filters and scroll position survive a reload."""
    lines = [line_of(key=f"sea {number}", **FAILED) for number in range(60)]
    pictures = Pictures(akool=akool, page=tmp_path / "g.html", kept=KeptThumbnails())
    (await draw_page(contents_of(*lines, line_of()), pictures)).write(tmp_path / "g.html", reload_after=1)
    before, after, chosen = await look_at(tmp_path / "g.html", RELOAD)
    assert before == after > 500
    assert chosen == "failed"


@in_a_browser
async def test_the_page_of_a_killed_run_reloads_itself_no_more(akool, tmp_path):
    """A page that was not written for long says so, and no longer reloads."""
    page = tmp_path / "g.html"
    pictures = Pictures(akool=akool, page=page, kept=KeptThumbnails())
    (await draw_page(contents_of(line_of(**FAILED)), pictures)).write(page, reload_after=1)
    page.write_text(re.sub('data-live="[^"]+"', 'data-live="2026-01-02T03:04:05Z"', page.read_text()))
    said, loads = await look_at(page, LOADS)
    assert said == "The run was cut off: this page was last written at 2026-01-02T03:04:05Z."
    assert loads == 1


# --- a page that grows ---

RELOADS = '<meta http-equiv="refresh"'


async def test_a_live_page_is_whole_at_any_time_and_ends(akool, tmp_path):
    """Every version of the page is whole and reloads itself; the last one shows all and does not."""
    lines, page, seen = [line_of()], tmp_path / "g.html", set()

    def make_contents():
        lines.append(line_of(f"V{1 + len(lines) % 4}", **{**NOT_PRESSED, "error": f"reason {len(lines)}"}))
        return contents_of(*lines)

    live = LiveGallery(page, akool, make_contents, pace=0)
    live.start()

    def read():
        if page.exists():
            text = page.read_text()
            assert text.startswith("<!doctype html>")
            assert text.endswith("</html>")
            assert RELOADS in text
            seen.add(text)
        return len(seen) > 5

    await look_until(read)
    await live.show()
    await live.stop()
    last = page.read_text()
    assert RELOADS not in last
    assert f"reason {len(lines) - 1}" in last
    assert [path.name for path in tmp_path.iterdir()] == ["g.html"]


async def test_what_is_wrong_with_a_live_page_is_reported_by_the_last_one(akool, tmp_path):
    """A page that cannot be written does not end the run: only the last one raises."""
    asked = []

    def make_contents():
        asked.append(len(asked))
        return contents_of(line_of(error=f"{len(asked)}", **NOT_PRESSED))

    (tmp_path / "mine").write_text("mine")
    live = LiveGallery(tmp_path / "mine" / "g.html", akool, make_contents, pace=0)
    live.start()
    await look_until(lambda: len(asked) > 3)
    with pytest.raises(OSError) as caught:
        await live.show()
    assert caught.value.errno in {errno.ENOTDIR, errno.EEXIST}
    await live.stop()


async def test_a_live_page_asks_akool_for_little(emulator, akool, finished, tmp_path):
    """During a run pictures are fetched by their addresses, once; only the last page asks AKOOL for images."""
    finished.files[-1].unlink()
    emulator.faults.rate(1.0, Fault.status(403), endpoints=["pictures"])
    line = OutcomeLine(
        image_id=finished.source, button="V1", id=finished.result.id, ok=True, status=3, urls=finished.result.urls
    )
    other = OutcomeLine(image_id=finished.source, button="V2", id="f" * 24, ok=True, status=3)
    asked = []

    def make_contents():
        asked.append(len(asked))
        return Contents(
            title="t", roots=[], lines={one.node: one for one in (line, other)}, seconds={"x": float(len(asked))}
        )

    live = LiveGallery(tmp_path / "g.html", akool, make_contents, pace=0)
    live.start()
    await look_until(lambda: len(asked) > 4)
    assert "not read yet" in (tmp_path / "g.html").read_text()
    requests = emulator.ledger.requests.copy()
    assert requests["pictures"]
    await look_until(lambda: len(asked) > 8)
    assert emulator.ledger.requests == requests
    await live.show()
    assert emulator.ledger.requests["get_image_result"] > requests["get_image_result"]
    assert "not read yet" not in (tmp_path / "g.html").read_text()


async def test_a_run_shows_its_page_from_the_beginning(slow, tmp_path):
    """The page exists during the run and reloads itself; at the end it shows all presses."""
    write_batch(tmp_path, [slow.add_image()], "U1 U2")
    page = tmp_path / "g.html"
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "g.html")
    process = await start(*arguments, cwd=tmp_path, environment=slow.environment())
    await look_until(lambda: page.exists() and RELOADS in page.read_text())
    early = Outline(page.read_text())
    assert set(early.sections[0]["cards"].values()) <= {"queued", "running", "completed"}
    _, errors = await process.communicate()
    assert process.returncode == 0, errors
    assert RELOADS not in page.read_text()
    assert Outline(page.read_text()).sections[0]["cards"] == {"U1": "completed", "U2": "completed"}


async def test_the_page_of_an_interrupted_run_reloads_itself_no_more(slow, tmp_path):
    """After Ctrl-C the page shows what still runs, and no longer reloads."""
    write_batch(tmp_path, [slow.add_image()], "U1 V1")
    slow.faults.script("create_by_button", Fault.stuck(), Fault.stuck())
    page = tmp_path / "g.html"
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "g.html")
    process = await start(*arguments, cwd=tmp_path, environment=slow.environment())
    await slow.ledger.until(lambda ledger: ledger.accepted == 2)
    await look_until(lambda: page.exists() and RELOADS in page.read_text())
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode == 130, errors
    assert RELOADS not in page.read_text()
    assert Outline(page.read_text()).sections[0]["cards"] == {"U1": "not finished", "V1": "not finished"}
