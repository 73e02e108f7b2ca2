"""What became of a press whose reply was lost: a button works once, so its source image shows it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from akool_async._submit.decision import Source

if TYPE_CHECKING:
    from akool_async._http.endpoints import Endpoints
    from akool_async.models import ButtonPress

READ_TRIES: Final = 10
"""Tries of each read of a source image; with their waits most of a minute."""


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


async def _read(endpoints: Endpoints, press: ButtonPress) -> Source:
    image = await endpoints.get_image_result(press.image_id, tries=READ_TRIES)
    if press.button in image.used_buttons:
        return Source.USED
    return Source.OFFERED if press.button in image.buttons else Source.ABSENT
