"""The file of a batch: CSV, JSONL, or text with one prompt on each line."""

from __future__ import annotations

import codecs
import json
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from akool_async._fan_out.keys import PromptKeys
from akool_async.cli.batch.csv_rows import QuoteError, read_header, read_rows
from akool_async.cli.batch.rows import COLUMNS, KINDS_OF_ROWS, PRESS_COLUMNS, Asked, read_buttons, read_row
from akool_async.cli.outcomes.line import NodeId
from akool_async.items import GROUPS, Button, ButtonPress, Prompt, press_of

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping

    from akool_async.items import Branch, Item

DELIMITERS = ",;\t|"
JSONL_SUFFIXES = (".jsonl", ".ndjson")
EXAMPLE: Final = '{"image_id": "...", "button": "U1"} or {"prompt": "..."}'
MIN_SIMILARITY: Final = 0.75
"""From 0 to 1; a name at least as similar to that of a column is probably a misspelling of it."""
STDIN: Final = "<stdin>"
"""The name of standard input as a file."""


class InputFileError(ValueError):
    """The file as a whole cannot be read."""


@frozen
class Entry:
    """A press or a prompt, and the first line that asks for it."""

    line: int
    """The number of the line, from 1."""
    item: Item
    """A prompt here has a key and makes one image."""
    name: str | None = None
    """The name for people, from the column ``name``. The default for a prompt is some of its words."""
    batch: NodeId | None = None
    """The first image of a prompt with a batch quantity, if this is a further one; else None."""
    number: int = 1
    """The number of the image within a prompt with a batch quantity, from 1."""

    @property
    def press(self) -> ButtonPress | None:
        """The press; None for a prompt."""
        return press_of(self.item)

    @property
    def node(self) -> NodeId:
        """The identity of the item, the same in every run."""
        return node_of(self.item)


@frozen
class Invalid:
    """A line that cannot be read."""

    line: int
    reason: str


@frozen
class Batch:
    """The presses and prompts of a file, each once, in the order of the file."""

    name: str
    """The name of the file."""
    entries: tuple[Entry, ...]
    invalid: tuple[Invalid, ...]
    repeated: int
    """How many presses and prompts the file asks for again."""
    unread: tuple[str, ...] = ()
    """Columns that are not read."""
    misspelt: Mapping[str, str] = field(factory=dict)
    """Those of them that probably are misspelt, with the right name. The row has no column of that name."""


def node_of(item: Item) -> NodeId:
    """Return the identity of an item of a batch."""
    return NodeId.of_press(item) if isinstance(item, ButtonPress) else NodeId.of_prompt(item.key or "")


def read_batch(content: bytes, name: str, then: tuple[Branch, ...] = ()) -> Batch:
    """Read a whole file.

    Args:
        content: The content of the file.
        name: The name of the file. Its ending decides how the content is read.
        then: The buttons to press on the results of lines that have no ``then``.

    Raises:
        InputFileError: The file is empty, has no header, is not text, or has quotes that do not pair up.
    """
    reader = _BatchReader(then)
    for line, fields in _choose_reader(name, text := _decode(content, name))(text, name):
        reader.add(line, fields)
    batch = reader.batch(name)
    if not batch.entries and not batch.invalid:
        raise InputFileError(f"{name} asks for no press and no prompt: {_remedy_for_empty(name)}")
    return batch


def _remedy_for_empty(name: str) -> str:
    if Path(name).suffix.lower() == ".txt":
        return "write one prompt on each line"
    if Path(name).suffix.lower() in JSONL_SUFFIXES:
        return f"write on each line {EXAMPLE}"
    return "write a header image_id,button and a line for each image, or a header prompt and a line for each prompt"


