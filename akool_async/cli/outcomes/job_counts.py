"""Sentences about recorded presses, and the next command for those that are open or unknown."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from akool_async.cli.outcomes.lost import SETTLE, resolve_command
from akool_async.cli.output.stderr import count_presses, print_command, print_message

if TYPE_CHECKING:
    from akool_async.durable import DurableFanOut, JobCounts

LISTED: Final = ("open", "failed", "unknown")
"""The states of presses that are not done."""


def describe_counts(counts: JobCounts) -> str:
    """Return how many presses are in each state."""
    return (
        f"{counts.waiting:,} waiting, {counts.running:,} running, {counts.done:,} done, {counts.failed:,} failed, "
        f"{counts.unknown:,} unknown" + (f", {counts.over_budget:,} over budget" if counts.over_budget else "")
    )


def warn_if_empty(counts: JobCounts) -> None:
    """If an account has no presses, print how the account is chosen."""
    if not (counts.open or counts.done or counts.failed or counts.over_budget or counts.unknown):
        print_message(
            "nothing is recorded for this account; the account is that of your key, or the one that --account names",
            level=logging.WARNING,
        )


def explain_open(counts: JobCounts, worker_command: str) -> None:
    """If presses are open, print the command that carries them out."""
    if counts.open:
        are_open = "is open" if counts.open == 1 else "are open"
        print_command(f"{count_presses(counts.open)} {are_open}; if no worker is running, start one", worker_command)


async def explain_unknown(store: DurableFanOut, counts: JobCounts, store_options: str, *, are_listed: bool) -> None:
    """If presses are unknown, print how to list and to settle them.

    Args:
        store: The store.
        counts: The number of presses in each state.
        store_options: The options that name the store, for a shell.
        are_listed: True if the unknown presses were listed already.
    """
    async with aclosing(store.jobs("unknown")) as unknown:
        job = await anext(unknown, None) if counts.unknown else None
    if job is None:  # there are none, or another process has settled the last one
        return
    summary = (
        f"the outcome of {count_presses(counts.unknown)} is unknown: credits were charged or may have been, and the id "
        "of the new image is not known"
    )
    if are_listed:
        print_message(summary, level=logging.WARNING)
    else:
        command = f"akool jobs unknown {store_options}"
        print_command(f"{summary}; to list what is unknown, run", command, level=logging.WARNING)
    print_command(SETTLE, resolve_command(job.press, job.key, store_options), level=logging.WARNING)
