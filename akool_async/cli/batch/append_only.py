"""A file of lines that only grows, each line whole or not at all."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class AppendOnlyFile:
    """Open until it is closed. A line that a killed program could not end can be ended, so that it spoils no other."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("ab+", buffering=0)

    def mend(self) -> None:
        """End a cut last line."""
        size = self.file.seek(0, os.SEEK_END)
        if size:
            self.file.seek(size - 1)
            if self.file.read(1) != b"\n":
                self.append("")

    def append(self, line: str) -> None:
        """Write a line immediately.

        Raises:
            OSError: it could not be written, and nothing of it is there.
        """
        content = line.encode() + b"\n"
        size = self.file.seek(0, os.SEEK_END)
        try:
            written = self.file.write(content)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.file.name) from None
        if written != len(content):  # a disk that is full takes what it can
            self.file.truncate(size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self.file.name)

    def try_to_write(self) -> None:
        """Write a line and take it back.

        Raises:
            OSError: it could not be written.
        """
        size = self.file.seek(0, os.SEEK_END)
        self.append("")
        self.file.truncate(size)

    def close(self) -> None:
        """Close it, and end the lock on it."""
        self.file.close()
