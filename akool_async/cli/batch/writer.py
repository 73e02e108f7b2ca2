"""The lines of a run: one for every node, completed with the facts of earlier runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, evolve, field

from akool_async import BudgetError, Outcome
from akool_async._limits.credits import as_price
from akool_async.cli.batch.earlier import with_earlier
from akool_async.cli.outcomes.describe import with_outcome, with_running
from akool_async.cli.outcomes.line import FREE, PressState
from akool_async.cli.output.stderr import print_message

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from akool_async import AkoolSession
    from akool_async.cli.batch.nodes import Node, NodeIndex
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Fetch, Steps
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.tally import EarlyEnd, Tally
    from akool_async.cli.outcomes.line import NodeId, OutcomeLine


@define(eq=False)
class LineWriter:
    """Writes the lines of one run, counts them and updates the progress."""

    _output: OutputFile
    _progress: BatchProgress
    _tally: Tally
    _index: NodeIndex
    _over_budget: str | None
    """The reason for presses over budget; None without a limit, or if the budget is kept in a store."""
    _unwritten: dict[NodeId, tuple[Node, Outcome]] = field(factory=dict, init=False)
    """Outcomes whose line is not written yet."""
    _by_hand: set[NodeId] = field(factory=set, init=False)
    """Nodes of earlier runs whose lost id was found and entered by a person."""
    _recorded: set[NodeId] = field(factory=set, init=False)
    """The roots that were in the store before this run."""
    _fetched: set[NodeId] = field(factory=set, init=False)
    """Nodes that an earlier run started, and that this run waits for."""

    def begin(self, steps: Steps) -> None:
        """Write a line for each node that this run does not press, unless an equal line is there."""
        for fetch in steps.to_fetch:
            earlier = self._output.lines.get(fetch.node.id)
            self._fetched.add(fetch.node.id)
            if fetch.node.id in self._output.accepted:  # a note does not have the text of a prompt
                self._output.accepted[fetch.node.id] = fetch.line
            if earlier is not None and not earlier.is_settled:
                self._by_hand.add(fetch.node.id)
        self._recorded |= {task.node.id for task in steps.recorded}
        refused = [one.line() for one in steps.refused]
        self.write_left_out([*steps.shared, *refused, *steps.lost, *steps.not_pressed])

    def write_left_out(self, lines: Iterable[OutcomeLine]) -> None:
        """Write lines of nodes that this run does not press, unless equal lines are there."""
        for line in lines:
            self._output.write_if_new(line)

    def is_found_by_hand(self, fetch: Fetch) -> bool:
        """Return whether a person found the id and entered it."""
        return fetch.node.id in self._by_hand

    def keep(self, node: Node, outcome: Outcome) -> None:
        """Remember an outcome. Its line is written when its pictures are saved, or at the end of the run."""
        self._unwritten[node.id] = node, outcome

    def write_outcome(
        self,
        node: Node,
        outcome: Outcome,
        files: list[Path] | None = None,
        download_error: Exception | None = None,
    ) -> None:
        """Write the line of an outcome.

        Args:
            node: The node.
            outcome: Its outcome.
            files: The pictures that were saved.
            download_error: The reason why they could not be saved.

        Raises:
            OSError: The line could not be written.
        """
        line = self._line_of(node, outcome, files, download_error)
        self._write(node, line, outcome.error or download_error)

    def refuse_id(self, fetch: Fetch, why: str) -> None:
        """Write the earlier line of a node again with this reason. A wrong id settles nothing."""
        node = fetch.node
        earlier = self._output.lines.get(node.id)
        if earlier is None or earlier.is_settled:
            earlier = evolve(fetch.line, id=None, charged=None)
        self._write(node, evolve(earlier, error=why), None)

    def write_rest(
        self, akool: AkoolSession, early_end: EarlyEnd, *, is_recorded: bool, unsaved: Exception | None
    ) -> None:
        """Write the missing lines at the end of a run: of ended, running and unknown operations.

        Args:
            akool: The session.
            early_end: Notes the error if a line cannot be written.
            is_recorded: True if the same command finds the ids when it is run again.
            unsaved: The error for pictures that were not saved; None if no pictures are wanted.
        """
        rest: list[tuple[str | None, OutcomeLine]] = [
            (node.kind, self._line_of(node, outcome, download_error=unsaved))
            for node, outcome in self._unwritten.values()
        ]
        rest += [*self._running(akool, is_recorded=is_recorded), *self._unknown(akool)]
        lines = [self._complete(kind, line) for kind, line in rest]
        for index, line in enumerate(lines):
            try:
                self._output.write(line)
            except OSError as error:
                early_end.note(error)
                print_message("these lines could not be written:")
                for unwritten in lines[index:]:
                    print_message(unwritten.to_json())
                return

    def _running(self, akool: AkoolSession, *, is_recorded: bool) -> Iterator[tuple[str | None, OutcomeLine]]:
        """Yield the lines of operations that AKOOL accepted and that nobody waits for."""
        for node, line in self._output.accepted.items():
            # An id that a person entered gets no line here: the next run checks whether it belongs to the node.
            if line.id is not None and node not in self._unwritten and node not in self._by_hand:
                yield None, with_running(line, akool.operation(line.id), is_recorded=is_recorded)

    def _unknown(self, akool: AkoolSession) -> Iterator[tuple[str, OutcomeLine]]:
        for error in akool.unclaimed_errors:
            node = self._index.of_event(error.press, error.prompt)
            if node is not None:
                yield node.kind, self._line_of(node, Outcome(error.press, error=error))

    def _line_of(
        self,
        node: Node,
        outcome: Outcome,
        files: list[Path] | None = None,
        download_error: Exception | None = None,
    ) -> OutcomeLine:
        line = node.line(None if outcome.press is None else outcome.press.image_id)
        line = with_outcome(line, outcome, files=files or [], download_error=download_error)
        if isinstance(outcome.error, BudgetError) and self._over_budget is not None:
            return evolve(line, error=self._over_budget)
        return line

    def _write(self, node: Node, line: OutcomeLine, error: Exception | None) -> None:
        line = self._complete(node.kind, line)
        self._tally.end(line, error)
        self._output.write_if_new(line)
        self._unwritten.pop(line.node, None)
        self._progress.count_ended(line)

    def _complete(self, kind: str | None, line: OutcomeLine) -> OutcomeLine:
        """Complete a new line with earlier facts and prices, and count its charge.

        ``kind`` is the kind of price; None if no price is to be learned from this line.
        """
        charges, prices = self._tally.charges, self._tally.prices
        is_charged_now = self._is_charged_to_this_run(line)
        earlier = self._output.lines.get(line.node)
        is_settled_by_store = earlier is not None and not earlier.is_settled and line.node.tree in self._recorded
        if not is_settled_by_store:
            line = with_earlier(line, earlier)
        if kind is not None and line.state is PressState.LOST and line.credits is None:
            line = evolve(line, credits=prices.expected(kind))
        elif kind is not None and line.id in charges and (price := as_price(line.credits)) is not None:
            prices.learn(kind, price)
        if is_charged_now:
            charges.add_line(line)
        return line

    def _is_charged_to_this_run(self, line: OutcomeLine) -> bool:
        """Return whether this run was charged for the node of a line, rather than another run, a worker, or nobody.

        The line must not be completed with earlier facts yet.
        """
        if line.id in self._tally.charges or line.node in self._tally.lost_replies:
            return True
        is_earlier = line.node.tree in self._recorded or line.node in self._fetched
        return line.id is None and line.state not in FREE and not is_earlier
