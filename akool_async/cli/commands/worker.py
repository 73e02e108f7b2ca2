"""`akool worker`: carry out the presses and prompts that are recorded in a store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs
import click
from attrs import frozen

from akool_async import AkoolError
from akool_async.cli import options, signals
from akool_async.cli.account import WorkerStoreOptions
from akool_async.cli.exit_status import ExitStatus, status_of_jobs
from akool_async.cli.outcomes.job_counts import LISTED, describe_counts, explain_open, explain_unknown, warn_if_empty
from akool_async.cli.output import json_log
from akool_async.cli.output.stderr import print_message, print_progress

if TYPE_CHECKING:
    from akool_async.durable import DurableFanOut, JobCounts

PROGRESS_INTERVAL: Final = 2.0
"""Seconds between two progress lines of a worker."""
LAST_READ_TIMEOUT: Final = 3.0
"""Seconds that a stopped worker may take to read the store for its last lines."""


@frozen(kw_only=True)
class WorkerOptions(WorkerStoreOptions):
    """The options of `akool worker`."""

    until_empty: bool
    quiet: bool


def _choose_log_format(_: click.Context, __: click.Parameter, log_format: str) -> None:
    if log_format == "json":
        json_log.begin()


@click.command()
@options.store
@options.account
@click.option(
    "--until-empty",
    is_flag=True,
    help="Exit when no press is open. Without this option, the worker waits for more presses.",
)
@options.max_concurrent_upscales
@options.max_requests_per_second
@options.lost_reply_timeout
@options.webhook_url
@options.key_file
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    is_eager=True,  # errors in other options are printed in this format too
    expose_value=False,
    callback=_choose_log_format,
    help="The format of stderr. With json, every line is an object with time, level, logger and message. Progress "
    "lines also have the counts as fields.",
)
@options.quiet
@options.typed(WorkerOptions)
def worker(options: WorkerOptions) -> int:
    """Carry out the presses that are recorded in a store.

    Start any number of workers, on all machines that can reach the store. They share
    one cap and one rate. Ctrl-C or SIGTERM stops a worker with exit status 0: it
    makes no new presses. Other workers, or the next one that you start, follow the
    operations that are running at AKOOL.

    With --until-empty, the exit status is 5 if the outcome of a press of the account
    is unknown, else 3 if a press has failed, else 0.
    """
    return signals.run(run(options))


async def run(options: WorkerOptions) -> ExitStatus:
    """Carry out recorded presses until Ctrl-C, SIGTERM or SIGHUP, or with --until-empty until no press is open."""
    files = options.files()
    is_new = bool(files) and not files[0].exists()
    async with options.open_for_work() as store:
        if not options.quiet:
            if is_new:
                print_message(f"a new store was created; nothing is recorded in it yet: {files[0]}")
            warn_if_empty(await store.status())
        if await _is_stopped(store, options):
            if not options.quiet:
                await _print_state_at_stop(store, options)
            return ExitStatus.DONE
        counts = await store.status()
        if not options.quiet:
            _print_counts(counts)
        await explain_unknown(store, counts, options.for_shell(), are_listed=False)
    return status_of_jobs(counts, LISTED)


async def _is_stopped(store: DurableFanOut, options: WorkerOptions) -> bool:
    """Work, and return whether a signal stopped the worker."""
    working = asyncio.create_task(store.run(until_empty=options.until_empty))
    printing = None if options.quiet else asyncio.create_task(_print_progress(store))
    try:
        if await signals.is_stopped_before(working):
            working.cancel()  # only once: a second time it would not wait for replies
            with suppress(asyncio.CancelledError):
                await working
            if not options.quiet:
                print_progress(
                    "stopped: other workers, or the next one, follow the operations that are running at AKOOL"
                )
    finally:
        if printing is not None:
            printing.cancel()
    return working.cancelled()


async def _print_progress(store: DurableFanOut) -> None:
    printed = ""
    while True:
        with suppress(AkoolError):  # the store cannot be reached, and the worker logs that
            counts = await store.status()
            if describe_counts(counts) != printed:  # pragma: no branch - a test would take seconds
                _print_counts(counts)
            printed = describe_counts(counts)
        await asyncio.sleep(PROGRESS_INTERVAL)


async def _print_state_at_stop(store: DurableFanOut, options: WorkerOptions) -> None:
    with suppress(AkoolError, TimeoutError):  # the work is done, and the store may be unreachable
        async with asyncio.timeout(LAST_READ_TIMEOUT):
            counts = await store.status()
            _print_counts(counts)
            explain_open(counts, options.worker_command(until_empty=options.until_empty))
            await explain_unknown(store, counts, options.for_shell(), are_listed=False)


def _print_counts(counts: JobCounts) -> None:
    print_progress(describe_counts(counts), attrs.asdict(counts))
