"""Waiting for the operations of earlier runs, and saving the pictures of all operations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from akool_async import AkoolError, OperationFailedError, Outcome
from akool_async.cli.batch.earlier import reason_against
from akool_async.items import prompt_of

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async import AkoolSession, ImageResult, Operation
    from akool_async.cli.batch.nodes import Node
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Fetch
    from akool_async.cli.batch.writer import LineWriter

MAX_CONCURRENT_DOWNLOADS: Final = 16


@frozen(eq=False)
class PictureSaver:
    """Saves the pictures of outcomes, and writes their lines."""

    _akool: AkoolSession
    _writer: LineWriter
    _folder: Path | None
    """None if no pictures are saved."""
    _slots: asyncio.Semaphore = field(factory=lambda: asyncio.Semaphore(MAX_CONCURRENT_DOWNLOADS), init=False)

    async def save(self, node: Node, outcome: Outcome) -> None:
        """Save the pictures of one outcome, and write its line.

        Raises:
            OSError: The line could not be written.
        """
        files: list[Path] = []
        download_error: AkoolError | None = None
        if self._folder is not None and outcome.result is not None and outcome.ok:
            try:
                async with self._slots:
                    files = await self._akool.download(outcome.result, self._folder, name=node.name)
            except AkoolError as error:
                download_error = error
        self._writer.write_outcome(node, outcome, files, download_error)


@frozen(eq=False)
class Fetcher:
    """Waits for the operations of earlier runs, by ids from AKOOL or by ids that a person entered."""

    _akool: AkoolSession
    _fetches: list[Fetch]
    """All fetches of this run."""
    _output: OutputFile
    _writer: LineWriter
    _timeout: float | None
    """Seconds to wait for each operation; None to wait without a limit."""

    async def fetch(self, fetch: Fetch) -> Outcome:
        """Wait for one operation. If its id belongs to another press, refuse the id and keep the node unsettled."""
        by_hand = self._writer.is_found_by_hand(fetch)
        if by_hand and (other := self._other_node_of(fetch)) is not None:
            return self._refuse(fetch, f"the id {fetch.operation_id} was entered for {other} as well")
        operation = self._akool.operation(fetch.operation_id)
        outcome = await self._wait(fetch, operation)
        seen = outcome.result or operation.latest
        if seen is not None and (reason := reason_against(seen, fetch.press, by_hand=by_hand)) is not None:
            return self._refuse(fetch, reason)
        self._writer.keep(fetch.node, outcome)
        return outcome

    def _refuse(self, fetch: Fetch, reason: str) -> Outcome:
        self._writer.refuse_id(fetch, reason)
        return _outcome_of(fetch, None, error=AkoolError(reason))

    async def _wait(self, fetch: Fetch, operation: Operation) -> Outcome:
        try:
            result = await operation.wait_until_complete(timeout=self._timeout)
        except OperationFailedError as error:
            return _outcome_of(fetch, operation, error, error.result)
        except AkoolError as error:
            return _outcome_of(fetch, operation, error)
        return _outcome_of(fetch, operation, None, result)

    def _other_node_of(self, fetch: Fetch) -> str | None:
        """Return the label of another node with the same id; None if there is no such node."""
        known = {node: line for node, line in self._output.lines.items() if line.id == fetch.operation_id}
        known |= {other.node.id: other.line for other in self._fetches if other.operation_id == fetch.operation_id}
        return next((line.label for node, line in known.items() if node != fetch.node.id), None)


def _outcome_of(
    fetch: Fetch, operation: Operation | None, error: Exception | None, result: ImageResult | None = None
) -> Outcome:
    prompt = prompt_of(fetch.node.entry.item) if fetch.press is None else None
    return Outcome(fetch.press, operation, result, error, prompt=prompt)
