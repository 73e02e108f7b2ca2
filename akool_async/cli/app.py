"""The command's tree, and errors in a person's words."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING, Any

import click

from akool_async import AkoolError, Button, __version__
from akool_async.cli import options, signals
from akool_async.cli.batch import options as _batch_options
from akool_async.cli.batch.output_file import ResultsError
from akool_async.cli.commands import demo as _demo
from akool_async.cli.commands import emulator as _emulator
from akool_async.cli.commands import fan_out as _fan_out
from akool_async.cli.commands import images, recorded
from akool_async.cli.exit_status import ExitStatus, status_of
from akool_async.cli.following.follow import Wish
from akool_async.cli.messages import LogLines, explain, tell, tell_usage
from akool_async.cli.output.streams import let_go_of_stdout, prepare_streams

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from akool_async.cli.account import KeyFile


def run(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit status."""
    prepare_streams()
    logging.basicConfig(handlers=[LogLines()])
    try:
        status = akool.main(args=arguments, prog_name="akool", standalone_mode=False)
    except click.UsageError as error:
        tell_usage(error)
        status = ExitStatus.USAGE
    except (click.Abort, KeyboardInterrupt, asyncio.CancelledError):
        tell("interrupted")
        status = ExitStatus.INTERRUPTED
    except (click.ClickException, AkoolError, OSError, ResultsError, ModuleNotFoundError) as error:
        tell(f"akool: {explain(error)}")
        status = status_of(error, otherwise=ExitStatus.ERROR)
    except ValueError as error:
        tell(f"akool: {error}")
        status = ExitStatus.ERROR if isinstance(error, UnicodeError) else ExitStatus.USAGE
    let_go_of_stdout()
    return status if isinstance(status, int) else ExitStatus.DONE


