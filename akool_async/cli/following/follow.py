"""Following operations from the POST to the pictures on disk."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from akool_async import AkoolError, OperationFailedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable
    from pathlib import Path

    from akool_async import AkoolSession, ButtonPress, ImageResult, Operation
    from akool_async.cli.following.follow_options import FollowOptions
    from akool_async.cli.following.live_table import LiveTable
    from akool_async.cli.following.row import Row


async def follow(
    akool: AkoolSession, table: LiveTable, row: Row, options: FollowOptions, accepted: Awaitable[Operation]
) -> None:
    """Follow one operation to its end. An error is shown in its row.

    Args:
        akool: The session.
        table: The table of the row.
        row: The row of the operation.
        options: Whether to wait, for how long, and where to save the pictures.
        accepted: Makes the operation, or finds it.

    Raises:
        ValueError: An argument is wrong; nothing was sent.
    """
    try:
        operation = await accepted
        row.accept(operation)
        table.show_change(row)
        if options.wait:
            await _wait(table, row, operation, options.timeout)
        if row.result is not None:
            row.complete(await _download(akool, row, row.result, options))
    except (AkoolError, OSError) as error:
        row.fail(error)
    except ValueError as error:
        if row.operation is None:
            raise
        row.fail(AkoolError(str(error)))
    if options.wait or row.error is not None:
        table.show_change(row)


async def press_all(
    akool: AkoolSession, table: LiveTable, presses: Iterable[ButtonPress], options: FollowOptions
) -> None:
    """Make these presses concurrently, and follow each of them in its row of the table."""

    async def press_one(press: ButtonPress) -> None:
        accepted = akool.create_by_button(press.image_id, press.button)
        await follow(akool, table, table.row(press.button), options, accepted)

    async with asyncio.TaskGroup() as group:
        for press in presses:
            group.create_task(press_one(press))


async def _download(akool: AkoolSession, row: Row, result: ImageResult, options: FollowOptions) -> list[Path]:
    if options.download is None:
        return []
    return await akool.download(result, options.download, name=row.short_name if options.short_names else None)


async def _wait(table: LiveTable, row: Row, operation: Operation, timeout: float | None) -> None:  # noqa: ASYNC109
    showing = asyncio.create_task(_show_updates(table, row, operation))
    try:
        row.result = await operation.wait_until_complete(timeout=timeout)
        row.update(row.result)
    except OperationFailedError as error:
        row.update(error.result)
        raise
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _show_updates(table: LiveTable, row: Row, operation: Operation) -> None:
    with suppress(AkoolError):  # wait_until_complete raises the same error
        async for snapshot in operation.updates():
            row.update(snapshot)
            table.show_change(row)
