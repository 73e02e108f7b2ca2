"""The output of the command on narrow and dumb terminals, in files, and in encodings that lack some characters."""

import asyncio
import io
import json
import logging
import os
import re
import sys
from contextlib import asynccontextmanager

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from akool_async.cli import app
from akool_async.cli.output import stderr
from akool_async.cli.output.rows import Column, print_rows
from akool_async.cli.output.terminal import print_whole
from akool_async.emulator import Emulator, Fault
from tests.support.commands import read_terminal, run, start, write_batch
from tests.support.scripted import KEY, scripted_server
from tests.support.terminals import open_terminal, run_on_terminal, without_escapes

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d "
TITLE, CLEAR = "\x1b]0;PWNED\x07", "\x1b[2J"
HARMFUL = [
    *(chr(code) for code in (*range(0x09), *range(0x0E, 0x1C), *range(0x7F, 0x85), *range(0x86, 0xA0))),  # control
    *(chr(code) for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))),  # directions
    "\u200b",
    "\ufeff",
]
LINE_BREAKS = ["\n", "\r\n", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029"]


def show_here(columns, show):
    """Return the text that a function prints on a terminal of this width, in this process."""
    ours, theirs = open_terminal(columns)
    with os.fdopen(theirs, "w") as file:
        show(Console(file=file, width=columns, color_system=None))
    return without_escapes(read_terminal(ours))


# --- narrow terminals ---


@pytest.mark.parametrize("columns", [60, 70, 80])
async def test_press_shows_names_and_reasons_whole(emulator, tmp_path, columns):
    """On a narrow terminal, ids, file names and a reason are complete, and no line is wider than the terminal."""
    image_id = emulator.add_image(buttons=["U1", "V1"])
    arguments = ("press", image_id, "U1", "V1", "V2", "-q", "--download", "pictures")
    environment = emulator.environment() | {"NO_COLOR": "1"}
    status, shown = await run_on_terminal(*arguments, cwd=tmp_path, environment=environment, columns=columns)
    text = without_escapes(shown)
    assert status == 3
    new_ids = [post.new_ids[0] for post in emulator.ledger.posts if post.new_ids]
    assert len(new_ids) == 2
    for new_id in new_ids:
        assert re.search(rf"^{new_id} (U1|V1) ", text, flags=re.MULTILINE)
        assert f"{new_id}-1.jpg" in text
    assert "the button is used or not available, or the image is not finished" in " ".join(text.split())
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= columns


async def test_result_shows_urls_and_files_whole(emulator, tmp_path):
    """A URL is in one piece, even if it is longer than a line; a prompt wraps between words."""
    prompt = "a lighthouse in a storm, oil on canvas, seen from the sea at night by somebody who is late"
    environment = emulator.environment()
    status, output, _ = await run("prompt", prompt, "--json", "-q", cwd=tmp_path, environment=environment)
    made = json.loads(output)
    assert status == 0
    arguments = ("result", made["id"], "--download", "pictures")
    _, shown = await run_on_terminal(*arguments, cwd=tmp_path, environment=environment, columns=60)
    text = without_escapes(shown)
    assert all(url in text for url in made["urls"])
    assert f"pictures/{made['id']}-5.jpg" in text
    assert prompt in " ".join(text.split())


ENOUGH = 40
"""No word that is shorter is broken."""
ROWS = st.lists(
    st.tuples(
        st.text("0123456789abcdef", min_size=1, max_size=40),
        st.sampled_from(["completed", "failed", "日本"]),
        st.lists(st.text("abcdefgh-", min_size=1, max_size=70), max_size=12).map(" ".join),
    ),
    min_size=1,
    max_size=4,
)


@given(ROWS, st.integers(24, 150))
def test_no_width_drops_any_text(rows, columns):
    """At any width every word of every row is printed: in one piece, or in consecutive pieces if it is too long."""
    cells = [tuple(map(Text, row)) for row in rows]
    columns_shown = [Column("id"), Column("status"), Column("reason")]
    text = show_here(columns, lambda console: print_rows(console, columns_shown, cells, title=Text("of image 7")))
    assert "…" not in text
    for row in rows:
        for word in " ".join(row).split():
            assert word in text or (
                len(word) > min(ENOUGH, columns - len("status ")) and word in re.sub(r"\s", "", text)
            )


def test_a_word_that_is_longer_than_a_line_stays_in_one_piece():
    """Text to copy from a terminal, such as a URL, gets no line break."""
    url = "https://pictures.example/" + "a" * 100
    text = show_here(40, lambda console: print_whole(console, f"see {url} now", label="urls", indent=8))
    assert text.splitlines() == ["urls    see", " " * 8 + url, " " * 8 + "now"]


@pytest.mark.parametrize("columns", [60, 80])
async def test_bars_of_a_narrow_terminal_show_all_counts(tmp_path, columns):
    """The counts wrap if they do not fit, and are not cut."""
    async with Emulator(speed=30) as emulator:
        write_batch(tmp_path, [emulator.add_image() for _ in range(3)])
        arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--max-concurrent-upscales", "20")
        environment = emulator.environment()
        status, shown = await run_on_terminal(*arguments, cwd=tmp_path, environment=environment, columns=columns)
    assert status == 0
    assert "24/24 0 queued" in without_escapes(shown)
    assert re.search(r"24 done · 0 failed ·[\s\d:left]{,90}credits", without_escapes(shown))
    assert "…" not in shown


# --- output that cannot be redrawn ---


@pytest.mark.parametrize("command", ["press", "fan-out"])
async def test_a_dumb_terminal_gets_lines(emulator, tmp_path, command):
    """With TERM=dumb, as in Emacs, each change is a line with the id, without an escape sequence."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id], "V1")
    arguments = {"press": ("press", image_id, "V1"), "fan-out": ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")}
    environment = emulator.environment() | {"TERM": "dumb"}
    status, shown = await run_on_terminal(*arguments[command], cwd=tmp_path, environment=environment)
    assert status == 0
    assert "\x1b" not in shown
    (post,) = emulator.ledger.posts
    assert re.search(rf"^\[1/1\] V1 .*{post.new_ids[0]}: completed", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("command", ["press", "fan-out"])
@pytest.mark.parametrize(
    "asked_for",
    [
        {},
        {"FORCE_COLOR": "1"},
        {"TTY_COMPATIBLE": "1"},
        {"TTY_INTERACTIVE": "1"},
        {"FORCE_COLOR": "1", "NO_COLOR": "1"},
    ],
    ids=str,
)
async def test_a_file_gets_lines_whatever_is_forced(emulator, tmp_path, command, asked_for):
    """A file gets colours if the environment asks for them, but no sequences that move the cursor or clear a line."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id], "V1")
    arguments = {"press": ("press", image_id, "V1"), "fan-out": ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl")}
    environment = emulator.environment() | {"TERM": "xterm-256color"} | asked_for
    status, output, errors = await run(*arguments[command], cwd=tmp_path, environment=environment)
    assert status == 0, errors
    (post,) = emulator.ledger.posts
    assert re.search(rf"^{STAMP}\[1/1\] V1 .*{post.new_ids[0]}: completed", errors, flags=re.MULTILINE)
    assert len(errors) < 4000
    assert "\x1b" not in re.sub(r"\x1b\[[0-9;]*m", "", output + errors)
    if asked_for.keys() <= {"TTY_INTERACTIVE"}:  # nobody asked for colours
        assert "\x1b" not in output + errors


async def test_lines_of_a_log_begin_with_the_time(emulator, tmp_path):
    """In a file each line of progress begins with the local time and its offset from UTC."""
    write_batch(tmp_path, [emulator.add_image()], "V1 V2")
    environment = emulator.environment() | {"TZ": "Asia/Kolkata"}
    arguments = ("fan-out", "presses.csv", "--yes", "-o", "out.jsonl", "--gallery", "g.html")
    _, _, errors = await run(*arguments, cwd=tmp_path, environment=environment)
    lines = [line for line in errors.splitlines() if re.search(r"\[\d/\d\]", line)]
    assert len(lines) == 2 + 2
    assert all(re.match(rf"{STAMP}\[", line) and "+05:30" in line for line in lines)


# --- text from elsewhere ---


@pytest.mark.parametrize("mark", HARMFUL, ids=ascii)
def test_what_a_terminal_would_obey_is_removed(mark):
    """Control characters, invisible characters and those that reverse the direction of writing are removed."""
    assert stderr.plain(f"a{mark}b") == "ab"


@pytest.mark.parametrize("line_break", LINE_BREAKS, ids=ascii)
def test_a_text_from_elsewhere_is_one_line(line_break):
    """A text of AKOOL or of a file cannot look like a separate line of the command."""
    assert stderr.plain(f"a{line_break}b") == "a b"


@pytest.mark.parametrize(
    "text", ["日本の灯台", "שלום", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "❤\ufe0f", "e\u0301"]
)
def test_other_text_stays(text):
    """Other scripts, joined emoji and combining accents are shown as they are."""
    assert stderr.plain(text) == text


@given(st.text())
def test_lone_surrogates_are_replaced(text):
    """Half a character, from JSON or from a file name, is replaced, so that the text can be written."""
    assert stderr.plain(text).encode().decode() == stderr.plain(text)


async def test_names_of_files_reach_no_terminal_raw(emulator, tmp_path):
    """A file that cannot be read is named on one line, without the control characters in its name."""
    name = f"a{TITLE}\u202e\nakool: paid.csv"
    (tmp_path / name).write_text("x")
    status, shown = await run_on_terminal("fan-out", name, cwd=tmp_path, environment=emulator.environment())
    assert status == 2
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    assert not re.search(r"^akool: paid", shown, flags=re.MULTILINE)
    assert "a]0;PWNED akool: paid.csv" in shown


@pytest.mark.parametrize("columns", [80, 160])
async def test_reasons_of_akool_reach_no_terminal_raw(emulator, tmp_path, columns):
    """AKOOL's reasons for a failure or a refusal are printed without characters that a terminal would obey."""
    emulator.faults.script("create_by_button", Fault.fails(f"too{TITLE} da{CLEAR}rk \u202e"), Fault.code(1010, TITLE))
    arguments = ("press", emulator.add_image(), "V1", "V2")
    environment = emulator.environment() | {"NO_COLOR": "1"}
    status, shown = await run_on_terminal(*arguments, cwd=tmp_path, environment=environment, columns=columns)
    assert status == 3
    assert "too]0;PWNED da[2Jrk" in " ".join(without_escapes(shown).split())
    assert not any(harmful in shown for harmful in (TITLE, CLEAR, "\u202e"))


@asynccontextmanager
async def rude_host():
    """Serve a picture's URL that answers with an error text that a terminal would obey."""

    async def refuse(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 403 No {TITLE}{CLEAR}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        yield "http://{}:{}/a.png".format(*server.sockets[0].getsockname())


async def test_reasons_of_a_pictures_host_and_prompts_reach_no_terminal_raw(tmp_path):
    """Neither the reason phrase of a host nor a prompt with invisible marks and half an emoji is printed raw."""
    image = {"_id": "65d3206b83cc", "image_status": 3, "prompt": "a \u202egnp.exe\ud83d"}
    reply = {"code": 1000, "msg": "OK", "data": image}
    async with rude_host() as url, scripted_server(reply) as server:
        image["image"] = url
        environment = {"AKOOL_API_KEY": KEY, "AKOOL_BASE_URL": server.base_url}
        status, shown = await run_on_terminal("result", "65d3206b83cc", cwd=tmp_path, environment=environment)
        assert status == 0
        assert "a gnp.exe?" in shown
        arguments = ("result", "65d3206b83cc", "--download", "pictures")
        status, more = await run_on_terminal(*arguments, cwd=tmp_path, environment=environment)
    assert status != 0
    assert "HTTP 403 No ]0;PWNED[2J" in more
    assert not any(harmful in shown + more for harmful in (TITLE, CLEAR, "\u202e"))


def test_warnings_of_the_library_are_harmless_lines(capsys):
    """A warning that quotes a reply is one line with the time; a traceback is printed line by line."""
    handler = stderr.LogLines()
    handler.handle(logging.makeLogRecord({"msg": "lost: %s", "args": (f"a{TITLE}\nb",)}))
    error = ValueError(CLEAR)
    handler.handle(logging.makeLogRecord({"msg": "failed", "exc_info": (ValueError, error, None)}))
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert re.match(rf"{STAMP}lost: a\]0;PWNED b\n{STAMP}failed\nValueError: \[2J", printed)


# --- encodings ---


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii", "cp437:strict", "utf-8:strict"])
async def test_no_encoding_hides_what_was_paid(emulator, tmp_path, encoding, as_json):
    """In every encoding of stdout the prompt's id is printed, and the exit status is that of the work."""
    arguments = ["prompt", "日本の灯台 \U0001f30a é", "--no-wait", "-q", *(["--json"] if as_json else [])]
    environment = emulator.environment() | {"PYTHONIOENCODING": encoding}
    process = await start(*arguments, cwd=tmp_path, environment=environment)
    output, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    (post,) = emulator.ledger.posts
    assert post.new_ids[0].encode() in output
    if as_json:
        assert json.loads(output)["prompt"] == arguments[1]


async def test_json_is_json_in_every_encoding(emulator, tmp_path):
    """A plan whose reasons quote characters that stdout lacks can be parsed, and has the same content."""
    button = "\U0001f30a\u202eé"
    rows = [{"image_id": emulator.add_image(), "button": one} for one in ("U1", button, "\ud83d")]
    (tmp_path / "presses.jsonl").write_text("\n".join(map(json.dumps, rows)))
    printed = []
    for encoding in ("ascii", "utf-8"):
        environment = emulator.environment() | {"PYTHONIOENCODING": encoding}
        process = await start("fan-out", "presses.jsonl", "--json", cwd=tmp_path, environment=environment)
        output, errors = await process.communicate()
        assert process.returncode == 2, errors  # of the invalid lines
        printed.append(json.loads(output))
        assert output.isascii()
    assert printed[0]["to_press"] == 1
    assert repr(button) in printed[0]["invalid"][0]["error"]
    assert printed[0]["invalid"] == printed[1]["invalid"]


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
async def test_names_that_are_not_utf_8_change_nothing(emulator, tmp_path, locale):
    """A batch, an output, a folder and a page with names in latin-1 work in any locale."""
    batch, output, folder, page = (os.fsdecode(name) for name in (b"\xe4.csv", b"\xf6.jsonl", b"b-\xe4", b"\xfc.html"))
    write_batch(tmp_path, [emulator.add_image()], "V1").rename(tmp_path / batch)
    arguments = ("fan-out", batch, "--yes", "-o", output, "--download", folder, "--gallery", page)
    environment = emulator.environment() | locale
    status, _, errors = await run_with_bytes(*arguments, cwd=tmp_path, environment=environment)
    assert status == 0, errors
    shown = (tmp_path / page).read_text(encoding="utf-8")
    assert 'href="b-%E4/' in shown
    assert "<h1>\ufffd.csv</h1>" in shown
    charged = emulator.ledger.charged
    status, _, errors = await run_with_bytes(*arguments, cwd=tmp_path, environment=environment)
    assert (status, emulator.ledger.charged) == (0, charged), errors


async def run_with_bytes(*arguments, cwd, environment):
    """Run the command with arguments of any bytes, and return its output as bytes."""
    process = await start(*arguments, cwd=cwd, environment=environment)
    output, errors = await process.communicate()
    return process.returncode, output, errors


def test_the_command_runs_with_replaced_streams(monkeypatch):
    """If a program has replaced stdout and stderr, or has none, the status is that of the work."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    monkeypatch.setattr(sys, "stderr", None)
    assert app.run(["--version"]) == 0
    assert "akool" in shown.getvalue()
    monkeypatch.setattr(sys, "stdout", None)
    assert app.run(["nonsense"]) == 2


def test_an_error_of_encoding_is_not_wrong_usage(monkeypatch, capsys):
    """Status 2 means that nothing was spent, which is not certain after such an error."""

    @click.command("fail")
    def fail():
        "\ud83d".encode()

    monkeypatch.setitem(app.akool.commands, "fail", fail)
    assert app.run(["fail"]) == 1
    assert capsys.readouterr().err.startswith("akool: 'utf-8' codec can't encode")
