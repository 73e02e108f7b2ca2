"""Progress for people: a live table on a terminal, one plain line per change elsewhere; a table at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self

from attrs import define, field
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from akool_async import AkoolError, ImageStatus, PollingError, WaitTimeoutError
from akool_async.cli._lines import reason_of
from akool_async.cli._words import amount, plain, stamped, tell

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import TracebackType

    from akool_async import ImageResult, Operation

ID_LENGTH = 24
_STYLES = {
    "queued here": "dim",
    "accepted": "yellow",
    "not finished": "bold yellow",
    "queueing": "yellow",
    "processing": "cyan",
    "saving": "blue",
    "completed": "green",
    "failed": "bold red",
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
        return self.state in {"completed", "failed", "not finished"}

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
        self.state = "not finished" if isinstance(error, WaitTimeoutError | PollingError) else "failed"
        self._took = self._took or time.monotonic()


class Board:
    """All rows, shown while they change."""

    def __init__(self, names: list[str], title: str, *, quiet: bool = False) -> None:
        self.rows = [Row(name) for name in names]
        self._title = title
        self._quiet = quiet
        self._told: dict[str, str] = {}
        self._progress = Console(stderr=True)
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
        if self._progress.is_terminal and not self._quiet:
            self._live.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress.is_terminal and not self._quiet:
            self._live.stop()

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)

    def changed(self, row: Row) -> None:
        """Show a change where there is no live table to show it."""
        if not self._progress.is_terminal and not self._quiet and self._told.get(row.name) != row.state:
            self._told[row.name] = row.state
            ended = sum(other.ended for other in self.rows)
            after = "" if row.seconds is None else f" after {row.seconds:.1f} s"
            name = f"{row.name} {row.id}".rstrip()
            tell(stamped(f"[{ended}/{len(self.rows)}] {name}: {row.state}{after}"))

    def tell_unfinished(self, unclaimed: Iterable[Operation]) -> None:
        """The ids of what runs on at AKOOL, for a person who stops waiting; some came when nobody waited any more."""
        running = {row.id: row.name for row in self.rows if row.id and not row.ended}
        running |= {operation.id: str(operation.button or "prompt") for operation in unclaimed}
        for operation_id, name in running.items():
            tell(f"{name} {operation_id} runs on at AKOOL, paid for; its result is kept for 7 days")

    def print_summary(self, folder: Path | None = None) -> None:
        """The table of what became of each, on stdout; with the folder of the pictures, how many there are."""
        output = Console()
        if not output.is_terminal:
            output.width = 120
        output.print(self._table())
        if folder is None:
            return
        done = [row for row in self.rows if row.state == "completed"]
        pictures = sum(len(row.files) for row in done)
        output.print(
            f"{len(done)} of {len(self.rows)} completed, {amount(self._credits())} credits, {pictures} pictures in "
            f"{self._elapsed():.1f} s: {folder.resolve()}",
            highlight=False,
            soft_wrap=True,
        )

    def _render(self) -> Group:
        ended = sum(row.ended for row in self.rows)
        bar = Table.grid(padding=(0, 1))
        counts = f"{ended}/{len(self.rows)} done · {amount(self._credits())} credits · {self._elapsed():.0f} s"
        bar.add_row(ProgressBar(total=len(self.rows), completed=ended, width=30), counts)
        return Group(self._table(), bar)

    def _table(self) -> Table:
        table = Table(title=Text(plain(self._title)), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for name in ("id", "button", "status"):
            table.add_column(name, no_wrap=True, min_width=ID_LENGTH if name == "id" else len("queued here"))
        for name in ("seconds", "credits"):
            table.add_column(name, no_wrap=True, justify="right")
        table.add_column("file", overflow="fold")
        for row in self.rows:
            seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
            table.add_row(
                Text(plain(row.id)),
                Text(plain(row.name)),
                Text(row.state, _STYLES.get(row.state, "")),
                seconds,
                amount(row.credits) if row.id else "",
                Text(_name_files(row.files) if row.error is None else plain(reason_of(row.error))),
            )
        return table

    def _credits(self) -> float:
        return sum(row.credits for row in self.rows)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began


def _name_files(files: list[Path]) -> str:
    if not files:
        return ""
    return files[0].name if len(files) == 1 else f"{files[0].name} +{len(files) - 1}"
