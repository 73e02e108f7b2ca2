"""AKOOL's webhooks become events; anything else is a WebhookError that does not say why."""

import base64
import copy
import json
import logging
import pickle
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async import ConfigurationError, ImageStatus, WebhookError
from akool_async.emulator._encryption import encrypt_webhook
from akool_async.webhooks import WebhookEvent, WebhookVerifier
from akool_async.webhooks._verifier import MAX_BODY_SIZE, REFUSED, sign

HERE = Path(__file__).parent
VECTORS = json.loads((HERE / "callbacks_by_crypto_js.json").read_text())
FIRST = VECTORS[0]


def verifier_of(vector, **options):
    options.setdefault("tolerance", None)
    return WebhookVerifier(vector["clientId"], vector["clientSecret"], **options)


def resigned(vector, **changes):
    """Return a body with changed parts and a matching signature, which the client id suffices to make."""
    parts = json.loads(vector["body"]) | changes
    parts["signature"] = sign(
        vector["clientId"], str(parts["timestamp"]), str(parts["nonce"]), str(parts["dataEncrypt"])
    )
    return json.dumps(parts).encode()


SAID = {
    "signature": (lambda body: WebhookVerifier("A" * 22, FIRST["clientSecret"], tolerance=None), "check client_id"),
    "secret": (lambda body: WebhookVerifier(FIRST["clientId"], "x" * 24, tolerance=None), "check client_secret"),
    "clock": (lambda body: verifier_of(FIRST, tolerance=300.0), "check the clock"),
}


@pytest.mark.parametrize("name", SAID)
def test_the_log_says_why_a_callback_was_refused(name, caplog):
    """A wrong id, secret or clock is logged once, with the remedy; the error names no reason, and no secret shows."""
    make, reason = SAID[name]
    verifier = make(FIRST)
    caplog.set_level(logging.DEBUG, logger="akool_async")
    for _ in range(3):
        with pytest.raises(WebhookError, match=REFUSED):
            verifier.parse(FIRST["body"].encode())
    assert [(record.levelname, reason in record.getMessage()) for record in caplog.records] == [
        ("WARNING", True),
        ("DEBUG", True),
        ("DEBUG", True),
    ]
    assert FIRST["clientSecret"] not in caplog.text


@pytest.mark.parametrize("vector", VECTORS, ids=range(len(VECTORS)))
def test_callbacks_made_by_crypto_js_are_read(vector):
    """Stored webhooks, made with the library of AKOOL's own sample, are decrypted."""
    event = verifier_of(vector).parse(vector["body"].encode())
    content = vector["content"]
    assert event == WebhookEvent(
        id=content["_id"], status=content["status"], type="image", url=content.get("url") or None
    )


def _crypto_js_is_here():
    node = shutil.which("node")
    command = [node, "-e", "require('crypto-js')"]
    return node is not None and subprocess.run(command, capture_output=True, cwd=HERE, check=False).returncode == 0


@pytest.mark.skipif(not _crypto_js_is_here(), reason="no node with crypto-js here: the stored callbacks stand for it")
@pytest.mark.parametrize("secret_length", [16, 24, 32])
def test_callbacks_encrypted_by_crypto_js_just_now_are_read(secret_length):
    """A webhook of crypto-js with the current time is accepted, with each length of AES key."""
    wanted = {
        "clientId": "AKDt8rWEczpYPzCGur2xE2",
        "clientSecret": "s" * secret_length,
        "timestamp": int(time.time() * 1000),
        "nonce": 0.25,
        "content": {
            "_id": "662a10df4197b3af58532e89",
            "status": 3,
            "type": "image",
            "url": "https://example.invalid/1",
        },
    }
    command = [shutil.which("node"), "encrypt_callback.cjs"]
    encrypted = subprocess.run(command, input=json.dumps(wanted).encode(), capture_output=True, cwd=HERE, check=True)
    event = WebhookVerifier(wanted["clientId"], wanted["clientSecret"]).parse(encrypted.stdout)
    assert (event.id, event.status) == ("662a10df4197b3af58532e89", ImageStatus.COMPLETED)


@given(st.data())
def test_one_changed_byte_is_an_error_or_changes_nothing_that_matters(data):
    """No changed byte makes an event about another image."""
    body = bytearray(FIRST["body"].encode())
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    image_id = FIRST["content"]["_id"]
    with suppress(WebhookError):
        image_id = verifier_of(FIRST).parse(bytes(body)).id
    assert image_id == FIRST["content"]["_id"]


@given(st.binary(max_size=300))
def test_any_bytes_are_a_webhook_error(body):
    """Bytes at random raise WebhookError and no other error."""
    with pytest.raises(WebhookError, match=REFUSED):
        verifier_of(FIRST).parse(body)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries(dict.fromkeys(("signature", "dataEncrypt", "timestamp", "nonce"), JSON_VALUES)))
def test_any_values_of_the_four_fields_are_a_webhook_error(fields):
    """JSON values of any type in the four fields raise WebhookError and no other error."""
    with pytest.raises(WebhookError, match=REFUSED):
        verifier_of(FIRST).parse(json.dumps(fields).encode())


@given(ciphertext=st.binary(max_size=64).map(lambda raw: base64.b64encode(raw).decode()) | st.text(max_size=40))
def test_any_ciphertext_under_a_matching_signature_is_a_webhook_error(ciphertext):
    """The client id does not suffice to make an event."""
    with pytest.raises(WebhookError, match=REFUSED):
        verifier_of(FIRST).parse(resigned(FIRST, dataEncrypt=ciphertext))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 50_000,
        b'{"signature": NaN}',
        b" " * (MAX_BODY_SIZE + 1),
        FIRST["body"].encode() + b" " * MAX_BODY_SIZE,
        FIRST["body"].encode("utf-16"),
    ],
    ids=range(11),
)
def test_other_content_is_refused(body):
    """Other JSON, other encodings, deep nesting and large bodies raise WebhookError."""
    with pytest.raises(WebhookError, match=REFUSED):
        verifier_of(FIRST).parse(body)


