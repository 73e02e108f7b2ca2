"""The file of a batch: CSV or JSONL, with the number of the line that each press came from."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import frozen

from akool_async import ButtonPress
from akool_async.cli.batch.buttons import expand
from akool_async.cli.batch.csv_rows import QuoteError, read_header, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("image_id", "button")
DELIMITERS = ",;\t|"
JSONL_SUFFIXES = (".jsonl", ".ndjson")


class InputFileError(ValueError):
    """The file as a whole cannot be read."""


@frozen
class Entry:
    """A press, and the line that asks for it."""

    line: int
    press: ButtonPress


@frozen
class Invalid:
    """A line that cannot be read."""

    line: int
    reason: str


@frozen
class Batch:
    """What a file asks for: each press once, in the order of the file."""

    name: str
    entries: tuple[Entry, ...]
    invalid: tuple[Invalid, ...]
    repeated: int
    """Presses that were asked for again."""


def read_batch(content: bytes, name: str) -> Batch:
    """Read a whole file.

    Raises:
        InputFileError: there is no press in it, or no header, or it is not text, or the quotes of its cells do not pair
            up.
    """
    text = _decode(content, name)
    suffix = Path(name).suffix.lower()
    if suffix == ".csv" and _is_json(text):
        better = Path(name).with_suffix(JSONL_SUFFIXES[0]).name
        raise InputFileError(f"{name} looks like JSONL, but its name says CSV: rename it, such as to {better}")
    is_jsonl = suffix in JSONL_SUFFIXES or (suffix != ".csv" and text.lstrip().startswith(("{", "[")))
    entries: dict[ButtonPress, Entry] = {}
    invalid: list[Invalid] = []
    repeated = 0
    for line, found in (_read_jsonl if is_jsonl else _read_csv)(text, name):
        try:
            presses = [found] if isinstance(found, ValueError) else list(_presses(found))
        except ValueError as error:
            presses = [error]
        for press in presses:
            if isinstance(press, ValueError):
                invalid.append(Invalid(line, str(press)))
            elif press in entries:
                repeated += 1
            else:
                entries[press] = Entry(line, press)
    if not entries and not invalid:
        raise InputFileError(f"{name} asks for no press: write a header image_id,button and a line for each image")
    return Batch(name, tuple(entries.values()), tuple(invalid), repeated)


def _decode(content: bytes, name: str) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content:
        raise InputFileError(f"{name} is not UTF-8 text, but UTF-16 or no text at all: save it as CSV UTF-8")
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        raise InputFileError(f"{name} is not UTF-8 text (byte {error.start}): save it as CSV UTF-8") from None


def _is_json(text: str) -> bool:
    """Whether a text begins with a line that is an object of JSON, or part of an array."""
    first = text.strip().split("\n", 1)[0].strip()
    return first == "[" or isinstance(_read_json(first.lstrip("[").rstrip(",]")), dict)


def _read_jsonl(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    if text.lstrip().startswith("["):
        raise InputFileError(f"{name} is a JSON array: write each of its objects on a line of its own")
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _read_json(line)


def _read_json(line: str) -> dict[str, Any] | ValueError:
    try:
        fields = json.loads(line, object_pairs_hook=_read_object)
    except _RepeatedError as error:
        return error
    except (ValueError, RecursionError):
        return ValueError('not JSON; write {"image_id": "...", "button": "U1"}')
    return (
        fields if isinstance(fields, dict) else ValueError('not an object; write {"image_id": "...", "button": "U1"}')
    )


class _RepeatedError(ValueError):
    """A key twice, of which JSON would take the last."""


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    for column in COLUMNS:
        if names.count(column) > 1:
            raise _RepeatedError(f'{column} is there twice; write several buttons into a list, such as ["U1", "V2"]')
    return dict(pairs)


def _read_csv(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    headers = {delimiter: read_header(text, delimiter) for delimiter in DELIMITERS}
    delimiter = max(DELIMITERS, key=lambda candidate: len({*COLUMNS} & {*headers[candidate]}))
    columns = headers[delimiter]
    if any(columns.count(column) > 1 for column in COLUMNS):
        raise InputFileError(f"{name} has a column twice: write several buttons into one, such as U1 V2")
    try:
        rows = list(read_rows(text, delimiter))  # to the end, before a row is taken for a press
    except QuoteError as error:
        raise InputFileError(f"{name}, {error}") from None
    missing = [column for column in COLUMNS if column not in columns]
    if rows and missing:
        raise InputFileError(f"{name} has no column {' and no '.join(missing)}: its first line must be image_id,button")
    for line, row in rows[1:]:
        yield line, _read_row(columns, row)


def _read_row(columns: list[str], row: list[str]) -> dict[str, Any] | ValueError:
    further = [cell for cell in row[len(columns) :] if cell]
    if further:
        return ValueError(_describe_too_many(columns, row, further))
    return dict(zip(columns, row, strict=False))


def _describe_too_many(columns: list[str], row: list[str], further: list[str]) -> str:
    buttons = " ".join([row[columns.index("button")], *further])
    try:
        expand(buttons)
    except ValueError:
        return f"{len(row)} cells, and the header has {len(columns)}; put a cell that holds a separator into quotes"
    return f'more cells than the header has; write several buttons into one, such as "{buttons}"'


def _presses(fields: dict[str, Any]) -> Iterator[ButtonPress]:
    missing = [column for column in COLUMNS if not fields.get(column)]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing")
    for button in expand(fields["button"]):
        yield ButtonPress(fields["image_id"], button)
