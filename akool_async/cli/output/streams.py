"""stdout and stderr: they may be closed, full, or a terminal that is gone. A paid id is printed all the same."""

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
    """A stderr to which a write never fails: that nobody can read it is no reason to end what was paid for."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            return super().write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            super().flush()


def prepare_streams() -> None:
    """Let no message, and no progress that is drawn, fail after the terminal was closed.

    Both streams escape the characters that their encoding lacks, instead of raising UnicodeEncodeError.
    """
    stdout, stderr = sys.stdout, sys.stderr
    if isinstance(stdout, io.TextIOWrapper):
        stdout.reconfigure(errors="backslashreplace")
    if isinstance(stderr, io.TextIOWrapper):
        sys.stderr = _Messages(stderr.buffer, stderr.encoding, "backslashreplace", line_buffering=True)


def require_stdout() -> None:
    """Refuse a closed stdout, to which a write does nothing.

    Raises:
        OSError: it is closed.
    """
    if sys.stdout is None:
        raise OSError(errno.EBADF, "stdout is closed")


@contextmanager
def naming_stdout() -> Iterator[None]:
    """Let an error of a write say where it could not be written."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, error.filename or "stdout") from None


def print_line(text: str) -> None:
    """Print a line on stdout immediately.

    Raises:
        OSError: it could not be written.
    """
    require_stdout()
    with naming_stdout():
        print(text, flush=True)  # noqa: T201 - results go to stdout


def print_results(lines: Iterable[str], show: Callable[[], None] | None = None) -> None:
    """Print results on stdout: as these lines, or in the way that ``show`` prints them for people.

    Raises:
        OSError: they could not be written; the lines are on stderr.
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
