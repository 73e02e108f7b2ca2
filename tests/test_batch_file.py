"""The file of a batch: CSV and JSONL as people and spreadsheets write them."""

import contextlib
import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async import Button, ButtonPress
from akool_async.cli.batch.input_file import Batch, InputFileError, read_batch
from akool_async.cli.outcomes.line import OutcomeLine

IMAGE_IDS = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=30)
BUTTONS = st.lists(st.sampled_from(list(Button)), min_size=1, max_size=4)
ROWS = st.lists(st.tuples(IMAGE_IDS, BUTTONS), min_size=1)
NOTES = st.lists(
    st.sampled_from(['"', ",", ";", "\t", "|", "\n", "\r", " ", "x", "\nb,V1\n", "\rb;x;V1;\r"]), max_size=8
).map("".join)


def presses_of(batch):
    return [entry.press for entry in batch.entries]


def once(rows):
    return list(dict.fromkeys(ButtonPress(image_id, button) for image_id, buttons in rows for button in buttons))


@st.composite
def csv_files(draw, **styles):
    """Draw rows as the csv module writes them, with notes that hold quotes, delimiters, line breaks and rows."""
    rows = draw(st.lists(st.tuples(IMAGE_IDS, BUTTONS, NOTES), min_size=1, max_size=6))
    style = {
        "delimiter": draw(st.sampled_from([",", ";", "\t", "|"])),
        "lineterminator": draw(st.sampled_from(["\n", "\r\n"])),
        "quoting": draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])),
    }
    if draw(st.booleans()):  # with these line ends the csv module leaves a line feed unquoted
        style |= {"lineterminator": "\r", "quoting": csv.QUOTE_ALL}
    text = io.StringIO(newline="")
    writer = csv.writer(text, **style | styles)
    writer.writerow([draw(NOTES).replace("\r", ""), "Image_ID", "button", "price, net; in EUR, 2026"])
    writer.writerows([note, image_id, " ".join(buttons), note] for image_id, buttons, note in rows)
    return [(image_id, buttons) for image_id, buttons, _ in rows], text.getvalue()


@given(csv_files(), st.booleans())
def test_csv_of_any_dialect_gives_each_press_once(file, has_mark):
    """With any delimiter, line end, quoting and byte order mark, the presses are read in order, each once."""
    rows, text = file
    batch = read_batch(text.encode("utf-8-sig" if has_mark else "utf-8"), "presses.csv")
    assert presses_of(batch) == once(rows)
    assert batch.invalid == ()
    assert batch.repeated == sum(len({*buttons}) for _, buttons in rows) - len(batch.entries)


@given(csv_files(quoting=csv.QUOTE_ALL), st.data())
def test_a_quote_too_many_or_too_few_presses_nothing(file, data):
    """If a quote was added or is missing, nobody can know where cells begin: the whole file is refused."""
    _, text = file
    if data.draw(st.booleans(), "a quote is added"):
        place = data.draw(st.integers(0, len(text)))
        broken = text[:place] + '"' + text[place:]
    else:
        place = data.draw(st.sampled_from([place for place, letter in enumerate(text) if letter == '"']))
        broken = text[:place] + text[place + 1 :]
    with pytest.raises(InputFileError, match="quotes"):
        read_batch(broken.encode(), "presses.csv")


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ('a,U1,"she said "no" to\nb,V1\nand left"\nc,V2,y\n', 2),
        ('a,U1,she said "no\nb,V1\nand left"\nc,V2,y\n', 2),
        ('a,U1,she said\nb,V1\nand left"\nc,V2,y\n', 4),
        ('a,U1,"one ""\nb,V1\n"two"\nc,V2,y\n', 2),
        ('a,U1,x\nb,V1,"cut off\nc,V2,y\n', 3),
        ('a,U1,x\nb,V1,"', 3),
    ],
)
def test_a_quote_out_of_place_is_reported_with_its_line(rows, line):
    """A quote that is not doubled, stands in an unquoted cell, or has no partner refuses the file, with its line."""
    with pytest.raises(InputFileError, match=f"presses.csv, line {line}: .*double each quote"):
        read_batch(f"image_id,button,note\n{rows}".encode(), "presses.csv")


