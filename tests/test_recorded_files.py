"""The pictures that an output names: found from any working directory, and after they were moved."""

import json
from pathlib import Path

import pytest

from tests.support.commands import read_lines, run, write_batch

FAN_OUT = ("fan-out", "presses.csv", "--yes")


@pytest.fixture
async def finished(emulator, tmp_path):
    """Press a batch in a folder, save its pictures, and return its lines."""
    folder = tmp_path / "first"
    folder.mkdir()
    write_batch(folder, [emulator.add_image()], "U1 V1")
    arguments = (*FAN_OUT, "-o", "out.jsonl", "--download", "pictures")
    status, _, errors = await run(*arguments, cwd=folder, environment=emulator.environment())
    assert status == 0, errors
    return read_lines(folder / "out.jsonl")


async def assert_done_elsewhere(emulator, tmp_path, folder, pictures):
    """Assert that after 7 days, from another folder, the batch is done: no image is read, and no line is written."""
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
    """Run the same batch from another working directory, as cron does."""
    await assert_done_elsewhere(emulator, tmp_path, "first", "../first/pictures")


async def test_recorded_files_are_valid_anywhere(finished):
    """Every file in the output is an absolute path."""
    files = [Path(file) for line in finished for file in line["files"]]
    assert len(files) == 6
    assert all(file.is_absolute() and file.is_file() for file in files)


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("is_given", [True, False], ids=["--download names it", "beside the output"])
async def test_files_of_an_earlier_version_are_found(emulator, tmp_path, is_given):
    """Its paths are relative to the folder of that run: they are found beside the output, or in --download."""
    output = tmp_path / "first" / "out.jsonl"
    output.write_text(output.read_text().replace(f"{tmp_path}/first/", ""))
    assert not Path(read_lines(output)[0]["files"][0]).is_absolute()
    await assert_done_elsewhere(emulator, tmp_path, "first", "../first/pictures" if is_given else "../first/new")


@pytest.mark.usefixtures("finished")
async def test_pictures_that_were_moved_with_their_output_are_found(emulator, tmp_path):
    """The folder of output and pictures may be renamed, if the command gets the new name."""
    (tmp_path / "first").rename(tmp_path / "second")
    await assert_done_elsewhere(emulator, tmp_path, "second", "../second/pictures")


async def test_an_empty_picture_is_downloaded_again(emulator, tmp_path, finished):
    """A full disk leaves an empty file."""
    lost = tmp_path / "first" / "pictures" / Path(finished[0]["files"][0]).name
    picture = lost.read_bytes()
    lost.write_bytes(b"")
    arguments = (*FAN_OUT, "-o", "out.jsonl", "--download", "pictures")
    status, _, errors = await run(*arguments, cwd=tmp_path / "first", environment=emulator.environment())
    assert status == 0, errors
    assert lost.read_bytes() == picture
    assert emulator.ledger.accepted == 2


async def test_other_commands_name_files_in_full_too(emulator, tmp_path):
    """The JSON of press has absolute paths, as has that of prompt, result and demo."""
    arguments = ("press", emulator.add_image(), "V1", "--json", "--download", "pictures")
    status, output, errors = await run(*arguments, cwd=tmp_path, environment=emulator.environment())
    assert status == 0, errors
    (line,) = map(json.loads, output.splitlines())
    assert len(line["files"]) == 5
    assert all(Path(file).parent == tmp_path / "pictures" for file in line["files"])
