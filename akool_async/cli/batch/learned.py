"""What runs learned of durations: kept in ``NAME.learned`` beside the output, for later runs with the same output."""

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

logger = logging.getLogger("akool_async")


def learned_path(output: Path | None) -> Path | None:
    """Where it is kept; None without an output."""
    return None if output is None else output.with_name(output.name + ".learned")


def read_learned(path: Path | None) -> AdaptivePolling | None:
    """The schedule of an earlier run; None if there is none, or if it cannot be read."""
    if path is None:
        return None
    with suppress(OSError, ValueError):  # a schedule that has to learn again does the same work
        if path.stat().st_size <= MAX_BYTES:
            return AdaptivePolling.from_json(path.read_text(encoding="utf-8")).scaled(read_scale(os.environ))
    return None


def keep_learned(path: Path | None, polling: Polling) -> None:
    """Keep what a schedule has learned; whoever reads meanwhile finds the whole of the old or of the new."""
    if path is None or not isinstance(polling, AdaptivePolling):
        return
    learned = polling.to_json()
    if learned == AdaptivePolling().to_json():
        return
    whole = path.with_name(f".{uuid4().hex}.part")
    try:
        whole.write_text(learned, encoding="utf-8")
        whole.replace(path)
    except OSError as error:
        logger.warning("what was learned of durations cannot be kept: %s", error)
        whole.unlink(missing_ok=True)
