"""The lines that a run writes: every press ends in one, completed with what earlier runs knew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field

from akool_async import AkoolError, Outcome
from akool_async._limits.credits import as_price
from akool_async.cli.batch.earlier import with_earlier
from akool_async.cli.outcomes.describe import line_of_outcome, line_of_running
from akool_async.cli.outcomes.line import OutcomeLine, PressState
from akool_async.cli.output.stderr import amount, print_message

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from akool_async import AkoolSession, ButtonPress
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Plan
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.tally import EarlyEnd, Tally


@define(eq=False)
class LineWriter:
    """Writes the lines of one run, counts them and shows them."""

    _plan: Plan
    _output: OutputFile
    _progress: BatchProgress
    _tally: Tally
    _unwritten: dict[ButtonPress, Outcome] = field(factory=dict, init=False)
    """Outcomes whose line is not written yet."""
    found_by_hand: frozenset[ButtonPress] = field(init=False)
    """Presses of earlier runs whose id was lost, and was found and written down by somebody."""
    _recorded: frozenset[ButtonPress] = field(init=False)
    """Presses that a store held before this run."""

    @found_by_hand.default
    def _find_by_hand(self) -> frozenset[ButtonPress]:
        earlier = self._output.lines
        return frozenset(press for press in self._plan.to_fetch if press in earlier and not earlier[press].is_settled)

    @_recorded.default
    def _find_recorded(self) -> frozenset[ButtonPress]:
        return frozenset(entry.press for entry in self._plan.recorded)

    def write_not_pressed(self) -> None:
        """Write a line for each press that this run does not make, unless an earlier run has written the same."""
        refused = [one.line() for one in self._plan.refused]
        for line in (*refused, *self._plan.lost):
            if self._output.lines.get(line.press) != line:
                self._output.write(line)

    def write_out_of_budget(self, presses: Iterable[ButtonPress], budget: float) -> None:
        """Write a line for each press that the budget does not suffice for."""
        for press in presses:
            error = AkoolError(f"not pressed: it would pass the {amount(budget)} credits that may be spent")
            self.keep(Outcome(press, error=error))
            self.write_outcome(self._unwritten[press])

    def keep(self, outcome: Outcome) -> None:
        """Remember an outcome whose line follows when its pictures are saved, or at the end of the run."""
        self._unwritten[outcome.press] = outcome

    def write_outcome(
        self, outcome: Outcome, files: list[Path] | None = None, download_error: Exception | None = None
    ) -> None:
        """Write the line of an outcome.

        Raises:
            OSError: it could not be written.
        """
        line = line_of_outcome(outcome, files=files or [], download_error=download_error)
        self._write(line, outcome.error or download_error)

    def refuse_id(self, press: ButtonPress, why: str) -> None:
        """The press stays as it was, charged or perhaps so: the id of something else settles nothing."""
        earlier = self._output.lines.get(press)
        if earlier is None or earlier.is_settled:
            earlier = OutcomeLine(image_id=press.image_id, button=str(press.button), charged=None)
        self._write(evolve(earlier, error=why), None)

    def write_rest(
        self, akool: AkoolSession, early_end: EarlyEnd, *, is_recorded: bool, unsaved: Exception | None
    ) -> None:
        """Write the lines of all that has none: what ended just now, what runs on, and what is not known.

        ``unsaved`` is the error of pictures that are not saved, if they were to be.
        """
        rest = [line_of_outcome(outcome, download_error=unsaved) for outcome in self._unwritten.values()]
        rest += [
            line_of_running(press, akool.operation(operation_id), is_recorded=is_recorded)
            for press, operation_id in self._output.accepted.items()
            if press not in self._unwritten
            and press not in self.found_by_hand  # whose id the next run compares with the press
        ]
        unknown = [Outcome(error.press, error=error) for error in akool.unclaimed_errors if error.press is not None]
        rest = [self._complete(line) for line in (*rest, *map(line_of_outcome, unknown))]
        for place, line in enumerate(rest):
            try:
                self._output.write(line)
            except OSError as error:
                early_end.note(error)
                print_message("these lines could not be written:")
                for lost in rest[place:]:
                    print_message(lost.to_json())
                return

    def _write(self, line: OutcomeLine, error: Exception | None) -> None:
        line = self._complete(line)
        self._tally.end(line, error)
        self._output.write(line)
        self._unwritten.pop(line.press, None)
        self._progress.count_ended(line)

    def _complete(self, line: OutcomeLine) -> OutcomeLine:
        """A new line with what else is known, counted."""
        charges, prices = self._tally.charges, self._tally.prices
        is_charged_now = self._is_charged_to_this_run(line)
        earlier = self._output.lines.get(line.press)
        if earlier is None or earlier.is_settled or line.press not in self._recorded:  # a store knows what settled it
            line = with_earlier(line, earlier)
        kind = line.press.button.kind
        if line.state is PressState.LOST and line.credits is None:
            line = evolve(line, credits=prices.expected(kind))
        elif line.id in charges and (price := as_price(line.credits)) is not None:
            prices.learn(kind, price)
        if is_charged_now:
            charges.add_line(line)
        return line

    def _is_charged_to_this_run(self, line: OutcomeLine) -> bool:
        """Whether a line, before earlier ones complete it, is of a press that this run was charged for.

        If not, another run or another worker was, or nobody.
        """
        if line.id in self._tally.charges or line.press in self._tally.lost_replies:
            return True
        is_earlier = line.press in self._recorded or line.press in self._plan.to_fetch
        return line.id is None and line.state is not PressState.NOT_PRESSED and not is_earlier