@define
class _BatchReader:
    """Collects the presses and prompts of lines."""

    _then: tuple[Branch, ...]
    _entries: dict[NodeId, Entry] = field(factory=dict)
    _invalid: list[Invalid] = field(factory=list)
    _repeated: int = 0
    _names: dict[str, None] = field(factory=dict)
    """The names of all columns, in order."""
    _misspelt: dict[str, str] = field(factory=dict)
    _keys: PromptKeys = field(factory=PromptKeys)

    def add(self, line: int, fields: dict[str, Any] | ValueError) -> None:
        """Read one line."""
        try:
            if isinstance(fields, ValueError):
                raise fields
            self._add_names(fields)
            for asked in read_row(fields, self._then):
                self._add(line, asked)
        except ValueError as error:
            self._invalid.append(Invalid(line, str(error)))

    def batch(self, name: str) -> Batch:
        """Return everything that was read."""
        unread = tuple(each for each in self._names if each and each not in COLUMNS)
        return Batch(name, tuple(self._entries.values()), tuple(self._invalid), self._repeated, unread, self._misspelt)

    def _add_names(self, fields: dict[str, Any]) -> None:
        for name in fields:
            if name not in COLUMNS and name not in self._misspelt and (right := _guess_column(name, fields)):
                self._misspelt[name] = right
        self._names |= dict.fromkeys(fields)

    def _add(self, line: int, asked: Asked) -> None:
        items = list(self._split_images(asked.item, line))
        first = node_of(items[0])
        for number, item in enumerate(items, start=1):
            entry = Entry(line, item, asked.name, None if number == 1 else first, number)
            known = self._entries.get(entry.node)
            self._entries[entry.node] = entry if known is None else _merge(known, entry)
        self._repeated += known is not None

    def _split_images(self, item: Item, line: int) -> Iterator[Item]:
        """Yield a press as it is, and a prompt once for each of its images, each time with another key."""
        if isinstance(item, ButtonPress):
            yield item
            return
        for key in self._keys.give(item, f"line {line}"):
            yield evolve(item, key=key) if isinstance(item, Prompt) else evolve(item, key=key, batch_quantity=1)


def _merge(known: Entry, again: Entry) -> Entry:
    """Return one entry for an item that occurs twice, with the presses that both lines ask for on its result."""
    if not again.item.then or again.item.then == known.item.then:
        return known
    return evolve(known, item=evolve(known.item, then=(*known.item.then, *again.item.then)))


def _guess_column(name: str, given: Container[str]) -> str | None:
    """Return the column that a name probably is a misspelling of, among those that are not given; None if none is."""
    return next((column for column in _similar_columns(name) if column not in given), None)


@cache
def _similar_columns(name: str) -> list[str]:
    return get_close_matches(name.lower(), COLUMNS, cutoff=MIN_SIMILARITY)


# --- kinds of files ---


