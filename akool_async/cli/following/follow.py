"""A few operations at once, followed on a board from the POST to the pictures on disk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import frozen

from akool_async import AkoolError
from akool_async.cli.output.places import prepare_folder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from akool_async import AkoolSession, Operation
    from akool_async.cli.following.live_table import Board, Row


@frozen(kw_only=True)
class Wish:
    """How far an operation is followed."""

    wait: bool = True
    timeout: float | None = None
    """Seconds for its end."""
    folder: Path | None = None
    """Where its pictures go."""

    def prepare(self) -> None:
        """Try the folder, before anything is spent.

        Raises:
            OSError: pictures could not be saved there.
        """
        if self.folder is not None:
            prepare_folder(self.folder)


async def follow(
    akool: AkoolSession, board: Board, row: Row, wish: Wish, begin: Callable[[], Awaitable[Operation]]
) -> None:
    """One row, to its end; what goes wrong stands in the row."""
    try:
        operation = await begin()
        row.begin(operation)
        board.changed(row)
        if wish.wait:
            await _wait(board, row, operation, wish.timeout)
        if row.result is not None and wish.folder is not None:
            row.complete(await akool.download(row.result, wish.folder))
        elif row.result is not None:
            row.complete([])
    except (AkoolError, OSError) as error:
        row.fail(error)
    except ValueError as error:
        if row.operation is None:  # a bad argument: nothing was sent
            raise
        row.fail(AkoolError(str(error)))
    if wish.wait or row.error is not None:
        board.changed(row)


async def _wait(board: Board, row: Row, operation: Operation, timeout: float | None) -> None:  # noqa: ASYNC109
    async def show() -> None:
        with suppress(AkoolError):  # the wait below meets it too, and tells
            async for snapshot in operation.updates():
                row.see(snapshot)
                board.changed(row)

    showing = asyncio.create_task(show())
    try:
        row.result = await operation.wait_until_complete(timeout=timeout)
        row.see(row.result)
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
