"""The counts of a run: charges, prices, exit statuses, errors of the account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, field

from akool_async import BudgetError, NotPressedError
from akool_async._download.files import OtherPictureError
from akool_async._limits.credits import Prices, as_price
from akool_async.cli.exit_status import ExitStatus, status_of
from akool_async.cli.messages import account_errors
from akool_async.cli.outcomes.charges import Charges

if TYPE_CHECKING:
    from akool_async import events
    from akool_async.cli.outcomes.line import NodeId, OutcomeLine


@define(eq=False)
class Tally:
    """The counts of a run."""

    charges: Charges = field(factory=Charges)
    """Credits that this run was charged; earlier runs are not included."""
    prices: Prices = field(factory=Prices)
    seconds: dict[str, float] = field(factory=dict)
    """How many seconds each operation took, by id."""
    statuses: set[ExitStatus] = field(factory=set)
    account_errors: dict[str, None] = field(factory=dict)
    """The sentences about errors of the account, each once, in order."""
    name_clashes: int = 0
    """Results whose pictures were not saved, since other pictures have their names."""
    lost_replies: set[NodeId] = field(factory=set)
    """Nodes that this run sent, and whose reply was lost. The store may still learn their ids."""

    def accept(self, accepted: events.Accepted) -> None:
        """Count a press or a prompt that AKOOL accepted."""
        self.charges.add(accepted.operation_id, accepted.credits)
        item = accepted.press or accepted.prompt
        if item is not None and (price := as_price(accepted.credits)) is not None:
            self.prices.learn(item.kind, price)

    def end(self, line: OutcomeLine, error: Exception | None) -> None:
        """Count a node that ended with this line.

        What is over budget is no failure. If an image was not made, its own outcome counts, and the presses on it that
        were left out do not.
        """
        if error is not None and not isinstance(error, BudgetError | NotPressedError):
            self.statuses.add(status_of(error))
            self.account_errors |= dict.fromkeys(account_errors([error]))
        self.name_clashes += isinstance(error, OtherPictureError)
        if not line.is_settled:
            self.statuses.add(ExitStatus.OUTCOME_UNKNOWN)


@define(eq=False)
class EarlyEnd:
    """The reason why a run ends early."""

    error: Exception | None = None
    was_interrupted: bool = False
    _task: asyncio.Task[object] | None = None

    def watch(self) -> None:
        """Let an error cancel the current task from now on."""
        self._task = asyncio.current_task()

    def unwatch(self) -> None:
        """Stop cancelling the task, since the run is ending."""
        self._task = None

    def note(self, error: Exception) -> None:
        """Keep this error, unless there was one before."""
        self.error = self.error or error

    def stop(self, error: Exception) -> None:
        """End the run for this error."""
        self.note(error)
        if self._task is not None:
            self._task.cancel()

    def interrupt(self) -> bool:
        """Note that the task was cancelled. Return True if a signal did that, False if an error did."""
        self.was_interrupted = self.error is None
        return self.was_interrupted

    @property
    def has_come(self) -> bool:
        """True if the run ended early."""
        return self.was_interrupted or self.error is not None
