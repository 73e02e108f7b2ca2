"""`akool worker`, `jobs`, `resolve` and `prune`: presses that are recorded in a state."""

from __future__ import annotations

import asyncio
import json
import shlex
from contextlib import aclosing, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import click
from rich.text import Text

from akool_async import AkoolError, Outcome
from akool_async.cli import signals
from akool_async.cli.account import open_state, state_files, store_options
from akool_async.cli.exit_status import ExitStatus
from akool_async.cli.messages import amount, plain, stamped, tell
from akool_async.cli.outcomes.line import describe, reason_of
from akool_async.cli.output.rows import Column, print_rows
from akool_async.cli.output.terminal import open_console

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection

    from akool_async import Button, ButtonPress
    from akool_async.cli.account import KeyFile
    from akool_async.durable import DurableFanOut, Job, JobCounts

TOLD_EVERY: Final = 2.0
"""Seconds between two lines of a worker's progress."""
LAST_LOOK: Final = 3.0
"""Seconds for the last line, which no one who stops a worker waits longer for."""
_COLUMNS: Final = tuple(map(Column, ("image", "button", "state", "operation", "reason")))
SHOWN: Final = ("open", "failed", "unknown")


async def work(
    *,
    store: str,
    key_file: KeyFile | None,
    account: str | None,
    until_empty: bool,
    quiet: bool,
    **options: Any,  # noqa: ANN401
) -> ExitStatus:
    """Carry out recorded presses until Ctrl-C, SIGTERM or SIGHUP, or until none is open."""
    is_new = not all(path.exists() for path in state_files(store)[:1])
    found_by = store_options(store, account=account, key_file=key_file)
    async with open_state(key_file, store, account=account, **options) as jobs:
        if not quiet:
            if is_new:
                tell(f"a new state was made, in which nothing is recorded yet: {state_files(store)[0]}")
            _hint(await jobs.status())
        working = asyncio.create_task(jobs.run(until_empty=until_empty))
        telling = asyncio.create_task(_tell_progress(jobs)) if not quiet else None
        try:
            if await signals.is_stopped_before(working):
                working.cancel()  # once: a second time it would not wait for replies under way
                with suppress(asyncio.CancelledError):
                    await working
                if not quiet:
                    tell(stamped("stopped: what was in hand is left to other workers, and to the next"))
        finally:
            if telling is not None:
                telling.cancel()
        if working.cancelled():
            await _tell_last(jobs, quiet=quiet)
            return ExitStatus.DONE
        counts = await jobs.status()
        if not quiet:
            tell(stamped(_sum_up(counts)))
        await _tell_next(jobs, counts, found_by)
    return _status(counts, SHOWN)


async def show(
    *, store: str, states: tuple[str, ...], key_file: KeyFile | None, account: str | None, as_json: bool
) -> ExitStatus:
    """Show how the recorded presses stand; the exit status tells the worst of those that are listed."""
    wanted = states or SHOWN
    async with open_state(key_file, store, account=account, create=False) as jobs:
        counts = await jobs.status()
        listed = jobs.jobs(*wanted)
        if as_json:
            async for job in listed:
                click.echo(json.dumps(_describe(job)))
        else:
            click.echo(_sum_up(counts) + _charges(counts))
            _hint(counts)
            _print_table([job async for job in listed])
        if "unknown" in wanted:
            await _tell_next(jobs, counts, store_options(store, account=account, key_file=key_file))
    return _status(counts, wanted)


async def resolve(
    *,
    store: str,
    image_id: str,
    button: Button,
    key_file: KeyFile | None,
    account: str | None,
    operation_id: str | None,
    retry: bool,
    abandon: bool,
) -> ExitStatus:
    """Settle a press whose outcome is unknown."""
    if [operation_id is not None, retry, abandon].count(True) != 1:
        raise click.UsageError("resolve takes one of --id, --retry and --abandon")
    async with open_state(key_file, store, account=account, create=False) as jobs:
        await jobs.resolve((image_id, button), operation_id=operation_id, retry=retry, abandon=abandon)
    settled = "counts as failed" if abandon else "is open again: akool worker carries it out"
    tell(f"{button} of {image_id} {settled}")
    return ExitStatus.DONE


async def prune(*, store: str, days: float, key_file: KeyFile | None, account: str | None) -> ExitStatus:
    """Forget what ended long ago."""
    async with open_state(key_file, store, account=account, create=False) as jobs:
        pruned = await jobs.prune(timedelta(days=days))
    tell(f"{pruned:,} presses that ended more than {days:g} days ago are forgotten")
    return ExitStatus.DONE


