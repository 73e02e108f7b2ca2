"""Tables for people. The last column, a file or a reason, is below the others if there is no room beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen
from rich import box
from rich.table import Table
from rich.text import Text

from akool_async.cli.output.terminal import print_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    Row = Sequence[Text]

MAX_REASON_WIDTH: Final = 40
"""Characters; a longer text of the last column is wrapped."""
GAP: Final = 2
"""Blanks between two columns."""
INDENT: Final = 4
"""Blanks before the last column if it is below the others."""


@frozen
class Column:
    """A column. The last column of a table may have long texts, the others have short ones."""

    name: str
    justify: Literal["left", "right"] = "left"
    min_width: int = 0


def fits_beside(columns: Sequence[Column], rows: Sequence[Row], width: int) -> bool:
    """Return whether there is room for the last column beside the others.

    Args:
        columns: The columns.
        rows: The cells.
        width: The width of the terminal in characters.
    """
    *others, last = _widths(columns, rows)
    return sum(others) + GAP * len(others) + min(last, MAX_REASON_WIDTH) <= width


def make_table(columns: Sequence[Column], rows: Sequence[Row], *, title: Text | None = None, gap: int = GAP) -> Table:
    """Make a table of these columns.

    Args:
        columns: The columns.
        rows: The cells. Those beyond the last column are left out.
        title: The line above the table.
        gap: Blanks between two columns.
    """
    table = Table(
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, gap - 1, 0, 0),  # the box itself puts one blank between two columns
        show_edge=False,
        pad_edge=False,
    )
    for column, width in zip(columns, _widths(columns, rows), strict=True):
        least = width if width <= MAX_REASON_WIDTH else None
        table.add_column(column.name, justify=column.justify, min_width=least, overflow="fold")
    for row in rows:
        table.add_row(*row[: len(columns)])
    return table


def print_rows(console: Console, columns: Sequence[Column], rows: Sequence[Row], *, title: Text | None = None) -> None:
    """Print rows with their whole texts, however narrow the terminal is."""
    if fits_beside(columns, rows, console.width):
        console.print(make_table(columns, rows, title=title))
        return
    if title is not None:
        print_whole(console, title.plain)
    widths = _widths(columns, rows)[:-1]
    if sum(widths) + len(widths) - 1 <= console.width:
        console.print(_line_up(columns, [Text(column.name, "bold") for column in columns], widths))
        lines = [_line_up(columns, row, widths) for row in rows]
    else:
        lines = [_name_all(columns, row) for row in rows]
    for line, row in zip(lines, rows, strict=True):
        console.print(line)
        print_whole(console, row[-1].plain, indent=INDENT)


def _widths(columns: Sequence[Column], rows: Sequence[Row]) -> list[int]:
    return [
        max(column.min_width, len(column.name), *(row[index].cell_len for row in rows))
        for index, column in enumerate(columns)
    ]


def _line_up(columns: Sequence[Column], row: Row, widths: Sequence[int]) -> Text:
    """Return the short cells of a row, each as wide as its column."""

    def fill() -> Iterator[Text]:
        for column, cell, width in zip(columns, row, widths, strict=False):
            filled = cell.copy()
            filled.align(column.justify, width)
            yield filled

    return Text(" ").join(fill())


def _name_all(columns: Sequence[Column], row: Row) -> Text:
    """Return the short cells of a row, each with the name of its column."""
    named = zip(columns[:-1], row, strict=False)
    return Text("  ").join(Text(f"{column.name} ").append_text(cell) for column, cell in named if cell.plain)