def test_a_cell_may_be_of_any_length():
    """A note longer than the csv module's limit is one cell; the next row has the right line number."""
    note = "words\n" * 25_000 + "b,V1\n"
    batch = read_batch(f'image_id,button,note\na,U1,"{note}"\nc,V2,y\n'.encode(), "presses.csv")
    assert [(entry.line, str(entry.press)) for entry in batch.entries] == [
        (2, "U1 of image a"),
        (25_004, "V2 of image c"),
    ]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("image_id;button;price, net, in EUR, 2026", "a;U1;2"),
        ("a;b;c;d,image_id,button", "x,a,U1"),
        ("image_id\tbutton\ta,b,c,d;e;f;g", "a\tU1\t"),
        ("image_id|button|a,b,c,d", "a|U1|"),
        ('"a, b, c, d";"Image_ID"; "BUTTON"', "x;a;U1"),
        ('"two\nlines, and, commas";image_id;button', "x;a;U1"),
        ("\n\n  \nimage_id;button;a,b,c,d", "a;U1"),
        ("image_id;button;a,b\x85c,d", "a;U1"),
        ("image_id , button,a;b;c", "a,U1,"),
    ],
)
def test_the_delimiter_is_the_one_that_yields_both_columns(header, row):
    """The delimiter is found although names of columns hold other delimiters, spaces or line breaks."""
    assert presses_of(read_batch(f"{header}\n{row}\n".encode(), "presses.csv")) == [ButtonPress("a", "U1")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_reported_with_the_remedy(encoding):
    """UTF-16 as spreadsheets write it is reported, with a byte order mark or without."""
    with pytest.raises(InputFileError, match="save it as CSV UTF-8"):
        read_batch("image_id,button\na,U1\n".encode(encoding), "presses.csv")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"image_id": "a", "button": "U1", "button": "V1"}', "button is given twice"),
        ('{"image_id": "a", "image_id": "b", "button": "V1"}', "image_id is given twice"),
        ('{"image_id": "\\ud800", "button": "V1"}', "image_id must be"),
        ('{"image_id": "a\\u0000", "button": "V1"}', "image_id must be"),
        ('{"image_id": 1e999, "button": "V1"}', "image_id must be"),
        ('{"image_id": "a", "button": ' + "9" * 5000 + "}", "not JSON"),
        ('{"image_id": "a", "button": ' + "[" * 100_000, "not JSON"),
        ('["a", "U1"]', "not an object"),
        ('{"image_id": "a",\r"button": "U1"', "not JSON"),
    ],
    ids=range(9),
)
def test_a_mistake_in_jsonl_is_reported_by_line(line, message):
    """A line that JSON reads differently than it is meant, or not at all, is invalid; the next line counts."""
    batch = read_batch(
        ('{"image_id": "x", "button": "U1"}\n' + line + '\n{"image_id": "y", "button": "U2"}').encode(), "-"
    )
    assert presses_of(batch) == [ButtonPress("x", "U1"), ButtonPress("y", "U2")]
    assert [(invalid.line, message in invalid.reason) for invalid in batch.invalid] == [(2, True)]


@pytest.mark.parametrize("name", ["presses.jsonl", "-", "presses.JSONL"])
@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_array_is_reported_with_the_remedy(name, indent):
    """A JSON array is refused even if each of its lines holds one object."""
    rows = [{"image_id": "a", "button": "U1"}, {"image_id": "b", "button": "V1"}]
    with pytest.raises(InputFileError, match="a separate line"):
        read_batch(json.dumps(rows, indent=indent).encode(), name)


@given(ROWS)
def test_jsonl_gives_the_same(rows):
    """The same rows as JSONL, with lists of buttons, are the same presses, each with the number of its line."""
    lines = [json.dumps({"image_id": image_id, "button": buttons, "more": 1}) for image_id, buttons in rows]
    batch = read_batch("\n\n".join(lines).encode(), "-")
    assert presses_of(batch) == once(rows)
    assert {entry.line for entry in batch.entries} <= {2 * number + 1 for number in range(len(rows))}


@given(st.binary(max_size=300), st.sampled_from(["presses.csv", "presses.jsonl", "-"]))
def test_no_bytes_break_the_reader(content, name):
    """Any content is a batch or raises InputFileError, and nothing else is raised."""
    with contextlib.suppress(InputFileError):
        batch = read_batch(content, name)
        assert isinstance(batch, Batch)
        assert batch.entries or batch.invalid


