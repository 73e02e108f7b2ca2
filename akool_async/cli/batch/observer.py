"""The observer of a run's events: it notes ids for the next run, counts, and updates the progress."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from akool_async import events
from akool_async.cli.outcomes.notes import Note

if TYPE_CHECKING:
    from akool_async.cli.batch.nodes import Node, NodeIndex
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.tally import EarlyEnd, Tally


@frozen(eq=False)
class RunObserver:
    """Writes notes that survive a kill, counts, and updates the progress."""

    _output: OutputFile
    _progress: BatchProgress
    _tally: Tally
    _early_end: EarlyEnd
    _index: NodeIndex
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)

    def on_session_event(self, event: events.Event) -> None:
        """Handle an event of the session of this run."""
        match event:
            case events.Accepted(press=press, prompt=prompt):
                self._accept(event)
                if (node := self._index.of_event(press, prompt)) is not None:
                    self._note_accepted(node, event)
            case events.Sending(prompt=prompt) if (node := self._index.of_item(prompt)) is not None:
                self._note(Note(node.line(), is_sending=True))
            case events.Deferred(prompt=prompt) if (node := self._index.of_item(prompt)) is not None:
                self._note_not_taken(node)
            case events.Refused(prompt=prompt) if prompt and (node := self._index.of_item(prompt)) is not None:
                self._note_not_taken(node)
            case events.Finished():
                self._tally.seconds[event.operation_id] = event.seconds

    def on_store_event(self, event: events.Event) -> None:
        """Handle an event of the store's worker. It comes in the worker's thread."""
        match event:
            case events.Accepted():
                self._loop.call_soon_threadsafe(self._accept, event)
            case events.OutcomeUnknown():
                self._loop.call_soon_threadsafe(self._lose, event)

    def _accept(self, event: events.Accepted) -> None:
        self._tally.accept(event)
        self._progress.count_accepted()

    def _lose(self, event: events.OutcomeUnknown) -> None:
        node = self._index.of_event(event.press, event.prompt)
        if node is not None:
            self._tally.lost_replies.add(node.id)

    def _note_accepted(self, node: Node, event: events.Accepted) -> None:
        self._index.note_made(event.operation_id, node)
        image_id = None if event.press is None else event.press.image_id
        self._note(Note(evolve(node.line(image_id), id=event.operation_id)))

    def _note_not_taken(self, node: Node) -> None:
        if node.id in self._output.sending:
            self._note(Note(node.line()))

    def _note(self, note: Note) -> None:
        try:
            self._output.note(note)
        except OSError as error:
            self._early_end.stop(error)
