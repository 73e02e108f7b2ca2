"""`akool prompt`: make an image of four pictures from a prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async.cli import options, signals
from akool_async.cli.account import open_session
from akool_async.cli.following.ending import print_end, printing_if_interrupted, status_of_rows
from akool_async.cli.following.follow import follow
from akool_async.cli.following.follow_options import ImageOptions
from akool_async.cli.following.live_table import LiveTable
from akool_async.cli.following.row import PROMPT, Row
from akool_async.cli.output.stderr import shorten

if TYPE_CHECKING:
    from akool_async.cli.exit_status import ExitStatus


@frozen(kw_only=True)
class PromptOptions(ImageOptions):
    """The options and the argument of `akool prompt`."""

    text: str
    scale: str
    source_image: str | None


@click.command()
@click.argument("text")
@click.option("--scale", default="1:1", show_default=True, metavar="W:H", help="Width and height, such as 16:9 or 3:4.")
@click.option("--source-image", metavar="URL", help="Start from this picture.")
@options.wait(default=True)
@options.timeout
@options.download
@options.key_file
@options.as_json
@options.quiet
@options.typed(PromptOptions)
def prompt(options: PromptOptions) -> int:
    """Make an image of four pictures from the prompt TEXT. Costs credits."""
    options.require_wait(for_download=True)
    return signals.run(run(options))


async def run(options: PromptOptions) -> ExitStatus:
    """Send the prompt, wait, and print the outcome."""
    options.prepare_folder()
    row = Row(PROMPT, prompt=options.text)
    async with open_session(options.key_file) as akool:
        with LiveTable([row], shorten(options.text), quiet=options.quiet, as_json=options.as_json) as table:
            async with printing_if_interrupted(akool, table):
                accepted = akool.create_by_prompt(options.text, scale=options.scale, source_image=options.source_image)
                await follow(akool, table, row, options, accepted)
        print_end(table)
    return status_of_rows(table)
