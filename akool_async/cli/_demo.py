"""`akool demo`: the main job in one go, against the emulator or, when asked to, the real AKOOL."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import click
from aiohttp import web
from attrs import define, frozen

from akool_async import AkoolError, AkoolSession, ApiKey, Button, Operation
from akool_async.cli._board import Board, Row
from akool_async.cli._exit import ExitStatus
from akool_async.emulator import Emulator
from akool_async.webhooks import WebhookVerifier
from akool_async.webhooks.aiohttp import webhook_handler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


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


async def run(options: Options) -> int:
    """Make an image of a prompt, press its eight buttons, save every picture; returns the exit status."""
    async with _open_session(options) as akool:
        if options.live:
            await _ask_before_spending(akool, yes=options.yes)
        title = f"{options.prompt} (at most {options.max_concurrent_upscales} upscales at once)"
        # Before anything is spent: a folder that cannot be made would leave paid pictures without a place.
        await asyncio.to_thread(options.folder.mkdir, parents=True, exist_ok=True)
        with Board(["prompt", *Button], title) as board:
            try:
                await _make_and_press(akool, board, options)
            except asyncio.CancelledError:
                board.tell_unfinished()
                raise
    board.print_summary(options.folder)
    counters = akool.counters()
    click.echo(
        f"AKOOL was asked {counters.polls} times how {counters.finished} operations stand, and their ends were noticed "
        f"{counters.lateness:.2f} s late on average" + (", with a webhook." if options.webhook else "."),
        err=True,
    )
    if not options.live:
        click.echo("With an account: export AKOOL_API_KEY=..., then akool demo --live (costs credits).", err=True)
    return ExitStatus.SOME_FAILED if any(row.error for row in board.rows) else ExitStatus.DONE


@asynccontextmanager
async def _open_session(options: Options) -> AsyncIterator[AkoolSession]:
    cap = options.max_concurrent_upscales
    if options.live:
        async with AkoolSession(max_concurrent_upscales=cap) as akool:
            yield akool
        return
    async with Emulator(speed=options.speed) as emulator, _open_door(emulator, wanted=options.webhook) as door:
        click.echo(f"AKOOL is emulated at {emulator.base_url}: no account, nothing is spent.", err=True)
        auth, webhook_url = ApiKey(emulator.api_key), door.url
        async with AkoolSession(
            auth, base_url=emulator.base_url, max_concurrent_upscales=cap, webhook_url=webhook_url
        ) as akool:
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
    question = f"Make 1 image and press its {len(Button)} buttons? The account has {credit:g} credits."
    if not yes and not await asyncio.to_thread(click.confirm, question, err=True):
        raise click.Abort


async def _make_and_press(akool: AkoolSession, board: Board, options: Options) -> None:
    async def follow(name: str, begin: Callable[[], Awaitable[Operation]]) -> Row:
        row = board.row(name)
        try:
            operation = await begin()
            row.begin(operation)
            async for snapshot in operation.updates():
                row.see(snapshot.status)
                board.changed(row)
            result = await operation.wait_until_complete()
            row.complete(await akool.download(result, options.folder))
        except (AkoolError, OSError) as error:
            row.fail(str(error))
        board.changed(row)
        return row

    source = await follow("prompt", lambda: akool.create_by_prompt(options.prompt))
    if source.error:
        return

    async def press(button: Button) -> Operation:
        return await akool.create_by_button(source.id, button)

    async with asyncio.TaskGroup() as group:
        for button in Button:
            group.create_task(follow(button, partial(press, button)))
