"""The options that several commands share, and the types of their values."""

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
"""The largest number that an option takes, if it has no other limit."""


def typed(kind: Callable[..., Options]) -> Callable[[Callable[[Options], int]], Callable[..., int]]:
    """Pass a command its parameters as one value of a class with fields of the same names."""

    def decorate(command: Callable[[Options], int]) -> Callable[..., int]:
        @wraps(command)
        def run(**parameters: Any) -> int:  # noqa: ANN401 - click passes any types
            return command(kind(**parameters))

        return run

    return decorate


class Number(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click only
    """A finite number, at least 0 or above 0."""

    name = "number"

    def __init__(self, *, above_zero: bool = False, at_most: float = MAX_NUMBER) -> None:
        self._above_zero = above_zero
        self._at_most = at_most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the number. Unlike click's own types, this one refuses NaN."""
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
        """Return the buttons that a name stands for."""
        try:
            branches = read_then(value, self.name)
        except ValueError as error:
            self.fail(str(error).removeprefix(f"{self.name}: "), param, ctx)
        if any(branch.then for branch in branches):
            self.fail(f"{value}: only akool fan-out presses buttons on the results of other presses.", param, ctx)
        return [branch.button for branch in branches]

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[click.shell_completion.CompletionItem]:
        """Return the names that begin with what was typed."""
        names = ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4", "U*", "V*")
        return [click.shell_completion.CompletionItem(name) for name in names if name.startswith(incomplete.upper())]


class Then(click.ParamType):  # type: ignore[type-arg,unused-ignore]  # generic in newer versions of click only
    """The buttons to press on results, such as "U* V1>U*"."""

    name = "buttons"

    def convert(
        self,
        value: Any,  # noqa: ANN401
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[Branch, ...]:
        """Return the branches."""
        try:
            return read_then(value, self.name)
        except ValueError as error:
            self.fail(str(error).removeprefix(f"{self.name}: "), param, ctx)


class Input(click.File):
    """A file to read; - is stdin."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Open the file."""
        if value == "-" and sys.stdin is None:
            raise click.ClickException("stdin is closed, so there is nothing to read: name a file instead of -")
        return super().convert(value, param, ctx)


def _read_key_file(_: click.Context, __: click.Parameter, path: Path | None) -> KeyFile | None:
    return None if path is None else KeyFile.read(path)


FOLDER: Final = click.Path(file_okay=False, path_type=Path, resolve_path=True)
"""A folder as an absolute path, so that the file names in results are valid in every working directory."""
FILE: Final = click.Path(dir_okay=False, path_type=Path)

key_file = click.option(
    "--key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    callback=_read_key_file,
    help="Read the keys from this file instead of the environment.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for machines.")
quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress on stderr.")
timeout = click.option(
    "--timeout",
    type=Number(above_zero=True),
    metavar="SECONDS",
    help="How long to wait for an operation. After that it still runs at AKOOL.",
)
download = click.option("--download", type=FOLDER, metavar="DIR", help="Save the pictures in this folder.")
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
    help="How long to wait for the id of a press whose reply was lost. After that the press counts as unknown and its "
    "slot is free. Default: 60.",
)
webhook_url = click.option(
    "--webhook-url",
    metavar="URL",
    help="The public address of your webhook receiver. AKOOL calls it when an image is completed or has failed.",
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
    help="The store that records the presses: sqlite:///FILE or postgresql://HOST/DATABASE.",
)
account = click.option(
    "--account",
    metavar="NAME",
    help="A fixed name for the account (ASCII letters and digits), for keys that rotate. Default: derived from the "
    "key.",
)


def wait(*, default: bool) -> Callable[[F], F]:
    """Return the option --wait/--no-wait."""
    return click.option(
        "--wait/--no-wait", default=default, show_default=True, help="Wait until the image is completed or has failed."
    )
