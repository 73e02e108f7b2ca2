"""Parts of the command in this process: what they print, raise and write."""

import errno
import io
import resource
import struct
import zlib

import click.shell_completion  # noqa: F401 - as click does before it completes
import pytest
from attrs import evolve
from rich.console import Console
from rich.text import Text

from akool_async import (
    AkoolError,
    ButtonPress,
    ConfigurationError,
    DownloadError,
    ImageResult,
    NotFoundError,
    OutcomeUnknownError,
)
from akool_async.cli import ExitStatus
from akool_async.cli.batch.append_only import AppendOnlyFile
from akool_async.cli.batch.plan_table import MAX_REASONS, _reasons
from akool_async.cli.batch.planning import learn_prices
from akool_async.cli.batch.rows import read_row
from akool_async.cli.commands import result
from akool_async.cli.exit_status import after_spending
from akool_async.cli.following.follow import follow
from akool_async.cli.following.follow_options import FollowOptions
from akool_async.cli.following.live_table import LiveTable
from akool_async.cli.following.row import Row
from akool_async.cli.gallery.thumbnails import MAX_PIXELS, TOO_LARGE, UnreadableError, thumbnail
from akool_async.cli.options import ButtonName
from akool_async.cli.outcomes.charges import explain_account
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.cli.outcomes.lost import MAX_COMMANDS, explain_lost
from akool_async.cli.output.rows import Column, print_rows
from akool_async.cli.output.terminal import is_terminal
from akool_async.emulator import Fault


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"credits_estimated": 2.0}, "2 credits of that are an estimate"),
        ({"credits_in_doubt": 4.0}, "up to 4 credits more may have been charged"),
        ({"credits_elsewhere": 3.0}, "3 credits went elsewhere: another program"),
        ({"credits_elsewhere": 3.0, "credits_in_doubt": 4.0}, "3 credits more are gone: for prompts and presses whose"),
        ({"credits_elsewhere": -5.0}, "the balance is 5 credits higher than that explains: a top-up, or a refund"),
    ],
)
async def test_what_is_not_plain_in_an_account_is_explained(akool, known, message):
    assert list(explain_account(akool.counters())) == []
    assert message in "\n".join(explain_account(evolve(akool.counters(), **known)))


def test_of_many_lost_presses_the_rest_is_counted():
    """Commands for the first few, and how many more there are."""
    lines = [OutcomeLine(image_id=f"image-{n}", button="U1", charged=True) for n in range(MAX_COMMANDS + 3)]
    printed = list(explain_lost(lines, ids=None, store="--store x"))
    assert sum(sentence.startswith("akool resolve ") for sentence in printed) == MAX_COMMANDS
    assert printed[-1] == "and 3 more"


def test_a_line_that_the_disk_cannot_take_leaves_nothing(tmp_path):
    """Of a line that a full disk took in part nothing stays, and what is there already is not touched."""
    lines = AppendOnlyFile(tmp_path / "lines")
    lines.append("first")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        with pytest.raises(OSError, match="No space left"):
            lines.append("a line that is too long")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    lines.append("second")
    assert (tmp_path / "lines").read_text() == "first\nsecond\n"
    lines.file.close()


def test_a_disk_that_takes_nothing_is_named():
    lines = AppendOnlyFile(_Path("/dev/full"))
    with pytest.raises(OSError, match="/dev/full") as caught:
        lines.append("a line")
    assert caught.value.errno == errno.ENOSPC
    lines.file.close()


class _Path:
    """A device, to which nothing is appended: it has no end."""

    def __init__(self, path):
        self.path = path

    def open(self, *_, **options):
        return open(self.path, "wb", **options)  # noqa: PTH123 - the same, in a mode that a device knows


def test_what_follows_a_charge_is_no_wrong_usage():
    """A ValueError becomes an error, and an error of the library's own stays what it is."""
    with pytest.raises(AkoolError, match="a bad name") as caught, after_spending():
        raise ValueError("a bad name")
    assert not isinstance(caught.value, ValueError)
    with pytest.raises(ConfigurationError), after_spending():
        raise ConfigurationError("of the library")


@pytest.mark.parametrize("name", [5, None, ["U1"], {"button": "U1"}])
def test_a_button_that_is_no_text_is_reported(name):
    with pytest.raises(ValueError, match=r"^button(: pass a text such as| must be one of)"):
        read_row({"image_id": "a", "button": [name, ["X"]]}, ())


@pytest.mark.parametrize(("typed", "offered"), [("u", ["U1", "U2", "U3", "U4", "U*"]), ("V4", ["V4"]), ("x", [])])
def test_the_shell_completes_buttons(typed, offered):
    assert [item.value for item in ButtonName().shell_complete(None, None, typed)] == offered


