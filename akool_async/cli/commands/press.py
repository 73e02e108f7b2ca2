"""`akool press`: press buttons of one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async import ButtonPress
from akool_async.cli import options, signals
from akool_async.cli.account import open_session
from akool_async.cli.following.ending import print_end, printing_if_interrupted, status_of_rows
from akool_async.cli.following.follow import press_all
from akool_async.cli.following.follow_options import ImageOptions
from akool_async.cli.following.live_table import LiveTable
from akool_async.cli.following.row import Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from akool_async import Button
    from akool_async.cli.exit_status import ExitStatus


@frozen(kw_only=True)
class PressOptions(ImageOptions):
    """The options and arguments of `akool press`."""

    image_id: str
    button: Sequence[list[Button]]
    """The buttons of each argument."""
    max_concurrent_upscales: int

    @property
    def presses(self) -> list[ButtonPress]:
        """The presses, each once.

        Raises:
            ValueError: The image id is invalid.
        """
        buttons = dict.fromkeys(button for several in self.button for button in several)
        return [ButtonPress(self.image_id, button) for button in buttons]


@click.command()
@click.argument("image_id")
@click.argument("button", nargs=-1, required=True, type=options.ButtonName())
@options.wait(default=True)
@options.timeout
@options.download
@options.max_concurrent_upscales
@options.key_file
@options.as_json
@options.quiet
@options.typed(PressOptions)
def press(options: PressOptions) -> int:
    """Press buttons of an image. Costs credits.

    A BUTTON is one of U1-U4 and V1-V4, or U*, V* or * for several, or a list.
    """
    options.require_wait(for_download=True)
    return signals.run(run(options))


async def run(options: PressOptions) -> ExitStatus:
    """Press, wait, and print the outcome of each press."""
    presses = options.presses
    options.prepare_folder()
    rows = [Row(press.button, press.image_id) for press in presses]
    limit = options.max_concurrent_upscales
    async with open_session(options.key_file, max_concurrent_upscales=limit) as akool:
        title = f"image {options.image_id}"
        with LiveTable(rows, title, quiet=options.quiet, as_json=options.as_json) as table:
            async with printing_if_interrupted(akool, table):
                await press_all(akool, table, presses, options)
        print_end(table)  # before the session is closed, since an interruption of that would keep the ids unprinted
    return status_of_rows(table)
