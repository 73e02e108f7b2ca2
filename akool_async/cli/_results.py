"""The output of a batch: a line per press, written as it ends; a later run with the same file goes on from there.

Beside the file, while presses run, stands ``NAME.accepted``: the ids that AKOOL has given and that no line tells yet,
so that a run that is killed loses none.
"""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Self

import portalocker

from akool_async import ButtonPress
from akool_async.cli._lines import Line

if TYPE_CHECKING:
    from io import FileIO
    from pathlib import Path
    from types import TracebackType


class ResultsError(Exception):
    """The output file cannot be used; nothing was changed in it."""


class Results:
    """The lines of earlier runs and of this one; of several about one press the last counts. Without a path: stdout."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.lines: dict[ButtonPress, Line] = {}
        self.accepted: dict[ButtonPress, str] = {}
        """Operations that no line tells of."""
        self.unreadable = 0
        """Lines that tell nothing, such as the one that a killed run could not end."""
        self._has_read = False
        self._file: FileIO | None = None
        self._ids_path = None if path is None else path.with_name(path.name + ".accepted")
        self._ids_file: FileIO | None = None

    def __enter__(self) -> Self:
        """Keep other runs from the file, until this one ends, however it ends."""
        if self.path is not None and self._ids_path is not None:
            if self.path.exists() and not self.path.is_file():
                raise ResultsError(f"{self.path} is not a file: name another one")
            self._file = self.path.open("ab", buffering=0)
            try:
                portalocker.lock(self._file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            except portalocker.LockException:
                self._file.close()
                raise ResultsError(f"another run writes to {self.path}: let it end first") from None
            self._ids_file = self._ids_path.open("ab", buffering=0)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ids_file is not None and self._ids_path is not None:
            is_needed = self.accepted if self._has_read else self._ids_file.tell()
            self._ids_file.close()
            if not is_needed:
                self._ids_path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()

    def read(self) -> None:
        """Take in what earlier runs wrote."""
        self._read()
        self._has_read = True

    def _read(self) -> None:
        if self.path is None or self._ids_path is None or not self.path.exists():
            return
        texts = self.path.read_bytes().split(b"\n")
        for text in filter(bytes.strip, texts):
            try:
                line = Line.read(text)
            except ValueError:
                self.unreadable += 1
            else:
                self.lines[line.press] = line
        if self.unreadable and not self.lines and len(texts) > 1:
            raise ResultsError(f"{self.path} is not the output of an earlier run: name another file")
        if texts[-1] and self._file is not None:
            _write(self._file, b"\n")  # a line that was cut is not to take the next with it
        if self._ids_path.exists():
            self._read_ids(self._ids_path.read_bytes())

    def write(self, line: Line) -> None:
        """Append a line, at once and whole.

        Raises:
            OSError: it could not be written.
        """
        text = line.to_json()
        if self._file is not None:
            _write(self._file, text.encode() + b"\n")
        else:
            print(text, flush=True)  # noqa: T201 - results go to stdout
        self.lines[line.press] = line
        self.accepted.pop(line.press, None)

    def note_accepted(self, press: ButtonPress, operation_id: str) -> None:
        """AKOOL gave an id, which is to survive whatever happens before its line is written.

        Raises:
            OSError: it could not be written.
        """
        self.accepted[press] = operation_id
        if self._ids_file is not None:
            fields = {"image_id": press.image_id, "button": press.button, "id": operation_id}
            _write(self._ids_file, json.dumps(fields).encode() + b"\n")

    def _read_ids(self, content: bytes) -> None:
        if not content.endswith(b"\n") and self._ids_file is not None:
            _write(self._ids_file, b"\n")
        for text in content.split(b"\n"):
            try:
                fields = json.loads(text)
                press, operation_id = ButtonPress(fields["image_id"], fields["button"]), str(fields["id"])
            except (ValueError, TypeError, KeyError):
                continue  # a killed run could not end this one
            line = self.lines.get(press)
            if line is None or line.id is None:
                self.accepted[press] = operation_id


def _write(file: FileIO, content: bytes) -> None:
    if file.write(content) != len(content):  # a disk that is full takes what it can
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), file.name)
