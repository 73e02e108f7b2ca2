"""Parts of the command, called in this process."""

import errno
import io
import resource
import struct
import zlib
from pathlib import Path

import click.shell_completion  # noqa: F401 - as click does before it completes
import pytest
from attrs import evolve, fields
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
    Prompt,
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
from akool_async.cli.outcomes.charges import describe_job_charges, explain_account
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.cli.outcomes.lost import MAX_COMMANDS, explain_lost
from akool_async.cli.output.rows import Column, print_rows
from akool_async.cli.output.stderr import shorten
from akool_async.cli.output.terminal import is_terminal
from akool_async.durable import JobCounts
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
async def test_differences_in_an_account_are_explained(akool, known, message):
    assert list(explain_account(akool.counters())) == []
    assert message in "\n".join(explain_account(evolve(akool.counters(), **known)))


@pytest.mark.parametrize(
    ("known", "text"),
    [
        ({}, "; 28 credits charged"),
        ({"credits_lost": 4.0}, "; 32 credits charged, 4 of them by estimate for presses whose id is lost"),
        (
            {"credits_estimated": 3.0},
            "; 28 credits charged, 3 of them by estimate",
        ),
        (
            {"credits_lost": 4.0, "credits_estimated": 3.0},
            "; 32 credits charged, 4 of them by estimate for presses whose id is lost, 3 others by estimate",
        ),
    ],
)
def test_estimated_credits_are_mentioned_once(known, text):
    """Each credit of a store that is an estimate has one reason."""
    names = (field.name for field in fields(JobCounts))
    assert describe_job_charges(JobCounts(**dict.fromkeys(names, 0) | {"credits_charged": 28.0} | known)) == text


def test_of_many_lost_presses_the_rest_is_counted():
    """Commands are printed for the first presses, and then the number of the others."""
    lines = [OutcomeLine(image_id=f"image-{n}", button="U1", charged=True) for n in range(MAX_COMMANDS + 3)]
    printed = list(explain_lost(lines, ids=None, store="--store x"))
    assert sum(sentence.startswith("akool resolve ") for sentence in printed) == MAX_COMMANDS
    assert printed[-1] == "and 3 more"


@pytest.mark.parametrize(
    ("paths", "advice"),
    [
        ([()], "to abandon one, remove it from the file"),
        ([("V1", "U1")], "to abandon one, leave its button out of --then, or give its row a column then without it"),
        ([(), ("V1", "U1")], "remove it from the file; within a tree, leave its button out of --then"),
    ],
)
def test_the_advice_on_a_lost_press_depends_on_its_place(paths, advice):
    """A press on an image of the file has a line to remove; a press on a result has not."""
    lines = [
        OutcomeLine(image_id=f"image-{n}", button="U1", charged=True, path=path, root_id="image" if path else None)
        for n, path in enumerate(paths)
    ]
    first, *_ = explain_lost(lines, ids=Path("out.jsonl.accepted"), store=None)
    assert advice in first


def test_only_an_unknown_outcome_can_be_tried_again():
    """The printed command can send a prompt twice. A charged press can only be settled by its id or abandoned."""
    lines = [OutcomeLine(image_id=None, button=None, key="fox", charged=None)]
    lines += [OutcomeLine(image_id="image-1", button="U1", charged=True)]
    sentences = [text for text in explain_lost(lines, ids=None, store="--store x") if not text.startswith("akool")]
    of_prompt, of_press = sentences
    assert "may cost its credits twice, and presses a button again unless AKOOL says that it is" in of_prompt
    assert "--retry" not in of_press
    assert "put --abandon in place of --id ID" in of_press


@pytest.mark.parametrize(
    ("prompt", "shown"), [("a fox", "a fox"), ("x" * 40, "x" * 40), ("a fox " * 20, "a fox " * 6 + "a fo...")]
)
def test_a_long_prompt_is_shortened(prompt, shown):
    assert shorten(prompt) == shown
    assert str(Prompt(prompt)) == f"prompt '{shown}'"


def test_a_line_that_the_disk_cannot_take_leaves_nothing(tmp_path):
    """If a full disk takes only a part of a line, that part is removed and earlier lines stay."""
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
    """The path of a device, which cannot be opened for appending."""

    def __init__(self, path):
        self.path = path

    def open(self, *_, **options):
        return open(self.path, "wb", **options)  # noqa: PTH123 - Path.open would append


def test_a_value_error_after_a_charge_is_no_wrong_usage():
    """A ValueError becomes an AkoolError, and an AkoolError stays the same."""
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
    """An image that a press made shows the price of a press; an image that a prompt made does not."""
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
    """The header of the file is enough to refuse it, before memory is allocated."""
    head = struct.pack(">IIBBBBB", MAX_PIXELS // 1000, 1001, 8, 2, 0, 0, 0)
    file = tmp_path / "large.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", b""))
    with pytest.raises(UnreadableError, match=TOO_LARGE):
        thumbnail(file)


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_person_who_leaves_sees_what_is_in_doubt(capsys):
    """A press with an unknown outcome after the wait has ended is shown in its row."""
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


async def test_a_value_error_after_the_press_is_shown_in_its_row(emulator):
    """A paid operation stays in the table; an error in the arguments, before anything is sent, is raised."""
    async with emulator.session(polling=_Broken()) as akool:
        with LiveTable([Row("V1")], "an image", quiet=True) as table:
            (row,) = table.rows
            await follow(akool, table, row, FollowOptions(), akool.vary(emulator.add_image(), 1))
            assert (str(row.error), row.id) == ("of the schedule", emulator.ledger.posts[0].new_ids[0])
            with pytest.raises(ValueError, match="index"):
                await follow(akool, table, Row("V2"), FollowOptions(), akool.vary("image-1", 7))


@pytest.fixture
async def as_command(emulator, monkeypatch):
    """Give this process the environment of the command."""
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


async def test_a_result_is_printed_also_if_nothing_is_saved(as_command, capsys):
    image_id = as_command.add_image()
    assert await result.run(options(image_id, wait=False)) == ExitStatus.DONE
    assert image_id in capsys.readouterr().out


async def test_pictures_of_a_running_image_cannot_be_saved_yet(as_command, akool, tmp_path):
    """The error names the missing option and the image."""
    as_command.faults.script("create_by_button", Fault.stuck())
    operation = await akool.vary(as_command.add_image(), 1)
    with pytest.raises(DownloadError, match="add --wait") as caught:
        await result.run(options(operation.id, wait=False, download=tmp_path))
    assert caught.value.operation_id == operation.id


async def test_an_image_that_is_not_there_is_not_waited_for(as_command):
    with pytest.raises(NotFoundError):
        await result.run(options("f" * 24))