class _Commands(click.Group):
    """The commands, of which none ends silently because the reader of its results has gone, as click's own would."""

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - as in click
        """Run a command."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise click.ClickException(explain(error)) from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, prog_name="akool")
def akool() -> None:
    """Press AKOOL's image buttons: U1-U4 upscale one of four pictures to 4K, V1-V4
    vary one.

    Keys are read from AKOOL_API_KEY, or from AKOOL_CLIENT_ID and
    AKOOL_CLIENT_SECRET, or from --key-file. Results go to stdout, all else to
    stderr.

    \b
    Exit status: 0 done, 1 error, 2 wrong usage, 3 some jobs failed, 4 timed out
    (not cancelled), 5 an outcome is unknown, 130 interrupted.
    """  # noqa: D301 - the backspace is click's word for a paragraph that stays as it is


@akool.command("fan-out")
@click.argument("file", type=options.Input("rb"))
@click.option("--yes", is_flag=True, help="Press. Without it nothing is spent: the plan is printed.")
@click.option("-o", "--output", type=options.FILE, help="A line of JSON per press; run again, it does what is missing.")
@click.option(
    "--max-credits", type=options.Number(), metavar="CREDITS", help="Be charged no more than this, in this run."
)
@click.option("--reserve", type=options.Number(), metavar="CREDITS", help="Keep this much of the balance as it is now.")
@click.option(
    "--store", metavar="URL", help="Record the presses there (sqlite:///FILE or postgresql://HOST/DATABASE) first."
)
@options.account
@options.max_concurrent_upscales
@options.max_requests_per_second
@options.timeout
@options.download
@click.option("--gallery", type=options.FILE, help="Write a page that shows all of it.")
@options.key_file
@options.as_json
@options.quiet
def fan_out(**options: Any) -> int:  # noqa: ANN401 - click's parameters, handed on by name
    """Plan the presses in FILE, and press them with --yes.

    FILE is CSV with a header image_id,button, or JSONL with the same keys; - is
    stdin. A button may be a list, such as "U1 V2", or U*, V* or *.

    With --store, presses survive whatever ends this run, are carried out by every
    akool worker as well, under one cap, and the same file goes on when run again.
    """
    if options["store"] is not None and options["timeout"] is not None:
        raise click.UsageError("--timeout does not go with --store: recorded presses are carried out to their end")
    if options["account"] is not None and options["store"] is None:
        raise click.UsageError("--account goes with --store: it names whose the recorded presses are")
    file: BinaryIO = options.pop("file")
    if options["key_file"] is not None and options["key_file"].is_open_as(file.fileno()):
        raise click.UsageError("FILE and --key-file are the same file or pipe, which can be read for one of them alone")
    try:
        content = file.read()  # here, where Ctrl-C ends it
    except OSError as error:
        raise click.FileError(file.name, error.strerror) from None
    return signals.run(_fan_out.run(_batch_options.Options(content=content, name=file.name, **options)))


@akool.command()
@click.argument("image_id")
@click.argument("button", nargs=-1, required=True, type=options.ButtonName())
@options.wait(default=True)
@options.timeout
@options.download
@options.max_concurrent_upscales
@options.key_file
@options.as_json
@options.quiet
def press(
    image_id: str,
    button: Sequence[list[Button]],
    max_concurrent_upscales: int,
    **options: Any,  # noqa: ANN401
) -> int:
    """Press buttons of an image. Costs credits.

    A BUTTON is one of U1-U4 and V1-V4, or U*, V* or * for several, or a list.
    """
    buttons = list(dict.fromkeys(one for several in button for one in several))
    return signals.run(images.press(image_id, buttons, max_concurrent_upscales, _read(options)))


@akool.command()
@click.argument("text")
@click.option("--scale", default="1:1", show_default=True, metavar="W:H", help="Such as 16:9 or 3:4.")
@click.option("--source-image", metavar="URL", help="Begin with this picture.")
@options.wait(default=True)
@options.timeout
@options.download
@options.key_file
@options.as_json
@options.quiet
def prompt(text: str, scale: str, source_image: str | None, **options: Any) -> int:  # noqa: ANN401
    """Make four pictures of TEXT. Costs credits."""
    return signals.run(images.prompt(text, scale, source_image, _read(options)))


@akool.command()
@click.argument("image_id", metavar="ID")
@options.wait(default=False)
@options.timeout
@options.download
@options.key_file
@options.as_json
@options.quiet
def result(image_id: str, **options: Any) -> int:  # noqa: ANN401
    """Tell how an image stands, of a prompt or of a press."""
    return signals.run(images.result(image_id, _read(options, is_new=False)))


@akool.command()
@options.key_file
@options.as_json
def credit(**options: Any) -> int:  # noqa: ANN401
    """Tell the account's balance in credits."""
    return signals.run(images.credit(images.Options(**options)))


@akool.command()
@options.store
@options.account
@click.option("--until-empty", is_flag=True, help="End when no press is open, rather than wait for more.")
@options.max_requests_per_second
@click.option("--webhook-url", metavar="URL", help="Where AKOOL is to call back.")
@click.option(
    "--lost-reply-timeout",
    type=options.Number(),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a press whose reply was lost keeps its slot, before it is told as unknown.",
)
@options.max_concurrent_upscales
@options.key_file
@options.quiet
def worker(**options: Any) -> int:  # noqa: ANN401
    """Carry out the presses that are recorded in a state.

    Start as many as you like, on as many machines as reach the state: the cap is
    theirs together. Ctrl-C or SIGTERM ends one: no new presses, and what runs at
    AKOOL is left to the others, or the next.
    """
    return signals.run(recorded.work(**options))


@akool.command()
@click.argument("states", nargs=-1, type=click.Choice(["open", "done", "failed", "unknown"]))
@options.store
@options.account
@options.key_file
@options.as_json
def jobs(**options: Any) -> int:  # noqa: ANN401
    """Tell how recorded presses stand, and list those that are not done.

    With STATES, those in these states alone.
    """
    return signals.run(recorded.show(**options))


