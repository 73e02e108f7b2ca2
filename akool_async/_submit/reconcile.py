"""Finds out whether AKOOL accepted a press whose reply was lost. A button works once, so its source image shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async._submit.decision import Source

if TYPE_CHECKING:
    from akool_async._http.endpoints import Endpoints
    from akool_async.items import ButtonPress
    from akool_async.models import ImageResult

READ_TRIES: Final = 10
"""Tries of each read of a source image: nearly a minute with their waits."""


async def reconcile(endpoints: Endpoints, press: ButtonPress, gap: float) -> Source:
    """Return what the source image shows about a press: used, offered or absent.

    AKOOL does not document that it lists a used button immediately. So a button counts as offered only if two reads
    both offer it.

    Args:
        endpoints: AKOOL's API.
        press: The press.
        gap: Seconds between the two reads.

    Raises:
        AkoolError: The source image cannot be read.
    """
    source = await _read(endpoints, press)
    if source is Source.OFFERED:
        await asyncio.sleep(gap)
        source = await _read(endpoints, press)
    return source


def source_shows(source: ImageResult, button: str) -> Source:
    """Return what a source image shows about one of its buttons: used, offered or absent."""
    if button in source.used_buttons:
        return Source.USED
    return Source.OFFERED if button in source.buttons else Source.ABSENT


async def _read(endpoints: Endpoints, press: ButtonPress) -> Source:
    return source_shows(await endpoints.get_image_result(press.image_id, tries=READ_TRIES), press.button)
