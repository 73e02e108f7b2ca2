"""`akool worker`: carry out the presses that are recorded in a store."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import click
from attrs import frozen

from akool_async import AkoolError
from akool_async.cli import options, signals
from akool_async.cli.account import StoreOptions
from akool_async.cli.exit_status import ExitStatus, status_of_jobs
from akool_async.cli.outcomes.job_counts import LISTED, describe_counts, explain_unknown, warn_if_empty
from akool_async.cli.output.stderr import print_message, stamped

if TYPE_CHECKING:
    from akool_async.durable import DurableFanOut

PROGRESS_INTERVAL: Final = 2.0
"""Seconds between two lines of a worker's progress."""
LAST_READ_TIMEOUT: Final = 3.0
"""Seconds for the last line of a worker that is stopped."""


@frozen(kw_only=True)
class WorkerOptions(StoreOptions):
    """What the command line says."""

    until_empty: bool
    max_requests_per_second: float | None
    webhook_url: str | None
    lost_reply_timeout: float | None
    max_concurrent_upscales: int
    quiet: bool


@click.command()
@options.store
@options.account
@click.option("--until-empty", is_flag=True, help="End when no press is open, rather than wait for more.")
@options.max_requests_per_second
@click.option("--webhook-url", metavar="URL", help="The address that AKOOL calls back.")
@click.option(
    "--lost-reply-timeout",
    type=options.Number(),
    show_default="60",
    metavar="SECONDS",
    help="How long a press whose reply was lost keeps its slot before it is reported as unknown.",
)
@options.max_concurrent_upscales
@options.key_file
@options.quiet
@options.typed(WorkerOptions)
def worker(options: WorkerOptions) -> int:
    """Carry out the presses that are recorded in a store.

    Start as many as you like, on as many machines as reach the store: they share
    one cap. Ctrl-C or SIGTERM stops one: it makes no new presses, and what runs at
    AKOOL is left to the others, or to the next.
    """
    return signals.run(run(options))


async def run(options: WorkerOptions) -> ExitStatus:
    """Carry out recorded presses until Ctrl-C, SIGTERM or SIGHUP, or until none is open."""
    files = options.files()
    is_new = bool(files) and not files[0].exists()
    store = options.open(
        create=True,
        max_concurrent_upscales=options.max_concurrent_upscales,
        max_requests_per_second=options.max_requests_per_second,
        lost_reply_timeout=options.lost_reply_timeout,
        webhook_url=options.webhook_url,
    )
    async with store:
        if not options.quiet:
            if is_new:
                print_message(f"a new store was made, in which nothing is recorded yet: {files[0]}")
            warn_if_empty(await store.status())
        if await _is_stopped(store, options):
            if not options.quiet:
                await _print_last_progress(store)
            return ExitStatus.DONE
        counts = await store.status()
        if not options.quiet:
            print_message(stamped(describe_counts(counts)))
        await explain_unknown(store, counts, options.for_shell())
    return status_of_jobs(counts, LISTED)


async def _is_stopped(store: DurableFanOut, options: WorkerOptions) -> bool:
    """Work, and return whether a signal ended that."""
    working = asyncio.create_task(store.run(until_empty=options.until_empty))
    printing = None if options.quiet else asyncio.create_task(_print_progress(store))
    try:
        if await signals.is_stopped_before(working):
            working.cancel()  # once: a second time it would not wait for replies under way
            with suppress(asyncio.CancelledError):
                await working
            if not options.quiet:
                print_message(stamped("stopped: what was running is left to other workers, and to the next"))
    finally:
        if printing is not None:
            printing.cancel()
    return working.cancelled()


async def _print_progress(store: DurableFanOut) -> None:
    printed = ""
    while True:
        with suppress(AkoolError):  # the store is not reachable, which its users report
            counts = describe_counts(await store.status())
            if counts != printed:  # pragma: no branch - a test would take seconds
                print_message(stamped(counts))
            printed = counts
        await asyncio.sleep(PROGRESS_INTERVAL)


async def _print_last_progress(store: DurableFanOut) -> None:
    with suppress(AkoolError, TimeoutError):  # the work is done, and the store may not be reachable
        async with asyncio.timeout(LAST_READ_TIMEOUT):
            print_message(stamped(describe_counts(await store.status())))
