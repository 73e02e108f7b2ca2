"""The output of a batch: a line per node, written as it ends; a later run with the same file goes on from there.

While a run is under way, ``NAME.accepted`` beside the file holds the ids that AKOOL has given and that no line has yet,
and the prompts that are on their way, so that a run that is killed loses none.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from attrs import evolve

from akool_async.cli.batch.append_only import AppendOnlyFile
from akool_async.cli.batch.locking import OutputFileError, lock
from akool_async.cli.outcomes.line import OutcomeLine, has_content
from akool_async.cli.outcomes.notes import PLACEHOLDER, STARTS, Note
from akool_async.cli.output.streams import print_line, require_stdout

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from akool_async import ButtonPress
    from akool_async.cli.outcomes.line import NodeId

NOT_OURS: Final = "is in the way, and is not of an earlier run"
LINE_STARTS: Final = (b'{"image_id": "', b'{"image_id": null, "button": ')
"""Of every line."""


class OutputFile:
    """The lines of earlier runs and of this one; of several about one node the last counts. Without a path: stdout."""

    def __init__(self, path: Path | None, *, pictures: Path | None) -> None:
        self.path = (
            None if path is None else Path(os.path.realpath(path))
        )  # the file of ids is beside it, not beside a link
        self._given = path
        self._pictures = pictures
        self.lines: dict[NodeId, OutcomeLine] = {}
        self.accepted: dict[NodeId, OutcomeLine] = {}
        """Operations that no line in the file names yet."""
        self.sending: set[NodeId] = set()
        """Prompts that AKOOL may have accepted, and that no line is about yet."""
        self.unreadable = 0
        """Lines that cannot be read, such as the one that a killed run could not end."""
        self._ids: dict[ButtonPress, OutcomeLine] = {}
        self._has_read = False
        self._file: AppendOnlyFile | None = None
        self.ids_path = None if self.path is None else self.path.with_name(self.path.name + ".accepted")
        self._ids_file: AppendOnlyFile | None = None

    def __enter__(self) -> Self:
        """Keep other runs from the file, until this one ends, however it ends."""
        if self.path is None:
            require_stdout()
        if self.path is not None and self.ids_path is not None:
            self._require_file(self.path)
            if not self.path.parent.exists():
                raise OutputFileError(f"{self._given}: the folder {self.path.parent} does not exist")
            self._file = AppendOnlyFile(self.path)
            try:
                lock(self._file.file, self.path)
                self._ids_file = AppendOnlyFile(self.ids_path)
            except (OutputFileError, OSError):
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
        """Read what earlier runs wrote."""
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
            self._file.mend()
            self._ids_file.mend()

    def write(self, line: OutcomeLine) -> None:
        """Append a line, immediately and whole.

        Raises:
            OSError: it could not be written.
        """
        text = line.to_json()
        if self._file is not None:
            self._file.append(text)
        else:
            print_line(text)
        self._add(line)
        self._settle(line.node)

    def write_if_new(self, line: OutcomeLine) -> None:
        """Append a line, unless the last one of its node says the same.

        Raises:
            OSError: it could not be written.
        """
        if self.lines.get(line.node) == line:
            self._settle(line.node)
        else:
            self.write(line)

    def line_of_press(self, press: ButtonPress) -> OutcomeLine | None:
        """The line of a press that AKOOL accepted, whichever node it was pressed for."""
        return self._ids.get(press)

    def note(self, note: Note) -> None:
        """Keep an id, or a prompt that is on its way, whatever happens before its line is written.

        Raises:
            OSError: it could not be written.
        """
        self._take_in(note)
        if self._ids_file is not None:
            self._ids_file.append(note.to_json())

    def try_to_write(self) -> None:
        """Try the files, before anything is spent.

        Raises:
            OSError: nothing can be written to them.
        """
        if self._ids_file is not None:  # the output is on the same disk, and is open for writing
            self._ids_file.try_to_write()

    def _settle(self, node: NodeId) -> None:
        self.accepted.pop(node, None)
        self.sending.discard(node)

    def _add(self, line: OutcomeLine) -> None:
        self.lines[line.node] = line
        if line.id is not None and (press := line.press) is not None:
            self._ids[press] = line

    def _find(self, file: str) -> str:
        """Where a picture is now: its folder may have been moved, alone or with the output.

        Earlier versions recorded where it was from the folder that they were started in.
        """
        beside = [] if self.path is None else [self.path.parent / file]
        moved = [] if self._pictures is None else [self._pictures / Path(file).name]
        for place in (Path(file).absolute(), *beside, *moved):
            if has_content(place):
                return str(place)
        return file

    @staticmethod
    def _require_file(path: Path) -> None:
        if path.exists() and not path.is_file():
            raise OutputFileError(f"{path} is not a file: name another one")

    def _read_ids(self, content: bytes) -> None:
        has_notes = False
        for number, text in enumerate(content.split(b"\n"), start=1):
            try:
                note = Note.from_json(text)
            except ValueError:
                if not _is_cut(text, STARTS):
                    what = f"has a line {number} that cannot be read: correct or remove it" if has_notes else NOT_OURS
                    raise OutputFileError(f"{self.ids_path} {what}") from None
                continue  # a killed run could not end it
            has_notes = True
            if note.line.id == PLACEHOLDER:
                raise OutputFileError(f"{self.ids_path}: in line {number}, put the id of the image in place of ID")
            line = self.lines.get(note.line.node)
            is_told = line is not None and (line.id is not None or (note.is_sending and not line.is_settled))
            if not is_told:
                self._take_in(note)

    def _take_in(self, note: Note) -> None:
        node = note.line.node
        if note.line.id is not None:
            self.accepted[node] = note.line
        if note.is_sending:
            self.sending.add(node)
        else:
            self.sending.discard(node)


def _is_cut(text: bytes, starts: Iterable[bytes]) -> bool:
    """Whether it is the beginning of a line of this command, and not the whole of another line."""
    is_whole = b"}" in text.partition(b', "ok": ')[0]
    return any(text.startswith(start[: len(text)]) for start in starts) and not is_whole and not _is_json(text)


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
