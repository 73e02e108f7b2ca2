"""From the bytes of a callback to its event, as AKOOL's webhook page has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any, Final

from akool_async import (
    AkoolError,
    ClientCredentials,
    ConfigurationError,
    ImageStatus,
    WebhookError,
    WebhookEvent,
)

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.padding import PKCS7
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'cryptography is missing; install it with: pip install "akool-async[webhooks]"'
    ) from missing

LARGEST_BODY: Final = 2**16
"""Bytes; AKOOL's callbacks have some hundred."""
IV_LENGTH: Final = 16
KEY_LENGTHS: Final = (16, 24, 32)
BLOCK_BITS: Final = 128
LONGEST_ID: Final = 256
LONGEST_TIMESTAMP: Final = 16
LONGEST_TOLERANCE: Final = 1e9
REFUSED: Final = "not a callback of AKOOL's for this account"
"""The same for every reason: an attacker is not told how far a forgery came."""


class WebhookVerifier:
    """Checks and opens AKOOL's callbacks for one account.

    ``client_id`` and ``client_secret`` are the account's pair, needed also where requests use an API key.
    ``tolerance`` is how many seconds the callback's timestamp may be away from this machine's clock; None takes any.

    Raises:
        ConfigurationError: the secret is not of 16, 24 or 32 bytes, or the id has fewer than 16.
        ValueError: a tolerance that is no number of seconds.
    """

    def __init__(self, client_id: str, client_secret: str, *, tolerance: float | None = 300.0) -> None:
        credentials = ClientCredentials(client_id, client_secret)
        key, iv = credentials.client_secret.encode(), credentials.client_id.encode()
        if len(key) not in KEY_LENGTHS:
            raise ConfigurationError(f"client_secret must be of 16, 24 or 32 bytes, not {len(key)}: it is an AES key")
        if len(iv) < IV_LENGTH:
            raise ConfigurationError(f"client_id must be of at least {IV_LENGTH} bytes, not {len(iv)}")
        if tolerance is not None and not _is_seconds(tolerance):
            raise ValueError(f"tolerance must be a number of seconds above 0, or None for any age, not {tolerance!r}")
        self._credentials = credentials  # refuses to be pickled, and with it the verifier
        self._tolerance = tolerance
        # The documented sample (crypto-js) uses the first 16 bytes of a longer id.
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(iv[:IV_LENGTH]))

    def parse(self, body: bytes) -> WebhookEvent:
        """Read the raw body of a callback.

        Raises:
            WebhookError: it is not AKOOL's, too old, or too large; the message does not say which.
            ValueError: ``body`` is not bytes.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            raise ValueError(f"body must be the raw bytes of the request, not {type(body).__name__}")  # noqa: TRY004
        try:
            if len(body) > LARGEST_BODY:
                raise WebhookError
            return self._read(bytes(body))
        except (ValueError, TypeError, KeyError, RecursionError, AkoolError):
            raise WebhookError(REFUSED) from None

    def __repr__(self) -> str:
        return f"WebhookVerifier(tolerance={self._tolerance!r})"  # the client id is all it takes to sign

    def _read(self, body: bytes) -> WebhookEvent:
        # Numbers are kept as they are written: the signature is over their text.
        callback = json.loads(body.decode(), parse_int=_Number, parse_float=_Number, parse_constant=_refuse)
        signature, sealed = _text(callback["signature"]), _text(callback["dataEncrypt"])
        timestamp, nonce = _text_or_number(callback["timestamp"]), _text_or_number(callback["nonce"])
        expected = sign(self._credentials.client_id, timestamp, nonce, sealed)
        if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
            raise WebhookError
        if self._tolerance is not None and abs(time.time() - _milliseconds(timestamp) / 1000) > self._tolerance:
            raise WebhookError
        return _read_event(self._open(base64.b64decode(sealed, validate=True)))

    def _open(self, sealed: bytes) -> bytes:
        decryptor, unpadder = self._cipher.decryptor(), PKCS7(BLOCK_BITS).unpadder()
        padded = decryptor.update(sealed) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


class _Number(str):
    """The text of a number."""

    __slots__ = ()


def sign(client_id: str, timestamp: str, nonce: str, sealed: str) -> str:
    """The signature of AKOOL's webhook page: of no secret, so that it only shows who knows the client id."""
    # JavaScript, of which the page's sample is, sorts by UTF-16.
    parts = sorted([client_id, timestamp, nonce, sealed], key=lambda text: text.encode("utf-16-be"))
    return hashlib.sha1("".join(parts).encode()).hexdigest()  # noqa: S324 - AKOOL's choice


def _read_event(content: bytes) -> WebhookEvent:
    event = json.loads(content.decode(), parse_constant=_refuse)
    image_id, status = event["_id"], event["status"]
    is_word = isinstance(image_id, str) and image_id.isprintable() and " " not in image_id
    if not is_word or not 0 < len(image_id) <= LONGEST_ID or type(status) is not int:
        raise WebhookError
    return WebhookEvent(
        id=image_id,
        status=ImageStatus(status) if status in set(ImageStatus) else status,
        type=_optional_text(event.get("type")),
        url=_optional_text(event.get("url")),
    )


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON
    if not isinstance(value, str) or isinstance(value, _Number):
        raise WebhookError
    return value


def _text_or_number(value: Any) -> str:  # noqa: ANN401 - any JSON
    if not isinstance(value, str):
        raise WebhookError
    return str(value)


def _milliseconds(timestamp: str) -> int:
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= LONGEST_TIMESTAMP):
        raise WebhookError
    return int(timestamp)


def _optional_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return value if isinstance(value, str) and value else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= LONGEST_TOLERANCE
