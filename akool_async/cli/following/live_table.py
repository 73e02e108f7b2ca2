"""Progress for people: a live table on a terminal, one plain line per change elsewhere; a table at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Self

from attrs import define, evolve, field
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from akool_async import AkoolError, ImageStatus, OutcomeUnknownError, PollingError, WaitTimeoutError
from akool_async._limits.credits import EXPECTED_PRICES
from akool_async.cli.messages import amount, plain, stamped, tell
from akool_async.cli.outcomes.charges import Charges
from akool_async.cli.outcomes.line import UNSAVED, Line, PressState, describe_row, reason_of, reason_of_leaving
from akool_async.cli.output.rows import GAP, Column, fits_beside, make_table, print_rows
from akool_async.cli.output.terminal import can_redraw, open_console, print_whole

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from akool_async import Button, ImageResult, Operation

_COLUMNS: Final = (
    Column("id", min_width=24),
    Column("button"),
    Column("status", min_width=len("not finished")),
    Column("seconds", "right"),
    Column("credits", "right"),
    Column("file"),
)
KINDS: Final = {"U": "upscale", "V": "variation"}
_STYLES = {
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


@define(eq=False)
class Row:
    """One operation on its way."""

    name: str
    state: str = "queued here"
    operation: Operation | None = None
    latest: ImageResult | None = None
    result: ImageResult | None = None
    files: list[Path] = field(factory=list)
    error: AkoolError | OSError | None = None
    _began: float | None = None
    _took: float | None = None

    @property
    def id(self) -> str:
        """The operation's; empty before it is accepted."""
        return "" if self.operation is None else self.operation.id

    @property
    def credits(self) -> float:
        """What was charged for it."""
        return (self.latest and self.latest.deduction_credit) or 0

    @property
    def seconds(self) -> float | None:
        """Seconds from the accepted press to its end, or until now; None before."""
        if self._began is None:
            return None
        return (time.monotonic() if self._took is None else self._took) - self._began

    @property
    def ended(self) -> bool:
        """True once nothing more will happen."""
        return self.state in {"completed", "failed", "not finished", PressState.LOST, PressState.IN_DOUBT}

    def begin(self, operation: Operation) -> None:
        """AKOOL accepted it."""
        self.operation, self._began = operation, time.monotonic()
        self.state = "accepted"
        if operation.latest is not None:
            self.see(operation.latest)

    def see(self, latest: ImageResult) -> None:
        """Note what AKOOL says; the row itself is completed only when its pictures are saved."""
        self.latest = latest
        status = latest.status
        if status == ImageStatus.COMPLETED:
            self._took = self._took or time.monotonic()
            self.state = "saving"
        else:
            self.state = status.name.lower() if isinstance(status, ImageStatus) else f"status {status}"

    def complete(self, files: list[Path]) -> None:
        """It is done, and these pictures of it are on disk."""
        self.files, self.state = files, "completed"

    def fail(self, error: AkoolError | OSError) -> None:
        """It will not end well, or not while this program waits."""
        self.error = error
        if isinstance(error, OutcomeUnknownError) and not self.id:
            self.state = PressState.LOST if error.charged else PressState.IN_DOUBT
        else:
            self.state = "not finished" if isinstance(error, WaitTimeoutError | PollingError) else "failed"
        self._took = self._took or time.monotonic()

    def leave(self) -> None:
        """AKOOL accepted it, and this program does not wait for its end any longer."""
        is_final = self.latest is not None and self.latest.is_final
        self.error = AkoolError(UNSAVED if is_final else reason_of_leaving(self.id))
        self.state = PressState.NOT_FINISHED
        self._took = self._took or time.monotonic()


