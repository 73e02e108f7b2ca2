"""Where `akool` writes: its output, its pictures, its page; tried before anything is spent, and found again later."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest
from commands import read_lines, run
from hypothesis import given
from hypothesis import strategies as st

from akool_async.cli._lines import Line
from akool_async.cli._results import Results, ResultsError

FAN_OUT = ("fan-out", "presses.csv", "--yes")
LINE = Line(image_id="65d3206b83ccf5ab7d46cdc6", button="U1", ok=True, id="1" * 24, status=3, urls=("https://a/b}",))
IN_PROC = pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc here")


def write_batch(folder, image_ids, button="V1"):
    (folder / "presses.csv").write_text(
        "image_id,button\n" + "".join(f"{image_id},{button}\n" for image_id in image_ids)
    )


def as_ordinary_user():
    """What starts the command so that permissions hold, also for root."""
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root cannot give up its power over permissions without setpriv")
    return ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


# What an output is


@pytest.mark.parametrize(
    "content",
    [
        '{"image_id": "IMAGE", "button": "V1"}\n',
        '{"image_id": "IMAGE", "button": "V1"}',
        '{"image_id": "IMAGE", "button": "V1"}\n{"image_id": "IMAGE", "button": "V2"}\n',
        '{"image_id": "IMAGE", "button": "V1"},\n{"image_id": "IMAGE", "button": "V2"}\n',
        '\n{"image_id": "IMAGE", "button": "V1"}\n{"image_id": "IM',
        '{"image_id": "IMAGE", "button": ["U1", "V1"], "note": "x"}\n',
        '{"image_id": "IMAGE", "button": "V1", "ok": true}\n',
        "image_id,button\nIMAGE,V1\n",
    ],
    ids=range(8),
)
@pytest.mark.parametrize("way", ["itself", "symbolic link", "hard link", "another batch"])
async def test_a_batch_is_no_output(emulator, tmp_path, content, way):
    """A batch named by --output, be it the one that is read, through whatever link, is refused and left as it is."""
    image_id = emulator.add_image()
    batch = tmp_path / ("presses.jsonl" if content.strip().startswith("{") else "presses.csv")
    batch.write_text(content.replace("IMAGE", image_id))
    output = {"itself": batch.name, "another batch": "copy"}.get(way, "link")
    if way == "symbolic link":
        (tmp_path / "link").symlink_to(batch.name)
    elif way == "hard link":
        (tmp_path / "link").hardlink_to(batch)
    elif way == "another batch":
        shutil.copy(batch, tmp_path / "copy")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    arguments = ("fan-out", batch.name, "--yes", "-o", output)
    status, printed, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert (status, printed) == (1, "")
    assert "not the output of an earlier run" in errors
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert emulator.ledger.posts == []


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["note", "ok", "id", "status", "urls"]), st.none() | st.text()), min_size=1
    ),
    st.sampled_from(["U1", "V1 V2", ["U*"]]),
)
def test_no_lines_of_json_are_taken_for_an_output(tmp_path_factory, rows, button):
    """Whatever other keys the lines of a batch have."""
    path = tmp_path_factory.mktemp("output") / "presses.jsonl"
    path.write_text("".join(json.dumps({"image_id": "a", "button": button} | row) + "\n" for row in rows))
    before = path.read_bytes()
    with pytest.raises(ResultsError), Results(path, pictures=None) as results:
        results.read()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_line_that_was_cut_anywhere_is_an_output(tmp_path):
    """Killed at any byte of its first line, a run can be gone on with; and again, killed in the second one."""
    text = LINE.to_json()
    for cut in range(len(text) + 1):
        for content in (text[:cut], f"{text[:cut]}\n", f"{text[:cut]}\n{text[:cut]}"):
            path = tmp_path / "out.jsonl"
            path.write_text(content)
            with Results(path, pictures=None) as results:
                results.read()
                results.write(LINE)
            results = Results(path, pictures=None)
            results.read()
            assert list(results.lines.values()) == [LINE]


@pytest.mark.parametrize(
    "content",
    ['{"image_id": "IMAGE", "button": "V1"}\n', '{"image_id": "IMAGE", "button": "V1", "id": 1, "more": 2},\n', "x\n"],
    ids=range(3),
)
async def test_a_batch_in_the_place_of_the_ids_is_not_deleted(emulator, tmp_path, content):
    """The name beside the output may be somebody else's: it is refused and left as it is."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id])
    (tmp_path / "out.jsonl").touch()
    (tmp_path / "out.jsonl.accepted").write_text(content)
    status, _, errors = await run(*FAN_OUT, "-o", "out.jsonl", cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert "in the way" in errors
    assert (tmp_path / "out.jsonl.accepted").read_text() == content
    assert emulator.ledger.posts == []


@pytest.mark.parametrize(
    "options",
    [
        ("-o", "4.html", "--gallery", "4.html"),
        ("-o", "4.html", "--gallery", "folder/../4.html"),
        ("-o", "4.html", "--gallery", "link"),
        ("-o", "out.jsonl", "--gallery", "out.jsonl.accepted"),
        ("-o", "akool.db", "--state", "sqlite:///akool.db"),
        ("-o", "akool.db-wal", "--state", "sqlite:///akool.db"),
        ("-o", "out.jsonl", "--state", "sqlite:///out.jsonl.accepted"),
        ("-o", "out.jsonl", "--gallery", "akool.db", "--state", "sqlite:///akool.db"),
        ("-o", "pipe"),
        ("-o", "loop"),
        ("-o", "keys"),
    ],
    ids=" ".join,
)
async def test_two_things_cannot_go_to_one_place(emulator, tmp_path, options):
    """Output, ids, page, state and keys are files of their own, and regular ones; told before anything is spent."""
    write_batch(tmp_path, [emulator.add_image()])
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("4.html")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "keys").write_text(emulator.api_key)
    os.mkfifo(tmp_path / "pipe")
    before = sorted(tmp_path.iterdir())
    environment = {"AKOOL_BASE_URL": emulator.base_url}
    status, printed, errors = await run(*FAN_OUT, *options, "--key-file", "keys", cwd=tmp_path, environment=environment)
    assert (status, printed) == (1, "")
    assert len(errors.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "keys").read_text() == emulator.api_key
    assert emulator.ledger.posts == []


