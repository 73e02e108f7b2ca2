"""The progress of a batch on stderr: bars on a terminal, one line per press elsewhere, nothing with --quiet."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column

from akool_async.cli.outcomes.charges import Charges
from akool_async.cli.outcomes.line import PressState
from akool_async.cli.output.stderr import amount, print_message, stamped
from akool_async.cli.output.terminal import can_redraw

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from akool_async.cli.outcomes.line import OutcomeLine

BAR_WIDTH, MIN_WIDTH_FOR_BAR = 16, 105
PICTURES_PER_LINE = 50


class BatchProgress:
    """The progress of a batch."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._quiet = quiet
        self._is_live = can_redraw(console) and not quiet
        bar = [TextColumn("{task.description}"), BarColumn(BAR_WIDTH)] if console.width >= MIN_WIDTH_FOR_BAR else []
        self._bars = Progress(
            *bar,
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", table_column=Column()),  # which wraps on a narrow terminal
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            console=console,
            transient=True,
            redirect_stdout=False,  # results go to stdout while the bars are shown
            redirect_stderr=False,
        )
        self._total = 0
        self._running = 0
        self._ended: Counter[PressState] = Counter()
        self._charges = Charges()
        self._images = self._bars.add_task("images", total=None, visible=False, detail="read")
        self._presses = self._bars.add_task("presses", total=None, visible=False, detail="")
        self._pictures = self._bars.add_task("pictures", total=None, visible=False, detail="drawn for the page")

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
        """Remove the bars until ``begin``, so that other text can be printed."""
        if self._is_live:
            self._bars.stop()

    def show_read(self, images: int, total: int) -> None:
        """Show how many source images were read."""
        self._bars.update(self._images, completed=images, total=total, visible=True)

    def begin(self, total: int, charges: Charges, *, running: int) -> None:
        """Show the bar of presses and prompts.

        Args:
            total: How many there are.
            charges: The charges of this run, which grow meanwhile.
            running: How many of them an earlier run started at AKOOL.
        """
        self._total, self._charges, self._running = total, charges, running
        if self._is_live:
            self._bars.start()
        self._bars.update(self._images, visible=False)
        self._bars.update(self._presses, total=total, visible=True)
        self._show()

    def grow(self, more: int) -> None:
        """Add presses to the total, on an image that was made meanwhile."""
        self._total += more
        self._show()

    def count_accepted(self) -> None:
        """Count a press or prompt as accepted by AKOOL."""
        self._running += 1
        self._show()

    def count_ended(self, line: OutcomeLine) -> None:
        """Count a press or prompt that has ended, or that the run does not wait for."""
        self._running = max(self._running - (line.id is not None), 0)  # another worker may have started it
        self._ended[line.state] += 1
        self._show()
        if not self._is_live and not self._quiet:
            print_message(stamped(f"[{self._ended.total()}/{self._total}] {_describe(line)}"))

    def show_drawn(self, drawn: int, total: int) -> None:
        """Show how many pictures of the gallery are drawn. Some are downloaded for that."""
        self._bars.update(self._pictures, completed=drawn, total=total, visible=True)
        if not self._is_live and not self._quiet and (drawn % PICTURES_PER_LINE == 0 or drawn == total):
            print_message(stamped(f"[{drawn}/{total}] pictures drawn for the page"))

    def _show(self) -> None:
        """Update the bar. It leaves out presses that are not made, since they take no time."""
        ended = self._ended.total()
        over_budget = self._ended[PressState.OVER_BUDGET]
        done, not_pressed = self._ended[PressState.DONE], self._ended[PressState.NOT_PRESSED]
        left_out = not_pressed + over_budget
        lost = self._ended[PressState.LOST] + self._ended[PressState.IN_DOUBT]
        failed = ended - done - left_out - lost
        detail = (
            f"{self._total - ended - self._running} queued · {self._running} running · [green]{done} done[/] · "
            f"{'[bold red]' if failed else '[dim]'}{failed} failed[/]"
            + (f" · [yellow]{not_pressed} not pressed[/]" if not_pressed else "")
            + (f" · [yellow]{over_budget} over budget[/]" if over_budget else "")
            + (f" · [magenta]{lost} ids lost[/]" if lost else "")
            + f" · {self._charges} credits"
        )
        self._bars.update(self._presses, completed=ended - left_out, total=self._total - left_out, detail=detail)


def _describe(line: OutcomeLine) -> str:
    name = line.label + (f" -> {line.id}" if line.id and line.name is None else "")
    if line.ok:
        return f"{name}: completed" + (f", {amount(line.credits)} credits" if line.credits is not None else "")
    reason = line.error or ""
    return f"{name}: {reason}" if reason.startswith(line.state) else f"{name}: {line.state}: {reason}"
