"""From the bytes of a callback to its event, as AKOOL's webhook page has it."""

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
)

if TYPE_CHECKING:
    from collections.abc import Iterator

try:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.padding import PKCS7
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        'cryptography is missing; install it with: pip install "akool-async[webhooks]"'
    ) from missing

logger = logging.getLogger("akool_async")

LARGEST_BODY: Final = 2**16
"""Bytes; AKOOL's callbacks have some hundred."""
IV_LENGTH: Final = 16
KEY_LENGTHS: Final = (16, 24, 32)
BLOCK_BITS: Final = 128
LONGEST_ID: Final = 256
LONGEST_TIMESTAMP: Final = 16
LONGEST_TOLERANCE: Final = 1e9
REFUSED: Final = "not a callback of AKOOL's for this account"
"""The same for every reason: an attacker is not told how far a forgery came. The log is."""
NOT_JSON: Final = "it is not the JSON of a callback"
NOT_SIGNED: Final = "its signature does not fit the client id: check client_id, if AKOOL sent it"
NOT_NOW: Final = "its timestamp is more than %g seconds away from this machine's clock: check the clock, or tolerance"
NOT_READABLE: Final = "it is signed and cannot be decrypted: check client_secret"


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
        self._reported: set[str] = set()
        self._credentials = credentials  # refuses to be pickled, and with it the verifier
        self._tolerance = tolerance
        # The documented sample (crypto-js) uses the first 16 bytes of a longer id.
        self._cipher = Cipher(algorithms.AES(key), modes.CBC(iv[:IV_LENGTH]))

    def parse(self, body: bytes) -> WebhookEvent:
        """Read the raw body of a callback.

        Raises:
            WebhookError: it is not AKOOL's, too old, or too large. The message does not say which; the log does, at
                WARNING for the first callback of each reason and at DEBUG from then on.
            ValueError: ``body`` is not bytes.
        """
        if not isinstance(body, bytes | bytearray | memoryview):
            raise ValueError(f"body must be the raw bytes of the request, not {type(body).__name__}")  # noqa: TRY004
        with self._refusing(NOT_JSON):
            if len(body) > LARGEST_BODY:
                raise WebhookError
            # Numbers are kept as they are written: the signature is over their text.
            callback = json.loads(bytes(body).decode(), parse_int=_Number, parse_float=_Number, parse_constant=_refuse)
            signature, sealed = _text(callback["signature"]), _text(callback["dataEncrypt"])
            timestamp, nonce = _text_or_number(callback["timestamp"]), _text_or_number(callback["nonce"])
        with self._refusing(NOT_SIGNED):
            expected = sign(self._credentials.client_id, timestamp, nonce, sealed)
            if not hmac.compare_digest(expected.encode(), signature.lower().encode()):
                raise WebhookError
        if self._tolerance is not None:
            with self._refusing(NOT_NOW % self._tolerance):
                if abs(time.time() - _milliseconds(timestamp) / 1000) > self._tolerance:
                    raise WebhookError
        with self._refusing(NOT_READABLE):
            return _read_event(self._open(base64.b64decode(sealed, validate=True)))

    def __repr__(self) -> str:
        return f"WebhookVerifier(tolerance={self._tolerance!r})"  # the client id is all it takes to sign

    @contextmanager
    def _refusing(self, reason: str) -> Iterator[None]:
        """Whatever goes wrong within makes the callback a refused one, for this reason."""
        try:
            yield
        except (ValueError, TypeError, KeyError, RecursionError, AkoolError):
            level = logging.DEBUG if reason in self._reported else logging.WARNING
            self._reported.add(reason)
            logger.log(level, "a webhook was refused: %s", reason)
            raise WebhookError(REFUSED) from None

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
