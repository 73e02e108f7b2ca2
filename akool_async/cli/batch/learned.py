"""Keep the durations that a run learned in ``NAME.learned`` beside its output, for later runs with the same output."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from akool_async import AdaptivePolling
from akool_async._limits.timing import read_scale

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async.polling import Polling

MAX_BYTES: Final = 1_000_000
"""A larger file is ignored."""

logger = logging.getLogger("akool_async")


def learned_path(output: Path | None) -> Path | None:
    """Return the path of the file for an output; None without an output."""
    return None if output is None else output.with_name(output.name + ".learned")


def read_learned(path: Path | None) -> AdaptivePolling | None:
    """Return the schedule of an earlier run; None if there is no such file or it cannot be read."""
    if path is None:
        return None
    with suppress(OSError, ValueError):  # without the file the run only has to learn again
        if path.stat().st_size <= MAX_BYTES:
            return AdaptivePolling.from_json(path.read_text(encoding="utf-8")).scaled(read_scale(os.environ))
    return None


def keep_learned(path: Path | None, polling: Polling) -> None:
    """Write what a schedule has learned, unless that is nothing. The file is replaced in one step.

    Args:
        path: The file; None writes nothing.
        polling: The schedule; only an ``AdaptivePolling`` learns.
    """
    if path is None or not isinstance(polling, AdaptivePolling):
        return
    learned = polling.to_json()
    if learned == AdaptivePolling().to_json():
        return
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        part.write_text(learned, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        logger.warning("cannot save the learned durations, so the next run starts without them: %s", error)
        part.unlink(missing_ok=True)
