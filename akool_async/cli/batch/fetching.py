"""Operations that earlier runs have paid for, and the pictures of all operations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from akool_async import AkoolError, OperationFailedError, Outcome
from akool_async.cli.batch.earlier import reason_against

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async import AkoolSession, ButtonPress, Operation
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Plan
    from akool_async.cli.batch.writer import LineWriter

MAX_CONCURRENT_DOWNLOADS: Final = 16


@frozen(eq=False)
class PictureSaver:
    """Saves the pictures of outcomes, then has their lines written."""

    _akool: AkoolSession
    _writer: LineWriter
    _folder: Path | None
    """None: no pictures are saved."""
    _slots: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(MAX_CONCURRENT_DOWNLOADS), init=False)

    async def save(self, outcome: Outcome) -> None:
        """Save one outcome.

        Raises:
            OSError: its line could not be written.
        """
        files: list[Path] = []
        download_error: AkoolError | None = None
        if self._folder is not None and outcome.result is not None and outcome.ok:
            try:
                async with self._slots:
                    files = await self._akool.download(outcome.result, self._folder)
            except AkoolError as error:
                download_error = error
        self._writer.write_outcome(outcome, files, download_error)


@frozen(eq=False)
class Fetcher:
    """Waits for the operations of earlier runs, by AKOOL's ids or by ids that somebody found and wrote down."""

    _akool: AkoolSession
    _plan: Plan
    _output: OutputFile
    _writer: LineWriter
    _saver: PictureSaver
    _timeout: float | None
    """Seconds."""

    async def fetch(self, press: ButtonPress, operation_id: str) -> None:
        """Wait for one operation and save it; an id of something else is refused."""
        by_hand = press in self._writer.found_by_hand
        if by_hand and (other := self._other_press_of(operation_id, press)) is not None:
            why = f"the id {operation_id} is given for {other.button} of {other.image_id} as well"
            self._writer.refuse_id(press, why)
            return
        operation = self._akool.operation(operation_id)
        outcome = await self._wait(press, operation)
        seen = outcome.result or operation.latest
        if seen is not None and (reason := reason_against(seen, press, by_hand=by_hand)) is not None:
            self._writer.refuse_id(press, reason)
            return
        self._writer.keep(outcome)
        await self._saver.save(outcome)

    async def _wait(self, press: ButtonPress, operation: Operation) -> Outcome:
        try:
            return Outcome(press, operation, await operation.wait_until_complete(timeout=self._timeout))
        except OperationFailedError as error:
            return Outcome(press, operation, error.result, error)
        except AkoolError as error:
            return Outcome(press, operation, error=error)

    def _other_press_of(self, operation_id: str, press: ButtonPress) -> ButtonPress | None:
        known = {line.press: line.id for line in self._output.lines.values()} | self._plan.to_fetch
        return next((other for other, known_id in known.items() if known_id == operation_id and other != press), None)
