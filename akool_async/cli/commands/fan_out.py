"""`akool fan-out`: a file of presses, planned first, and pressed where that is wanted."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import click

from akool_async.cli.account import open_session, state_files
from akool_async.cli.batch.input_file import Batch, BatchError, read_batch
from akool_async.cli.batch.output_file import Results
from akool_async.cli.batch.plan import Plan, make_plan
from akool_async.cli.batch.plan_table import show_plan
from akool_async.cli.batch.progress import BatchProgress
from akool_async.cli.batch.run import BatchRun
from akool_async.cli.exit_status import ExitStatus
from akool_async.cli.gallery.page import require_free
from akool_async.cli.messages import amount, tell
from akool_async.cli.output.places import prepare_folder, prepare_page, require_apart
from akool_async.cli.output.terminal import open_console

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from akool_async import ButtonPress
    from akool_async.cli.batch.options import Options
    from akool_async.durable import DurableFanOut

UNRECORDED: Final = (
    "only stdout records the ids of this run: with -o FILE the same command, run again, goes on where this one ends"
)


async def run(options: Options) -> ExitStatus:
    """Plan, and press where --yes says so."""
    try:
        batch = read_batch(options.content, options.name)
    except BatchError as error:
        raise click.UsageError(str(error)) from None
    console = open_console(stderr=True)
    results = Results(options.output, pictures=options.download)
    require_apart(_written_files(options, results))
    if options.gallery is not None:
        require_free(options.gallery)
    with results if options.yes else nullcontext():
        results.read()
        if options.yes:
            _prepare_places(options, results)
        with BatchProgress(console, quiet=options.quiet) as progress:
            batch_run = BatchRun(options, results, progress)
            async with (
                open_session(options.key_file, observer=batch_run.observe, **options.limits) as akool,
                batch_run.open_state() as jobs,
            ):
                plan = await make_plan(
                    akool,
                    batch,
                    results,
                    recorded=await _recorded_in(jobs, batch),
                    waiting=await _waiting_in(jobs),
                    with_files=options.download is not None,
                    on_read=progress.read,
                )
                budget = _budget(plan, options)
                progress.pause()
                _tell_plan(plan, budget, options)
                _require_room(plan, budget)
                if not options.yes:
                    return ExitStatus.USAGE if batch.invalid else ExitStatus.DONE
                if options.output is None and options.store is None and not options.quiet:
                    tell(UNRECORDED)
                await batch_run.carry_out(akool, plan, budget, jobs)
    batch_run.tell_end(plan)
    return batch_run.status(plan)


async def _recorded_in(jobs: DurableFanOut | None, batch: Batch) -> set[ButtonPress]:
    if jobs is None:
        return set()
    return {job.press for job in await jobs.find(entry.press for entry in batch.entries)}


async def _waiting_in(jobs: DurableFanOut | None) -> Counter[str]:
    """Presses that are open and not made yet, by kind."""
    waiting: Counter[str] = Counter()
    if jobs is not None:
        async for job in jobs.jobs("open"):
            waiting[job.press.button.kind] += job.operation_id is None
    return waiting


def _require_room(plan: Plan, budget: float | None) -> None:
    cost = plan.credits_waiting
    if budget is not None and cost > budget:
        raise click.UsageError(
            f"{plan.waiting.total():,} presses wait in the state and cost up to {amount(cost)} credits, more than the "
            f"{amount(budget)} that may be spent: raise that, or leave them to akool worker; nothing was spent"
        )


def _budget(plan: Plan, options: Options) -> float | None:
    """Credits that may be charged; None for as many as the presses cost."""
    limits = [] if options.max_credits is None else [options.max_credits]
    if options.reserve is not None:
        limits.append(max(plan.balance - options.reserve, 0.0))
    return min(limits, default=None)


def _written_files(options: Options, results: Results) -> Iterator[tuple[str, Path]]:
    if results.path is not None and results.ids_path is not None:
        yield "--output", results.path
        yield "the file of ids beside --output", results.ids_path
    if options.gallery is not None:
        yield "--gallery", options.gallery
    if options.download is not None:
        yield "--download", options.download
    if options.store is not None:
        yield from (("--store", path) for path in state_files(options.store))


def _prepare_places(options: Options, results: Results) -> None:
    results.try_to_write()
    if options.download is not None:
        prepare_folder(options.download)
    if options.gallery is not None:
        prepare_page(options.gallery)


def _tell_plan(plan: Plan, budget: float | None, options: Options) -> None:
    if options.as_json and not options.yes:
        click.echo(json.dumps(plan.as_json()))
    elif not (options.quiet and options.yes):
        show_plan(plan, budget, open_console(stderr=options.yes), is_begun=options.yes)
