"""Decides how long to poll a finished image for missing URLs: AKOOL may report the status first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async.models import ImageStatus

if TYPE_CHECKING:
    from akool_async._limits.timing import Timing
    from akool_async.models import ImageResult


def missing_urls_grace(result: ImageResult, kind: str | None, timing: Timing) -> float:
    """Return the seconds to go on polling for missing URLs of a finished image; 0 if no URL is missing.

    The image's age is not used, since this machine's clock may be wrong.

    Args:
        result: The image.
        kind: "upscale", "variation" or "prompt"; None if that is not known.
        timing: The session's waits.
    """
    if result.status != ImageStatus.COMPLETED:
        return 0.0
    if not result.urls:
        return timing.url_grace
    if result.op_button is not None:
        expects_singles = result.op_button.startswith("V")
    elif kind in {"upscale", "variation"}:
        expects_singles = kind == "variation"
    else:
        expects_singles = bool(result.buttons or result.used_buttons)
    return timing.single_images_grace if expects_singles and not (result.upscaled_urls or result.images) else 0.0
