"""The gallery: one page that holds all it shows."""

import asyncio
import html
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from commands import run
from test_command_fan_out import write_batch

from akool_async.emulator import Fault

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
PROBE = """<script>document.title = JSON.stringify([document.documentElement.scrollWidth, innerWidth,
[...document.images].every(image => image.complete && image.naturalWidth > 100), document.images.length,
document.querySelectorAll("script, .injected").length])</script>"""


class Page(HTMLParser):
    """The tags and attributes of a page, and its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links, self.pictures, self.text = set(), [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        given = dict(attrs)
        if tag == "a":
            self.links.append(given["href"])
        if tag == "img":
            self.pictures.append(given["src"])

    def handle_data(self, data):
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
    """Two sheets of eight buttons; pictures are in the page; captions tell id, seconds, credits and reasons."""
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


async def test_pictures_that_are_gone_are_told_as_such(emulator, tmp_path):
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


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed here: the gallery was looked at in no browser")
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
