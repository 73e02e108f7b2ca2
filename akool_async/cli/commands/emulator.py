"""`akool emulator`: AKOOL on loopback for other programs."""

from __future__ import annotations

import asyncio
import json

import click

from akool_async.cli import signals
from akool_async.cli.exit_status import ExitStatus
from akool_async.cli.messages import tell
from akool_async.emulator import Emulator, Fault

PAID_ENDPOINTS = ("create_by_button", "create_by_prompt", "create_by_source_prompt")
LOST_REPLY_FAULTS = (Fault.reset("after"), Fault.status(502, "after"))


async def run(
    *,
    port: int,
    speed: float,
    seed: int,
    credit: int,
    plan_concurrency: int | None,
    failure_rate: float,
    lost_replies: float,
    as_json: bool,
) -> ExitStatus:
    """Serve until Ctrl-C, SIGTERM or SIGHUP."""
    emulator = Emulator(
        port=port,
        speed=speed,
        seed=seed,
        credits=credit,
        plan_concurrency=plan_concurrency,
        failure_rate=failure_rate,
    )
    emulator.faults.rate(lost_replies, *LOST_REPLY_FAULTS, endpoints=PAID_ENDPOINTS, seed=seed)
    async with emulator:
        environment, image_id = emulator.environment(), emulator.add_image()
        if as_json:
            click.echo(json.dumps(environment | {"image_id": image_id}))
        else:
            for name, value in environment.items():
                click.echo(f"export {name}={value}")
            click.echo(f"# a finished image to press buttons on: {image_id}")
        tell("AKOOL's image API is emulated; Ctrl-C ends it.")
        await signals.is_stopped_before(asyncio.get_running_loop().create_future())
    ledger = emulator.ledger
    lost = sum(post.charged for post in ledger.posts if post.fault is not None)
    tell(
        f"accepted {ledger.accepted} operations, charged {ledger.charged} credits"
        + (f", {lost} of them for presses and prompts whose reply was lost" if lost else "")
    )
    return ExitStatus.DONE
