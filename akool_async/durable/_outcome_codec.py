"""An outcome as JSON, and back: what a state keeps of a job that is over."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from attrs import asdict, fields_dict

import akool_async
from akool_async import AkoolError, ImageResult, ImageStatus, Operation, OperationFailedError, Outcome

if TYPE_CHECKING:
    from akool_async import ButtonPress

Fields = dict[str, Any]


def write_outcome(outcome: Outcome) -> str:
    """The outcome as a text."""
    fields = {
        "id": None if outcome.operation is None else outcome.operation.id,
        "image": None if outcome.result is None else _write_image(outcome.result),
        "error": None if outcome.error is None else _write_error(outcome.error),
    }
    return json.dumps(fields, separators=(",", ":"))  # ASCII, since no database takes the half of an emoji


def read_outcome(press: ButtonPress, text: str) -> Outcome:
    """The outcome that was written; its operation is detached, as one that was unpickled."""
    fields: Fields = json.loads(text)
    operation = None if fields["id"] is None else Operation(fields["id"], press.button, press.image_id)
    image = None if fields["image"] is None else _read_image(fields["image"])
    error = None if fields["error"] is None else _read_error(fields["error"], image)
    if error is not None:
        error.about(operation_id=fields["id"], press=press)
    return Outcome(press, operation, image, error)


def _write_image(image: ImageResult) -> Fields:
    told = {name: value for name, value in asdict(image, recurse=False).items() if value not in (None, ())}
    if image.created_at is not None:
        told["created_at"] = image.created_at.isoformat()
    return {**told, "raw": dict(image.raw)}


def _read_image(fields: Fields) -> ImageResult:
    values = {name: value for name, value in fields.items() if name in fields_dict(ImageResult)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if "created_at" in values:
        values["created_at"] = datetime.fromisoformat(values["created_at"])
    if values.get("status") in set(ImageStatus):
        values["status"] = ImageStatus(values["status"])
    return ImageResult(**values)


def _write_error(error: Exception) -> Fields:
    told = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | None)}
    return {"type": type(error).__name__, "message": str(error.args[0]) if error.args else str(error), "fields": told}


def _read_error(fields: Fields, image: ImageResult | None) -> AkoolError:
    if fields["type"] == OperationFailedError.__name__ and image is not None:
        return OperationFailedError(image)
    kind = getattr(akool_async, fields["type"], AkoolError)
    is_known = isinstance(kind, type) and issubclass(kind, AkoolError)
    if not is_known:
        kind = AkoolError
    error: AkoolError = kind.__new__(kind)
    error.args = (fields["message"],)
    vars(error).update(fields["fields"])
    return error
