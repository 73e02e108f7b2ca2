"""The file of a batch: CSV or JSONL, with the number of the line that each press came from."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import TYPE_CHECKING, Any

from attrs import frozen

from akool_async import Button, ButtonPress

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS = ("image_id", "button")
DELIMITERS = ",;\t"
GROUPS = {"U*": "U", "V*": "V", "*": ""}
JSONL_SUFFIXES = (".jsonl", ".ndjson")


class BatchError(ValueError):
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
        BatchError: there is no press in it, or no header, or it is not text.
    """
    try:
        text = content.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        raise BatchError(f"{name} is not UTF-8 text (byte {error.start})") from None
    is_jsonl = name.endswith(JSONL_SUFFIXES) or (not name.endswith(".csv") and text.lstrip().startswith("{"))
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
        raise BatchError(f"{name} asks for no press: write a header image_id,button and a line for each image")
    return Batch(name, tuple(entries.values()), tuple(invalid), repeated)


def _read_jsonl(text: str, _: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _read_json(line)


def _read_json(line: str) -> dict[str, Any] | ValueError:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return ValueError('not JSON; write {"image_id": "...", "button": "U1"}')
    return (
        fields if isinstance(fields, dict) else ValueError('not an object; write {"image_id": "...", "button": "U1"}')
    )


def _read_csv(text: str, name: str) -> Iterator[tuple[int, dict[str, Any] | ValueError]]:
    header = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(DELIMITERS, key=header.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    columns: list[str] | None = None
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield rows.line_num, ValueError(f"not CSV ({error})")
            continue
        if not any(cell.strip() for cell in row):
            continue
        if columns is not None:
            yield rows.line_num, _read_row(columns, [cell.strip() for cell in row])
            continue
        columns = [cell.strip().lower() for cell in row]
        if any(columns.count(column) > 1 for column in COLUMNS):
            raise BatchError(f"{name} has a column twice: write several buttons into one, such as U1 V2")
        missing = [column for column in COLUMNS if column not in columns]
        if missing:
            raise BatchError(f"{name} has no column {' and no '.join(missing)}: its first line must be image_id,button")


def _read_row(columns: list[str], row: list[str]) -> dict[str, Any] | ValueError:
    if any(row[len(columns) :]):
        return ValueError(
            f'more cells than the header has; write several buttons into one, such as "{" ".join(row[1:])}"'
        )
    return dict(zip(columns, row, strict=False))


def _presses(fields: dict[str, Any]) -> Iterator[ButtonPress]:
    missing = [column for column in COLUMNS if not fields.get(column)]
    if missing:
        raise ValueError(f"{' and '.join(missing)} missing")
    for button in expand(fields["button"]):
        yield ButtonPress(fields["image_id"], button)


def expand(told: object) -> list[Button]:
    """The buttons of a list, or of a text that may hold several names."""
    names = re.split(r"[\s,;|+]+", told.strip()) if isinstance(told, str) else told
    return [button for name in (names if isinstance(names, list) else [names]) for button in _expand_one(name)]


def _expand_one(name: object) -> list[Button]:
    """The buttons that a name stands for: U1, or U*, V* or * for several."""
    if not isinstance(name, str):
        raise ValueError(f"button must be a text such as U1, U* or *, not {name!r}")  # noqa: TRY004 - bad input is ValueError
    if name in GROUPS:
        return [button for button in Button if button.startswith(GROUPS[name])]
    try:
        return [Button.parse(name.upper())]
    except ValueError:
        raise ValueError(f"button must be one of {', '.join(Button)}, or U*, V* or *, not {name!r}") from None
