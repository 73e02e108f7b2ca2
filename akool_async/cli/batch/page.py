"""The gallery of a batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async.cli.gallery.page import write_gallery
from akool_async.cli.gallery.sections import Contents

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from akool_async import AkoolSession
    from akool_async.cli.batch.output_file import OutputFile
    from akool_async.cli.batch.plan import Plan
    from akool_async.cli.batch.progress import BatchProgress


async def write_page(
    page: Path,
    akool: AkoolSession,
    plan: Plan,
    output: OutputFile,
    seconds: Mapping[str, float],
    progress: BatchProgress,
) -> None:
    """Write a page that shows every image of the batch.

    Raises:
        OSError: it could not be written.
    """
    entries = plan.batch.entries
    contents = Contents(
        title=plan.batch.name,
        image_ids=list(dict.fromkeys(entry.press.image_id for entry in entries)),
        sources=plan.sources,
        lines={entry.press: line for entry in entries if (line := output.lines.get(entry.press)) is not None},
        seconds=seconds,
    )
    progress.show_drawn(0, contents.pictures)
    await write_gallery(page, akool, contents, progress)
