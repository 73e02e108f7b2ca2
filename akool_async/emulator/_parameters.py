"""Reads the bodies of requests. Parameters that AKOOL would not accept are refused with 1003."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from akool_async.emulator._refusals import parameter_error

BUTTONS = ("U1", "U2", "U3", "U4", "V1", "V2", "V3", "V4")
SCALES = ("1:1", "4:3", "3:4", "16:9", "9:16", "3:2", "2:3")
RESOLUTIONS = ("1080p", "4k")
BATCHES = range(1, 5)
TEXT_MODEL, SOURCE_MODEL = "wavespeed-ai/flux-krea-dev-lora", "wavespeed-ai/flux-kontext-dev"
MODELS = (TEXT_MODEL, SOURCE_MODEL)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Press:
    """A request to Create By Button."""

    image_id: str
    button: str
    webhook_url: str | None


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request to Create By Prompt or Create By Source Prompt."""

    prompt: str
    scale: str
    source_image: str | None
    webhook_url: str | None
    resolution: str | None = None
    """Only for Create By Source Prompt, like ``model_name``."""
    model_name: str | None = None
    batch_quantity: int = 1


def read_body(content: bytes) -> Body:
    """Read the JSON object of a request. Any other body counts as an empty object."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_press(body: Body) -> Press:
    """Read the body of Create By Button."""
    image_id, button = _text(body, "_id"), _text(body, "button")
    if not image_id:
        raise parameter_error("_id")
    if button not in BUTTONS:
        raise parameter_error("button")
    return Press(image_id, button, _text(body, "webhookUrl"))


def read_prompt(body: Body) -> Prompt:
    """Read the body of Create By Prompt."""
    source = _text(body, "source_image")
    if source is not None and not _is_url(source):
        raise parameter_error("source_image must be a public URL")
    return Prompt(_prompt(body), _scale(body, SCALES), source, _text(body, "webhookUrl"))


def read_source_prompt(body: Body) -> Prompt:
    """Read the body of Create By Source Prompt, in which ``webhookurl`` is in lower case."""
    sources = body.get("source_images") or []
    if not isinstance(sources, list) or not all(isinstance(source, str) and _is_url(source) for source in sources):
        raise parameter_error("source_images must be a list of public URLs")
    batch = body.get("batch_quantity", 1)
    if type(batch) is not int or batch not in BATCHES:
        raise parameter_error("batch_quantity")
    similar = body.get("similar", 0.5)
    if isinstance(similar, bool) or not isinstance(similar, int | float) or not 0 <= similar <= 1:
        raise parameter_error("similar")
    resolution = _text(body, "resolution") or "4k"
    if resolution not in RESOLUTIONS:
        raise parameter_error("resolution")
    _text(body, "negative_prompt")
    return Prompt(
        _prompt(body),
        _scale(body, (*SCALES, "Original") if sources else SCALES),
        sources[0] if sources else None,
        _text(body, "webhookurl"),
        resolution=resolution,
        model_name=_model(body, has_sources=bool(sources)),
        batch_quantity=batch,
    )


def _prompt(body: Body) -> str:
    prompt = _text(body, "prompt")
    if not prompt or prompt.isspace():
        raise parameter_error("prompt")
    return prompt


def _model(body: Body, *, has_sources: bool) -> str:
    model = _text(body, "model_name") or (SOURCE_MODEL if has_sources else TEXT_MODEL)
    if model not in MODELS:
        raise parameter_error(f"model_name must be one of {', '.join(MODELS)}")
    if model == SOURCE_MODEL and not has_sources:
        raise parameter_error(f"source_images: {model} needs at least one")
    return model


def _scale(body: Body, scales: tuple[str, ...]) -> str:
    scale = _text(body, "scale") or "1:1"
    if scale not in scales:
        raise parameter_error("scale")
    return scale


def _text(body: Body, name: str) -> str | None:
    """Read a text; None if it is null, empty or missing."""
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise parameter_error(name)
    return value or None


def _is_url(text: str) -> bool:
    """Return True if AKOOL could fetch it. The emulator accepts addresses of this machine, too."""
    try:
        parts = urlsplit(text)
        return parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        return False
