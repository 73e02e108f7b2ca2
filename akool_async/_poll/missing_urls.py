"""How long a finished image is polled for URLs that it still lacks: AKOOL's can come after its status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from akool_async.models import ImageStatus

if TYPE_CHECKING:
    from akool_async._limits.timing import Timing
    from akool_async.models import Button, ImageResult


def missing_urls_grace(result: ImageResult, button: Button | None, timing: Timing) -> float:
    """Seconds to go on polling for URLs that a finished image still lacks; 0 if nothing is missing.

    The age of the image plays no part: this machine's clock and AKOOL's may differ by any amount.
    """
    if result.status != ImageStatus.COMPLETED:
        return 0.0
    if not result.urls:
        return timing.url_grace
    kind = result.op_button or button
    expects_singles = kind.startswith("V") if kind else bool(result.buttons or result.used_buttons)
    return timing.single_images_grace if expects_singles and not (result.upscaled_urls or result.images) else 0.0
