"""Reads replies and writes bodies. These pure functions are the only place that knows AKOOL's field names.

Reading is tolerant, because AKOOL's products and releases differ in their fields: a field that is absent, null or of a
wrong type gets its default, and ``raw`` keeps everything that was sent. Only a reply without a readable ``code``, or an
image without an ``_id``, is refused.
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson
from cattrs import Converter
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from akool_async._http.retry import asked_wait
from akool_async.errors import CODES, APIError, InvalidParameterError, RateLimitedError, ResponseError
from akool_async.items import ButtonPress, Prompt, SourcePrompt
from akool_async.models import ImageResult, ImageStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SUCCESS: Final = 1000
TOO_MANY_REQUESTS: Final = 429
CONTENT_TOO_LARGE: Final = 413
NO_HEADERS: Final[Mapping[str, str]] = {}
_BACKSLASH: Final = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_EXACT: Final = 2**53
"""A double holds every whole number up to this."""
_STATUSES: Final[dict[int | None, ImageStatus]] = {status.value: status for status in ImageStatus}


@attrs.define
class Envelope:
    """A successful reply: ``{"code", "msg", "data"}``, as AKOOL wraps every answer."""

    data: Any
    """``data`` of the reply."""
    body: dict[str, Any]
    """The whole reply. Get Token puts its answer beside ``code``."""
    http_status: int = 200
    date: str = ""
    """The reply's Date header, by AKOOL's clock."""


# --- reading ---------------------------------------------------------------------------------------------------------


def read_envelope(body: bytes, *, http_status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> Envelope:
    """Read a successful reply. AKOOL sends errors with HTTP 200 as well, so the ``code`` in the body decides.

    Args:
        body: The reply's body.
        http_status: Its HTTP status.
        headers: Its headers.

    Raises:
        APIError: AKOOL's code is not 1000, or the HTTP status is 429 without a readable code.
        ResponseError: The body is not a reply of AKOOL's.
    """
    try:
        value = _load(body)
    except (ValueError, RecursionError):
        raise _unreadable(_describe(body), http_status, headers) from None
    code = value.get("code") if isinstance(value, dict) else None
    if type(code) is not int:
        code = _whole(code)
    if code is None:
        raise _unreadable("JSON without AKOOL's code", http_status, headers)
    if code != SUCCESS:
        msg = _text(value.get("msg")) or _text(value.get("message")) or ""
        fallback = RateLimitedError if http_status == TOO_MANY_REQUESTS else APIError
        error_class = CODES[code].error if code in CODES else fallback
        raise error_class(code, msg, http_status, retry_after=asked_wait(headers))
    return Envelope(value.get("data"), value, http_status, headers.get("Date", ""))


def _load(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _load_leniently(body)


def _load_leniently(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read invalid JSON, so that a faulty prompt beside it does not lose a paid id.

    This accepts bytes of another encoding, raw control characters, invalid escapes, half an emoji, a byte order mark,
    NaN, and numbers beyond a double. Characters that cannot be encoded are removed, so that every text can be printed
    and stored.
    """
    text = body.decode(json.detect_encoding(body), "replace")
    text = _BACKSLASH.sub(lambda found: found[0] if found[1] else r"\\", text)
    value = json.loads(text, strict=False, parse_int=_read_integer)
    encodable = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    return json.loads(encodable, parse_int=_read_integer)


def _read_integer(digits: str) -> int | float:
    """Read a whole number; infinity if it is beyond a double, since Python refuses to read or show very long ones."""
    return int(digits) if math.isfinite(float(digits)) else math.inf


def read_image(envelope: Envelope, known: ImageResult | None = None) -> ImageResult:
    """Read the image in ``data``. If ``known`` was read from equal data, return ``known`` itself."""
    # Most polls of a running operation show nothing new. This comparison takes 0.5 us, making an ImageResult 20 us.
    if known is not None and _is_equal(envelope.data, known.raw):
        return known
    return read_images(envelope)[0]


def read_images(envelope: Envelope) -> list[ImageResult]:
    """Read the images in ``data``: one, or a list of them for a batch. Unreadable ones are skipped."""
    listed = envelope.data if isinstance(envelope.data, list) else [envelope.data]
    images = [_structure({**data, _RAW: data}, ImageResult) for data in listed if _has_id(data)]
    if not images:
        raise ResponseError("AKOOL's reply has no image with an _id", http_status=envelope.http_status)
    return images


def read_token(envelope: Envelope) -> str:
    """Read the token of Get Token. It is documented beside ``code``, and was also observed in ``data``."""
    beside = _text(envelope.body.get("token"))
    inside = _text(envelope.data.get("token")) if isinstance(envelope.data, dict) else None
    token = beside or inside
    if token is None:
        raise ResponseError("AKOOL's reply to Get Token has no token", http_status=envelope.http_status)
    return token


def read_credit(envelope: Envelope) -> float:
    """Read the account's balance, in credits."""
    credit = _number(envelope.data.get("credit")) if isinstance(envelope.data, dict) else None
    if credit is None:
        raise ResponseError("AKOOL's reply has no credit", http_status=envelope.http_status)
    return credit


