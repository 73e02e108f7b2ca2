"""The commands. Each ends with an exit status, and with a message if it fails."""

from __future__ import annotations

import asyncio
import logging

import click

from akool_async import AkoolError, __version__
from akool_async.cli.batch.locking import OutputFileError
from akool_async.cli.commands.credit import credit
from akool_async.cli.commands.demo import demo
from akool_async.cli.commands.emulator import emulator
from akool_async.cli.commands.fan_out import fan_out
from akool_async.cli.commands.jobs import jobs, prune, resolve
from akool_async.cli.commands.press import press
from akool_async.cli.commands.prompt import prompt
from akool_async.cli.commands.result import result
from akool_async.cli.commands.worker import worker
from akool_async.cli.exit_status import ExitStatus, status_of
from akool_async.cli.messages import explain
from akool_async.cli.output.broken_pipe import PipeAwareGroup, release_stdout
from akool_async.cli.output.stderr import LogLines, print_error, print_message, print_usage_error, use_formatter
from akool_async.cli.output.streams import prepare_streams


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    prepare_streams()
    use_formatter(None)  # `akool worker` may choose another one
    logging.basicConfig(handlers=[LogLines()])
    try:
        status = akool.main(args=arguments, prog_name="akool", standalone_mode=False)
    except click.UsageError as error:
        print_usage_error(error)
        status = ExitStatus.USAGE
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        print_message("interrupted")
        status = ExitStatus.INTERRUPTED
    except (click.ClickException, AkoolError, OSError, OutputFileError, ModuleNotFoundError) as error:
        print_error(explain(error))
        status = status_of(error, otherwise=ExitStatus.ERROR)
    except ValueError as error:
        print_error(str(error))
        status = ExitStatus.ERROR if isinstance(error, UnicodeError) else ExitStatus.USAGE
    release_stdout()
    return status if isinstance(status, int) else ExitStatus.DONE


@click.group(cls=PipeAwareGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="akool")
def akool() -> None:
    """Press AKOOL's image buttons: U1-U4 upscale one of four pictures to 4K, V1-V4
    vary one.

    Keys are read from AKOOL_API_KEY, or from AKOOL_CLIENT_ID and
    AKOOL_CLIENT_SECRET, or from --key-file. Results go to stdout, everything else
    to stderr.

    \b
    Exit status: 0 done, 1 error, 2 wrong usage, 3 some jobs failed, 4 timed out
    (not cancelled), 5 an outcome is unknown, 130 interrupted.
    """  # noqa: D301 - with \b, click does not wrap the paragraph


for command in (credit, demo, emulator, fan_out, jobs, press, prompt, prune, resolve, result, worker):
    akool.add_command(command)
