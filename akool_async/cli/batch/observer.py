"""What a run notes while presses are accepted and end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import field, frozen

from akool_async import events

if TYPE_CHECKING:
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.progress import BatchProgress
    from akool_async.cli.batch.tally import EarlyEnd, Tally


@frozen(eq=False)
class RunObserver:
    """Notes what a kill must not lose, and what the progress shows."""

    _output: OutputFile
    _progress: BatchProgress
    _tally: Tally
    _early_end: EarlyEnd
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.get_running_loop)

    def on_session_event(self, event: events.Event) -> None:
        """An event of the session of this run."""
        match event:
            case events.Accepted(press=press, operation_id=operation_id) if press is not None:
                self._accept(event)
                try:
                    self._output.note_accepted(press, operation_id)
                except OSError as error:
                    self._early_end.stop(error)
            case events.Finished():
                self._tally.seconds[event.operation_id] = event.seconds

    def on_store_event(self, event: events.Event) -> None:
        """An event of the store's worker, in the worker's thread."""
        match event:
            case events.Accepted():
                self._loop.call_soon_threadsafe(self._accept, event)
            case events.OutcomeUnknown(press=press) if press is not None:
                self._loop.call_soon_threadsafe(self._tally.lost_replies.add, press)

    def _accept(self, event: events.Accepted) -> None:
        self._tally.accept(event)
        self._progress.count_accepted()
