"""The rows of a CSV file, held to RFC 4180.

The csv module is laxer, which would cost money here: it takes a quote inside an unquoted cell as it is, and after
an error it goes on inside the cell, so that a line of a note becomes a row. It also limits the length of a cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class QuoteError(ValueError):
    """A quote is out of place, so where cells begin and end is not known: neither after it nor before it."""

    def __init__(self, line: int, cells: list[str]) -> None:
        super().__init__(
            f"line {line}: the quotes of this cell do not pair up, so no row of the file can be trusted; put a cell "
            "that holds quotes into quotes, and double each quote inside it"
        )
        self.cells = cells
        """Those before it in its row."""


def read_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not empty, with the number of the line that it begins on.

    Raises:
        QuoteError: a quoted cell does not end where the next cell or the next row begins, or a quote is in an unquoted
            cell.
    """
    end_of_row = "\r" if _has_old_line_ends(text) else "\r?\n"
    end = rf"(?P<end>{re.escape(delimiter)}|{end_of_row}|\Z)"
    quoted_cell = re.compile(rf' *"(?P<text>[^"]*(?:""[^"]*)*)" *{end}')
    plain_cell = re.compile(rf'(?P<text>[^"{end_of_row[-1]}{re.escape(delimiter)}]*){end}')
    place, first_line, line = 0, 1, 1
    cells: list[str] = []
    while place < len(text) or cells:
        cell = quoted_cell.match(text, place) or plain_cell.match(text, place)
        if cell is None:
            raise QuoteError(line, cells)
        cells.append(cell["text"].replace('""', '"').strip())
        place = cell.end()
        line += len(re.findall(end_of_row, cell[0]))
        if cell["end"] != delimiter:
            if any(cells):
                yield first_line, cells
            cells, first_line = [], line


def read_header(text: str, delimiter: str) -> list[str]:
    """The names of the columns, in small letters, as far as they can be read."""
    try:
        _, cells = next(read_rows(text, delimiter), (1, []))
    except QuoteError as error:
        cells = error.cells
    return [cell.lower() for cell in cells]


def _has_old_line_ends(text: str) -> bool:
    """True if lines end with CR alone. In any other file a CR alone ends none: some writers leave it unquoted."""
    return re.match(r"(?:\"[^\"]*\"|[^\"\r\n])*\r(?!\n)", text.lstrip()) is not None
