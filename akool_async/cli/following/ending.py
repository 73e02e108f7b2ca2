"""The end of a command that follows operations. However it ends, it prints the operations that were paid for."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from akool_async import Outcome
from akool_async.cli import signals
from akool_async.cli.exit_status import most_severe, status_of
from akool_async.cli.messages import account_errors
from akool_async.cli.outcomes.describe import line_of_outcome
from akool_async.cli.outcomes.lost import LOST_PROMPT, explain_lost
from akool_async.cli.output.stderr import print_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from akool_async import AkoolSession
    from akool_async.cli.exit_status import ExitStatus
    from akool_async.cli.following.live_table import LiveTable
    from akool_async.cli.outcomes.line import OutcomeLine


@asynccontextmanager
async def printing_if_interrupted(akool: AkoolSession, table: LiveTable) -> AsyncIterator[None]:
    """If waiting ends early, print the operations that were paid for: on stderr, and on stdout as at a normal end.

    Before that, wait for the replies to POSTs that were sent.
    """
    try:
        yield
    except BaseException:
        signals.end_undisturbed()
        try:
            await akool.aclose()
        finally:  # also after a second Ctrl-C
            errors = akool.unclaimed_errors
            table.stop_waiting(akool.unclaimed, errors)
            _print_lost(line_of_outcome(Outcome(error.press, error=error)) for error in errors if error.press)
            if any(error.press is None for error in errors):
                print_message(LOST_PROMPT)
            if table.paid_rows:
                with suppress(OSError):  # the rows are on stderr too, and the interruption is what is reported
                    table.print_results(table.paid_rows)
        raise


def print_end(table: LiveTable) -> None:
    """Print the outcomes of all rows, and what to do about lost ids and errors of the account.

    Raises:
        OSError: The rows could not be printed on stdout. They are on stderr.
    """
    if any(row.is_unsettled for row in table.prompts):
        print_message(LOST_PROMPT)
    _print_lost(map(table.line, table.presses))
    for text in account_errors(row.error for row in table.rows):
        print_message(text)
    table.print_results(table.rows)


def status_of_rows(table: LiveTable) -> ExitStatus:
    """Return the exit status of a command that followed these rows."""
    return most_severe(status_of(row.error) for row in table.rows if row.error is not None)


def _print_lost(lines: Iterable[OutcomeLine]) -> None:
    for text in explain_lost(lines, ids=None, store=None):
        print_message(text)
