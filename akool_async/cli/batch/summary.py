"""The summary at the end of a run, and its exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from akool_async.cli.exit_status import ExitStatus, most_severe
from akool_async.cli.messages import explain
from akool_async.cli.outcomes.charges import charges_of, explain_account
from akool_async.cli.outcomes.line import OutcomeLine, PressState
from akool_async.cli.outcomes.lost import count_items, explain_lost
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
    """The results of a run."""

    options: FanOutOptions
    plan: Plan
    output: OutputFile
    tally: Tally
    early_end: EarlyEnd
    balance: float | None
    """Credits after the run; None if the balance was not read."""
    counters: Counters | None
    """The counters of the session; None if the balance was not read, or if a store was used."""

    @property
    def nodes(self) -> list[Node]:
        """All prompts and presses of the batch, including presses on images that are not made yet."""
        return [node for root in self.plan.roots for node in root.walk()]

    @property
    def exit_status(self) -> ExitStatus:
        """The status that the command ends with."""
        if self.early_end.error is not None:
            return ExitStatus.ERROR
        if self.early_end.was_interrupted:
            return ExitStatus.INTERRUPTED
        earlier = {
            ExitStatus.SOME_FAILED: self.plan.has_failures,
            ExitStatus.OUTCOME_UNKNOWN: bool(self.plan.lost),
        }
        return most_severe(self.tally.statuses | {status for status, applies in earlier.items() if applies})

    def print(self) -> None:
        """Print the sums, and errors and lost ids. With --quiet, print only the latter two."""
        if self.early_end.error is not None:
            print_message(f"akool: {explain(self.early_end.error)}")
        for text in self.tally.account_errors:
            print_message(text)
        nodes = self.nodes
        lines = [line for node in nodes if (line := self.output.lines.get(node.id)) is not None]
        if not self.options.quiet:
            self._print_sums(nodes, lines)
        if self.tally.name_clashes:
            print_message(_advise_on_clashes(self.tally.name_clashes, is_recorded=self.options.is_recorded))
        for text in explain_lost(lines, ids=self.output.ids_path, store=self.options.store_for_shell):
            print_message(text)

    def _print_sums(self, nodes: Sequence[Node], lines: Sequence[OutcomeLine]) -> None:
        done = sum(line.ok for line in lines)
        lost = [line for line in lines if line.state is PressState.LOST]
        lost_now = [line for line in lost if line.node in self.tally.charges]
        lost_earlier = [line for line in lost if line.node not in self.tally.charges]
        parts = [
            f"{done:,} of {len(nodes):,} {_nouns(nodes)} done",
            f", {self.tally.charges} credits charged by this run",
            f", {_credits(lost_now)} of them for {count_presses(len(lost_now))} whose id is lost" if lost_now else "",
            "" if self.balance is None else f", {amount(self.balance)} left",
            "" if self.options.output is None else f": {self.options.output}",
            self._describe_over_budget(lines),
            _count(lines, PressState.NOT_PRESSED),
            _describe_invalid(self.plan.batch),
            _describe_earlier_losses(lost_earlier),
            self._describe_doubt(nodes),
        ]
        print_message("".join(parts))
        for text in () if self.counters is None else explain_account(self.counters):
            print_message(text)
        if self.early_end.has_come and self.options.store is None and self.options.output is not None:
            running = sum(line.state is PressState.NOT_FINISHED for line in lines)
            still_running = f"{running:,} still running at AKOOL, and paid for; " if running else ""
            print_message(f"{still_running}to continue, run the same command again")
        if self.early_end.has_come and self.options.store_options is not None:
            print_command(
                "open presses stay in the store; to continue, run the same command again, or start a worker that only "
                "carries them out",
                self.options.store_options.worker_command(until_empty=True),
            )

    def _describe_over_budget(self, lines: Sequence[OutcomeLine]) -> str:
        text, budget = _count(lines, PressState.OVER_BUDGET), self.options.budget(self.plan.balance)
        if not text or budget is None:
            return text
        return f"{text}, since {amount(budget)} credits may be spent ({self.options.limit(self.plan.balance)})"

    def _describe_doubt(self, nodes: Sequence[Node]) -> str:
        """Sum what may have been charged for unknown outcomes that are not in the counters of the session."""
        earlier = {line.node for line in self.plan.lost}
        uncounted = [
            node
            for node in nodes
            if (line := self.output.lines.get(node.id)) is not None
            and line.state is PressState.IN_DOUBT
            and (self.counters is None or node.id in earlier)
        ]
        if not uncounted:
            return ""
        price = amount(sum(self.tally.prices.expected(node.kind) for node in uncounted))
        when = "in an earlier run " if all(node.id in earlier for node in uncounted) else ""
        unknown = f"{_count_nodes(uncounted)} whose outcome is unknown"
        return f"; up to {price} credits may have been charged {when}for {unknown}"


def _nouns(nodes: Sequence[Node]) -> str:
    prompts = sum(node.button is None for node in nodes)
    if 0 < prompts < len(nodes):
        return "prompts and presses"
    return ("prompt" if prompts else "press") if len(nodes) == 1 else ("prompts" if prompts else "presses")


def _count_nodes(nodes: Sequence[Node]) -> str:
    prompts = sum(node.button is None for node in nodes)
    return count_items(prompts, len(nodes) - prompts)


def _advise_on_clashes(number: int, *, is_recorded: bool) -> str:
    results = f"{number:,} result{'' if number == 1 else 's'}"
    again = "run the same command with another --download folder"
    if not is_recorded:
        again = "run akool result ID --download with another folder"
    return (
        f"not all pictures of {results} were saved, since the folder has other pictures of the same name: {again}, "
        "which fetches them again at no cost"
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
