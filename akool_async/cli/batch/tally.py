"""What a run counts: charges, prices, exit statuses, errors of the account."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, field

from akool_async import BudgetError, NotPressedError
from akool_async._limits.credits import Prices, as_price
from akool_async.cli.exit_status import ExitStatus, status_of
from akool_async.cli.messages import account_errors
from akool_async.cli.outcomes.charges import Charges

if TYPE_CHECKING:
    from akool_async import events
    from akool_async.cli.outcomes.line import NodeId, OutcomeLine


@define(eq=False)
class Tally:
    """What a run counts."""

    charges: Charges = field(factory=Charges)
    """Of this run, not of earlier ones."""
    prices: Prices = field(factory=Prices)
    seconds: dict[str, float] = field(factory=dict)
    """How long each operation took."""
    statuses: set[ExitStatus] = field(factory=set)
    account_errors: dict[str, None] = field(factory=dict)
    """Sentences, each once, in order."""
    lost_replies: set[NodeId] = field(factory=set)
    """What this run sent, and whose id a store may yet learn."""

    def accept(self, accepted: events.Accepted) -> None:
        """AKOOL accepted a press or a prompt."""
        self.charges.add(accepted.operation_id, accepted.credits)
        item = accepted.press or accepted.prompt
        if item is not None and (price := as_price(accepted.credits)) is not None:
            self.prices.learn(item.kind, price)

    def end(self, line: OutcomeLine, error: Exception | None) -> None:
        """A node ended with this line.

        A budget that ends is no failure; and if an image was not made, what became of it counts, and not the presses on
        it that were left out.
        """
        if error is not None and not isinstance(error, BudgetError | NotPressedError):
            self.statuses.add(status_of(error))
            self.account_errors |= dict.fromkeys(account_errors([error]))
        if not line.is_settled:
            self.statuses.add(ExitStatus.OUTCOME_UNKNOWN)


@define(eq=False)
class EarlyEnd:
    """Why a run ends before all is done."""

    error: Exception | None = None
    was_interrupted: bool = False
    _task: asyncio.Task[object] | None = None

    def watch(self) -> None:
        """From now on an error cancels the current task."""
        self._task = asyncio.current_task()

    def unwatch(self) -> None:
        """The run is ending: there is nothing to cancel any more."""
        self._task = None

    def note(self, error: Exception) -> None:
        """Keep the first error."""
        self.error = self.error or error

    def stop(self, error: Exception) -> None:
        """End the run for this error."""
        self.note(error)
        if self._task is not None:
            self._task.cancel()

    def interrupt(self) -> bool:
        """The task was cancelled: return whether a signal did it, rather than an error."""
        self.was_interrupted = self.error is None
        return self.was_interrupted

    @property
    def came(self) -> bool:
        """True if the run ended early."""
        return self.was_interrupted or self.error is not None