@pytest.mark.parametrize(
    ("button", "expected"),
    [("U*", "U1 U2 U3 U4"), ("V*", "V1 V2 V3 V4"), ("*", " ".join(Button)), ("u2, v3", "U2 V3"), ("U1|U1", "U1")],
)
def test_a_button_may_stand_for_several(button, expected):
    """U*, V*, * and lists of names stand for several buttons, also in small letters."""
    batch = read_batch(f'image_id,button\na,"{button}"\n'.encode(), "presses.csv")
    assert [entry.press.button for entry in batch.entries] == expected.split()


def test_cells_beyond_the_header_are_not_dropped_silently():
    """Buttons in separate cells are reported as a mistake with the remedy, and so is a repeated column."""
    batch = read_batch(b"image_id,button\na,U1,V2\nb,U1,\n", "presses.csv")
    assert [entry.press.image_id for entry in batch.entries] == ["b"]
    assert [(invalid.line, "U1 V2" in invalid.reason) for invalid in batch.invalid] == [(2, True)]
    with pytest.raises(InputFileError, match="twice"):
        read_batch(b"image_id,button,button\na,U1,V2\n", "presses.csv")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("image_id,button\na,U1,a red fox\n", "3 cells, and the header has 2"),
        ("image_id,button,note\na,U1,fox, red, at night\n", "5 cells, and the header has 3"),
        ("image_id,button,note\na,U1,fox,V2\n", 'such as "U1 V2"'),
        ("button,image_id\nU1,a,V2,u3\n", 'such as "U1 V2 u3"'),
    ],
)
def test_too_many_cells_are_explained(content, message):
    """If the further cells are buttons, the reason says how to write several; else it counts the cells."""
    (invalid,) = read_batch(content.encode(), "presses.csv").invalid
    assert message in invalid.reason


@pytest.mark.parametrize(
    "content",
    [
        '{"image_id": "a", "button": "U1"}\n{"image_id": "b", "button": "V1"}\n',
        '\n [{"image_id": "a", "button": ["U1"]},\n {"image_id": "b", "button": "V1"}]',
        '[\n {"image_id": "a", "button": "U1"}\n]',
    ],
)
def test_json_that_is_called_csv_is_reported_with_the_remedy(content):
    """The error names the kind of the file and a better name, rather than quotes or columns."""
    with pytest.raises(InputFileError, match=r"looks like JSONL.*rename it, such as to presses\.jsonl"):
        read_batch(content.encode(), "folder/presses.CSV")


def test_an_output_is_a_batch_too():
    """The lines of an earlier output can be pressed as they are, for example on another account."""
    line = OutcomeLine(image_id="image-1", button="U1", ok=True, id="image-2")
    assert presses_of(read_batch(line.to_json().encode(), "out.jsonl")) == [ButtonPress("image-1", "U1")]


@given(
    st.builds(
        OutcomeLine,
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
        charged=st.none() | st.booleans(),
        over_budget=st.booleans(),
        prompt=st.none() | st.text(),
        key=st.none() | st.text(),
        root_id=st.none() | IMAGE_IDS,
        path=st.lists(st.sampled_from([str(button) for button in Button])).map(tuple),
        name=st.none() | st.text(),
        parent=st.none() | st.text(),
    )
)
def test_a_line_survives_the_file(line):
    """A line that is written and read again is equal, and takes one line whatever its texts hold."""
    text = line.to_json()
    assert "\n" not in text
    assert OutcomeLine.from_json(text) == line


@pytest.mark.parametrize(
    "other",
    [{"ok": "yes"}, {"id": 5}, {"status": "3"}, {"credits": "2"}, {"files": [None]}, {"urls": [1]}, {"files": None}],
    ids=str,
)
def test_a_line_with_values_of_wrong_types_is_refused(other):
    """The ten keys alone do not make a line: their values must have the right types."""
    line = json.loads(OutcomeLine(image_id="image-1", button="U1", ok=True, id="image-2").to_json())
    with pytest.raises(ValueError, match="not a line"):
        OutcomeLine.from_json(json.dumps(line | other))


@given(
    st.recursive(
        st.none() | st.booleans() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_what_is_no_line_is_a_value_error(value):
    """Any other JSON raises ValueError."""
    with pytest.raises(ValueError):
        OutcomeLine.from_json(json.dumps(value))
