"""Accepted jobs: their status by the clock, and how AKOOL's replies show them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from akool_async.emulator._parameters import BUTTONS

UID = 378337
FIRST_PICTURE = 8010
PICTURE_NAME = re.compile(r"\d+-(?P<uuid>[\da-f-]{36})-(?P<number>801[0-4])\.\w+")
QUEUEING, PROCESSING, COMPLETED, FAILED = 1, 2, 3, 4
TEXT_TO_IMAGE, IMAGE_TO_IMAGE = 3, 4


@dataclass(slots=True)
class Image:
    """An accepted job. Times are seconds since the epoch (UTC) by the service's clock."""

    id: str
    kind: str
    """prompt, upscale or variation."""
    accepted_at: float
    started_at: float
    """When AKOOL begins to work on it: status 1 until then, status 2 afterwards."""
    finished_at: float
    picture_seed: int
    """Determines its pictures. An upscale has the seed of its source."""
    hue: int
    """Colour of its pictures in degrees. A variation has a hue near that of its source."""
    reported_price: int
    """``deduction_credit`` in its replies, which may differ from the credits charged."""
    picture_format: str
    """jpeg or png."""
    prompt: str = ""
    scale: str = "1:1"
    source_image: str | None = None
    resolution: str | None = None
    """Only for Create By Source Prompt, like ``model_name``."""
    model_name: str | None = None
    source: Image | None = None
    button: str | None = None
    urls_at: float = 0.0
    """When its URLs appear: with status 3, unless a fault delays them."""
    failure: str | None = None
    webhook_url: str | None = None
    buttons: tuple[str, ...] = BUTTONS
    used: dict[str, float] = field(default_factory=dict)
    """Pressed buttons, and when each appears in ``used_buttons``."""

    def status(self, now: float) -> int:
        """Return ``image_status`` at ``now``."""
        if now >= self.finished_at:
            return FAILED if self.failure else COMPLETED
        return QUEUEING if now <= self.started_at else PROCESSING

    def has_urls(self, now: float) -> bool:
        """Return True if its pictures can be fetched."""
        return now >= self.urls_at and self.status(now) == COMPLETED

    def picture_name(self, index: int) -> str:
        """Return the file name of a picture at its host. It begins with the time of storage in milliseconds."""
        number = FIRST_PICTURE + index
        return f"{milliseconds(self.finished_at)}-{UUID(self._fingerprint)}-{number}.{self.picture_format}"

    @property
    def _fingerprint(self) -> str:
        return f"{self.id}{self.picture_seed:08x}"

    def show(self, now: float, pictures_url: str) -> dict[str, Any]:
        """Return ``data`` of the reply of Get Image Result, with every documented field."""
        status = self.status(now)
        shown: dict[str, Any] = {
            "faceswap_quality": 2,
            "deduction_credit": self.reported_price,
            "buttons": [],
            "used_buttons": [],
            "upscaled_urls": [],
            "_id": self.id,
            "create_time": milliseconds(self.accepted_at),
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
        """Return ``data`` of the reply of Create By Button."""
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
        if self.source_image is not None:
            origin["source_image"] = self.source_image
        if self.model_name is not None:
            origin |= {"model_name": self.model_name, "task_id": self._fingerprint}
        return origin

    def _show_buttons(self, now: float) -> dict[str, Any]:
        used = [button for button, shows_at in self.used.items() if now >= shows_at]
        return {"buttons": [button for button in self.buttons if button not in used], "used_buttons": used}

    def _show_urls(self, pictures_url: str) -> dict[str, Any]:
        urls = [f"{pictures_url}/{self.picture_name(index)}" for index in range(5)]
        return {"image": urls[0], "upscaled_urls": [] if self.kind == "upscale" else urls[1:]}


def read_picture_name(name: str) -> tuple[str, int]:
    """Return the ``_id`` and the index in the name of a picture; an empty id if it is not such a name."""
    match = PICTURE_NAME.fullmatch(name)
    if match is None:
        return "", 0
    return match["uuid"].replace("-", "")[:24], int(match["number"]) - FIRST_PICTURE


def milliseconds(seconds: float) -> int:
    """Return a time as AKOOL writes it: whole milliseconds since the epoch."""
    return int(seconds * 1000)
