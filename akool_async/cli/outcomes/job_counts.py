"""Sentences about recorded presses, and the next command for those that are open or unknown."""

from __future__ import annotations

import logging
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from attrs import define

from akool_async import OutcomeUnknownError
from akool_async.cli.outcomes.lost import SETTLE, SETTLE_CHARGED, count_items, resolve_command
from akool_async.cli.output.stderr import count_jobs, print_command, print_message

if TYPE_CHECKING:
    from akool_async.durable import DurableFanOut, Job, JobCounts

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
        print_command(f"{count_jobs(counts.open)} {are_open}; if no worker is running, start one", worker_command)


async def explain_unknown(store: DurableFanOut, counts: JobCounts, store_options: str, *, are_listed: bool) -> None:
    """If presses are unknown, print how to list and to settle them.

    Args:
        store: The store.
        counts: The number of presses in each state.
        store_options: The options that name the store, for a shell.
        are_listed: True if the unknown presses were listed already.
    """
    if not counts.unknown:
        return
    in_doubt, charged = _UnknownJobs(), _UnknownJobs()
    async with aclosing(store.jobs("unknown")) as unknown:
        async for job in unknown:
            (charged if _is_charged(job) else in_doubt).add(job)
    sentences = []
    if in_doubt.first is not None:
        sentences.append(
            f"the outcome of {in_doubt} is unknown: credits may have been charged, and the id of the new image is not "
            "known"
        )
    if charged.first is not None:
        sentences.append(
            f"{charged} {'was' if charged.total == 1 else 'were'} charged, and the id of the new image is lost"
        )
    for sentence in sentences[: None if are_listed else -1]:
        print_message(sentence, level=logging.WARNING)
    if sentences and not are_listed:
        command = f"akool jobs unknown {store_options}"
        print_command(f"{sentences[-1]}; to list what is unknown, run", command, level=logging.WARNING)
    for jobs, advice in ((in_doubt, SETTLE), (charged, SETTLE_CHARGED)):
        if (first := jobs.first) is not None:
            print_command(advice, resolve_command(first.press, first.key, store_options), level=logging.WARNING)


@define
class _UnknownJobs:
    """Some prompts and presses without an id: how many, and the first of them."""

    first: Job | None = None
    _prompts: int = 0
    _presses: int = 0

    def add(self, job: Job) -> None:
        self.first = self.first or job
        self._prompts += job.press is None
        self._presses += job.press is not None

    @property
    def total(self) -> int:
        return self._prompts + self._presses

    def __str__(self) -> str:
        return count_items(self._prompts, self._presses)


def _is_charged(job: Job) -> bool:
    error = None if job.outcome is None else job.outcome.error
    return isinstance(error, OutcomeUnknownError) and bool(error.charged)
