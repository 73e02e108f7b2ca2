"""`akool jobs`, `resolve` and `prune`: show, settle and delete presses and prompts that are recorded in a store."""

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
from akool_async.cli.outcomes.job_counts import LISTED, describe_counts, explain_open, explain_unknown, warn_if_empty
from akool_async.cli.outcomes.lost import PROMPT
from akool_async.cli.outcomes.notes import PLACEHOLDER
from akool_async.cli.output.rows import Column, print_rows
from akool_async.cli.output.stderr import count_jobs, plain, print_command, print_message
from akool_async.cli.output.terminal import open_console
from akool_async.cli.output.times import utc

if TYPE_CHECKING:
    from akool_async.durable import Job

_COLUMNS: Final = tuple(map(Column, ("image", "button", "state", "submitted", "ended", "operation", "reason")))


@frozen(kw_only=True)
class JobsOptions(StoreOptions):
    """The options of `akool jobs`."""

    states: tuple[str, ...]
    as_json: bool


@frozen(kw_only=True)
class ResolveOptions(StoreOptions):
    """The options of `akool resolve`."""

    item: str
    button: str
    operation_id: str | None
    retry: bool
    abandon: bool


@frozen(kw_only=True)
class PruneOptions(StoreOptions):
    """The options of `akool prune`."""

    days: float


@click.command()
@click.argument("states", nargs=-1, metavar="[STATE]...", type=click.Choice(["open", "done", "failed", "unknown"]))
@options.store
@options.account
@options.key_file
@options.as_json
@options.typed(JobsOptions)
def jobs(options: JobsOptions) -> int:
    """Show the presses that are recorded in a store.

    STATE is one or more of the following. Without it, all presses that are not done
    are listed.

    \b
      open      waiting for a worker, or running at AKOOL
      done      completed
      failed    refused by AKOOL, failed there, or abandoned
      unknown   possibly charged, but the id of the new image is not known

    The first line counts all recorded presses of the account. Times are in UTC. The
    exit status is 5 if any press of the account is unknown, even if it is not
    listed, else 3 if a listed press has failed, else 0.
    """  # noqa: D301 - the backspace tells click not to rewrap the next paragraph
    return signals.run(show_jobs(options))


@click.command()
@click.argument("item", metavar="IMAGE_ID|KEY")
@click.argument("button", metavar="BUTTON|prompt", type=click.Choice([*Button, PROMPT]))
@options.store
@options.account
@click.option("--id", "operation_id", metavar="ID", help="The id of the new image, which a worker then waits for.")
@click.option(
    "--retry",
    is_flag=True,
    help="Press again, unless AKOOL reports the button as used. A prompt is sent again, which may cost its credits "
    "twice. Also allowed for a press that AKOOL refused or that was abandoned.",
)
@click.option("--abandon", is_flag=True, help="Count the press or prompt as failed.")
@options.key_file
@options.typed(ResolveOptions)
def resolve(options: ResolveOptions) -> int:
    """Settle a recorded press or prompt whose outcome is unknown.

    Give a press as its source image and its button, and a prompt as its key and the
    word "prompt". Use exactly one of --id, --retry and --abandon.
    """
    return signals.run(resolve_job(options))


@click.command()
@options.store
@options.account
@click.option(
    "--days",
    type=options.Number(at_most=36_500),
    required=True,
    help="Delete presses and prompts that ended longer ago than this many days.",
)
@options.key_file
@options.typed(PruneOptions)
def prune(options: PruneOptions) -> int:
    """Delete old presses and prompts that are done or have failed from a store.

    The store forgets them. If a deleted prompt is submitted again, it is sent and
    charged again, with all presses on its result. Delete only what you will not
    submit again.
    """
    return signals.run(prune_jobs(options))


async def show_jobs(options: JobsOptions) -> ExitStatus:
    """Print the recorded presses, and the next command for those that are open or unknown."""
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
        if "open" in states:
            explain_open(counts, options.worker_command())
        await explain_unknown(store, counts, options.for_shell(), are_listed="unknown" in states)
    return status_of_jobs(counts, states)


async def resolve_job(options: ResolveOptions) -> ExitStatus:
    """Settle one press or prompt, and print the next command."""
    if [options.operation_id is not None, options.retry, options.abandon].count(True) != 1:
        raise click.UsageError("use exactly one of --id, --retry and --abandon")
    if options.operation_id == PLACEHOLDER:
        raise click.UsageError(f"--id {PLACEHOLDER}: put the id of the new image in place of {PLACEHOLDER}")
    is_prompt = options.button == PROMPT
    item = options.item if is_prompt else (options.item, options.button)
    async with options.open() as store:
        await store.resolve(item, operation_id=options.operation_id, retry=options.retry, abandon=options.abandon)
    name = f"prompt {options.item}" if is_prompt else f"{options.button} of {options.item}"
    if options.abandon:
        print_message(f"{name} is abandoned and counts as failed")
    else:
        print_command(
            f"{name} is open again; if no worker is running, carry it out with",
            options.worker_command(until_empty=True),
        )
    return ExitStatus.DONE


async def prune_jobs(options: PruneOptions) -> ExitStatus:
    """Delete presses that ended long ago, and print their number."""
    async with options.open() as store:
        pruned = await store.prune(timedelta(days=options.days))
    print_message(f"{count_jobs(pruned)} deleted that ended more than {options.days:g} days ago")
    return ExitStatus.DONE


def _print_table(jobs: list[Job]) -> None:
    if jobs:
        print_rows(open_console(), _COLUMNS, [_cells(job) for job in jobs])  # in a pipe, each press is one line


def _cells(job: Job) -> list[Text]:
    error = None if job.outcome is None else job.outcome.error
    reasons = [] if job.press is not None else [str(job.item)]
    reason = ": ".join([*reasons, *([] if error is None else [reason_of(error)])])
    submitted, ended = utc(job.submitted_at), "" if job.ended_at is None else utc(job.ended_at)
    texts = (*_names(job), job.state, submitted, ended, job.operation_id or "", reason)
    return [Text(plain(text)) for text in texts]


def _names(job: Job) -> tuple[str, str]:
    """Return the two arguments with which ``akool resolve`` finds a job."""
    return (job.key or "", PROMPT) if job.press is None else (job.press.image_id, job.press.button)
