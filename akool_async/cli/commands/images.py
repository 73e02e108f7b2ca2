"""`akool press`, `prompt`, `result` and `credit`: one image at a time."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from akool_async import AkoolError, ButtonPress, DownloadError, ImageStatus, OperationFailedError, Outcome
from akool_async.cli import signals
from akool_async.cli.account import open_session
from akool_async.cli.exit_status import ExitStatus, gravest, status_of
from akool_async.cli.following.follow import Wish, follow
from akool_async.cli.following.live_table import Board
from akool_async.cli.messages import account_trouble, plain, tell
from akool_async.cli.outcomes.charges import explain_lost
from akool_async.cli.outcomes.line import Line, PressState, describe, describe_prompt
from akool_async.cli.output.streams import print_results
from akool_async.cli.output.terminal import open_console, print_whole

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from pathlib import Path

    from akool_async import AkoolSession, Button, ImageResult, Operation
    from akool_async.cli.account import KeyFile
    from akool_async.cli.following.live_table import Row


LOST_PROMPT: Final = (
    "the prompt's outcome is unknown: AKOOL may have charged for it, and no id is known; akool credit shows the balance"
)


@frozen(kw_only=True)
class Options:
    """What all of them are told."""

    key_file: KeyFile | None
    as_json: bool
    quiet: bool = False
    wish: Wish = field(factory=Wish)


async def press(image_id: str, buttons: Sequence[Button], max_concurrent_upscales: int, options: Options) -> ExitStatus:
    """Press buttons of one image."""
    presses = [ButtonPress(image_id, button) for button in buttons]  # a bad id is told before anything is sent
    options.wish.prepare()
    async with open_session(options.key_file, max_concurrent_upscales=max_concurrent_upscales) as akool:
        with Board(list(buttons), f"image {image_id}", quiet=options.quiet) as board:
            show = None if options.as_json else board.print_summary
            async with telling_unfinished(akool, board, lambda row: board.describe(row, image_id).to_json(), show):
                await press_all(akool, board, presses, options.wish)
        # Before the session is closed: an interruption of that would leave the ids unprinted.
        lines = [board.describe(row, image_id) for row in board.rows]
        tell_lost(lines)
        tell_account_trouble(board)
        print_results((line.to_json() for line in lines), show)
    return status_of_board(board)


async def press_all(akool: AkoolSession, board: Board, presses: Iterable[ButtonPress], wish: Wish) -> None:
    """Press these at once, each a row of the board."""

    async def press_one(press: ButtonPress) -> None:
        row = board.row(press.button)
        await follow(akool, board, row, wish, lambda: akool.create_by_button(press.image_id, press.button))

    async with asyncio.TaskGroup() as group:
        for press in presses:
            group.create_task(press_one(press))


async def prompt(text: str, scale: str, source_image: str | None, options: Options) -> ExitStatus:
    """Make four pictures of a prompt."""
    options.wish.prepare()
    async with open_session(options.key_file) as akool:
        with Board(["prompt"], text, quiet=options.quiet) as board:
            (row,) = board.rows
            show = None if options.as_json else board.print_summary
            async with telling_unfinished(akool, board, lambda row: json.dumps(describe_prompt(row, text)), show):
                await follow(
                    akool,
                    board,
                    row,
                    options.wish,
                    lambda: akool.create_by_prompt(text, scale=scale, source_image=source_image),
                )
        tell_lost_prompt(row)
        tell_account_trouble(board)
        print_results([json.dumps(describe_prompt(row, text))], show)
    return status_of_board(board)


async def result(image_id: str, options: Options) -> ExitStatus:
    """Tell how an image stands, wait for it, save its pictures."""
    error: Exception | None = None
    files: list[Path] = []
    options.wish.prepare()
    async with open_session(options.key_file) as akool:
        image = await _read(akool, image_id, options)
        if image.status == ImageStatus.FAILED:
            error = OperationFailedError(image)
        elif options.wish.folder is not None and not image.is_final:
            raise DownloadError("not finished yet, so there is nothing to save: add --wait").about(
                operation_id=image_id
            )
        elif options.wish.folder is not None:  # pragma: no branch - Python 3.11 counts the block's end as another
            files = await akool.download(image, options.wish.folder)
    told = _describe_result(image, files, error)
    print_results([json.dumps(told)], None if options.as_json else partial(_print_fields, told))
    return ExitStatus.DONE if error is None else status_of(error)


async def credit(options: Options) -> ExitStatus:
    """Tell the balance."""
    async with open_session(options.key_file) as akool:
        balance = await akool.get_credit()
    print_results([json.dumps({"credit": balance}) if options.as_json else f"{balance:.10g}"])
    return ExitStatus.DONE


@asynccontextmanager
async def telling_unfinished(
    akool: AkoolSession, board: Board, describe_json: Callable[[Row], str], show: Callable[[], None] | None
) -> AsyncIterator[None]:
    """If waiting ends early, for whatever reason, print what was paid for on stderr, and on stdout as at a normal end.

    POSTs under way end first.
    """
    try:
        yield
    except BaseException:
        signals.end_undisturbed()
        try:
            await akool.aclose()
        finally:  # a second Ctrl-C included
            errors = akool.unclaimed_errors
            board.leave(akool.unclaimed, errors)
            tell_lost(describe(Outcome(error.press, error=error)) for error in errors if error.press is not None)
            if any(error.press is None for error in errors):
                tell(LOST_PROMPT)
            if board.paid_rows:
                with suppress(OSError):  # what could not be printed is on stderr, and the interruption counts
                    print_results(map(describe_json, board.paid_rows), show)
        raise


def tell_lost(lines: Iterable[Line]) -> None:
    """Which presses were charged, or perhaps, though their id is lost, and what to do next."""
    for text in explain_lost(lines, ids=None, store=None):
        tell(text)


def tell_lost_prompt(row: Row) -> None:
    """The same of a prompt."""
    if row.state in {PressState.LOST, PressState.IN_DOUBT}:
        tell(LOST_PROMPT)


def tell_account_trouble(board: Board) -> None:
    """What kept the account from pressing, and what to do."""
    for text in account_trouble(row.error for row in board.rows):
        tell(text)


def status_of_board(board: Board) -> ExitStatus:
    """What the shell is told of the rows."""
    return gravest(status_of(row.error) for row in board.rows if row.error is not None)


async def _read(akool: AkoolSession, image_id: str, options: Options) -> ImageResult:
    if not options.wish.wait:
        return await akool.get_image_result(image_id)
    with Board(["image"], "waiting", quiet=options.quiet) as board:
        (row,) = board.rows

        async def take_up() -> Operation:
            return akool.operation(image_id)

        await follow(akool, board, row, Wish(timeout=options.wish.timeout), take_up)
    if row.latest is None or not row.latest.is_final:
        raise row.error or AkoolError("no answer")
    return row.latest


def _describe_result(image: ImageResult, files: Sequence[Path], error: Exception | None) -> dict[str, Any]:
    return {
        "id": image.id,
        "ok": image.status == ImageStatus.COMPLETED,
        "status": image.status,
        "prompt": image.prompt,
        "source_image_id": image.source_image_id,
        "button": image.op_button,
        "buttons": image.buttons,
        "used_buttons": image.used_buttons,
        "urls": image.urls,
        "files": [str(file) for file in files],
        "credits": image.deduction_credit,
        "created_at": None if image.created_at is None else image.created_at.isoformat(),
        "expires_at": None if image.expires_at is None else image.expires_at.isoformat(),
        "error": None if error is None else str(error.args[0]),
    }


def _print_fields(told: dict[str, Any]) -> None:
    console = open_console()
    fields = {name: value for name, value in told.items() if value not in (None, "", (), []) and name != "ok"}
    width = max(map(len, fields))
    for name, value in fields.items():
        texts = value if name in {"urls", "files"} else [_show(name, value)]
        for place, text in enumerate(texts):
            print_whole(console, plain(text), label="" if place else name.replace("_", " "), indent=width + 2)


def _show(name: str, value: Any) -> str:  # noqa: ANN401 - whatever AKOOL sent
    if name == "status":
        return f"{value:d} {value.name.lower()}" if isinstance(value, ImageStatus) else str(value)
    if isinstance(value, tuple):
        return " ".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
