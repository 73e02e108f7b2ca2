"""`akool emulator`: AKOOL on loopback for other programs."""

from __future__ import annotations

import asyncio
import json
import signal

import click

from akool_async.cli._exit import ExitStatus
from akool_async.emulator import Emulator


async def run(
    *, port: int, speed: float, seed: int, credit: int, plan_concurrency: int | None, as_json: bool
) -> ExitStatus:
    """Serve until SIGINT or SIGTERM."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for stop_signal in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(stop_signal, asked_to_stop.set)
    emulator = Emulator(port=port, speed=speed, seed=seed, credits=credit, plan_concurrency=plan_concurrency)
    async with emulator:
        environment, image_id = emulator.environment(), emulator.add_image()
        if as_json:
            click.echo(json.dumps(environment | {"image_id": image_id}))
        else:
            for name, value in environment.items():
                click.echo(f"export {name}={value}")
            click.echo(f"# a finished image to press buttons on: {image_id}")
        click.echo("AKOOL's image API is emulated; Ctrl-C ends it.", err=True)
        await asked_to_stop.wait()
    ledger = emulator.ledger
    click.echo(f"accepted {ledger.accepted} operations, charged {ledger.charged} credits", err=True)
    return ExitStatus.DONE
