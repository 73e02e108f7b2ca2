"""`akool result`: show the status of an operation, and save its pictures."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from akool_async import AkoolError, DownloadError, ImageStatus
from akool_async.cli import options, signals
from akool_async.cli.account import open_session
from akool_async.cli.exit_status import ExitStatus, status_of
from akool_async.cli.following.follow import follow
from akool_async.cli.following.follow_options import FollowOptions, ImageOptions
from akool_async.cli.following.live_table import LiveTable
from akool_async.cli.following.row import Row
from akool_async.cli.outcomes.describe import fields_of_image
from akool_async.cli.output.stderr import plain
from akool_async.cli.output.streams import print_results
from akool_async.cli.output.terminal import open_console, print_whole
from akool_async.operations import failure_of

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async import AkoolSession, ImageResult, Operation


@frozen(kw_only=True)
class ResultOptions(ImageOptions):
    """The options and the argument of `akool result`."""

    image_id: str


@click.command()
@click.argument("image_id", metavar="ID")
@options.wait(default=False)
@options.timeout
@options.download
@options.key_file
@options.as_json
@options.quiet
@options.typed(ResultOptions)
def result(options: ResultOptions) -> int:
    """Show the status of an operation."""
    options.require_wait(for_download=False)
    return signals.run(run(options))


async def run(options: ResultOptions) -> ExitStatus:
    """Read the image, and wait for it and save its pictures if the options say so."""
    error: Exception | None = None
    files: list[Path] = []
    options.prepare_folder()
    async with open_session(options.key_file) as akool:
        image = await (_wait(akool, options) if options.wait else akool.get_image_result(options.image_id))
        if image.status == ImageStatus.FAILED:
            error = failure_of(image)
        elif options.download is not None and not image.is_final:
            raise DownloadError("not finished yet, so there is nothing to save: add --wait").about(
                operation_id=options.image_id
            )
        elif options.download is not None:  # pragma: no branch - Python 3.11 counts the block's end as another
            files = await akool.download(image, options.download)
    fields = fields_of_image(image, files, error)
    print_results([json.dumps(fields)], None if options.as_json else partial(_print_fields, fields))
    return ExitStatus.DONE if error is None else status_of(error)


async def _wait(akool: AkoolSession, options: ResultOptions) -> ImageResult:
    row = Row("image")
    with LiveTable([row], "waiting", quiet=options.quiet) as table:
        await follow(akool, table, row, FollowOptions(timeout=options.timeout), _existing(akool, options.image_id))
    if row.latest is None or not row.latest.is_final:
        raise row.error or AkoolError("no answer")
    return row.latest


async def _existing(akool: AkoolSession, operation_id: str) -> Operation:
    return akool.operation(operation_id)


def _print_fields(fields: dict[str, Any]) -> None:
    console = open_console()
    shown = {name: value for name, value in fields.items() if value not in (None, "", (), []) and name != "ok"}
    width = max(map(len, shown))
    for name, value in shown.items():
        texts = value if name in {"urls", "files"} else [_show(name, value)]
        for index, text in enumerate(texts):
            print_whole(console, plain(text), label="" if index else name.replace("_", " "), indent=width + 2)


def _show(name: str, value: Any) -> str:  # noqa: ANN401 - AKOOL may send any type
    if name == "status":
        return f"{value:d} {value.name.lower()}" if isinstance(value, ImageStatus) else str(value)
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