@akool.command()
@click.argument("image_id")
@click.argument("button", type=click.Choice(list(Button)))
@options.store
@options.account
@click.option("--id", "operation_id", metavar="ID", help="AKOOL took it, and this is the new image's id.")
@click.option("--retry", is_flag=True, help="Press, unless AKOOL says that the button is used.")
@click.option("--abandon", is_flag=True, help="Count it as failed.")
@options.key_file
def resolve(**options: Any) -> int:  # noqa: ANN401
    """Settle a recorded press whose outcome is unknown."""
    return signals.run(recorded.resolve(**options))


@akool.command()
@options.store
@options.account
@click.option("--days", type=options.Number(at_most=36_500), required=True, help="Forget what ended longer ago.")
@options.key_file
def prune(**options: Any) -> int:  # noqa: ANN401
    """Forget recorded presses that are done or have failed."""
    return signals.run(recorded.prune(**options))


@akool.command()
@click.option("--folder", type=options.FOLDER, default="akool-demo", show_default=True)
@click.option("--prompt", default="a lighthouse in a storm, oil on canvas", show_default=True)
@click.option("--max-concurrent-upscales", type=click.IntRange(min=1), default=2, show_default=True)
@click.option(
    "--speed",
    type=options.Number(above_zero=True),
    default=6.0,
    show_default=True,
    help="How many times faster than AKOOL the emulator works.",
)
@click.option("--live", is_flag=True, help="Use the real AKOOL. Costs credits.")
@click.option("--yes", is_flag=True, help="With --live: do not ask before spending.")
@click.option("--webhook", is_flag=True, help="Be told by webhooks instead of asking. Not with --live.")
@options.key_file
@options.as_json
@options.quiet
def demo(**options: Any) -> int:  # noqa: ANN401
    """Make an image, press its eight buttons, save it all.

    Without an account: AKOOL is emulated on this machine.
    """
    if options["webhook"] and options["live"]:
        raise click.UsageError("--webhook needs an address that AKOOL can reach; it goes with the emulator alone")
    if options["key_file"] is not None and not options["live"]:
        raise click.UsageError("--key-file goes with --live alone: the emulator has a key of its own")
    if options["live"] and not options["yes"]:
        _require_answers(options["key_file"])
    return signals.run(_demo.run(_demo.Options(**options)))


@akool.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8123, show_default=True)
@click.option(
    "--speed",
    type=options.Number(above_zero=True),
    default=1.0,
    show_default=True,
    help="How many times faster than AKOOL it works.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws durations, failures and keys.")
@click.option("--credits", "credit", type=click.IntRange(min=0), default=10_000, show_default=True)
@click.option("--plan-concurrency", type=click.IntRange(min=1), help="Refuse more at once with 1005.")
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
    help="Share of the paid POSTs, 0 to 1, that are accepted and charged, and whose reply is lost.",
)
@options.as_json
def emulator(**options: Any) -> int:  # noqa: ANN401
    """Serve AKOOL's image API on this machine until Ctrl-C.

    Nothing is spent. Prints the environment that points the library at it, which
    --key-file reads too, with the client id and secret that sign its webhooks.

    Failed jobs and lost replies let you rehearse what a batch does about them.
    """
    return signals.run(_emulator.run(**options))


def _require_answers(key_file: KeyFile | None) -> None:
    """Someone must be able to say yes or no to a question."""
    if sys.stdin is None:
        raise click.ClickException("stdin is closed, so nobody can be asked before credits are spent: add --yes")
    if key_file is not None and key_file.is_open_as(sys.stdin.fileno()):
        raise click.UsageError("--key-file is stdin, so nobody can be asked before credits are spent: add --yes")


def _read(options: dict[str, Any], *, is_new: bool = True) -> images.Options:
    wait, timeout, download = options.pop("wait"), options.pop("timeout"), options.pop("download")
    if not wait and timeout is not None:
        raise click.UsageError("--timeout goes with --wait")
    if not wait and download is not None and is_new:
        raise click.UsageError("--download goes with --wait: nothing is made yet")
    return images.Options(**options, wish=Wish(wait=wait, timeout=timeout, folder=download))
