"""`akool fan-out`: plan a file of prompts and presses, and carry it out with --yes."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Final

import click

from akool_async.cli import options, signals
from akool_async.cli.account import credentials
from akool_async.cli.batch.fan_out_options import FanOutOptions
from akool_async.cli.batch.input_file import Batch, InputFileError, read_batch
from akool_async.cli.batch.learned import keep_learned, learned_path, read_learned
from akool_async.cli.batch.nodes import NodeIndex
from akool_async.cli.batch.observer import RunObserver
from akool_async.cli.batch.output_file import OutputFile
from akool_async.cli.batch.plan_table import show_plan
from akool_async.cli.batch.planning import make_plan
from akool_async.cli.batch.priced_session import PricedSession
from akool_async.cli.batch.progress import BatchProgress
from akool_async.cli.batch.run import BatchRun
from akool_async.cli.batch.stored import StoredItems
from akool_async.cli.batch.tally import EarlyEnd, Tally
from akool_async.cli.exit_status import ExitStatus
from akool_async.cli.gallery.page_file import prepare_page, require_free
from akool_async.cli.output.places import option_named, prepare_folder, require_apart
from akool_async.cli.output.stderr import amount, print_message
from akool_async.cli.output.terminal import open_console

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from akool_async.cli.batch.plan import Plan
    from akool_async.durable import DurableFanOut

UNRECORDED: Final = (
    "the ids of this run are only printed on stdout; with -o FILE, you could run the same command again to continue"
)


@click.command("fan-out")
@click.argument("file", type=options.Input("rb"))
@click.option(
    "--then",
    type=options.Then(),
    default="",
    metavar="BUTTONS",
    help='Press these buttons on each result that has buttons, such as "U*" or "U* V1>U*". A column then in FILE takes '
    "precedence.",
)
@click.option(
    "--yes", is_flag=True, help="Send and press. Without this, only the plan is printed and nothing is spent."
)
@click.option(
    "-o",
    "--output",
    type=options.FILE,
    help="Write a line of JSON per prompt and press. Run the same command again to make what is missing.",
)
@click.option("--max-credits", type=options.Number(), metavar="CREDITS", help="The most that this run may spend.")
@click.option("--reserve", type=options.Number(), metavar="CREDITS", help="Keep this much of the current balance.")
@click.option(
    "--retry-unknown",
    is_flag=True,
    help="Send prompts again if their outcome is unknown after an earlier run. They may be charged twice.",
)
@click.option(
    "--store",
    metavar="URL",
    help="Record prompts and presses in this store before they are sent: sqlite:///FILE or postgresql://HOST/DATABASE.",
)
@options.account
@options.lost_reply_timeout
@options.webhook_url
@options.max_concurrent_upscales
@options.max_requests_per_second
@options.timeout
@options.download
@click.option("--gallery", type=options.FILE, help="Write an HTML page that shows all images.")
@options.open_page
@options.key_file
@options.as_json
@options.quiet
@options.typed(FanOutOptions)
def fan_out(options: FanOutOptions) -> int:
    """Plan the prompts and presses in FILE. With --yes, send and press them.

    FILE is a .txt file with a prompt on each line; or CSV with a column prompt, or
    the columns image_id,button; or JSONL with the same keys; or - for standard
    input, which is read as CSV or JSONL, never as one prompt on each line. A button
    may be a list, such as "U1 V2", or U*, V* or *.

    The column then, or --then, names the buttons to press on results: "U* V1>U*"
    upscales the four pictures of each prompt, varies the first, and upscales the
    four pictures of the variation. Pictures are named after the column name, or
    after some words of the prompt.

    With --store, everything is recorded before it is sent, so that it survives the
    end of this run: run the same command again to continue. Every akool worker of
    the store carries it out too, under the same cap.

    \b
    Only with --store: --account, --lost-reply-timeout, --webhook-url.
    Only without --store: --timeout, --retry-unknown.
    """  # noqa: D301 - with \b, click does not wrap the paragraph
    options.check()
    batch = _read_file(options)
    if options.yes:
        _require_known_columns(batch)
    return signals.run(run(options, batch))


async def run(options: FanOutOptions, batch: Batch) -> ExitStatus:
    """Make the plan, and carry it out with --yes."""
    output = OutputFile(options.output, pictures=options.download)
    require_apart(_written_files(options, output))
    if options.gallery is not None:
        with option_named("--gallery"):
            require_free(options.gallery)
    with output if options.yes else nullcontext():
        output.read()
        if options.yes:
            _prepare_places(options, output)
        with BatchProgress(open_console(stderr=True), quiet=options.quiet) as progress:
            batch_run = await _plan_and_press(options, batch, output, progress)
    if batch_run is None:
        return ExitStatus.USAGE if batch.invalid else ExitStatus.DONE
    summary = batch_run.summary()
    summary.print()
    return summary.exit_status


async def _plan_and_press(
    options: FanOutOptions, batch: Batch, output: OutputFile, progress: BatchProgress
) -> BatchRun | None:
    """Plan and press, and return the run once it has ended; None without --yes."""
    tally, early_end = Tally(), EarlyEnd()
    index = NodeIndex()
    observer = RunObserver(output, progress, tally, early_end, index)
    session = PricedSession(
        **credentials(options.key_file),
        max_concurrent_upscales=options.max_concurrent_upscales,
        max_requests_per_second=options.max_requests_per_second,
        polling=read_learned(learned_path(output.path)),
        observer=observer.on_session_event,
    )
    async with session as akool, _open_store(options, observer) as store:
        stored = await StoredItems.read(store, batch)
        plan = await make_plan(akool, batch, output, stored, progress, options.rules)
        budget = options.budget(plan.balance)
        progress.pause()
        _print_plan(plan, options)
        _require_budget_for_waiting(plan, budget)
        if not options.yes:
            return None
        if not options.is_recorded and not options.quiet:
            print_message(UNRECORDED)
        tally.prices = plan.prices
        akool.expect_prices(plan.prices)
        batch_run = BatchRun(
            options=options,
            plan=plan,
            budget=budget,
            output=output,
            progress=progress,
            tally=tally,
            early_end=early_end,
            index=index,
            akool=akool,
            store=store,
        )
        try:
            await batch_run.carry_out()
        finally:
            keep_learned(learned_path(output.path), akool.polling)
    return batch_run


def _open_store(options: FanOutOptions, observer: RunObserver) -> AbstractAsyncContextManager[DurableFanOut | None]:
    if options.store_options is None:
        return nullcontext()
    return options.store_options.open_for_work(observer=observer.on_store_event)


def _read_file(options: FanOutOptions) -> Batch:
    try:
        content = options.file.read()
    except OSError as error:
        raise click.FileError(options.file.name, error.strerror) from None
    try:
        return read_batch(content, options.file.name, options.then)
    except InputFileError as error:
        raise click.UsageError(str(error)) from None


def _require_known_columns(batch: Batch) -> None:
    for name, right in batch.misspelt.items():
        raise click.UsageError(
            f"{batch.name} has a column {name}, which is not read: rename it to {right}, or remove it. Nothing was "
            "spent"
        )


def _require_budget_for_waiting(plan: Plan, budget: float | None) -> None:
    cost = plan.credits_committed
    if budget is not None and cost > budget:
        raise click.UsageError(
            f"the prompts and presses that the store already holds may cost {amount(cost)} credits, but only "
            f"{amount(budget)} may be spent. Raise --max-credits or lower --reserve, or let akool worker make them "
            "first. Nothing was spent"
        )


def _written_files(options: FanOutOptions, output: OutputFile) -> Iterator[tuple[str, Path]]:
    if output.path is not None and output.ids_path is not None:
        yield "--output", output.path
        yield "the file of ids beside --output", output.ids_path
    if (learned := learned_path(output.path)) is not None:
        yield "what was learned beside --output", learned
    if options.gallery is not None:
        yield "--gallery", options.gallery
    if options.download is not None:
        yield "--download", options.download
    if options.store_options is not None:
        yield from (("--store", path) for path in options.store_options.files())


def _prepare_places(options: FanOutOptions, output: OutputFile) -> None:
    with option_named("--output"):
        output.try_to_write()
    if options.download is not None:
        with option_named("--download"):
            prepare_folder(options.download)
    if options.gallery is not None:
        with option_named("--gallery"):
            prepare_page(options.gallery)


def _print_plan(plan: Plan, options: FanOutOptions) -> None:
    if options.as_json and not options.yes:
        click.echo(json.dumps(plan.as_json()))
    elif not (options.quiet and options.yes):
        show_plan(plan, options, open_console(stderr=options.yes))
