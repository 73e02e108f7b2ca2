"""The table of followed operations: live on a terminal, one line per change elsewhere, and printed at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from akool_async._limits.credits import Prices, as_price
from akool_async.cli.following.row import PROMPT
from akool_async.cli.messages import reason_of
from akool_async.cli.outcomes.charges import Charges
from akool_async.cli.outcomes.line import PressState
from akool_async.cli.output.rows import GAP, Column, fits_beside, make_table, print_rows
from akool_async.cli.output.stderr import amount, plain, print_message, stamped
from akool_async.cli.output.streams import print_results
from akool_async.cli.output.terminal import can_redraw, open_console, print_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import TracebackType

    from akool_async import Button, Operation, OutcomeUnknownError
    from akool_async.cli.following.row import Row
    from akool_async.cli.outcomes.line import OutcomeLine

_COLUMNS: Final = (
    Column("id", min_width=24),
    Column("button"),
    Column("status"),
    Column("sec", "right"),
    Column("credits", "right"),
    Column("file"),
)
_LIVE_COLUMNS: Final = [
    evolve(column, min_width=len("not finished")) if column.name == "status" else column for column in _COLUMNS
]
"""The table must not jump while statuses change."""
_STYLES: Final = {
    "queued here": "dim",
    "accepted": "yellow",
    "not finished": "bold yellow",
    "queueing": "yellow",
    "processing": "cyan",
    "saving": "blue",
    "completed": "green",
    "failed": "bold red",
    PressState.LOST: "bold magenta",
    PressState.IN_DOUBT: "bold magenta",
}


class LiveTable:
    """Shows all rows while they change, and prints them at the end.

    Args:
        rows: The operations that are followed.
        title: The line above the table.
        quiet: Show no progress.
        as_json: Print the results as lines of JSON.
        folder: The folder of all pictures. If it is given, the printed results end with the number of pictures.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        title: str,
        *,
        quiet: bool = False,
        as_json: bool = False,
        folder: Path | None = None,
    ) -> None:
        self.rows = rows
        self._title = Text(plain(title))
        self._quiet = quiet
        self._as_json = as_json
        self._folder = folder
        self._shown: dict[str, str] = {}
        self._progress = open_console(stderr=True)
        self._is_live = can_redraw(self._progress) and not quiet
        self._started = time.monotonic()
        self._live = Live(
            get_renderable=self._render,
            console=self._progress,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        if self._is_live:
            self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_live:
            self._live.stop()

    def row(self, name: str) -> Row:
        """Return the row with this name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def presses(self) -> list[Row]:
        """The rows of presses."""
        return [row for row in self.rows if row.name != PROMPT]

    @property
    def prompts(self) -> list[Row]:
        """The rows of prompts."""
        return [row for row in self.rows if row.name == PROMPT]

    @property
    def paid_rows(self) -> list[Row]:
        """Rows that were or may have been charged."""
        return [row for row in self.rows if row.id or row.is_unsettled]

    def line(self, row: Row) -> OutcomeLine:
        """Return the line of a row."""
        return row.line(price=self._prices.expected(row.kind))

    def show_change(self, row: Row) -> None:
        """Print the new state of a row, unless a live table shows it."""
        if not self._is_live and not self._quiet and self._shown.get(row.name) != row.state:
            self._shown[row.name] = row.state
            ended = sum(other.has_ended for other in self.rows)
            after = "" if row.seconds is None else f" after {row.seconds:.1f} s"
            name = f"{row.name} {row.id}".rstrip()
            print_message(stamped(f"[{ended}/{len(self.rows)}] {name}: {row.state}{after}"))

    def stop_waiting(self, unclaimed: Iterable[Operation], errors: Iterable[OutcomeUnknownError]) -> None:
        """Stop waiting for all rows, and print on stderr the ids that were paid for.

        Args:
            unclaimed: Operations that were accepted after the wait had ended.
            errors: Unknown outcomes after the wait had ended.
        """
        self._live.stop()
        for error in errors:
            for row in self._rows_without_id(None if error.press is None else error.press.button):
                row.fail(error)
        for operation in unclaimed:
            for row in self._rows_without_id(operation.button):
                row.accept(operation)
        for row in self.paid_rows:
            if row.has_ended:
                print_message(f"{row.name} {row.id}".rstrip() + f": {row.state}")
            else:
                row.stop_waiting()
                print_message(f"{row.name} {row.id} runs on at AKOOL and is paid for; its result is kept for 7 days")

    def print_results(self, rows: Iterable[Row]) -> None:
        """Print these rows on stdout as lines of JSON, or all rows as a table for people.

        Raises:
            OSError: They could not be printed. The lines of JSON are on stderr.
        """
        prices = self._prices
        lines = (row.to_json(price=prices.expected(row.kind)) for row in rows)
        print_results(lines, None if self._as_json else self.print_summary)

    def print_summary(self) -> None:
        """Print the table of all rows on stdout."""
        output = open_console()
        print_rows(output, _COLUMNS, self._cells(), title=self._title)
        if self._folder is None:
            return
        done = [row for row in self.rows if row.state == "completed"]
        pictures = sum(len(row.files) for row in done)
        summary = (
            f"{len(done)} of {len(self.rows)} completed, {self._charges} credits, {pictures} pictures in "
            f"{self._elapsed:.1f} s: {self._folder.resolve()}"
        )
        print_whole(output, plain(summary))

    def _rows_without_id(self, button: Button | None) -> list[Row]:
        """Return the row of a press, or of a prompt (None), unless its id is known."""
        return [row for row in self.rows if row.name == (button or PROMPT) and not row.id]

    def _render(self) -> Group:
        ended = sum(row.has_ended for row in self.rows)
        bar = Table.grid(padding=(0, 1))
        counts = f"{ended}/{len(self.rows)} done · {self._charges} credits · {self._elapsed:.0f} s"
        bar.add_row(ProgressBar(total=len(self.rows), completed=ended, width=30), counts)
        return Group(self._table(), bar)

    def _table(self) -> Table:
        """Make the table. Without room for files and reasons, only the summary shows them."""
        cells = self._cells()
        if fits_beside(_LIVE_COLUMNS, cells, self._progress.width):
            return make_table(_LIVE_COLUMNS, cells, title=self._title)
        return make_table(_LIVE_COLUMNS[:-1], cells, title=self._title, gap=GAP - 1)

    def _cells(self) -> list[tuple[Text, ...]]:
        return [
            (
                Text(plain(row.id)),
                Text(plain(row.name)),
                Text(row.state, _STYLES.get(row.state, "")),
                Text("" if row.seconds is None else f"{row.seconds:.1f}"),
                Text(amount(row.credits) if row.id else ""),
                Text(plain(_name_files(row.files) if row.error is None else reason_of(row.error))),
            )
            for row in self.rows
        ]

    @property
    def _charges(self) -> Charges:
        charges, prices = Charges(), self._prices
        for row in self.paid_rows:
            if row.id:
                charges.add(row.name, row.credits)
            else:
                price = prices.expected(row.kind) if row.state == PressState.LOST else None
                charges.add(row.name, price, is_reported=False)
        return charges

    @property
    def _prices(self) -> Prices:
        prices = Prices()
        for row in self.rows:
            if (price := as_price(row.credits)) is not None:
                prices.learn(row.kind, price)
        return prices

    @property
    def _elapsed(self) -> float:
        return time.monotonic() - self._started


def _name_files(files: list[Path]) -> str:
    if not files:
        return ""
    return files[0].name if len(files) == 1 else f"{files[0].name} +{len(files) - 1}"
