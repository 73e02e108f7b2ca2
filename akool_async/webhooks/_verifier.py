"""Verifies and decrypts a webhook, as AKOOL's webhook page documents it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from akool_async import (
    AkoolError,
    ClientCredentials,
    ConfigurationError,
    ImageStatus,
    WebhookError,
    WebhookEvent,
    _validate,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.padding import PKCS7
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(_validate.install_hint("cryptography", "webhooks")) from missing

logger = logging.getLogger("akool_async")

MAX_BODY_SIZE: Final = 2**16
"""Bytes. AKOOL's webhooks have a few hundred."""
IV_LENGTH: Final = 16
KEY_LENGTHS: Final = (16, 24, 32)
BLOCK_BITS: Final = 128
MAX_TIMESTAMP_LENGTH: Final = 16
REFUSED: Final = "not a webhook of AKOOL's for this account"
"""The same for every reason, so that an attacker does not learn how far a forgery got. The log names the reason."""
NOT_JSON: Final = "it is not the JSON of a webhook"
NOT_SIGNED: Final = "its signature does not match the client id: check client_id, if AKOOL sent it"
NOT_NOW: Final = "its timestamp is more than %g seconds away from this machine's clock: check the clock, or tolerance"
NOT_READABLE: Final = "it is signed and cannot be decrypted: check client_secret"


class WebhookVerifier:
    """Verifies and decrypts AKOOL's webhooks for one account.

    Args:
        client_id: The account's client id, also needed if requests use an API key.
        client_secret: The secret that belongs to it.
        tolerance: Largest difference in seconds between a webhook's timestamp and this machine's clock; None for any.

    Raises:
        ConfigurationError: The secret does not have 16, 24 or 32 bytes, or the id has fewer than 16.
        ValueError: ``tolerance`` is not a number of seconds above 0.
    """

    def __init__(self, client_id: str, client_secret: str, *, tolerance: float | None = 300.0) -> None:
        credentials = ClientCredentials(client_id, client_secret)
        key, iv = credentials.client_secret.encode(), credentials.client_id.encode()
        if len(key) not in KEY_LENGTHS:
            raise ConfigurationError(f"client_secret must have 16, 24 or 32 bytes, not {len(key)}: it is an AES key")
        if len(iv) < IV_LENGTH:
            raise ConfigurationError(f"client_id must have at least {IV_LENGTH} bytes, not {len(iv)}")
        self._tolerance = _validate.optional_seconds("tolerance", tolerance)
        self._reported: set[str] = set()
        self._credentials = credentials  # so that the verifier cannot be pickled
        # The documented sample (crypto-js) uses the first 16 bytes of a longer id.
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(iv[:IV_LENGTH]))

    def parse(self, body: bytes) -> WebhookEvent:
        """Read the event from the raw body of a webhook.

        Args:
            body: The bytes of the request, as they were received.

        Raises:
            WebhookError: It is not AKOOL's, too old, or too large. The message does not say which. The log does, at
                WARNING for the first webhook of each reason and at DEBUG afterwards.
            ValueError: ``body`` is not bytes.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            raise ValueError(f"body must be the raw bytes of the request, not {type(body).__name__}")  # noqa: TRY004
        with self._refusing(NOT_JSON):
            if len(body) > MAX_BODY_SIZE:
                raise WebhookError
            # Numbers keep their text, which the signature covers.
            fields = json.loads(bytes(body).decode(), parse_int=_Number, parse_float=_Number, parse_constant=_refuse)
            signature, ciphertext = _text(fields["signature"]), _text(fields["dataEncrypt"])
            timestamp, nonce = _text_or_number(fields["timestamp"]), _text_or_number(fields["nonce"])
        with self._refusing(NOT_SIGNED):
            expected = sign(self._credentials.client_id, timestamp, nonce, ciphertext)
            if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
                raise WebhookError
        if self._tolerance is not None:
            with self._refusing(NOT_NOW % self._tolerance):
                if abs(time.time() - _milliseconds(timestamp) / 1000) > self._tolerance:
                    raise WebhookError
        with self._refusing(NOT_READABLE):
            return _read_event(self._decrypt(base64.b64decode(ciphertext, validate=True)))

    def __repr__(self) -> str:
        return f"WebhookVerifier(tolerance={self._tolerance!r})"  # without the client id, which suffices to sign

    @contextmanager
    def _refusing(self, reason: str) -> Iterator[None]:
        """Turn any error in the block into a refusal, and log the reason."""
        try:
            yield
        except (ValueError, TypeError, KeyError, RecursionError, AkoolError):
            level = logging.DEBUG if reason in self._reported else logging.WARNING
            self._reported.add(reason)
            logger.log(level, "a webhook was refused: %s", reason)
            raise WebhookError(REFUSED) from None

    def _decrypt(self, ciphertext: bytes) -> bytes:
        decryptor, unpadder = self._cipher.decryptor(), PKCS7(BLOCK_BITS).unpadder()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


class _Number(str):
    """A number of a JSON text, exactly as written."""

    __slots__ = ()


def sign(client_id: str, timestamp: str, nonce: str, ciphertext: str) -> str:
    """Return the signature that AKOOL's webhook page defines. It contains no secret: the client id suffices to sign."""
    # The page's sample is in JavaScript, which sorts by UTF-16.
    parts = sorted([client_id, timestamp, nonce, ciphertext], key=lambda text: text.encode("utf-16-be"))
    return hashlib.sha1("".join(parts).encode()).hexdigest()  # noqa: S324 - AKOOL's choice


def _read_event(content: bytes) -> WebhookEvent:
    event = json.loads(content.decode(), parse_constant=_refuse)
    status = event["status"]
    if type(status) is not int:
        raise WebhookError
    return WebhookEvent(
        id=_validate.image_id("_id", event["_id"]),
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
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= MAX_TIMESTAMP_LENGTH):
        raise WebhookError
    return int(timestamp)


def _optional_text(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    return value if isinstance(value, str) and value else None


def _refuse(constant: str) -> None:
    raise ValueError(constant)
