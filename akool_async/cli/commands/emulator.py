"""`akool emulator`: serve the emulator on this machine for other programs."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import click
from attrs import frozen

from akool_async.cli import options, signals
from akool_async.cli.exit_status import ExitStatus
from akool_async.cli.output.stderr import print_message
from akool_async.emulator import Emulator, Fault

PAID_ENDPOINTS: Final = ("create_by_button", "create_by_prompt", "create_by_source_prompt")
LOST_REPLY_FAULTS: Final = (Fault.reset("after"), Fault.status(502, "after"))


@frozen(kw_only=True)
class EmulatorOptions:
    """The options of `akool emulator`."""

    port: int
    speed: float
    seed: int
    credit: int
    plan_concurrency: int | None
    failure_rate: float
    lost_replies: float
    as_json: bool


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8123, show_default=True)
@click.option(
    "--speed",
    type=options.Number(above_zero=True),
    default=1.0,
    show_default=True,
    help="How many times faster than AKOOL it works.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of random durations, failures and keys.")
@click.option("--credits", "credit", type=click.IntRange(min=0), default=10_000, show_default=True)
@click.option("--plan-concurrency", type=click.IntRange(min=1), help="Refuse more concurrent operations with 1005.")
@click.option(
    "--failure-rate",
    type=options.Number(at_most=1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the jobs, 0 to 1, that end as failed (status 4).",
)
@click.option(
    "--lost-replies",
    type=options.Number(at_most=1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Share of the paid POSTs, 0 to 1, that are accepted and charged but whose reply is lost.",
)
@options.as_json
@options.typed(EmulatorOptions)
def emulator(options: EmulatorOptions) -> int:
    """Serve AKOOL's image API on this machine until Ctrl-C.

    Nothing is spent. The command prints the environment variables that point the
    library at the emulator, with the client id and secret that sign its webhooks.
    Saved to a file, they also serve as --key-file of the other commands.

    Use failed jobs and lost replies to rehearse what a batch does about them.
    """
    return signals.run(run(options))


async def run(options: EmulatorOptions) -> ExitStatus:
    """Serve until Ctrl-C, SIGTERM or SIGHUP."""
    emulator = Emulator(
        port=options.port,
        speed=options.speed,
        seed=options.seed,
        credits=options.credit,
        plan_concurrency=options.plan_concurrency,
        failure_rate=options.failure_rate,
    )
    emulator.faults.rate(options.lost_replies, *LOST_REPLY_FAULTS, endpoints=PAID_ENDPOINTS, seed=options.seed)
    async with emulator:
        environment, image_id = emulator.environment(), emulator.add_image()
        if options.as_json:
            click.echo(json.dumps(environment | {"image_id": image_id}))
        else:
            for name, value in environment.items():
                click.echo(f"export {name}={value}")
            click.echo(f"# a finished image to press buttons on: {image_id}")
        print_message("The emulator is running; Ctrl-C ends it.")
        await signals.is_stopped_before(asyncio.get_running_loop().create_future())
    ledger = emulator.ledger
    lost = sum(post.charged for post in ledger.posts if post.fault is not None)
    print_message(
        f"accepted {ledger.accepted} operations, charged {ledger.charged} credits"
        + (f", {lost} of them for presses and prompts whose reply was lost" if lost else "")
    )
    return ExitStatus.DONE