class Board:
    """All rows, shown while they change."""

    def __init__(self, names: list[str], title: str, *, quiet: bool = False) -> None:
        self.rows = [Row(name) for name in names]
        self._title = Text(plain(title))
        self._quiet = quiet
        self._told: dict[str, str] = {}
        self._progress = open_console(stderr=True)
        self._is_live = can_redraw(self._progress) and not quiet
        self._began = time.monotonic()
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
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)

    def changed(self, row: Row) -> None:
        """Show a change where there is no live table to show it."""
        if not self._is_live and not self._quiet and self._told.get(row.name) != row.state:
            self._told[row.name] = row.state
            ended = sum(other.ended for other in self.rows)
            after = "" if row.seconds is None else f" after {row.seconds:.1f} s"
            name = f"{row.name} {row.id}".rstrip()
            tell(stamped(f"[{ended}/{len(self.rows)}] {name}: {row.state}{after}"))

    def describe(self, row: Row, image_id: str) -> Line:
        """The line of a row; if its id was lost, with the price that rows of its kind tell."""
        line = describe_row(row, image_id)
        return evolve(line, credits=self._price_of(row)) if line.state is PressState.LOST else line

    @property
    def paid_rows(self) -> list[Row]:
        """Rows that were charged, or perhaps charged."""
        return [row for row in self.rows if row.id or row.state in {PressState.LOST, PressState.IN_DOUBT}]

    def leave(self, unclaimed: Iterable[Operation], errors: Iterable[OutcomeUnknownError]) -> None:
        """End every row, and print on stderr the ids of what was paid for, for a person who stops waiting.

        ``unclaimed`` and ``errors`` came when nobody waited for them any more.
        """
        self._live.stop()
        for error in errors:
            for row in self._rows_of(None if error.press is None else error.press.button):
                row.fail(error)
        for operation in unclaimed:
            for row in self._rows_of(operation.button):
                row.begin(operation)
        for row in self.paid_rows:
            if row.ended:
                tell(f"{row.name} {row.id}".rstrip() + f": {row.state}")
            else:
                row.leave()
                tell(f"{row.name} {row.id} runs on at AKOOL, paid for; its result is kept for 7 days")

    def _rows_of(self, button: Button | None) -> list[Row]:
        """The row of a press, or of a prompt (None), if no id is known for it yet."""
        return [row for row in self.rows if row.name == (button or "prompt") and not row.id]

    def print_summary(self, folder: Path | None = None) -> None:
        """The table of what became of each, on stdout; with the folder of the pictures, how many there are."""
        output = open_console()
        print_rows(output, _COLUMNS, self._cells(), title=self._title)
        if folder is None:
            return
        done = [row for row in self.rows if row.state == "completed"]
        pictures = sum(len(row.files) for row in done)
        told = (
            f"{len(done)} of {len(self.rows)} completed, {self._charges()} credits, {pictures} pictures in "
            f"{self._elapsed():.1f} s: {folder.resolve()}"
        )
        print_whole(output, plain(told))

    def _render(self) -> Group:
        ended = sum(row.ended for row in self.rows)
        bar = Table.grid(padding=(0, 1))
        counts = f"{ended}/{len(self.rows)} done · {self._charges()} credits · {self._elapsed():.0f} s"
        bar.add_row(ProgressBar(total=len(self.rows), completed=ended, width=30), counts)
        return Group(self._live_table(), bar)

    def _live_table(self) -> Table:
        """Files and reasons stand in it if there is room; if not, they are in the summary."""
        cells = self._cells()
        if fits_beside(_COLUMNS, cells, self._progress.width):
            return make_table(_COLUMNS, cells, title=self._title)
        return make_table(_COLUMNS[:-1], cells, title=self._title, gap=GAP - 1)

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

    def _charges(self) -> Charges:
        charges = Charges()
        for row in self.rows:
            if row.id:
                charges.add(row.name, row.credits)
            elif row.state in {PressState.LOST, PressState.IN_DOUBT}:
                charges.add(row.name, self._price_of(row) if row.state == PressState.LOST else None, is_told=False)
        return charges

    def _price_of(self, row: Row) -> float:
        charged = [other.credits for other in self.rows if other.name[:1] == row.name[:1] and other.credits]
        return max(charged, default=EXPECTED_PRICES[KINDS.get(row.name[:1], "prompt")])

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def _name_files(files: list[Path]) -> str:
    if not files:
        return ""
    return files[0].name if len(files) == 1 else f"{files[0].name} +{len(files) - 1}"
