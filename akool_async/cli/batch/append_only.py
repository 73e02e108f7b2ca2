"""A file to which whole lines are appended."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class AppendOnlyFile:
    """A file to which lines are appended: each of them whole, or not at all."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab+", buffering=0)

    def end_last_line(self) -> None:
        """End the last line if a killed program left it without a line end, so that the next line stays separate."""
        size = self.file.seek(0, os.SEEK_END)
        if size:
            self.file.seek(size - 1)
            if self.file.read(1) != b"\n":
                self.append("")

    def append(self, line: str) -> None:
        """Write a line immediately.

        Raises:
            OSError: The line could not be written; no part of it stays in the file.
        """
        content = line.encode() + b"\n"
        size = self.file.seek(0, os.SEEK_END)
        try:
            written = self.file.write(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.file.name) from None
        if written != len(content):  # a disk that becomes full takes a part
            self.file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.file.name)

    def try_to_write(self) -> None:
        """Write an empty line and remove it.

        Raises:
            OSError: The line could not be written.
        """
        size = self.file.seek(0, os.SEEK_END)
        self.append("")
        self.file.truncate(size)

    def close(self) -> None:
        """Close the file, which releases the lock on it."""
        self.file.close()
