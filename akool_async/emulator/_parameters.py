"""What a request asks for, read from its body; whatever AKOOL would not take is refused with 1003."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from akool_async.emulator._refusals import parameter_error

BUTTONS = ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4")
SCALES = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
RESOLUTIONS = ("1080p", "4k")
BATCHES = range(1, 5)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Press:
    """Create By Button."""

    image_id: str
    button: str
    webhook_url: str | None


@dataclass(frozen=True, slots=True)
class Prompt:
    """Create By Prompt and Create By Source Prompt."""

    prompt: str
    scale: str
    source_image: str | None
    webhook_url: str | None
    batch_quantity: int = 1


def read_body(content: bytes) -> Body:
    """The JSON object of a request; anything else has no parameters at all."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_press(body: Body) -> Press:
    """Create By Button's body."""
    image_id, button = _text(body, "_id"), _text(body, "button")
    if not image_id:
        raise parameter_error("_id")
    if button not in BUTTONS:
        raise parameter_error("button")
    return Press(image_id, button, _text(body, "webhookUrl"))


def read_prompt(body: Body) -> Prompt:
    """Create By Prompt's body."""
    return Prompt(_prompt(body), _scale(body, SCALES), _text(body, "source_image"), _text(body, "webhookUrl"))


def read_source_prompt(body: Body) -> Prompt:
    """Create By Source Prompt's body, whose webhook is spelt in lower case."""
    sources = body.get("source_images") or []
    if not isinstance(sources, list) or not all(isinstance(source, str) for source in sources):
        raise parameter_error("source_images")
    batch = body.get("batch_quantity", 1)
    if type(batch) is not int or batch not in BATCHES:
        raise parameter_error("batch_quantity")
    similar = body.get("similar", 0.5)
    if isinstance(similar, bool) or not isinstance(similar, int | float) or not 0 <= similar <= 1:
        raise parameter_error("similar")
    if (_text(body, "resolution") or "4k") not in RESOLUTIONS:
        raise parameter_error("resolution")
    for name in ("model_name", "negative_prompt"):
        _text(body, name)
    scale = _scale(body, (*SCALES, "Original") if sources else SCALES)
    return Prompt(_prompt(body), scale, sources[0] if sources else None, _text(body, "webhookurl"), batch)


def _prompt(body: Body) -> str:
    prompt = _text(body, "prompt")
    if not prompt or prompt.isspace():
        raise parameter_error("prompt")
    return prompt


def _scale(body: Body, scales: tuple[str, ...]) -> str:
    scale = _text(body, "scale") or "1:1"
    if scale not in scales:
        raise parameter_error("scale")
    return scale


def _text(body: Body, name: str) -> str | None:
    """A text; null and the empty one count as left out."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise parameter_error(name)
    return value or None
