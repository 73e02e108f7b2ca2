"""The output of `akool fan-out`: which files are accepted, and the lock on them."""

import errno
import json
import os
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async.cli.batch.locking import OutputFileError
from akool_async.cli.batch.output_file import OutputFile
from akool_async.cli.outcomes.line import OutcomeLine
from akool_async.cli.outcomes.notes import Note
from tests.support.commands import read_lines, run, write_batch

FAN_OUT = ("fan-out", "presses.csv", "--yes")
LINE = OutcomeLine(
    image_id="65d3206b83ccf5ab7d46cdc6", button="U1", ok=True, id="1" * 24, status=3, urls=("https://a/b}",)
)
PROMPT_LINE = OutcomeLine(image_id=None, button=None, prompt='a "}" fox', key="}", name="a-fox", charged=None)
JSONL = '{"image_id": "IMAGE", "button": "V1"}\n'


@pytest.mark.parametrize(
    ("content", "way"),
    [
        (JSONL, "itself"),
        (JSONL, "symbolic link"),
        (JSONL, "hard link"),
        (JSONL, "another batch"),
        (JSONL.strip(), "itself"),
        (JSONL * 2, "itself"),
        (JSONL.replace("}", "},") * 2, "itself"),
        ("\n" + JSONL + '{"image_id": "IM', "another batch"),
        ('{"image_id": "IMAGE", "button": ["U1", "V1"], "note": "x"}\n', "itself"),
        ('{"image_id": "IMAGE", "button": "V1", "ok": true}\n', "itself"),
        ("image_id,button\nIMAGE,V1\n", "itself"),
    ],
    ids=range(11),
)
async def test_a_batch_is_no_output(emulator, tmp_path, content, way):
    """A batch named by --output, even the one that is read, or through a link, is refused and not changed."""
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
    """JSONL of a batch is refused as an output, whatever other keys its lines have."""
    path = tmp_path_factory.mktemp("output") / "presses.jsonl"
    path.write_text("".join(json.dumps({"image_id": "a", "button": button} | row) + "\n" for row in rows))
    before = path.read_bytes()
    with pytest.raises(OutputFileError), OutputFile(path, pictures=None) as results:
        results.read()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("line", [LINE, PROMPT_LINE], ids=["press", "prompt"])
def test_a_line_that_was_cut_anywhere_is_an_output(tmp_path, line):
    """A run that is killed at any byte of its first line can be continued, and so can one killed in the second line."""
    text = line.to_json()
    for cut in range(len(text) + 1):
        for content in (text[:cut], f"{text[:cut]}\n", f"{text[:cut]}\n{text[:cut]}"):
            path = tmp_path / "out.jsonl"
            path.write_text(content)
            with OutputFile(path, pictures=None) as results:
                results.read()
                results.write(line)
            results = OutputFile(path, pictures=None)
            results.read()
            assert list(results.lines.values()) == [line]


TEXTS = st.text(st.characters(codec="utf-8"), min_size=1)
NOTED_PRESSES = st.builds(
    OutcomeLine,
    image_id=st.text("ab}", min_size=1),
    button=st.sampled_from(["U1", "V4"]),
    key=st.none() | TEXTS,
    path=st.lists(st.sampled_from(["V1", "U2"])).map(tuple),
    id=TEXTS,
)
NOTED_PROMPTS = st.builds(OutcomeLine, image_id=st.none(), button=st.none(), key=TEXTS, id=st.none() | TEXTS)


@given(st.one_of(NOTED_PRESSES, NOTED_PROMPTS), st.booleans(), st.data())
def test_a_note_is_read_and_one_that_was_cut_is_skipped(tmp_path_factory, line, is_sending, data):
    """A note that is written and read again is equal; a note that is cut at any byte does not damage others."""
    note = Note(line, is_sending=is_sending and line.id is None)
    assert Note.from_json(note.to_json()) == note
    text = note.to_json().encode()
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    folder = tmp_path_factory.mktemp("output")
    (folder / "out.jsonl").touch()
    (folder / "out.jsonl.accepted").write_bytes(cut + b"\n" + text + b"\n" + cut)
    output = OutputFile(folder / "out.jsonl", pictures=None)
    output.read()
    assert output.accepted == ({} if line.id is None else {line.node: line})
    assert output.sending == ({line.node} if note.is_sending else set())


@pytest.mark.parametrize(
    "content",
    ['{"image_id": "IMAGE", "button": "V1"}\n', '{"image_id": "IMAGE", "button": "V1", "id": 1, "more": 2},\n', "x\n"],
    ids=range(3),
)
async def test_a_batch_in_the_place_of_the_ids_is_not_deleted(emulator, tmp_path, content):
    """A file that is not ours, under the name of the file of ids, is refused and not changed."""
    image_id = emulator.add_image()
    write_batch(tmp_path, [image_id], "V1")
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
        ("-o", "akool.db", "--store", "sqlite:///akool.db"),
        ("-o", "akool.db-wal", "--store", "sqlite:///akool.db"),
        ("-o", "out.jsonl", "--store", "sqlite:///out.jsonl.accepted"),
        ("-o", "out.jsonl", "--gallery", "akool.db", "--store", "sqlite:///akool.db"),
        ("-o", "pipe"),
        ("-o", "loop"),
        ("-o", "keys"),
    ],
    ids=" ".join,
)
async def test_two_things_cannot_go_to_one_place(emulator, tmp_path, options):
    """Output, ids, page, store and keys must be different, regular files; else the command ends before it spends."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
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


@pytest.fixture
def without_locks(tmp_path):
    """Return an environment whose flock fails with this error, as on some file systems."""

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
async def test_a_file_system_without_locks_is_used_with_a_warning(emulator, tmp_path, without_locks, name):
    """The run continues, and warns that nothing keeps another run from writing to the output."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    environment = emulator.environment() | without_locks(getattr(errno, name))
    status, _, errors = await run(*FAN_OUT, "-q", "-o", "out.jsonl", cwd=tmp_path, environment=environment)
    assert status == 0, errors
    assert "another run" not in errors
    assert "out.jsonl cannot be locked" in errors
    assert len(errors.splitlines()) == 1
    assert [line["ok"] for line in read_lines(tmp_path / "out.jsonl")] == [True]


@pytest.mark.parametrize("name", ["EIO", "EACCES", "ESTALE"])
async def test_a_lock_that_fails_says_what_failed(emulator, tmp_path, without_locks, name):
    """A failing disk, or a rule that forbids locks, is not reported as another run; nothing is spent."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    number = getattr(errno, name)
    environment = emulator.environment() | without_locks(number)
    status, _, errors = await run(*FAN_OUT, "-o", "out.jsonl", cwd=tmp_path, environment=environment)
    assert status == 1
    assert f"could not be locked against other runs: {os.strerror(number)}" in errors
    assert "another run" not in errors
    assert emulator.ledger.posts == []


async def test_a_store_needs_locks(emulator, tmp_path, without_locks):
    """A store in a file needs locks: without them the error says so, and names no other process."""
    write_batch(tmp_path, [emulator.add_image()], "V1")
    environment = emulator.environment() | without_locks(errno.ENOLCK)
    arguments = (*FAN_OUT, "-o", "out.jsonl", "--store", "sqlite:///akool.db")
    status, _, errors = await run(*arguments, cwd=tmp_path, environment=environment)
    assert status == 1
    assert "file locks do not work in its folder" in errors
    assert "another process" not in errors
    assert emulator.ledger.posts == []
