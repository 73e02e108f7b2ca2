"""The file of a batch: CSV and JSONL as people and spreadsheets write them."""

import contextlib
import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async import Button, ButtonPress
from akool_async.cli._batch import Batch, BatchError, read_batch
from akool_async.cli._lines import Line

IMAGE_IDS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=30)
ROWS = st.lists(st.tuples(IMAGE_IDS, st.lists(st.sampled_from(list(Button)), min_size=1, max_size=4)), min_size=1)


def presses_of(batch):
    return [entry.press for entry in batch.entries]


def once(rows):
    return list(dict.fromkeys(ButtonPress(image_id, button) for image_id, buttons in rows for button in buttons))


@given(ROWS, st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_csv_of_any_dialect_gives_each_press_once(rows, delimiter, newline, has_mark):
    """Whatever delimiter, line end and byte order mark, the presses come in the file's order, each once."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=newline)
    writer.writerow(["note", "Image_ID", "button"])
    writer.writerows(["x", image_id, " ".join(buttons)] for image_id, buttons in rows)
    batch = read_batch(text.getvalue().encode("utf-8-sig" if has_mark else "utf-8"), "presses.csv")
    assert presses_of(batch) == once(rows)
    assert batch.invalid == ()
    assert batch.repeated == sum(len(buttons) for _, buttons in rows) - len(batch.entries)


@given(ROWS)
def test_jsonl_gives_the_same(rows):
    """The same rows as JSONL, with lists of buttons, are the same presses, each with the number of its line."""
    lines = [json.dumps({"image_id": image_id, "button": buttons, "more": 1}) for image_id, buttons in rows]
    batch = read_batch("\n\n".join(lines).encode(), "-")
    assert presses_of(batch) == once(rows)
    assert {entry.line for entry in batch.entries} <= {2 * number + 1 for number in range(len(rows))}


@given(st.binary(max_size=300), st.sampled_from(["presses.csv", "presses.jsonl", "-"]))
def test_no_bytes_break_the_reader(content, name):
    """Whatever stands in the file, it is a batch or a BatchError, and nothing else is raised."""
    with contextlib.suppress(BatchError):
        batch = read_batch(content, name)
        assert isinstance(batch, Batch)
        assert batch.entries or batch.invalid


@pytest.mark.parametrize(
    ("button", "expected"),
    [("U*", "U1 U2 U3 U4"), ("V*", "V1 V2 V3 V4"), ("*", " ".join(Button)), ("u2, v3", "U2 V3"), ("U1|U1", "U1")],
)
def test_a_button_may_stand_for_several(button, expected):
    """U*, V*, * and lists of names; small letters too."""
    batch = read_batch(f'image_id,button\na,"{button}"\n'.encode(), "presses.csv")
    assert [entry.press.button for entry in batch.entries] == expected.split()


def test_cells_beyond_the_header_are_not_dropped_silently():
    """Several buttons in cells of their own are told as a mistake, with the remedy; so is a column given twice."""
    batch = read_batch(b"image_id,button\na,U1,V2\nb,U1,\n", "presses.csv")
    assert [entry.press.image_id for entry in batch.entries] == ["b"]
    assert [(invalid.line, "U1 V2" in invalid.reason) for invalid in batch.invalid] == [(2, True)]
    with pytest.raises(BatchError, match="twice"):
        read_batch(b"image_id,button,button\na,U1,V2\n", "presses.csv")


def test_an_output_is_a_batch_too():
    """The lines of an earlier output can be pressed as they are, for example on another account."""
    line = Line(image_id="image-1", button="U1", ok=True, id="image-2")
    assert presses_of(read_batch(line.to_json().encode(), "out.jsonl")) == [ButtonPress("image-1", "U1")]


@given(
    st.builds(
        Line,
        image_id=IMAGE_IDS,
        button=st.sampled_from([str(button) for button in Button]),
        ok=st.booleans(),
        id=st.none() | IMAGE_IDS,
        status=st.none() | st.integers(0, 9),
        urls=st.lists(st.text()).map(tuple),
        files=st.lists(st.text()).map(tuple),
        credits=st.none() | st.floats(0, 100),
        error=st.none() | st.text(),
        code=st.none() | st.integers(),
    )
)
def test_a_line_survives_the_file(line):
    """A line that was written is read as it was, and takes one line whatever its texts hold."""
    text = line.to_json()
    assert "\n" not in text
    assert Line.read(text) == line


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_no_line_is_a_value_error(value):
    """Any other JSON is told as such."""
    with pytest.raises(ValueError):
        Line.read(json.dumps(value))
