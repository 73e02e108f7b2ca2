"""`akool emulator`: AKOOL on loopback for other programs."""

from __future__ import annotations

import asyncio
import json

import click

from akool_async.cli import _interrupts
from akool_async.cli._exit import ExitStatus
from akool_async.cli._words import tell
from akool_async.emulator import Emulator


async def run(
    *, port: int, speed: float, seed: int, credit: int, plan_concurrency: int | None, as_json: bool
) -> ExitStatus:
    """Serve until Ctrl-C, SIGTERM or SIGHUP."""
    emulator = Emulator(port=port, speed=speed, seed=seed, credits=credit, plan_concurrency=plan_concurrency)
    async with emulator:
        environment, image_id = emulator.environment(), emulator.add_image()
        if as_json:
            click.echo(json.dumps(environment | {"image_id": image_id}))
        else:
            for name, value in environment.items():
                click.echo(f"export {name}={value}")
            click.echo(f"# a finished image to press buttons on: {image_id}")
        tell("AKOOL's image API is emulated; Ctrl-C ends it.")
        await _interrupts.is_stopped_before(asyncio.get_running_loop().create_future())
    ledger = emulator.ledger
    tell(f"accepted {ledger.accepted} operations, charged {ledger.charged} credits")
    return ExitStatus.DONE
