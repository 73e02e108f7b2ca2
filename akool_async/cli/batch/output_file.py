"""The output of a batch: one line per node, written when the node ends. A later run with the same file continues it.

During a run, the file ``NAME.accepted`` beside it holds the ids that AKOOL gave and that are in no line yet, and the
prompts that are being sent. So a killed run loses none of them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve
from click import ClickException

from akool_async.cli.batch.append_only import AppendOnlyFile
from akool_async.cli.batch.locking import OutputFileError, lock
from akool_async.cli.outcomes.line import OutcomeLine, has_content
from akool_async.cli.outcomes.notes import PLACEHOLDER, STARTS, Note
from akool_async.cli.output.places import option_named
from akool_async.cli.output.streams import print_line, require_stdout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from akool_async import ButtonPress
    from akool_async.cli.outcomes.line import NodeId

NOT_OURS: Final = "is in the way, and was not written by an earlier run: move it, or name another --output"
LINE_STARTS: Final = (b'{"image_id": "', b'{"image_id": null, "button": ')
"""Every line begins with one of these."""


class OutputFile:
    """The lines of earlier runs and of this one. The last line of a node counts. Without a path, lines go to stdout."""

    def __init__(self, path: Path | None, *, pictures: Path | None) -> None:
        self.path = None if path is None else Path(os.path.realpath(path))  # the file of ids is not beside a link
        self._given = path
        self.pictures = pictures
        """The download folder of this run; None if no pictures are saved."""
        self.lines: dict[NodeId, OutcomeLine] = {}
        self.accepted: dict[NodeId, OutcomeLine] = {}
        """Operations that are in no line of the file yet."""
        self.sending: set[NodeId] = set()
        """Prompts that AKOOL may have accepted, and that have no line yet."""
        self.unreadable = 0
        """How many lines cannot be read, such as the last line of a killed run."""
        self._ids: dict[ButtonPress, OutcomeLine] = {}
        self._has_read = False
        self._file: AppendOnlyFile | None = None
        self.ids_path = None if self.path is None else self.path.with_name(self.path.name + ".accepted")
        self._ids_file: AppendOnlyFile | None = None

    def __enter__(self) -> Self:
        """Lock the file against other runs until this one ends."""
        if self.path is None:
            require_stdout()
        if self.path is not None and self.ids_path is not None:
            self._require_file(self.path)
            if not self.path.parent.exists():
                raise OutputFileError(f"{self._given}: the folder {self.path.parent} does not exist")
            with option_named("--output"):
                self._file = AppendOnlyFile(self.path)
            try:
                lock(self._file.file, self.path)
                with option_named("--output"):
                    self._ids_file = AppendOnlyFile(self.ids_path)
            except (OutputFileError, OSError, ClickException):
                self._file.close()
                raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._ids_file is not None and self.ids_path is not None:
            self._ids_file.close()
            if (self._has_read and not self.accepted and not self.sending) or not self.ids_path.stat().st_size:
                self.ids_path.unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()

    def read(self) -> None:
        """Read the lines and notes of earlier runs."""
        with option_named("--output"):
            self._read()
        self._has_read = True

    def _read(self) -> None:
        if self.path is None or self.ids_path is None or not self.path.exists():
            return
        self._require_file(self.path)
        texts = [text for text in self.path.read_bytes().split(b"\n") if text.strip()]
        for text in texts:
            try:
                line = OutcomeLine.from_json(text)
            except ValueError:
                self.unreadable += 1
            else:
                self._add(evolve(line, files=tuple(map(self._find, line.files))))
        if not self.lines and not all(_is_cut(text, LINE_STARTS) for text in texts):
            raise OutputFileError(f"{self.path} is not the output of an earlier run: name another file")
        if self.ids_path.exists():
            self._read_ids(self.ids_path.read_bytes())
        if self._file is not None and self._ids_file is not None:
            self._file.end_last_line()
            self._ids_file.end_last_line()

    def write(self, line: OutcomeLine) -> None:
        """Append a line, immediately and whole.

        Raises:
            OSError: The line could not be written.
        """
        text = line.to_json()
        if self._file is not None:
            self._file.append(text)
        else:
            print_line(text)
        self._add(line)
        self._settle(line.node)

    def write_if_new(self, line: OutcomeLine) -> None:
        """Append a line, unless the last line of the node is equal.

        Raises:
            OSError: The line could not be written.
        """
        if self.lines.get(line.node) == line:
            self._settle(line.node)
        else:
            self.write(line)

    def line_of_press(self, press: ButtonPress) -> OutcomeLine | None:
        """Return the line of a press that AKOOL accepted, for whichever node; None if there is no such line."""
        return self._ids.get(press)

    def note(self, note: Note) -> None:
        """Record an id, or a prompt that is being sent, in case the run is killed before the line is written.

        Raises:
            OSError: The note could not be written.
        """
        self._apply(note)
        if self._ids_file is not None:
            self._ids_file.append(note.to_json())

    def try_to_write(self) -> None:
        """Check that the files can be written, before anything is spent.

        Raises:
            OSError: They cannot be written.
        """
        if self._ids_file is not None:  # the output is on the same disk, and was opened for writing
            self._ids_file.try_to_write()

    def _settle(self, node: NodeId) -> None:
        self.accepted.pop(node, None)
        self.sending.discard(node)

    def _add(self, line: OutcomeLine) -> None:
        self.lines[line.node] = line
        if line.id is not None and (press := line.press) is not None:
            self._ids[press] = line

    def _find(self, file: str) -> str:
        """Return the present path of a picture. Its folder may have been moved, alone or with the output.

        Earlier versions recorded paths relative to the working directory.
        """
        beside = [] if self.path is None else [self.path.parent / file]
        moved = [] if self.pictures is None else [self.pictures / Path(file).name]
        for place in (Path(file).absolute(), *beside, *moved):
            if has_content(place):
                return str(place)
        return file

    @staticmethod
    def _require_file(path: Path) -> None:
        if path.exists() and not path.is_file():
            raise OutputFileError(f"{path} is not a file: name another path")

    def _read_ids(self, content: bytes) -> None:
        has_notes = False
        for number, text in enumerate(content.split(b"\n"), start=1):
            try:
                note = Note.from_json(text)
            except ValueError:
                if not _is_cut(text, STARTS):
                    reason = f"has a line {number} that cannot be read: correct or remove it" if has_notes else NOT_OURS
                    raise OutputFileError(f"{self.ids_path} {reason}") from None
                continue  # a killed run wrote a part of it
            has_notes = True
            if note.line.id == PLACEHOLDER:
                raise OutputFileError(f"{self.ids_path}: in line {number}, put the id of the image in place of ID")
            line = self.lines.get(note.line.node)
            is_known = line is not None and (line.id is not None or (note.is_sending and not line.is_settled))
            if not is_known:
                self._apply(note)

    def _apply(self, note: Note) -> None:
        node = note.line.node
        if note.line.id is not None:
            self.accepted[node] = note.line
        if note.is_sending:
            self.sending.add(node)
        else:
            self.sending.discard(node)


def _is_cut(text: bytes, starts: Iterable[bytes]) -> bool:
    """Return whether a text is a part of a line of this command, rather than a whole line of something else."""
    is_whole = b"}" in text.partition(b', "ok": ')[0]
    return any(text.startswith(start[: len(text)]) for start in starts) and not is_whole and not _is_json(text)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
