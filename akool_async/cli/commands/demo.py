"""`akool demo`: an image, its eight buttons and a gallery, on the emulator or, with --live, at AKOOL."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import click
from attrs import evolve, frozen

from akool_async import AkoolSession, Button, ButtonPress
from akool_async.cli import options, signals
from akool_async.cli.account import KeyFile, open_session
from akool_async.cli.commands.demo_polling import PollingComparison
from akool_async.cli.commands.demo_webhooks import serve_webhooks
from akool_async.cli.exit_status import after_spending
from akool_async.cli.following.ending import print_end, printing_if_interrupted, status_of_rows
from akool_async.cli.following.follow import follow, press_all
from akool_async.cli.following.follow_options import FollowOptions
from akool_async.cli.following.live_table import LiveTable
from akool_async.cli.following.row import PROMPT, Row
from akool_async.cli.gallery.contents import Contents, Root
from akool_async.cli.gallery.opening import open_in_browser
from akool_async.cli.gallery.page import write_gallery
from akool_async.cli.gallery.page_file import prepare_page
from akool_async.cli.output.places import option_named
from akool_async.cli.output.stderr import amount
from akool_async.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from akool_async.cli.exit_status import ExitStatus

GALLERY: Final = "gallery.html"
NAME: Final = "demo"
"""The name of the prompt in the gallery."""


@frozen(kw_only=True)
class DemoOptions:
    """The parameters of the command."""

    folder: Path
    prompt: str
    max_concurrent_upscales: int
    speed: float
    live: bool
    yes: bool
    webhook: bool
    key_file: KeyFile | None
    as_json: bool
    quiet: bool
    open_page: bool

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            click.ClickException: Two options exclude each other, or nobody can be asked before spending.
        """
        if self.webhook and self.live:
            raise click.UsageError("--webhook is for the emulator: AKOOL could not reach this machine")
        if self.key_file is not None and not self.live:
            raise click.UsageError("--key-file is for --live: the emulator needs no key")
        if not self.live or self.yes:
            return
        if sys.stdin is None:
            raise click.ClickException("stdin is closed, so nobody can be asked before credits are spent: add --yes")
        if self.key_file is not None and self.key_file.is_open_as(sys.stdin.fileno()):
            raise click.UsageError("--key-file is stdin, so nobody can be asked before credits are spent: add --yes")


@click.command()
@click.option("--folder", type=options.FOLDER, default="akool-demo", show_default=True)
@click.option("--prompt", default="a lighthouse in a storm, oil on canvas", show_default=True)
@click.option("--max-concurrent-upscales", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--speed",
    type=options.Number(above_zero=True),
    default=6.0,
    show_default=True,
    help="Speed of the emulator, as a multiple of AKOOL's.",
)
@click.option("--live", is_flag=True, help="Use the real AKOOL. Costs credits.")
@click.option("--yes", is_flag=True, help="With --live: do not ask before spending.")
@options.open_page
@click.option("--webhook", is_flag=True, help="Wait for webhooks instead of polling. Not with --live.")
@options.key_file
@options.as_json
@options.quiet
@options.typed(DemoOptions)
def demo(options: DemoOptions) -> int:
    """Make an image, press its eight buttons and save the pictures.

    Needs no account: AKOOL is emulated on this machine.
    """
    options.check()
    return signals.run(run(options))


async def run(options: DemoOptions) -> ExitStatus:
    """Make an image of a prompt, press its eight buttons, save every picture and show them on a page."""
    follow_options = FollowOptions(download=options.folder, short_names=True)
    comparison = PollingComparison(1.0 if options.live else 1 / options.speed)
    async with _open_session(options, comparison) as akool:
        if options.live:
            await _ask_before_spending(akool, yes=options.yes)
        follow_options.prepare_folder("--folder")
        with option_named("--folder"):
            prepare_page(options.folder / GALLERY)
        title = f"{options.prompt} (at most {options.max_concurrent_upscales} concurrent upscales)"
        rows = [Row(name) for name in (PROMPT, *Button)]
        with LiveTable(rows, title, quiet=options.quiet, as_json=options.as_json, folder=options.folder) as table:
            async with printing_if_interrupted(akool, table):
                await _make_and_press(akool, table, options.prompt, follow_options)
        print_end(table)
        with after_spending():
            page = await _write_gallery(akool, table, options)
    if page is not None:
        click.echo(f"All of it on one page: {page.resolve().as_uri()}", err=True)
        if options.open_page and not options.quiet:
            open_in_browser(page)
    click.echo(comparison.line(akool.counters(), with_webhook=options.webhook), err=True)
    if not options.live:
        click.echo("With an account: export AKOOL_API_KEY=..., then akool demo --live (costs credits).", err=True)
    return status_of_rows(table)


@asynccontextmanager
async def _open_session(options: DemoOptions, comparison: PollingComparison) -> AsyncIterator[AkoolSession]:
    cap = options.max_concurrent_upscales
    if options.live:
        async with open_session(options.key_file, max_concurrent_upscales=cap, observer=comparison.on_event) as akool:
            yield akool
        return
    async with (
        Emulator(speed=options.speed) as emulator,
        serve_webhooks(emulator, wanted=options.webhook) as receiver,
    ):
        click.echo(f"AKOOL is emulated at {emulator.base_url}: no account, nothing is spent.", err=True)
        async with emulator.session(
            max_concurrent_upscales=cap, webhook_url=receiver.url, observer=comparison.on_event
        ) as akool:
            receiver.start(akool)
            yield akool


async def _ask_before_spending(akool: AkoolSession, *, yes: bool) -> None:
    credit = await akool.get_credit()
    question = f"Make 1 image and press its {len(Button)} buttons? The account has {amount(credit)} credits."
    if not yes:
        with signals.uncaught():  # nothing runs yet that would have to end first
            click.confirm(question, err=True, abort=True)


async def _make_and_press(akool: AkoolSession, table: LiveTable, prompt: str, options: FollowOptions) -> None:
    source = table.row(PROMPT)
    await follow(akool, table, source, options, akool.create_by_prompt(prompt))
    for row in table.rows:
        row.image_id = source.id
    if source.error is None:
        await press_all(akool, table, [ButtonPress(source.id, button) for button in Button], options)


async def _write_gallery(akool: AkoolSession, table: LiveTable, options: DemoOptions) -> Path | None:
    """Write the gallery and return its path; None if there is no image to show."""
    source = table.row(PROMPT)
    if source.result is None:
        return None
    root = Root.of_prompt(NAME, options.prompt)
    prompt = evolve(table.line(source), image_id=None, button=None, prompt=options.prompt, key=NAME)
    contents = Contents(
        title=options.prompt,
        roots=[root],
        lines={root.node: prompt} | {root.node.child(row.name): table.line(row) for row in table.presses},
        seconds={row.id: row.seconds for row in table.rows if row.seconds is not None},
    )
    page = options.folder / GALLERY
    await write_gallery(page, akool, contents)
    return page