# Places that cannot be written to


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
async def test_a_folder_without_permission_is_told_before_spending(emulator, tmp_path, options):
    """For pictures, the page and the output, through links too: one line that names the place, status 1."""
    write_batch(tmp_path, [emulator.add_image()])
    (tmp_path / "locked").mkdir(mode=0o555)
    (tmp_path / "link").symlink_to("locked")
    (tmp_path / "page").symlink_to("locked/gallery.html")
    status, printed, errors = await run(
        *FAN_OUT, *options, cwd=tmp_path, environment=emulator.environment(), before=as_ordinary_user()
    )
    assert (status, printed) == (1, "")
    assert "Permission denied" in errors
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
        "fan-out presses.csv --yes --state sqlite:///akool.db --download /proc",
    ],
)
async def test_every_command_tries_its_folder_first(emulator, tmp_path, arguments):
    """A folder in which nobody can make a file, not even root."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id])
    status, _, errors = await run(
        *arguments.replace("IMAGE", image_id).split(), cwd=tmp_path, environment=emulator.environment()
    )
    assert status == 1
    assert "/proc" in errors
    assert len(errors.splitlines()) == 1
    assert emulator.ledger.posts == []
    assert emulator.ledger.requests["get_image_result"] == 0


@pytest.mark.parametrize("options", [("--download", "pictures"), ("--gallery", "page.html")])
async def test_a_disk_that_takes_names_but_no_content_is_told_before_spending(emulator, tmp_path, options):
    """As a full one does, or a quota: files can be made there, and nothing be written to them."""
    write_batch(tmp_path, [emulator.add_image()])
    full = ("bash", "-c", 'ulimit -f 0; exec "$@"', "full")
    status, printed, errors = await run(
        *FAN_OUT, *options, cwd=tmp_path, environment=emulator.environment(), before=full
    )
    assert (status, printed) == (1, "")
    assert "File too large" in errors
    assert emulator.ledger.posts == []
    assert not list(tmp_path.glob("**/.*"))
    assert not (tmp_path / "page.html").exists()


async def test_an_output_that_is_full_is_told_before_spending(emulator, tmp_path):
    """Where the file can be opened, and no id could be added to it."""
    write_batch(tmp_path, [emulator.add_image()])
    (tmp_path / "out.jsonl").touch()
    ids = "".join(json.dumps({"image_id": str(n), "button": "U1", "id": "1" * 24}) + "\n" for n in range(20))
    (tmp_path / "out.jsonl.accepted").write_text(ids)
    full = ("bash", "-c", 'ulimit -f 1; exec "$@"', "full")
    arguments = (*FAN_OUT, "-o", "out.jsonl")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment(), before=full)
    assert status == 1
    assert "out.jsonl.accepted: File too large" in errors
    assert (tmp_path / "out.jsonl.accepted").read_text() == ids
    assert emulator.ledger.posts == []


@pytest.mark.parametrize("length", [229, 230, 255])
async def test_a_page_may_have_a_long_name(emulator, tmp_path, length):
    """Up to what the file system takes: nothing longer is written beside it."""
    write_batch(tmp_path, [emulator.add_image()])
    name = "g" * (length - 5) + ".html"
    status, _, errors = await run(*FAN_OUT, "--gallery", name, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    assert "akool_async" in (tmp_path / name).read_text()


@pytest.mark.parametrize(
    ("option", "name", "told"),
    [
        ("--gallery", "g" * 256, "File name too long"),
        ("--download", "g" * 256, "File name too long"),
        ("-o", "g" * 250, "File name too long"),  # with the name of the ids beside it
        ("--gallery", "loop", "loop"),
        ("-o", "loop", "Too many levels of symbolic links"),
    ],
)
async def test_a_name_that_cannot_be_is_told_before_spending(emulator, tmp_path, option, name, told):
    """Longer than the file system takes, or a link to itself: one line, status 1."""
    write_batch(tmp_path, [emulator.add_image()])
    (tmp_path / "loop").symlink_to("loop")
    status, _, errors = await run(*FAN_OUT, option, name, cwd=tmp_path, environment=emulator.environment())
    assert status == 1
    assert told in errors
    assert len(errors.splitlines()) == 1
    assert emulator.ledger.posts == []


async def test_trying_a_page_leaves_the_earlier_one(emulator, tmp_path):
    """A gallery that is there is as it was when the run ends before it is written again."""
    write_batch(tmp_path, [emulator.add_image()])
    arguments = (*FAN_OUT, "-o", "out.jsonl", "--gallery", "page.html")
    assert (await run(*arguments, cwd=tmp_path, environment=emulator.environment()))[0] == 0
    before = (tmp_path / "page.html").read_bytes()
    environment = emulator.environment() | {"AKOOL_API_KEY": "sk-wrong-and-secret"}
    assert (await run(*arguments, cwd=tmp_path, environment=environment))[0] == 1
    assert (tmp_path / "page.html").read_bytes() == before


# Locks


@pytest.fixture
def without_locks(tmp_path):
    """An environment whose flock answers with this error, as that of some file systems does."""

    def environment(number):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(
            "import fcntl, os\n"
            "def flock(*_):\n"
            f"    raise OSError({number}, os.strerror({number}))\n"
            "fcntl.flock = flock\n"
        )
        return {"PYTHONPATH": str(tmp_path / "site")}

    return environment


@pytest.mark.parametrize("name", ["ENOLCK", "ENOSYS", "EOPNOTSUPP", "EBADF", "EINVAL"])
async def test_a_file_system_without_locks_will_do(emulator, tmp_path, without_locks, name):
    """The run goes on, and warns that nothing keeps another one from the output."""
    write_batch(tmp_path, [emulator.add_image()])
    environment = emulator.environment() | without_locks(getattr(errno, name))
    status, _, errors = await run(*FAN_OUT, "-q", "-o", "out.jsonl", cwd=tmp_path, environment=environment)
    assert status == 0, errors
    assert "another run" not in errors
    assert "out.jsonl cannot be locked" in errors
    assert len(errors.splitlines()) == 1
    assert [line["ok"] for line in read_lines(tmp_path / "out.jsonl")] == [True]


@pytest.mark.parametrize("name", ["EIO", "EACCES", "ESTALE"])
async def test_a_lock_that_fails_says_what_failed(emulator, tmp_path, without_locks, name):
    """A disk that fails, or a rule that forbids locks, is no other run; nothing is spent."""
    write_batch(tmp_path, [emulator.add_image()])
    number = getattr(errno, name)
    environment = emulator.environment() | without_locks(number)
    status, _, errors = await run(*FAN_OUT, "-o", "out.jsonl", cwd=tmp_path, environment=environment)
    assert status == 1
    assert f"could not be locked against other runs: {os.strerror(number)}" in errors
    assert "another run" not in errors
    assert emulator.ledger.posts == []


# Where the pictures are


@pytest.fixture
async def finished(emulator, tmp_path):
    """A batch that was pressed in a folder, with its pictures; and the lines that it wrote."""
    folder = tmp_path / "first"
    folder.mkdir()
    write_batch(folder, [emulator.add_image()], "U1 V1")
    arguments = (*FAN_OUT, "-o", "out.jsonl", "--download", "pictures")
    status, _, errors = await run(*arguments, cwd=folder, environment=emulator.environment())
    assert status == 0, errors
    return read_lines(folder / "out.jsonl")


async def assert_done_elsewhere(emulator, tmp_path, folder, pictures):
    """Started in another folder after 7 days, the batch is done: AKOOL is asked of no image, and no line is written."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    before = (tmp_path / folder / "out.jsonl").read_bytes()
    emulator.advance(8 * 24 * 3600)
    asked = emulator.ledger.requests["get_image_result"]
    arguments = ("fan-out", f"../{folder}/presses.csv", "--yes", "-o", f"../{folder}/out.jsonl", "--download", pictures)
    status, _, errors = await run(*arguments, cwd=elsewhere, environment=emulator.environment())
    assert status == 0, errors
    assert "2 of 2 presses done" in errors
    assert emulator.ledger.requests["get_image_result"] == asked
    assert (tmp_path / folder / "out.jsonl").read_bytes() == before
    assert list(elsewhere.iterdir()) == []


