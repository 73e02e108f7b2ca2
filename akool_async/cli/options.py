"""Options that several commands take, what they may be, and how a command gets them: as one value."""

from __future__ import annotations

import sys
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from akool_async.cli.account import DEFAULT_CAP, KeyFile
from akool_async.items import read_then

if TYPE_CHECKING:
    from collections.abc import Callable

    from akool_async import Button
    from akool_async.items import Branch

    F = TypeVar("F", bound=Callable[..., Any])

Options = TypeVar("Options")
MAX_NUMBER: Final = 1e9


def typed(kind: Callable[..., Options]) -> Callable[[Callable[[Options], int]], Callable[..., int]]:
    """Give a command its parameters as one value of this class, whose fields are named as they are."""

    def decorate(command: Callable[[Options], int]) -> Callable[..., int]:
        @wraps(command)
        def run(**parameters: Any) -> int:  # noqa: ANN401 - as click passes them
            return command(kind(**parameters))

        return run

    return decorate


class Number(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click only
    """A finite number of at least 0, or above it."""

    name = "number"

    def __init__(self, *, above_zero: bool = False, at_most: float = MAX_NUMBER) -> None:
        self._above_zero = above_zero
        self._at_most = at_most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """The number, which click's own types would let be NaN."""
        number: float = click.FLOAT.convert(value, param, ctx)
        fits = 0 < number <= self._at_most if self._above_zero else 0 <= number <= self._at_most
        if not fits:
            least = "above 0" if self._above_zero else "of at least 0"
            most = "" if self._at_most == MAX_NUMBER else f" and at most {self._at_most:,.0f}"
            self.fail(f"{value} is not a number {least}{most}.", param, ctx)
        return number


class ButtonName(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click only
    """One button, or U*, V* or * for several."""

    name = "button"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[Button]:  # noqa: ANN401
        """The buttons that it names."""
        try:
            branches = read_then(value, self.name)
        except ValueError as error:
            self.fail(str(error).removeprefix(f"{self.name}: "), param, ctx)
        if any(branch.then for branch in branches):
            self.fail(f"{value}: only akool fan-out presses buttons of images that are still to be made.", param, ctx)
        return [branch.button for branch in branches]

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[click.shell_completion.CompletionItem]:
        """The names that begin so."""
        names = ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4", "U*", "V*")
        return [click.shell_completion.CompletionItem(name) for name in names if name.startswith(incomplete.upper())]


class Then(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click only
    """What is pressed on results, such as "U* V1>U*"."""

    name = "buttons"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[Branch, ...]:
        """The branches that it names."""
        try:
            return read_then(value, self.name)
        except ValueError as error:
            self.fail(str(error).removeprefix(f"{self.name}: "), param, ctx)


class Input(click.File):
    """A file to read, or - for stdin."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """The open file."""
        if value == "-" and sys.stdin is None:
            raise click.ClickException("stdin is closed, so there is nothing to read: name a file in place of -")
        return super().convert(value, param, ctx)


def _read_key_file(_: click.Context, __: click.Parameter, path: Path | None) -> KeyFile | None:
    return None if path is None else KeyFile.read(path)


FOLDER: Final = click.Path(file_okay=False, path_type=Path, resolve_path=True)
"""Resolved, so that the names of files in results are valid wherever the next command is started."""
FILE: Final = click.Path(dir_okay=False, path_type=Path)

key_file = click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_read_key_file,
    help="Read the keys from a file, not from the environment.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress on stderr.")
timeout = click.option(
    "--timeout",
    type=Number(above_zero=True),
    metavar="SECONDS",
    help="How long to wait for an operation. It is not cancelled.",
)
download = click.option("--download", type=FOLDER, metavar="DIR", help="Save the pictures there.")
max_concurrent_upscales = click.option(
    "--max-concurrent-upscales",
    type=click.IntRange(min=1),
    default=DEFAULT_CAP,
    show_default=True,
    help="How many upscales may run at AKOOL concurrently.",
)
max_requests_per_second = click.option(
    "--max-requests-per-second",
    type=Number(above_zero=True),
    metavar="RATE",
    help="Maximum requests to AKOOL per second. With a store, all its workers share it; planning and downloading do "
    "not count.",
)
lost_reply_timeout = click.option(
    "--lost-reply-timeout",
    type=Number(),
    metavar="SECONDS",
    help="How long to wait for the id of a press whose reply was lost. After that the press is unknown and its slot is "
    "free. Default: 60.",
)
webhook_url = click.option(
    "--webhook-url",
    metavar="URL",
    help="The public address of your webhook receiver. AKOOL calls it when an image has ended.",
)
open_page = click.option(
    "--open/--no-open",
    "open_page",
    default=True,
    show_default=True,
    help="Open the gallery in a browser, if this is a terminal on a desktop.",
)
store = click.option(
    "--store",
    required=True,
    metavar="URL",
    help="Where presses are recorded: sqlite:///FILE or postgresql://HOST/DATABASE.",
)
account = click.option(
    "--account",
    metavar="NAME",
    help="A fixed name for the account (ASCII letters and digits), for keys that rotate. Default: derived from the "
    "key.",
)


def wait(*, default: bool) -> Callable[[F], F]:
    """--wait and --no-wait."""
    return click.option("--wait/--no-wait", default=default, show_default=True, help="Wait until AKOOL is done.")
