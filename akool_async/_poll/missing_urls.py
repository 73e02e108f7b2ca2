"""How long a finished image is polled for URLs that it still lacks: AKOOL's can come after its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async.models import ImageStatus

if TYPE_CHECKING:
    from akool_async._limits.timing import Timing
    from akool_async.models import ImageResult


def missing_urls_grace(result: ImageResult, kind: str | None, timing: Timing) -> float:
    """Seconds to go on polling for URLs that a finished image still lacks; 0 if nothing is missing.

    The age of the image plays no part: this machine's clock and AKOOL's may differ by any amount.
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
