"""The command's tree, and errors in a person's words."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from akool_async import AkoolError, OperationFailedError, OutcomeUnknownError, WaitTimeoutError, __version__
from akool_async.cli import _demo, _emulator
from akool_async.cli._exit import ExitStatus

_STATUS_OF_ERROR = {
    OperationFailedError: ExitStatus.SOME_FAILED,
    WaitTimeoutError: ExitStatus.TIMED_OUT,
    OutcomeUnknownError: ExitStatus.OUTCOME_UNKNOWN,
}


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        status = akool.main(args=arguments, prog_name="akool", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return ExitStatus.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return ExitStatus.INTERRUPTED
    except (AkoolError, ValueError, OSError) as error:
        click.echo(f"akool: {error}", err=True)
        return _STATUS_OF_ERROR.get(type(error), ExitStatus.ERROR)
    return status if isinstance(status, int) else ExitStatus.DONE


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="akool")
def akool() -> None:
    """Press AKOOL's image buttons: U1-U4 upscale to 4K, V1-V4 vary."""


@akool.command()
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), default="akool-demo", show_default=True)
@click.option("--prompt", default="a lighthouse in a storm, oil on canvas", show_default=True)
@click.option("--max-concurrent-upscales", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=4.0,
    show_default=True,
    help="How many times faster than AKOOL the emulator works.",
)
@click.option("--live", is_flag=True, help="Use the real AKOOL and the credentials in the environment. Costs credits.")
@click.option("--yes", is_flag=True, help="With --live: do not ask before spending.")
@click.option("--webhook", is_flag=True, help="Be told by webhooks instead of asking. Not with --live.")
def demo(**options: Any) -> int:  # noqa: ANN401 - click's parameters, handed on by name
    """Make an image, press its eight buttons, save all pictures.

    Without an account: AKOOL is emulated on this machine.
    """
    if options["webhook"] and options["live"]:
        raise click.UsageError("--webhook needs an address that AKOOL can reach; it goes with the emulator alone")
    return asyncio.run(_demo.run(_demo.Options(**options)))


@akool.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8123, show_default=True)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="How many times faster than AKOOL it works.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws durations, ids and keys.")
@click.option("--credits", "credit", type=click.IntRange(min=0), default=10_000, show_default=True)
@click.option("--plan-concurrency", type=click.IntRange(min=1), help="Refuse more at once with 1005.")
def emulator(**options: Any) -> int:  # noqa: ANN401 - click's parameters, handed on by name
    """Serve AKOOL's image API on this machine until Ctrl-C.

    Nothing is spent. Prints the environment that points the library at it.
    """
    return asyncio.run(_emulator.run(**options))
