"""The body of a webhook, as AKOOL's webhook page documents it: encrypted with AES-CBC, and signed."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes


def encrypt_webhook(
    content: dict[str, Any], *, client_id: str, client_secret: str, nonce: int, clock_skew: float = 0.0
) -> bytes:
    """Return the body of a webhook.

    Args:
        content: The fields to encrypt.
        client_id: The account's client id.
        client_secret: The key to encrypt with.
        nonce: A random number.
        clock_skew: Seconds by which the sender's clock is ahead.
    """
    padder = padding.PKCS7(algorithms.AES.block_size).padder()
    padded = padder.update(json.dumps(content).encode()) + padder.finalize()
    cipher = Cipher(algorithms.AES(client_secret.encode()), modes.CBC(client_id.encode()[:16])).encryptor()
    ciphertext = base64.b64encode(cipher.update(padded) + cipher.finalize()).decode()
    timestamp = int((time.time() + clock_skew) * 1000)
    signed = "".join(sorted([client_id, str(timestamp), str(nonce), ciphertext]))
    signature = hashlib.sha1(signed.encode()).hexdigest()  # noqa: S324 - AKOOL's choice
    body = {"signature": signature, "dataEncrypt": ciphertext, "timestamp": timestamp, "nonce": nonce}
    return json.dumps(body).encode()
