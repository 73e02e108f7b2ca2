"""A strict reader of CSV, by RFC 4180.

The csv module is laxer, which would cost money here: it accepts a quote inside an unquoted cell, and after a wrong
quote it reads on inside the cell, so that a line of a note becomes a row. It also limits the length of a cell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class QuoteError(ValueError):
    """A quote is misplaced, so nobody can know where cells begin and end, before the quote or after it."""

    def __init__(self, line: int, cells: list[str]) -> None:
        super().__init__(
            f"line {line}: the quotes of this cell do not pair up, so no row of the file can be trusted; put a cell "
            "that holds quotes into quotes, and double each quote inside it"
        )
        self.cells = cells
        """The cells before the misplaced quote in the same row."""


def read_rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not empty, with the number of its first line.

    Raises:
        QuoteError: An unquoted cell holds a quote, or text follows the closing quote of a cell.
    """
    end_of_row = "\r" if _has_old_line_ends(text) else "\r?\n"
    end = rf"(?P<end>{re.escape(delimiter)}|{end_of_row}|\Z)"
    quoted_cell = re.compile(rf' *"(?P<text>[^"]*(?:""[^"]*)*)" *{end}')
    plain_cell = re.compile(rf'(?P<text>[^"{end_of_row[-1]}{re.escape(delimiter)}]*){end}')
    position, first_line, line = 0, 1, 1
    cells: list[str] = []
    while position < len(text) or cells:
        cell = quoted_cell.match(text, position) or plain_cell.match(text, position)
        if cell is None:
            raise QuoteError(line, cells)
        cells.append(cell["text"].replace('""', '"').strip())
        position = cell.end()
        line += len(re.findall(end_of_row, cell[0]))
        if cell["end"] != delimiter:
            if any(cells):
                yield first_line, cells
            cells, first_line = [], line


def read_header(text: str, delimiter: str) -> list[str]:
    """Return the names of the columns in small letters, up to the first misplaced quote."""
    try:
        _, cells = next(read_rows(text, delimiter), (1, []))
    except QuoteError as error:
        cells = error.cells
    return [cell.lower() for cell in cells]


def _has_old_line_ends(text: str) -> bool:
    """Return whether lines end with CR alone. In other files a lone CR ends no line: some writers leave it unquoted."""
    return re.match(r"(?:\"[^\"]*\"|[^\"\r\n])*\r(?!\n)", text.lstrip()) is not None
