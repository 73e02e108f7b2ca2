"""`akool jobs`, `resolve` and `prune`: show, settle and forget presses that are recorded in a store."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click
from attrs import frozen
from rich.text import Text

from akool_async import Button
from akool_async.cli import options, signals
from akool_async.cli.account import StoreOptions
from akool_async.cli.exit_status import ExitStatus, status_of_jobs
from akool_async.cli.messages import reason_of
from akool_async.cli.outcomes.charges import describe_job_charges
from akool_async.cli.outcomes.describe import fields_of_job
from akool_async.cli.outcomes.job_counts import LISTED, describe_counts, explain_unknown, warn_if_empty
from akool_async.cli.output.rows import Column, print_rows
from akool_async.cli.output.stderr import plain, print_message
from akool_async.cli.output.terminal import open_console

if TYPE_CHECKING:
    from akool_async.durable import Job

_COLUMNS: Final = tuple(map(Column, ("image", "button", "state", "operation", "reason")))


@frozen(kw_only=True)
class JobsOptions(StoreOptions):
    """What the command line says."""

    states: tuple[str, ...]
    as_json: bool


@frozen(kw_only=True)
class ResolveOptions(StoreOptions):
    """What the command line says."""

    image_id: str
    button: Button
    operation_id: str | None
    retry: bool
    abandon: bool


@frozen(kw_only=True)
class PruneOptions(StoreOptions):
    """What the command line says."""

    days: float


@click.command()
@click.argument("states", nargs=-1, type=click.Choice(["open", "done", "failed", "unknown"]))
@options.store
@options.account
@options.key_file
@options.as_json
@options.typed(JobsOptions)
def jobs(options: JobsOptions) -> int:
    """Show recorded presses and their states.

    With STATES, list those in these states; without, those that are not done.
    """
    return signals.run(show_jobs(options))


@click.command()
@click.argument("image_id")
@click.argument("button", type=click.Choice(list(Button)))
@options.store
@options.account
@click.option("--id", "operation_id", metavar="ID", help="AKOOL accepted it, and this is the new image's id.")
@click.option("--retry", is_flag=True, help="Press again, unless AKOOL reports that the button is used.")
@click.option("--abandon", is_flag=True, help="Count it as failed.")
@options.key_file
@options.typed(ResolveOptions)
def resolve(options: ResolveOptions) -> int:
    """Settle a recorded press whose outcome is unknown."""
    return signals.run(resolve_job(options))


@click.command()
@options.store
@options.account
@click.option(
    "--days", type=options.Number(at_most=36_500), required=True, help="Forget presses that ended longer ago."
)
@options.key_file
@options.typed(PruneOptions)
def prune(options: PruneOptions) -> int:
    """Forget recorded presses that are done or have failed."""
    return signals.run(prune_jobs(options))


async def show_jobs(options: JobsOptions) -> ExitStatus:
    """Print the recorded presses; the exit status is that of the most severe state that is listed."""
    states = options.states or LISTED
    async with options.open() as store:
        counts = await store.status()
        listed = store.jobs(*states)
        if options.as_json:
            async for job in listed:
                click.echo(json.dumps(fields_of_job(job)))
        else:
            click.echo(describe_counts(counts) + describe_job_charges(counts))
            warn_if_empty(counts)
            _print_table([job async for job in listed])
        if "unknown" in states:
            await explain_unknown(store, counts, options.for_shell())
    return status_of_jobs(counts, states)


async def resolve_job(options: ResolveOptions) -> ExitStatus:
    """Settle one press."""
    if [options.operation_id is not None, options.retry, options.abandon].count(True) != 1:
        raise click.UsageError("resolve takes one of --id, --retry and --abandon")
    press = (options.image_id, options.button)
    async with options.open() as store:
        await store.resolve(press, operation_id=options.operation_id, retry=options.retry, abandon=options.abandon)
    settled = "counts as failed" if options.abandon else "is open again: akool worker carries it out"
    print_message(f"{options.button} of {options.image_id} {settled}")
    return ExitStatus.DONE


async def prune_jobs(options: PruneOptions) -> ExitStatus:
    """Forget what ended long ago."""
    async with options.open() as store:
        pruned = await store.prune(timedelta(days=options.days))
    print_message(f"{pruned:,} presses that ended more than {options.days:g} days ago are forgotten")
    return ExitStatus.DONE


def _print_table(jobs: list[Job]) -> None:
    if jobs:
        print_rows(open_console(), _COLUMNS, [_cells(job) for job in jobs])  # a pipe gets a line for a press


def _cells(job: Job) -> list[Text]:
    error = None if job.outcome is None else job.outcome.error
    reason = "" if error is None else reason_of(error)
    texts = (job.press.image_id, job.press.button, job.state, job.operation_id or "", reason)
    return [Text(plain(text)) for text in texts]