def _decode(content: bytes, name: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise InputFileError(f"{name} is not UTF-8 text, but UTF-16 or no text at all: save it as CSV UTF-8")
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        raise InputFileError(f"{name} is not UTF-8 text (byte {error.start}): save it as CSV UTF-8") from None


def _choose_reader(name: str, text: str) -> Callable[[str, str], Iterator[tuple[int, dict[str, Any] | ValueError]]]:
    suffix = Path(name).suffix.lower()
    if suffix in {".csv", ".txt"} and _is_json(text):
        better = Path(name).with_suffix(JSONL_SUFFIXES[0]).name
        raise InputFileError(
            f"{name} looks like JSONL, but its name says {suffix[1:].upper()}: rename it, such as to {better}"
        )
    if suffix == ".txt":
        return _read_text
    is_jsonl = suffix in JSONL_SUFFIXES or (suffix != ".csv" and text.lstrip().startswith(("{", "[")))
    return _read_jsonl if is_jsonl else _read_csv


def _read_text(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    """Read one prompt from each line."""
    lines = re.split(r"\r\n|\r|\n", text)
    header = next((line for line in lines if line.strip()), "")
    if any(map(_is_header, (read_header(header, delimiter) for delimiter in DELIMITERS))):
        better = Path(name).with_suffix(".csv").name
        raise InputFileError(
            f"{name} looks like CSV, but a .txt file has one prompt on each line: rename it, such as to {better}"
        )
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, {"prompt": line.strip()}


def _is_header(columns: list[str]) -> bool:
    """Return whether a line of a text is a header of CSV rather than a prompt."""
    known = {*COLUMNS} & {*columns}
    return known >= {*PRESS_COLUMNS} or ("prompt" in known and (len(known) > 1 or columns == ["prompt"]))


# --- JSONL ---


def _is_json(text: str) -> bool:
    """Return whether the first line of a text is a JSON object, or part of an array of objects."""
    first = text.strip().split("\n", 1)[0].strip()
    return first == "[" or isinstance(_read_json(first.lstrip("[").rstrip(",]")), dict)


def _read_jsonl(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    if text.lstrip().startswith("["):
        raise InputFileError(f"{name} is a JSON array: write each of its objects on a separate line, without brackets")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _read_json(line)


def _read_json(line: str) -> dict[str, Any] | ValueError:
    try:
        fields = json.loads(line, object_pairs_hook=_read_object)
    except _RepeatedError as error:
        return error
    except (ValueError, RecursionError):
        return ValueError(f"not JSON; write {EXAMPLE}")
    return fields if isinstance(fields, dict) else ValueError(f"not an object; write {EXAMPLE}")


class _RepeatedError(ValueError):
    """A JSON object has a key twice. The json module would take the last one."""


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for name in dict.fromkeys(names):
        if names.count(name) > 1 and name in _MEANT_ONCE:
            remedy = '; write several buttons into a list, such as ["U1", "V2"]' if name in PRESS_COLUMNS else ""
            raise _RepeatedError(f"{name} is given twice{remedy}")
    return dict(pairs)


_MEANT_ONCE: Final = frozenset({*COLUMNS, *Button, *GROUPS})


# --- CSV ---


def _read_csv(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    headers = {delimiter: read_header(text, delimiter) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda candidate: _count_known(headers[candidate]))
    columns = headers[delimiter]
    repeated = [column for column in COLUMNS if columns.count(column) > 1]
    if repeated:
        raise InputFileError(
            f"{name} has a column twice: write several buttons into one, such as U1 V2"
            if repeated[0] in PRESS_COLUMNS
            else f"{name} has the column {repeated[0]} twice"
        )
    try:
        rows = list(read_rows(text, delimiter))  # a wrong quote in the last row spoils all rows
    except QuoteError as error:
        raise InputFileError(f"{name}, {error}") from None
    missing = [column for column in PRESS_COLUMNS if column not in columns]
    if rows and missing and "prompt" not in columns:
        raise InputFileError(_describe_missing(name, columns, missing))
    for line, row in rows[1:]:
        yield line, _read_row(columns, row)


def _describe_missing(name: str, columns: list[str], missing: list[str]) -> str:
    guesses = {column: _guess_column(column, columns) for column in columns if column not in COLUMNS}
    for column, right in guesses.items():
        if right in KINDS_OF_ROWS:
            return f"{name} has no column {right}, but a column {column}: rename it to {right}"
    if Path(name).suffix.lower() != ".csv":
        read = "standard input is" if name == STDIN else f"{name} is"
        return (
            f"{read} read as CSV or JSONL, so the first line must be a header, such as prompt or image_id,button; one "
            "prompt on each line works in a .txt file"
        )
    no_columns = " and no ".join(missing)
    return f"{name} has no column {no_columns}: its first line must be image_id,button, or have a column prompt"


def _count_known(columns: list[str]) -> tuple[int, int]:
    """Return how many columns have a known name: first of those that every row needs, then of all."""
    return len({*KINDS_OF_ROWS} & {*columns}), len({*COLUMNS} & {*columns})


def _read_row(columns: list[str], row: list[str]) -> dict[str, Any] | ValueError:
    further = [cell for cell in row[len(columns) :] if cell]
    if further:
        return ValueError(_describe_too_many(columns, row, further))
    return dict(zip(columns, row, strict=False))


def _describe_too_many(columns: list[str], row: list[str], further: list[str]) -> str:
    buttons = " ".join([row[columns.index("button")] if "button" in columns else "", *further])
    try:
        read_buttons(buttons)
    except ValueError:
        return f"{len(row)} cells, and the header has {len(columns)}; put a cell that holds a separator into quotes"
    return f'more cells than the header has; write several buttons into one, such as "{buttons}"'
