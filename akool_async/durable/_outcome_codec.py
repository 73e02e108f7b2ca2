"""The JSON in which a store keeps the outcome of a job."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from attrs import asdict, fields_dict

import akool_async
from akool_async import AkoolError, ImageResult, ImageStatus, Operation, OperationFailedError, Outcome
from akool_async.items import press_of, prompt_of

if TYPE_CHECKING:
    from akool_async.durable._job_items import JobItem

Fields = dict[str, Any]


def encode_outcome(outcome: Outcome) -> str:
    """Write an outcome as JSON, without its item."""
    fields = {
        "id": None if outcome.operation is None else outcome.operation.id,
        "image": None if outcome.result is None else _encode_result(outcome.result),
        "error": None if outcome.error is None else _encode_error(outcome.error),
    }
    try:
        return orjson.dumps(fields).decode()
    except TypeError:  # half of an emoji, which no database stores: json escapes it
        return json.dumps(fields, separators=(",", ":"))


def decode_outcome(job_item: JobItem, text: str) -> Outcome:
    """Read the outcome of a job. Its operation is detached from any session."""
    fields: Fields = json.loads(text)
    press, prompt = press_of(job_item.item), prompt_of(job_item.item)
    button, source_image_id = (None, None) if press is None else (press.button, press.image_id)
    operation = None if fields["id"] is None else Operation(fields["id"], button, source_image_id)
    result = None if fields["image"] is None else _decode_result(fields["image"])
    error = None if fields["error"] is None else _decode_error(fields["error"], result)
    if error is not None:
        error.about(operation_id=fields["id"], press=press, prompt=prompt)
    return Outcome(press, operation, result, error, prompt=prompt, number=job_item.number)


def _encode_result(result: ImageResult) -> Fields:
    fields = {name: value for name, value in asdict(result, recurse=False).items() if value not in (None, ())}
    if result.created_at is not None:
        fields["created_at"] = result.created_at.isoformat()
    return {**fields, "raw": dict(result.raw)}


def _decode_result(fields: Fields) -> ImageResult:
    values = {name: value for name, value in fields.items() if name in fields_dict(ImageResult)}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if "created_at" in values:
        values["created_at"] = datetime.fromisoformat(values["created_at"])
    if values.get("status") in set(ImageStatus):
        values["status"] = ImageStatus(values["status"])
    return ImageResult(**values)


def _encode_error(error: Exception) -> Fields:
    fields = {name: value for name, value in vars(error).items() if isinstance(value, str | int | float | None)}
    return {"type": type(error).__name__, "message": str(error.args[0]) if error.args else str(error), "fields": fields}


def _decode_error(fields: Fields, result: ImageResult | None) -> AkoolError:
    if fields["type"] == OperationFailedError.__name__ and result is not None:
        return OperationFailedError(result)
    kind = getattr(akool_async, fields["type"], AkoolError)
    is_known = isinstance(kind, type) and issubclass(kind, AkoolError)
    if not is_known:  # a newer version of this library may have recorded it
        kind = AkoolError
    error: AkoolError = kind.__new__(kind)
    error.args = (fields["message"],)
    vars(error).update(fields["fields"])
    return error
