"""What became of a press whose reply was lost: a button works once, so its source image shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async._submit.decision import Source

if TYPE_CHECKING:
    from akool_async._http.endpoints import Endpoints
    from akool_async.items import ButtonPress
    from akool_async.models import ImageResult

READ_TRIES: Final = 10
"""Tries of each read that finds out what became of a POST; with their waits most of a minute."""


async def reconcile(endpoints: Endpoints, press: ButtonPress, gap: float) -> Source:
    """Ask the source image what became of a press: used, offered or absent.

    That AKOOL lists a used button immediately is documented nowhere, so a button counts as offered only if two reads,
    ``gap`` seconds apart, both offer it.

    Raises:
        AkoolError: The source image cannot be read.
    """
    source = await _read(endpoints, press)
    if source is Source.OFFERED:
        await asyncio.sleep(gap)
        source = await _read(endpoints, press)
    return source


def source_shows(source: ImageResult, button: str) -> Source:
    """What a source image says of one of its buttons: used, offered, or neither."""
    if button in source.used_buttons:
        return Source.USED
    return Source.OFFERED if button in source.buttons else Source.ABSENT


async def _read(endpoints: Endpoints, press: ButtonPress) -> Source:
    return source_shows(await endpoints.get_image_result(press.image_id, tries=READ_TRIES), press.button)