def _unreadable(
    description: str, http_status: int, headers: Mapping[str, str]
) -> ResponseError | RateLimitedError | InvalidParameterError:
    retry_after = asked_wait(headers)
    if http_status == CONTENT_TOO_LARGE:  # from a gateway, which has passed nothing on to AKOOL
        return InvalidParameterError(http_status, "the request is too large: shorten its texts", http_status)
    if http_status == TOO_MANY_REQUESTS:  # often sent by a gateway, without AKOOL's envelope
        return RateLimitedError(http_status, "too many requests", http_status, retry_after=retry_after)
    return ResponseError(
        f"HTTP {http_status} with {description}, which is not a reply of AKOOL's image API",
        http_status=http_status,
        retry_after=retry_after,
    )


def _describe(body: bytes) -> str:
    if not body.strip():
        return "an empty body"
    kind = "HTML" if body.lstrip()[:1] == b"<" else "a body that is not JSON"
    return f"{kind} of {len(body)} bytes"


def _is_equal(data: object, other: object) -> bool:
    try:
        return data == other
    except RecursionError:  # both are nested too deeply to compare
        return False


def _has_id(data: object) -> bool:
    return isinstance(data, dict) and _text(data.get("_id")) is not None


# --- tolerant readers, one per type of field; cattrs also passes the type --------------------------------------------


def _text(value: object, _: object = None) -> str | None:
    if isinstance(value, str):
        return value or None
    return None if isinstance(value, bool) or not isinstance(value, int) or _number(value) is None else str(value)


def _number(value: object, _: object = None) -> float | None:
    if type(value) is int and -_EXACT < value < _EXACT:  # the common case, four times as fast as what follows
        return value
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(number):
        return None
    return number if isinstance(value, str) else value


def _amount(value: object, _: object = None) -> float | None:
    """Read a number of at least 0: a charge cannot be negative."""
    number = _number(value)
    return None if number is None or number < 0 else number


def _whole(value: object, _: object = None) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _texts(value: object, _: object = None) -> tuple[str, ...]:
    listed = value if isinstance(value, list) else [value]
    if not listed:  # the common case
        return ()
    return tuple(text for text in map(_text, listed) if text is not None)


def _status(value: object, _: object = None) -> ImageStatus | int | None:
    number = _whole(value)
    return _STATUSES.get(number, number)


def _time(value: object, _: object = None) -> datetime | None:
    milliseconds = _number(value)
    if milliseconds is None:
        return None
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, OSError, ValueError):
        return None


_RAW: Final = "akool_async.raw"  # the key of the unchanged mapping on its way to the model; AKOOL has no such field

_converter = Converter(detailed_validation=False, omit_if_default=True)
_READERS: Final[dict[Any, Callable[[object, Any], Any]]] = {
    str: _text,
    str | None: _text,
    float | None: _number,
    int | None: _whole,
    tuple[str, ...]: _texts,
    ImageStatus | int | None: _status,
    datetime | None: _time,
}


_converter.register_structure_hook_factory(lambda wanted: wanted in _READERS, lambda wanted: _READERS[wanted])
attrs.resolve_types(ImageResult)
_converter.register_structure_hook(
    ImageResult,
    make_dict_structure_fn(
        ImageResult,
        _converter,
        id=override(rename="_id"),
        status=override(rename="image_status"),
        source_image_id=override(rename="image_content_model_id"),
        op_button_message_id=override(rename="op_buttonMessageId"),
        created_at=override(rename="create_time"),
        deduction_credit=override(struct_hook=_amount),
        from_=override(rename="from"),
        raw=override(rename=_RAW, struct_hook=lambda value, _: value),
    ),
)

_structure: Final = _converter.get_structure_hook(ImageResult)

# --- writing ---------------------------------------------------------------------------------------------------------

for _prompt in (Prompt, SourcePrompt):
    attrs.resolve_types(_prompt)
    _converter.register_unstructure_hook(
        _prompt,
        make_dict_unstructure_fn(
            _prompt,
            _converter,
            _cattrs_omit_if_default=True,
            text=override(rename="prompt"),
            then=override(omit=True),
            key=override(omit=True),
        ),
    )


def button_body(press: ButtonPress, webhook_url: str | None) -> bytes:
    """Write the body of Create By Button."""
    body = {"_id": press.image_id, "button": press.button.value}
    if webhook_url is not None:
        body["webhookUrl"] = webhook_url
    return orjson.dumps(body)


def prompt_body(prompt: Prompt | SourcePrompt, webhook_url: str | None) -> bytes:
    """Write the body of Create By Prompt or Create By Source Prompt. Fields with AKOOL's defaults are left out."""
    body = _converter.unstructure(prompt)
    if webhook_url is not None:
        body["webhookUrl" if isinstance(prompt, Prompt) else "webhookurl"] = webhook_url  # v3 and v4 differ
    return orjson.dumps(body)


def token_body(client_id: str, client_secret: str) -> bytes:
    """Write the body of Get Token."""
    return orjson.dumps({"clientId": client_id, "clientSecret": client_secret})