def test_a_price_is_learned_from_the_images_that_a_batch_starts_from():
    """An image that a press made shows what its kind was charged; one that a prompt made shows no press."""
    sources = [ImageResult(id="a", op_button="U1", deduction_credit=5.0), ImageResult(id="b", deduction_credit=9.0)]
    prices = learn_prices([], sources)
    assert (prices.expected("upscale"), prices.is_known("upscale")) == (5.0, True)
    assert not prices.is_known("variation")


def test_of_many_reasons_the_rest_is_counted():
    found = [(f"reason {n}", n) for n in range(MAX_REASONS + 2)]
    *_, last = _reasons("invalid", found, "red")
    assert last[2] == "and 2 reasons more; --json shows them all"


def test_rows_without_a_title_are_whole_on_a_narrow_terminal():
    written = io.StringIO()
    columns, row = [Column("button"), Column("reason")], (Text("U1"), Text("a reason that is longer than the line"))
    print_rows(Console(file=written, width=20), columns, [row])
    assert "".join(written.getvalue().split()).endswith("areasonthatislongerthantheline")
    assert not written.getvalue().startswith("\n")


def test_a_closed_stream_is_no_terminal():
    stream = io.StringIO()
    stream.close()
    assert not is_terminal(stream)
    assert not is_terminal(None)


def test_a_picture_of_too_many_pixels_is_not_drawn(tmp_path):
    """Its head alone says so, before memory is taken for it."""
    head = struct.pack(">IIBBBBB", MAX_PIXELS // 1000, 1001, 8, 2, 0, 0, 0)
    file = tmp_path / "large.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", b""))
    with pytest.raises(UnreadableError, match=TOO_LARGE):
        thumbnail(file)


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_person_who_leaves_sees_what_is_in_doubt(capsys):
    """A press whose caller had left is shown in its row, like one that is on its way."""
    with LiveTable([Row("U1"), Row("V1")], "an image", quiet=True) as table:
        lost = OutcomeUnknownError("lost", charged=True).about(press=ButtonPress("image-1", "V1"))
        table.stop_waiting([], [lost])
    assert capsys.readouterr().err == "V1: charged, id lost\n"


class _Broken:
    """A schedule with a bug."""

    def next_delay(self, progress):
        raise ValueError("of the schedule")

    def learn(self, finished):
        pass


async def test_a_value_error_after_the_press_stands_in_its_row(emulator):
    """What was paid for stays in the table; a bad argument, before anything is sent, is raised."""
    async with emulator.session(polling=_Broken()) as akool:
        with LiveTable([Row("V1")], "an image", quiet=True) as table:
            (row,) = table.rows
            await follow(akool, table, row, FollowOptions(), akool.vary(emulator.add_image(), 1))
            assert (str(row.error), row.id) == ("of the schedule", emulator.ledger.posts[0].new_ids[0])
            with pytest.raises(ValueError, match="index"):
                await follow(akool, table, Row("V2"), FollowOptions(), akool.vary("image-1", 7))


@pytest.fixture
async def as_command(emulator, monkeypatch):
    """This process's environment is the command's."""
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    return emulator


def options(image_id, **follow):
    return result.ResultOptions(image_id=image_id, key_file=None, as_json=True, quiet=True, **follow)


async def test_a_result_that_failed_is_printed_with_its_reason(as_command, akool, capsys):
    as_command.faults.script("create_by_button", Fault.fails("too dark"))
    operation = await akool.vary(as_command.add_image(), 1)
    await operation.wait_until_complete(raise_on_failure=False)
    assert await result.run(options(operation.id, wait=False)) == ExitStatus.SOME_FAILED
    assert "too dark" in capsys.readouterr().out


async def test_a_result_is_reported_also_where_nothing_is_to_be_saved(as_command, capsys):
    image_id = as_command.add_image()
    assert await result.run(options(image_id, wait=False)) == ExitStatus.DONE
    assert image_id in capsys.readouterr().out


async def test_pictures_of_a_running_image_cannot_be_saved_yet(as_command, akool, tmp_path):
    """The error says what to add, and which image it is about."""
    as_command.faults.script("create_by_button", Fault.stuck())
    operation = await akool.vary(as_command.add_image(), 1)
    with pytest.raises(DownloadError, match="add --wait") as caught:
        await result.run(options(operation.id, wait=False, download=tmp_path))
    assert caught.value.operation_id == operation.id


async def test_an_image_that_is_not_there_is_not_waited_for(as_command):
    with pytest.raises(NotFoundError):
        await result.run(options("f" * 24))
