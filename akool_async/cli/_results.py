"""The output of a batch: a line per press, written as it ends; a later run with the same file goes on from there.

Beside the file, while presses run, stands ``NAME.accepted``: the ids that AKOOL has given and that no line tells yet,
so that a run that is killed loses none.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, Self

import portalocker

from akool_async import ButtonPress
from akool_async.cli._appended import AppendedLines
from akool_async.cli._lines import Line
from akool_async.cli._streams import print_line, require_stdout

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType


START: Final = b'{"image_id": "'
"""Of every line."""


class ResultsError(Exception):
    """The output file cannot be used; nothing was changed in it."""


class Results:
    """The lines of earlier runs and of this one; of several about one press the last counts. Without a path: stdout."""

    def __init__(self, path: Path | None) -> None:
        self.path = None if path is None else path.resolve()  # the ids stand beside the file, whatever link led to it
        self.lines: dict[ButtonPress, Line] = {}
        self.accepted: dict[ButtonPress, str] = {}
        """Operations that no line tells of."""
        self.unreadable = 0
        """Lines that tell nothing, such as the one that a killed run could not end."""
        self._has_read = False
        self._file: AppendedLines | None = None
        self.ids_path = None if self.path is None else self.path.with_name(self.path.name + ".accepted")
        self._ids_file: AppendedLines | None = None

    def __enter__(self) -> Self:
        """Keep other runs from the file, until this one ends, however it ends."""
        if self.path is None:
            require_stdout()
        if self.path is not None and self.ids_path is not None:
            self._require_file(self.path)
            self._file = AppendedLines(self.path)
            try:
                portalocker.lock(self._file.file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
            except portalocker.LockException:
                self._file.close()
                raise ResultsError(f"another run writes to {self.path}: let it end first") from None
            self._ids_file = AppendedLines(self.ids_path)
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ids_file is not None and self.ids_path is not None:
            self._ids_file.close()
            if (self._has_read and not self.accepted) or not self.ids_path.stat().st_size:
                self.ids_path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()

    def read(self) -> None:
        """Take in what earlier runs wrote."""
        self._read()
        self._has_read = True

    def _read(self) -> None:
        if self.path is None or self.ids_path is None or not self.path.exists():
            return
        self._require_file(self.path)
        texts = [text for text in self.path.read_bytes().split(b"\n") if text.strip()]
        for text in texts:
            try:
                line = Line.read(text)
            except ValueError:
                self.unreadable += 1
            else:
                self.lines[line.press] = line
        if not self.lines and not all(map(_is_ours, texts)):
            raise ResultsError(f"{self.path} is not the output of an earlier run: name another file")
        if self.ids_path.exists():
            self._read_ids(self.ids_path.read_bytes())
        if self._file is not None and self._ids_file is not None:
            self._file.mend()
            self._ids_file.mend()

    def write(self, line: Line) -> None:
        """Append a line, at once and whole.

        Raises:
            OSError: it could not be written.
        """
        text = line.to_json()
        if self._file is not None:
            self._file.append(text)
        else:
            print_line(text)
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
            self._ids_file.append(json.dumps(fields))

    @staticmethod
    def _require_file(path: Path) -> None:
        if path.exists() and not path.is_file():
            raise ResultsError(f"{path} is not a file: name another one")

    def _read_ids(self, content: bytes) -> None:
        for text in content.split(b"\n"):
            try:
                fields = json.loads(text)
                press, operation_id = ButtonPress(fields["image_id"], fields["button"]), str(fields["id"])
            except (ValueError, TypeError, KeyError):
                if not _is_ours(text):
                    raise ResultsError(f"{self.ids_path} is in the way, and is not of an earlier run") from None
                continue  # a killed run could not end it
            line = self.lines.get(press)
            if line is None or line.id is None:
                self.accepted[press] = operation_id


def _is_ours(text: bytes) -> bool:
    """Whether it begins, as far as it goes, like what this command writes."""
    return text.startswith(START[: len(text)])