async def carry_out(jobs: DurableFanOut, presses: list[ButtonPress]) -> AsyncGenerator[Outcome, None]:
    """Record presses and work on them, beside whatever workers there are: their outcomes as they come.

    Raises:
        AkoolError: the work cannot go on; what is open stays recorded.
    """
    await jobs.submit(presses)
    working = asyncio.create_task(jobs.run(until_empty=False))
    try:
        async with aclosing(jobs.outcomes(presses)) as outcomes:
            while True:
                coming = asyncio.ensure_future(anext(outcomes))
                try:
                    await asyncio.wait({coming, working}, return_when=asyncio.FIRST_COMPLETED)
                    if not coming.done():
                        working.result()  # which raises: it does not end by itself
                    yield coming.result()
                except StopAsyncIteration:
                    return
                finally:
                    coming.cancel()
                    await asyncio.wait({coming})
    finally:
        working.cancel()
        await asyncio.wait({working})


def _hint(counts: JobCounts) -> None:
    if not (counts.open or counts.done or counts.failed or counts.unknown):
        tell("nothing is recorded of this account: presses are found by the key, or the --account, that recorded them")


async def _tell_progress(jobs: DurableFanOut) -> None:
    told = ""
    while True:
        with suppress(AkoolError):  # the state is away, which is told where it is used
            counts = _sum_up(await jobs.status())
            if counts != told:  # pragma: no branch - a test would take seconds
                tell(stamped(counts))
            told = counts
        await asyncio.sleep(TOLD_EVERY)


async def _tell_last(jobs: DurableFanOut, *, quiet: bool) -> None:
    if not quiet:
        with suppress(AkoolError, TimeoutError):  # its work is done, and the state may be away
            async with asyncio.timeout(LAST_LOOK):
                tell(stamped(_sum_up(await jobs.status())))


async def _tell_next(jobs: DurableFanOut, counts: JobCounts, found_by: str) -> None:
    """How to settle what is unknown: it may have been charged, and stays until somebody does."""
    if not counts.unknown:
        return
    async with aclosing(jobs.jobs("unknown")) as unknown:
        async for job in unknown:  # pragma: no branch - unless others settle all at this very moment
            press = f"{shlex.quote(job.press.image_id)} {job.press.button}"
            tell(
                f"{counts.unknown:,} unknown: charged, or perhaps so, and the new id is lost. Settle each with --id if "
                "you find it, otherwise with --retry or --abandon:"
            )
            tell(f"akool resolve {press} --id ID {found_by}")
            return


def _status(counts: JobCounts, states: Collection[str]) -> ExitStatus:
    """The worst that is among these states; what is open is no failure."""
    if counts.unknown and "unknown" in states:
        return ExitStatus.OUTCOME_UNKNOWN
    return ExitStatus.SOME_FAILED if counts.failed and "failed" in states else ExitStatus.DONE


def _sum_up(counts: JobCounts) -> str:
    return (
        f"{counts.waiting:,} waiting, {counts.running:,} running, {counts.done:,} done, {counts.failed:,} failed, "
        f"{counts.unknown:,} unknown"
    )


def _charges(counts: JobCounts) -> str:
    """What they cost; nothing where nothing was charged."""
    charged = counts.credits_charged + counts.credits_lost
    by_estimate = counts.credits_estimated + counts.credits_lost
    told = f"; {amount(charged)} credits charged" if charged or counts.credits_in_doubt else ""
    if counts.credits_lost:
        told += f", {amount(counts.credits_lost)} of them for presses whose id is lost"
    if by_estimate:
        told += f", {amount(by_estimate)} by estimate"
    if counts.credits_in_doubt:
        told += f", and perhaps {amount(counts.credits_in_doubt)} more"
    return told


def _describe(job: Job) -> dict[str, Any]:
    """A line as `akool fan-out` writes it, with how the job stands."""
    line = describe(job.outcome or Outcome(job.press))
    fields = json.loads(line.to_json())
    return {
        **fields,
        "ok": job.outcome is not None and job.outcome.ok,
        "id": job.operation_id,
        "state": job.state,
        "submitted_at": job.submitted_at.isoformat(),
        "ended_at": None if job.ended_at is None else job.ended_at.isoformat(),
    }


def _print_table(jobs: list[Job]) -> None:
    if jobs:
        print_rows(open_console(), _COLUMNS, [_cells(job) for job in jobs])  # a pipe gets a line for a press


def _cells(job: Job) -> list[Text]:
    error = None if job.outcome is None else job.outcome.error
    reason = "" if error is None else reason_of(error)
    texts = (job.press.image_id, job.press.button, job.state, job.operation_id or "", reason)
    return [Text(plain(text)) for text in texts]