def test_an_uppercase_signature_is_the_same_signature():
    """Hexadecimal digits may be written in either case."""
    body = json.loads(FIRST["body"])
    body["signature"] = body["signature"].upper()
    assert verifier_of(FIRST).parse(json.dumps(body).encode()).id == FIRST["content"]["_id"]


@pytest.mark.parametrize("milliseconds_off", [-301_000, 301_000])
def test_a_timestamp_beyond_the_tolerance_is_refused(milliseconds_off):
    """The tolerance holds in both directions, and None accepts any time."""
    body = resigned(FIRST, timestamp=int(time.time() * 1000) + milliseconds_off)
    with pytest.raises(WebhookError, match=REFUSED):
        verifier_of(FIRST, tolerance=300).parse(body)
    assert verifier_of(FIRST, tolerance=400).parse(body).id == FIRST["content"]["_id"]
    assert verifier_of(FIRST, tolerance=None).parse(body).id == FIRST["content"]["_id"]


@pytest.mark.parametrize(
    "timestamp", ["soon", "", "1e400", None, True, [], "9" * 400, "9" * 5000, "1_7_0", " 1", "\u0661"]
)
def test_a_timestamp_that_is_not_a_time_is_refused(timestamp):
    """Texts, numbers without bound and other types raise WebhookError."""
    with pytest.raises(WebhookError, match=REFUSED):
        verifier_of(FIRST, tolerance=300).parse(resigned(FIRST, timestamp=timestamp))


def test_every_refusal_reads_the_same():
    """Neither message nor cause shows how far a forgery got."""
    wrong_secret = WebhookVerifier(FIRST["clientId"], "x" * 32, tolerance=None)
    wrong_id = WebhookVerifier("x" * 22, FIRST["clientSecret"], tolerance=None)
    refusals = set()
    for verifier, body in (
        (wrong_secret, FIRST["body"].encode()),
        (wrong_id, FIRST["body"].encode()),
        (verifier_of(FIRST, tolerance=1), FIRST["body"].encode()),
        (verifier_of(FIRST), resigned(FIRST, dataEncrypt="AAAA")),
        (verifier_of(FIRST), b""),
    ):
        with pytest.raises(WebhookError) as caught:
            verifier.parse(body)
        refusals.add((str(caught.value), caught.value.__cause__, caught.value.__suppress_context__))
    assert refusals == {(REFUSED, None, True)}


@pytest.mark.parametrize("length", [8, 15, 17, 23, 25, 31, 33, 64])
def test_a_secret_that_is_not_an_aes_key_is_a_configuration_error(length):
    """A wrong length is reported when the verifier is made, not with the first webhook."""
    with pytest.raises(ConfigurationError, match="client_secret must have 16, 24 or 32 bytes"):
        WebhookVerifier("c" * 22, "s" * length)


def test_a_short_client_id_is_a_configuration_error():
    """An id that is too short for the initialisation vector is reported when the verifier is made."""
    with pytest.raises(ConfigurationError, match="client_id must have at least 16 bytes, not 15"):
        WebhookVerifier("c" * 15, "s" * 24)


@pytest.mark.parametrize("tolerance", [0, -1, float("nan"), float("inf"), 10**400, True, "300"])
def test_a_tolerance_that_is_not_a_number_of_seconds_is_refused(tolerance):
    """Zero, negative, infinite and non-numeric tolerances raise ValueError."""
    with pytest.raises(ValueError, match="tolerance must be a number of seconds"):
        WebhookVerifier("c" * 16, "s" * 24, tolerance=tolerance)


@pytest.mark.parametrize("body", ["text", None, 5, {}])
def test_a_body_that_is_not_bytes_is_the_callers_mistake(body):
    """A text or parsed JSON raises ValueError rather than WebhookError."""
    with pytest.raises(ValueError, match="body must be the raw bytes"):
        verifier_of(FIRST).parse(body)


def test_the_secret_is_in_no_repr_and_no_pickle():
    """A verifier cannot be pickled, and its repr shows no key."""
    verifier = verifier_of(FIRST)
    assert FIRST["clientSecret"] not in repr(verifier)
    with pytest.raises(TypeError):
        pickle.dumps(verifier)
    assert FIRST["clientSecret"] not in repr(vars(copy.copy(verifier)))


def test_an_unknown_status_stays_a_number():
    """A status that AKOOL may add one day does not raise."""
    body = encrypt_webhook(
        {"_id": "a", "status": 9}, client_id=FIRST["clientId"], client_secret=FIRST["clientSecret"], nonce=1
    )
    assert verifier_of(FIRST, tolerance=60).parse(body) == WebhookEvent(id="a", status=9)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"_id": "a"},
        {"_id": 5, "status": 3},
        {"_id": "", "status": 3},
        {"_id": "a b", "status": 3},
        {"_id": "a" * 300, "status": 3},
        {"_id": "a", "status": "3"},
        {"_id": "a", "status": True},
        [],
        5,
    ],
    ids=range(10),
)
def test_encrypted_content_that_is_no_event_is_refused(content):
    """Content with the right key and wrong fields raises WebhookError."""
    body = encrypt_webhook(content, client_id=FIRST["clientId"], client_secret=FIRST["clientSecret"], nonce=1)
    with pytest.raises(WebhookError, match=REFUSED):
        verifier_of(FIRST).parse(body)
