"""The end of a run: what came of it, for people and for the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from akool_async.cli.exit_status import ExitStatus, most_severe
from akool_async.cli.messages import explain
from akool_async.cli.outcomes.charges import charges_of, explain_account
from akool_async.cli.outcomes.line import OutcomeLine, PressState
from akool_async.cli.outcomes.lost import explain_lost
from akool_async.cli.output.stderr import amount, count_presses, print_command, print_message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from akool_async import Counters
    from akool_async.cli.batch.fan_out_options import FanOutOptions
    from akool_async.cli.batch.input_file import Batch
    from akool_async.cli.batch.nodes import Node
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Plan
    from akool_async.cli.batch.tally import EarlyEnd, Tally


@frozen(kw_only=True)
class Summary:
    """What came of a run."""

    options: FanOutOptions
    plan: Plan
    output: OutputFile
    tally: Tally
    early_end: EarlyEnd
    balance: float | None
    """After the run; None if it was not read."""
    counters: Counters | None
    """The session's account, if the balance was read before and after."""

    @property
    def nodes(self) -> list[Node]:
        """What the batch asks for: prompts and presses, those on images that are still to be made included."""
        return [node for root in self.plan.roots for node in root.walk()]

    @property
    def exit_status(self) -> ExitStatus:
        """The status that the command ends with."""
        if self.early_end.error is not None:
            return ExitStatus.ERROR
        if self.early_end.was_interrupted:
            return ExitStatus.INTERRUPTED
        earlier = {
            ExitStatus.SOME_FAILED: self.plan.are_missing,
            ExitStatus.OUTCOME_UNKNOWN: bool(self.plan.lost),
        }
        return most_severe(self.tally.statuses | {status for status, is_so in earlier.items() if is_so})

    def print(self) -> None:
        """Print the sums, and what went wrong, which is printed even with --quiet."""
        if self.early_end.error is not None:
            print_message(f"akool: {explain(self.early_end.error)}")
        for text in self.tally.account_errors:
            print_message(text)
        nodes = self.nodes
        lines = [line for node in nodes if (line := self.output.lines.get(node.id)) is not None]
        if not self.options.quiet:
            self._print_sums(nodes, lines)
        for text in explain_lost(lines, ids=self.output.ids_path, store=self.options.store_for_shell):
            print_message(text)

    def _print_sums(self, nodes: Sequence[Node], lines: Sequence[OutcomeLine]) -> None:
        done = sum(line.ok for line in lines)
        noun = "presses" if all(node.button is not None for node in nodes) else "prompts and presses"
        lost = [line for line in lines if line.state is PressState.LOST]
        lost_now = [line for line in lost if line.node in self.tally.charges]
        lost_earlier = [line for line in lost if line.node not in self.tally.charges]
        parts = [
            f"{done:,} of {len(nodes):,} {noun} done",
            f", {self.tally.charges} credits charged by this run",
            f", {_credits(lost_now)} of them for {count_presses(len(lost_now))} whose id is lost" if lost_now else "",
            "" if self.balance is None else f", {amount(self.balance)} left",
            "" if self.options.output is None else f": {self.options.output}",
            _count(lines, PressState.OVER_BUDGET),
            _count(lines, PressState.NOT_PRESSED),
            _describe_invalid(self.plan.batch),
            _describe_earlier_losses(lost_earlier),
        ]
        print_message("".join(parts))
        for text in () if self.counters is None else explain_account(self.counters):
            print_message(text)
        if self.early_end.came and self.options.store is None and self.options.output is not None:
            running = sum(line.state is PressState.NOT_FINISHED for line in lines)
            runs_on = f"{running:,} run on at AKOOL, paid for; " if running else ""
            print_message(f"{runs_on}to go on, run the same command again")
        if self.early_end.came and self.options.store_options is not None:
            print_command(
                "recorded presses that have not ended stay in the store; to go on, run the same command again, or only "
                "carry them out with",
                self.options.store_options.worker_command(until_empty=True),
            )


def _count(lines: Sequence[OutcomeLine], state: PressState) -> str:
    number = sum(line.state is state for line in lines)
    return f"; {number:,} {state}" if number else ""


def _credits(lines: Sequence[OutcomeLine]) -> str:
    return amount(charges_of(lines).total)


def _describe_earlier_losses(lines: Sequence[OutcomeLine]) -> str:
    presses = count_presses(len(lines))
    return f"; earlier runs were charged {_credits(lines)} credits for {presses} whose id is lost" if lines else ""


def _describe_invalid(batch: Batch) -> str:
    count = len(batch.invalid)
    return f"; {count:,} line{'s' if count > 1 else ''} of {batch.name} could not be read" if count else ""
