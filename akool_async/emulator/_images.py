"""An accepted generation: its status by the clock, and what AKOOL shows of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from akool_async.emulator._parameters import BUTTONS

PRICE = 2
UID = 378337
QUEUEING_SHARE = 0.1
QUEUEING, PROCESSING, COMPLETED, FAILED = 1, 2, 3, 4
TEXT_TO_IMAGE, IMAGE_TO_IMAGE = 3, 4


@dataclass(slots=True)
class Image:
    """An accepted generation. Times are seconds since the epoch (UTC) by the service's clock."""

    id: str
    kind: str
    """prompt, upscale or variation."""
    accepted_at: float
    finished_at: float
    look: int
    """Seed of its pictures; an upscale has its source's."""
    hue: int
    """Colour of its pictures in degrees: a variation stays near its source."""
    prompt: str = ""
    scale: str = "1:1"
    source_image: str | None = None
    source: Image | None = None
    button: str | None = None
    urls_at: float = 0.0
    """When its URLs show: with the status, save where a fault makes them late."""
    failure: str | None = None
    webhook_url: str | None = None
    buttons: tuple[str, ...] = BUTTONS
    used: dict[str, float] = field(default_factory=dict)
    """Pressed buttons and when the press shows in ``used_buttons``."""

    def status(self, now: float) -> int:
        """image_status at ``now``."""
        if now >= self.finished_at:
            return FAILED if self.failure else COMPLETED
        duration = self.finished_at - self.accepted_at
        queueing = math.isfinite(duration) and now - self.accepted_at < QUEUEING_SHARE * duration
        return QUEUEING if queueing else PROCESSING

    def has_urls(self, now: float) -> bool:
        """Whether its pictures can be fetched."""
        return now >= self.urls_at and self.status(now) == COMPLETED

    def show(self, now: float, pictures_url: str) -> dict[str, Any]:
        """``data`` as Get Image Result has it, field for field of the documented replies."""
        status = self.status(now)
        shown: dict[str, Any] = {
            "faceswap_quality": 2,
            "deduction_credit": PRICE,
            "buttons": [],
            "used_buttons": [],
            "upscaled_urls": [],
            "_id": self.id,
            "create_time": int(self.accepted_at * 1000),
            "uid": UID,
            "type": IMAGE_TO_IMAGE if self.source_image else TEXT_TO_IMAGE,
            "from": 1,
            "image_status": status,
        }
        shown |= self._show_origin()
        if status == FAILED:
            shown["error_reasons"] = self.failure
        if status == COMPLETED:
            shown |= self._show_buttons(now)
        if self.has_urls(now):
            shown |= self._show_urls(pictures_url)
        return shown

    def show_press(self, now: float) -> dict[str, Any]:
        """``data`` as Create By Button's reply has it."""
        shown = self.show(now, "")
        return {name: value for name, value in shown.items() if name not in {"type", "uid"}}

    def _show_origin(self) -> dict[str, Any]:
        if self.source is not None:
            return {
                "image_content_model_id": self.source.id,
                "op_button": self.button,
                "op_buttonMessageId": self.id[:20],
            }
        origin = {"prompt": self.prompt, "origin_prompt": self.prompt, "scale": self.scale}
        return origin | ({"source_image": self.source_image} if self.source_image else {})

    def _show_buttons(self, now: float) -> dict[str, Any]:
        used = [button for button, shows_at in self.used.items() if now >= shows_at]
        return {"buttons": [button for button in self.buttons if button not in used], "used_buttons": used}

    def _show_urls(self, pictures_url: str) -> dict[str, Any]:
        urls = [f"{pictures_url}/{self.id}/{index}.png" for index in range(5)]
        return {"image": urls[0], "upscaled_urls": [] if self.kind == "upscale" else urls[1:]}
