"""`akool demo`: the main job in one go, against the emulator or, when asked to, the real AKOOL."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import click
from aiohttp import web
from attrs import define, frozen

from akool_async import AkoolSession, Button, ButtonPress
from akool_async.cli import signals
from akool_async.cli.account import open_session
from akool_async.cli.commands.images import (
    press_all,
    status_of_board,
    tell_account_trouble,
    tell_lost,
    tell_lost_prompt,
    telling_unfinished,
)
from akool_async.cli.exit_status import after_spending
from akool_async.cli.following.follow import Wish, follow
from akool_async.cli.following.live_table import Board
from akool_async.cli.gallery.page import Contents, write_gallery
from akool_async.cli.messages import amount
from akool_async.cli.output.places import prepare_page
from akool_async.cli.output.streams import print_results
from akool_async.emulator import Emulator
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from akool_async.cli.account import KeyFile
    from akool_async.cli.exit_status import ExitStatus


GALLERY: Final = "gallery.html"


@frozen(kw_only=True)
class Options:
    """What the command line told."""

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


async def run(options: Options) -> ExitStatus:
    """Make an image of a prompt, press its eight buttons, save every picture; returns the exit status."""
    async with _open_session(options) as akool:
        if options.live:
            await _ask_before_spending(akool, yes=options.yes)
        title = f"{options.prompt} (at most {options.max_concurrent_upscales} upscales at once)"
        wish = Wish(folder=options.folder)
        wish.prepare()
        prepare_page(options.folder / GALLERY)
        with Board(["prompt", *Button], title, quiet=options.quiet) as board:
            source = board.row("prompt")
            show = None if options.as_json else partial(board.print_summary, options.folder)
            async with telling_unfinished(akool, board, lambda row: board.describe(row, source.id).to_json(), show):
                await _make_and_press(akool, board, options.prompt, wish)
        tell_lost_prompt(source)
        lines = [board.describe(row, source.id) for row in board.rows]
        tell_lost(lines[1:])
        tell_account_trouble(board)
        print_results((line.to_json() for line in lines), show)
        with after_spending():
            page = await _show(akool, board, options)
    if page is not None:
        click.echo(f"All of it on one page: {page.resolve().as_uri()}", err=True)
    counters = akool.counters()
    click.echo(
        f"AKOOL was asked {counters.polls} times how {counters.finished} operations stand, and their ends were noticed "
        f"{counters.lateness:.2f} s late on average" + (", with a webhook." if options.webhook else "."),
        err=True,
    )
    if not options.live:
        click.echo("With an account: export AKOOL_API_KEY=..., then akool demo --live (costs credits).", err=True)
    return status_of_board(board)


@asynccontextmanager
async def _open_session(options: Options) -> AsyncIterator[AkoolSession]:
    cap = options.max_concurrent_upscales
    if options.live:
        async with open_session(options.key_file, max_concurrent_upscales=cap) as akool:
            yield akool
        return
    async with Emulator(speed=options.speed) as emulator, _open_door(emulator, wanted=options.webhook) as door:
        click.echo(f"AKOOL is emulated at {emulator.base_url}: no account, nothing is spent.", err=True)
        async with emulator.session(max_concurrent_upscales=cap, webhook_url=door.url) as akool:
            door.open(akool)
            yield akool


@define
class _Door:
    """Where AKOOL calls back to; it opens once the session is there."""

    verifier: WebhookVerifier
    url: str | None = None
    _handler: Callable[[web.Request], Awaitable[web.Response]] | None = None

    def open(self, akool: AkoolSession) -> None:
        """Take callbacks in."""
        self._handler = webhook_handler(akool, self.verifier)

    async def handle(self, request: web.Request) -> web.Response:
        """One callback."""
        return web.Response(status=503) if self._handler is None else await self._handler(request)


@asynccontextmanager
async def _open_door(emulator: Emulator, *, wanted: bool) -> AsyncIterator[_Door]:
    door = _Door(WebhookVerifier(emulator.client_id, emulator.client_secret))
    if not wanted:
        yield door
        return
    application = web.Application()
    application.router.add_post("/akool", door.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        door.url = f"http://127.0.0.1:{runner.addresses[0][1]}/akool"
        yield door
    finally:
        await runner.cleanup()


async def _ask_before_spending(akool: AkoolSession, *, yes: bool) -> None:
    credit = await akool.get_credit()
    question = f"Make 1 image and press its {len(Button)} buttons? The account has {amount(credit)} credits."
    if not yes:
        with signals.uncaught():  # nothing else runs yet
            click.confirm(question, err=True, abort=True)


async def _make_and_press(akool: AkoolSession, board: Board, prompt: str, wish: Wish) -> None:
    source = board.row("prompt")
    await follow(akool, board, source, wish, lambda: akool.create_by_prompt(prompt))
    if source.error is None:
        await press_all(akool, board, [ButtonPress(source.id, button) for button in Button], wish)


async def _show(akool: AkoolSession, board: Board, options: Options) -> Path | None:
    """The gallery; None where there is no image to show."""
    source = board.row("prompt")
    if source.result is None:
        return None
    rows = [board.row(button) for button in Button]
    contents = Contents(
        title=options.prompt,
        image_ids=[source.id],
        sources={source.id: source.result},
        files={source.id: source.files[-1]} if source.files else {},
        lines={ButtonPress(source.id, row.name): board.describe(row, source.id) for row in rows},
        seconds={row.id: row.seconds for row in rows if row.seconds is not None},
    )
    page = options.folder / GALLERY
    await write_gallery(page, akool, contents)
    return page
