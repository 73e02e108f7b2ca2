"""Progress of a batch, on stderr: bars on a terminal, a line per press elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from akool_async import ImageStatus
from akool_async.cli._words import amount, stamped, tell

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from akool_async.cli._lines import Line

BAR_WIDTH, ROOM_FOR_A_BAR = 16, 105


class BatchProgress:
    """How far a batch is."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._quiet = quiet
        self._is_live = console.is_terminal and not console.is_dumb_terminal and not quiet
        bar = [TextColumn("{task.description}"), BarColumn(BAR_WIDTH)] if console.width >= ROOM_FOR_A_BAR else []
        self._bars = Progress(
            *bar,
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            redirect_stdout=False,  # results go there, wherever the bars are
            redirect_stderr=False,
        )
        self._total = 0
        self._running = self._done = self._failed = 0
        self._credits = 0.0
        self._images = self._bars.add_task("images", total=None, visible=False, detail="read")
        self._presses = self._bars.add_task("presses", total=None, visible=False, detail="")

    def __enter__(self) -> Self:
        if self._is_live:
            self._bars.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._is_live:
            self._bars.stop()

    def pause(self) -> None:
        """Leave the terminal to others; what comes next shows the bars again."""
        if self._is_live:
            self._bars.stop()

    def read(self, images: int, total: int) -> None:
        """So many source images were read."""
        self._bars.update(self._images, completed=images, total=total, visible=True)

    def begin(self, total: int, *, running: int) -> None:
        """So many presses come, of which some run at AKOOL since an earlier run."""
        self._total, self._running = total, running
        if self._is_live:
            self._bars.start()
        self._bars.update(self._images, visible=False)
        self._bars.update(self._presses, total=total, visible=True)
        self._show()

    def pressed(self, credits_charged: float | None) -> None:
        """AKOOL accepted one."""
        self._running += 1
        self._credits += credits_charged or 0
        self._show()

    def ended(self, line: Line) -> None:
        """What became of one is known."""
        self._running = max(self._running - (line.id is not None), 0)  # another worker may have pressed it
        self._done += line.ok
        self._failed += not line.ok
        self._show()
        if not self._is_live and not self._quiet:
            tell(stamped(f"[{self._done + self._failed}/{self._total}] {_describe(line)}"))

    def _show(self) -> None:
        ended = self._done + self._failed
        queued = self._total - ended - self._running
        detail = (
            f"{queued} queued · {self._running} running · [green]{self._done} done[/] · "
            f"{'[bold red]' if self._failed else '[dim]'}{self._failed} failed[/] · {amount(self._credits)} credits"
        )
        self._bars.update(self._presses, completed=ended, detail=detail)


def _describe(line: Line) -> str:
    name = f"{line.button} of {line.image_id}" + (f" -> {line.id}" if line.id else "")
    if line.ok:
        return f"{name}: completed" + (f", {amount(line.credits)} credits" if line.credits is not None else "")
    state = "failed" if line.status == ImageStatus.FAILED or line.id is None else "not finished"
    return f"{name}: {state}: {line.error}"
