"""Files and folders that cannot be written are reported before anything is spent."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.support.commands import SMALL_FILES, run, write_batch

FAN_OUT = ("fan-out", "presses.csv", "--yes")
IN_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")


def as_ordinary_user():
    """Return the beginning of a command line for which permissions apply even to root."""
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root cannot give up its power over permissions without setpriv")
    return ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "out.jsonl", "--download", "locked"),
        ("-o", "out.jsonl", "--download", "locked/new"),
        ("-o", "out.jsonl", "--download", "link"),
        ("-o", "out.jsonl", "--gallery", "locked/gallery.html"),
        ("-o", "out.jsonl", "--gallery", "page"),
        ("-o", "locked/out.jsonl"),
        ("--download", "locked"),
    ],
    ids=" ".join,
)
async def test_a_folder_without_permission_is_reported_before_spending(emulator, tmp_path, options):
    """One line names the option and the folder of pictures, page or output, also behind a link; the status is 1."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "link").symlink_to("locked")
    (tmp_path / "page").symlink_to("locked/gallery.html")
    status, printed, errors = await run(
        *FAN_OUT, *options, cwd=tmp_path, environment=emulator.environment(), before=as_ordinary_user()
    )
    assert (status, printed) == (1, "")
    option = {"-o": "--output"}.get(options[-2], options[-2])
    assert re.fullmatch(f"akool: {option}: .*locked.*: Permission denied; name another path\n", errors)
    assert ".part" not in errors
    assert len(errors.splitlines()) == 1
    assert emulator.ledger.posts == []


@IN_PROC
@pytest.mark.parametrize(
    "arguments",
    [
        "press IMAGE V1 --download /proc",
        "prompt lighthouse --download /proc",
        "result IMAGE --download /proc",
        "demo --live --yes --folder /proc",
        "fan-out presses.csv --yes --download /proc",
        "fan-out presses.csv --yes --gallery /proc/gallery.html",
        "fan-out presses.csv --yes --store sqlite:///akool.db --download /proc",
    ],
)
async def test_every_command_tries_its_folder_first(emulator, tmp_path, arguments):
    """In this folder not even root can make a file."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id], "V1")
    status, _, errors = await run(
        *arguments.replace("IMAGE", image_id).split(), cwd=tmp_path, environment=emulator.environment()
    )
    assert status == 1
    option = next(word for word in arguments.split()[::-1] if word.startswith("--"))
    assert re.fullmatch(f"akool: {option}: /proc: .*; name another path\n", errors)
    assert len(errors.splitlines()) == 1
    assert emulator.ledger.posts == []
    assert emulator.ledger.requests["get_image_result"] == 0


@pytest.mark.parametrize("options", [("--download", "pictures"), ("--gallery", "page.html")])
async def test_a_disk_that_takes_names_but_no_content_is_reported_before_spending(emulator, tmp_path, options):
    """On a full disk, or beyond a quota, a file can be made but not written."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    full = [SMALL_FILES.format(0)]
    status, printed, errors = await run(
        *FAN_OUT, *options, cwd=tmp_path, environment=emulator.environment(), first=full
    )
    assert (status, printed) == (1, "")
    assert "File too large" in errors
    assert emulator.ledger.posts == []
    assert not list(tmp_path.glob("**/.*"))
    assert not (tmp_path / "page.html").exists()


async def test_an_output_that_is_full_is_reported_before_spending(emulator, tmp_path):
    """The file of such an output can be opened, but no id can be added."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    (tmp_path / "out.jsonl").touch()
    ids = "".join(json.dumps({"image_id": str(n), "button": "U1", "id": "1" * 24}) + "\n" for n in range(20))
    (tmp_path / "out.jsonl.accepted").write_text(ids)
    full = [SMALL_FILES.format(1024)]
    arguments = (*FAN_OUT, "-o", "out.jsonl")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment(), first=full)
    assert status == 1
    assert "out.jsonl.accepted: File too large" in errors
    assert (tmp_path / "out.jsonl.accepted").read_text() == ids
    assert emulator.ledger.posts == []


@pytest.mark.parametrize("length", [229, 230, 255])
async def test_a_page_may_have_a_long_name(emulator, tmp_path, length):
    """Its name may have the maximum length of the file system, since no file beside it has a longer one."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    name = "g" * (length - 5) + ".html"
    status, _, errors = await run(*FAN_OUT, "--gallery", name, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert "akool_async" in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("option", "name", "message"),
    [
        ("--gallery", "g" * 256, "File name too long"),
        ("--download", "g" * 256, "File name too long"),
        ("-o", "g" * 250, "File name too long"),  # the name of the file of ids is longer
        ("--gallery", "loop", "loop"),
        ("-o", "loop", "Too many levels of symbolic links"),
    ],
)
async def test_a_name_that_cannot_be_is_reported_before_spending(emulator, tmp_path, option, name, message):
    """A name that is too long, or a link to itself, is reported in one line, with status 1."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    (tmp_path / "loop").symlink_to("loop")
    status, _, errors = await run(*FAN_OUT, option, name, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert emulator.ledger.posts == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "nodir/out.jsonl"), "nodir/out.jsonl: the folder {folder}/nodir does not exist"),
        (("-o", "x.jsonl", "--download", "x.jsonl"), "--output and --download both name {folder}/x.jsonl"),
        (("--gallery", "x.html", "--download", "./x.html"), "--gallery and --download both name {folder}/x.html"),
    ],
    ids=str,
)
async def test_what_is_wrong_with_a_place_is_named(emulator, tmp_path, options, message):
    """A missing folder, or two options with the same path, is reported in one line; nothing is spent or made."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    status, _, errors = await run(*FAN_OUT, *options, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert message.format(folder=tmp_path.resolve()) in errors
    assert len(errors.splitlines()) == 1
    assert emulator.ledger.posts == []
    assert [path.name for path in tmp_path.iterdir()] == ["presses.csv"]


async def test_checking_a_page_keeps_the_earlier_one(emulator, tmp_path):
    """An existing gallery is not changed if the run ends before it is written again."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    arguments = (*FAN_OUT, "-o", "out.jsonl", "--gallery", "page.html")
    assert (await run(*arguments, cwd=tmp_path, environment=emulator.environment()))[0] == 0
    before = (tmp_path / "page.html").read_bytes()
    environment = emulator.environment() | {"AKOOL_API_KEY": "sk-wrong-and-secret"}
    assert (await run(*arguments, cwd=tmp_path, environment=environment))[0] == 1
    assert (tmp_path / "page.html").read_bytes() == before
