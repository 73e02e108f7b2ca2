"""stdout and stderr, which may be closed, full, or a closed terminal. Paid ids are printed in any case."""

from __future__ import annotations

import errno
import io
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from akool_async.cli.output.stderr import print_message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


class _Messages(io.TextIOWrapper):
    """A stderr whose writes never fail, so that paid work continues although nobody reads the messages."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def prepare_streams() -> None:
    """Make writes to stderr never fail, and make both streams escape characters that their encoding lacks."""
    stdout, stderr = sys.stdout, sys.stderr
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")
    if isinstance(stderr, io.TextIOWrapper):
        sys.stderr = _Messages(stderr.buffer, stderr.encoding, "backslashreplace", line_buffering=True)


def require_stdout() -> None:
    """Raise if stdout is closed, since a write would do nothing.

    Raises:
        OSError: stdout is closed.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "stdout is closed")


@contextmanager
def naming_stdout() -> Iterator[None]:
    """Make an ``OSError`` of a write name stdout."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or "stdout") from None


def print_line(text: str) -> None:
    """Print a line on stdout immediately.

    Raises:
        OSError: The line could not be written.
    """
    require_stdout()
    with naming_stdout():
        print(text, flush=True)  # noqa: T201 - results go to stdout


def print_results(lines: Iterable[str], show: Callable[[], None] | None = None) -> None:
    """Print results on stdout.

    Args:
        lines: The results as lines.
        show: Prints the results for people instead of the lines.

    Raises:
        OSError: The results could not be written. The lines are on stderr.
    """
    lines = list(lines)
    try:
        require_stdout()
        if show is not None:
            with naming_stdout():
                show()
        else:
            for line in lines:
                print_line(line)
    except (OSError, ValueError) as error:
        for line in lines:
            print_message(line)
        raise error if isinstance(error, OSError) else OSError(errno.EIO, f"stdout: {error}") from error
