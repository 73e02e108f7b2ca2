"""Sentences about recorded presses."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from akool_async.cli.outcomes.lost import resolve_command
from akool_async.cli.output.stderr import print_message

if TYPE_CHECKING:
    from akool_async.durable import DurableFanOut, JobCounts

LISTED: Final = ("open", "failed", "unknown")
"""The states of presses that are not done."""


def describe_counts(counts: JobCounts) -> str:
    """How many presses are in each state."""
    return (
        f"{counts.waiting:,} waiting, {counts.running:,} running, {counts.done:,} done, {counts.failed:,} failed, "
        f"{counts.unknown:,} unknown"
    )


def warn_if_empty(counts: JobCounts) -> None:
    """Print how presses are found if there are none."""
    if not (counts.open or counts.done or counts.failed or counts.unknown):
        print_message(
            "nothing is recorded of this account: presses are found by the key, or the --account, that recorded them"
        )


async def explain_unknown(store: DurableFanOut, counts: JobCounts, store_options: str) -> None:
    """Print how to settle what is unknown: it may have been charged, and stays until somebody does."""
    if not counts.unknown:
        return
    async with aclosing(store.jobs("unknown")) as unknown:
        async for job in unknown:  # pragma: no branch - unless others settle all at this very moment
            print_message(
                f"{counts.unknown:,} unknown: charged, or perhaps so, and the new id is lost. Settle each with --id if "
                "you find it, otherwise with --retry or --abandon:"
            )
            print_message(resolve_command(job.press, store_options))
            return