@pytest.mark.usefixtures("finished")
async def test_pictures_are_found_from_any_folder(emulator, tmp_path):
    """The same batch from another working directory, as cron starts it."""
    await assert_done_elsewhere(emulator, tmp_path, "first", "../first/pictures")


async def test_recorded_files_are_valid_anywhere(finished):
    """Every file in the output is a whole name."""
    files = [Path(file) for line in finished for file in line["files"]]
    assert len(files) == 6
    assert all(file.is_absolute() and file.is_file() for file in files)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("is_told", [True, False], ids=["--download names it", "beside the output"])
async def test_what_an_earlier_version_recorded_is_found(emulator, tmp_path, is_told):
    """Its files are named from the directory of that run: they are found beside the output, or in --download."""
    output = tmp_path / "first" / "out.jsonl"
    output.write_text(output.read_text().replace(f"{tmp_path}/first/", ""))
    assert not Path(read_lines(output)[0]["files"][0]).is_absolute()
    await assert_done_elsewhere(emulator, tmp_path, "first", "../first/pictures" if is_told else "../first/new")


@pytest.mark.usefixtures("finished")
async def test_pictures_that_were_moved_with_their_output_are_found(emulator, tmp_path):
    """The folder of output and pictures may get another name, and the command is told the new one."""
    (tmp_path / "first").rename(tmp_path / "second")
    await assert_done_elsewhere(emulator, tmp_path, "second", "../second/pictures")


async def test_an_empty_picture_is_none(emulator, tmp_path, finished):
    """A name without content, as a full disk leaves it, is fetched again."""
    lost = tmp_path / "first" / "pictures" / Path(finished[0]["files"][0]).name
    picture = lost.read_bytes()
    lost.write_bytes(b"")
    arguments = (*FAN_OUT, "-o", "out.jsonl", "--download", "pictures")
    status, _, errors = await run(*arguments, cwd=tmp_path / "first", environment=emulator.environment())
    assert status == 0, errors
    assert lost.read_bytes() == picture
    assert emulator.ledger.accepted == 2


async def test_other_commands_name_files_in_full_too(emulator, tmp_path):
    """The JSON of press, as of prompt, result and demo."""
    arguments = ("press", emulator.add_image(), "V1", "--json", "--download", "pictures")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    (line,) = map(json.loads, output.splitlines())
    assert len(line["files"]) == 5
    assert all(Path(file).parent == tmp_path / "pictures" for file in line["files"])
