"""Reading and writing AKOOL's JSON: the documented examples exactly, and anything else without surprises."""

import json
from contextlib import suppress
from datetime import UTC, datetime

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akool_async._http import codec
from akool_async.errors import AkoolError, APIError, RateLimitedError, ResponseError
from akool_async.items import ButtonPress, SourcePrompt
from akool_async.models import ImageResult, ImageStatus
from tests.support.codes import each_code
from tests.support.examples import CREATE_BY_BUTTON_REPLY, CREATE_BY_PROMPT_REPLY, GET_IMAGE_RESULT_REPLY

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = sorted(
    {
        *CREATE_BY_BUTTON_REPLY["data"],
        *GET_IMAGE_RESULT_REPLY["data"],
        *CREATE_BY_PROMPT_REPLY["data"],
        *("external_img", "images", "error_reasons", "scale", "buttons of tomorrow"),
    }
)


def read(value):
    return codec.read_image(codec.read_envelope(json.dumps(value).encode()))


@pytest.mark.parametrize("example", [CREATE_BY_BUTTON_REPLY, GET_IMAGE_RESULT_REPLY, CREATE_BY_PROMPT_REPLY])
def test_the_documented_examples_are_read_and_kept_whole(example):
    """Each documented reply gives its id, status, credits and time, and raw is the reply."""
    data = example["data"]
    result = read(example)
    assert (result.id, result.status, result.deduction_credit) == (data["_id"], data["image_status"], 2)
    assert result.created_at == datetime.fromtimestamp(data["create_time"] / 1000, UTC)
    assert (result.buttons, result.image) == (tuple(data["buttons"]), data.get("image"))
    assert (result.type, result.uid, result.prompt) == (data.get("type"), data.get("uid"), data.get("prompt"))
    assert result.raw == data


# Texts in the place of a value in a reply: valid JSON or not.
WORDS = (
    st.from_regex(rb"-?[0-9]{1,6000}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,6})?", fullmatch=True)
    | st.sampled_from([b"NaN", b"Infinity", b"-Infinity", b"null", b"[]", b"{}", b"1" * 400, b"9" * 309, b"1" * 5000])
    | st.binary(max_size=20).map(lambda text: b'"' + text + b'"')
    | st.text(max_size=20).map(lambda text: json.dumps(text).encode())
)


@given(code=WORDS | st.just(b"1000"), data=st.dictionaries(st.sampled_from(FIELDS), WORDS), credit=WORDS, token=WORDS)
def test_any_words_in_a_reply_are_read_or_an_akool_error(code, data, credit, token):
    """Any bytes as the code or a field: every reader returns a value or raises an AkoolError."""
    fields = b"".join(b', "%s": %s' % (name.encode(), value) for name, value in data.items())
    body = b'{"code": %s, "token": %s, "data": {"credit": %s%s}}' % (code, token, credit, fields)
    for reader in (codec.read_image, codec.read_images, codec.read_credit, codec.read_token):
        with suppress(AkoolError):
            envelope = codec.read_envelope(body)
            repr(reader(envelope)).encode()


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))
def test_any_body_is_an_envelope_or_an_akool_error(body):
    """Any bytes as a reply: reading returns an envelope and an image, or raises an AkoolError."""
    for status in (200, 429, 502):
        try:
            envelope = codec.read_envelope(body, http_status=status)
            assert isinstance(codec.read_image(envelope), ImageResult)
        except AkoolError:
            pass


@pytest.mark.parametrize("price", [-2, -0.5, "-1"])
def test_a_negative_price_becomes_none(price):
    """A negative charge becomes None, and raw keeps it."""
    result = read({"code": 1000, "data": {"_id": "image-1", "deduction_credit": price}})
    assert (result.deduction_credit, result.raw["deduction_credit"]) == (None, price)


@given(data=JSON)
def test_any_data_is_read_or_an_akool_error(data):
    """Any JSON as data with code 1000: every reader returns a value or raises an AkoolError."""
    envelope = codec.Envelope(data, {"data": data})
    for reader in (codec.read_image, codec.read_images, codec.read_token, codec.read_credit):
        with suppress(AkoolError):
            reader(envelope)


@given(fields=st.dictionaries(st.sampled_from([name for name in FIELDS if name != "_id"]), JSON))
def test_a_mistyped_field_never_raises(fields):
    """An image with an _id can be read with fields of any other type, and raw keeps them."""
    data = {"_id": "image-1", **fields}
    result = codec.read_image(codec.Envelope(data, {}))
    assert result.id == "image-1"
    assert result.raw is data
    assert all(isinstance(url, str) for url in result.urls)
    assert result.expires_at is None or result.expires_at.tzinfo is UTC
    assert result.is_final in {True, False}


@pytest.mark.parametrize(
    ("sent", "name", "value"),
    [
        ({"create_time": "1695033647012"}, "created_at", datetime(2023, 9, 18, 10, 40, 47, 12000, UTC)),
        ({"create_time": "yesterday"}, "created_at", None),
        ({"create_time": 1e300}, "created_at", None),
        ({"create_time": True}, "created_at", None),
        ({"image_status": 9}, "status", 9),
        ({"image_status": "3"}, "status", ImageStatus.COMPLETED),
        ({"image_status": None}, "status", None),
        ({}, "status", None),
        ({"buttons": ["U1", "Z9", 7, None]}, "buttons", ("U1", "Z9", "7")),
        ({"buttons": None}, "buttons", ()),
        ({"buttons": "U1"}, "buttons", ("U1",)),
        ({"image": ""}, "image", None),
        ({"deduction_credit": "2.5"}, "deduction_credit", 2.5),
        ({"deduction_credit": "two"}, "deduction_credit", None),
        ({"error_reasons": "too dark"}, "error_reasons", ("too dark",)),
        ({"error_reasons": ["too dark", None]}, "error_reasons", ("too dark",)),
        ({"_id": 42}, "id", "42"),
        ({"uid": 2**53 + 1}, "uid", 2**53 + 1),
        ({"news": [1]}, "raw", {"_id": "image-1", "news": [1]}),
    ],
)
def test_fields_are_read_tolerantly(sent, name, value):
    """Sensible values are read, others become the field's default, and unknown fields stay in raw."""
    assert getattr(read({"code": 1000, "data": {"_id": "image-1", **sent}}), name) == value


@pytest.mark.parametrize(
    ("field", "name"),
    [
        ("deduction_credit", "deduction_credit"),
        ("image_status", "status"),
        ("create_time", "created_at"),
        ("uid", "uid"),
        ("prompt", "prompt"),
    ],
)
@pytest.mark.parametrize("digits", [309, 400, 5000])
def test_a_number_beyond_a_double_makes_no_sense(field, name, digits):
    """The field is None for values that make no sense, in any notation and with any sign."""
    for number in ("9" * digits, "-" + "9" * digits, '"' + "9" * digits + '"', f"1e{digits}"):
        body = '{"code": 1000, "data": {"_id": "image-1", "%s": %s}}' % (field, number)  # noqa: UP031 - braces
        image = codec.read_image(codec.read_envelope(body.encode()))
        assert (image.id, getattr(image, name)) in {("image-1", None), ("image-1", number.strip('"'))}


@pytest.mark.parametrize("data", [None, [], {}, {"_id": None}, {"_id": ""}, "image-1", ["image-1"]])
def test_an_image_without_an_id_is_refused(data):
    """An accepted image without a readable _id is an error, and never a result without an id."""
    with pytest.raises(ResponseError, match="_id"):
        read({"code": 1000, "data": data})


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": 1000, "data": {"_id": "image-1", "deduction_credit": NaN}}',
        b'{"code": 1000, "data": {"_id": "image-1", "deduction_credit": 1e400}}',
        b'{"code": 1000, "data": {"_id": "image-1", "deduction_credit": -%s}}' % (b"1" * 400),
        b'{"code": 1000, "data": {"_id": "image-1", "deduction_credit": %s}}' % (b"1" * 5000),
        b'{"code": 1000, "data": {"_id": "image-1", "deduction_credit": "%s"}}' % (b"1" * 5000),
        b'\xef\xbb\xbf{"code": 1000, "data": {"_id": "image-1"}}',
        b'{"code": 1000, "data": [{"_id": "image-1"}]}',
        b'{"code": 1000, "code": 1000, "data": {"_id": "old", "_id": "image-1"}}',
        '{"code": 1000, "data": {"_id": "image-1", "prompt": "caf\xe9"}}'.encode("utf-16"),
    ],
)
def test_an_odd_reply_does_not_lose_a_paid_id(body):
    """NaN, numbers beyond a double, a byte order mark, a list of one, a repeated key: sensible values are read."""
    image = codec.read_image(codec.read_envelope(body))
    assert (image.id, image.deduction_credit) == ("image-1", None)


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (b"caf\xe9", "caf\ufffd"),
        ("a \u65e5".encode()[:-1], "a \ufffd"),
        (b"\x95\\", "\ufffd\\"),  # a character of Shift JIS, whose second byte is a backslash
        (b"a\nb\tc\x00d", "a\nb\tc\x00d"),
        (b"\\x41 \\' \\u12 \\\\x \\n", "\\x41 \\' \\u12 \\x \n"),
        (b"a \\ud83d", "a ?"),
        (b"\\ude00\\ud83d", "??"),
        ("\ud83d".encode("utf-8", "surrogatepass"), "\ufffd" * 3),
        (b"\\ud83d\\ude00", "\U0001f600"),
    ],
)
def test_a_text_that_was_cut_or_mangled_does_not_lose_a_paid_id(sent, text):
    """Only the invalid text changes, the fields beside it do not, and everything can be encoded."""
    # A backslash before the closing quote would escape it.
    closing = b" " if sent.endswith(b"\x95\\") else b""
    body = b'{"code": 1000, "data": {"prompt": "%s%s", "_id": "image-1", "image_status": 3}}' % (sent, closing)
    image = codec.read_image(codec.read_envelope(body))
    assert (image.id, image.status, image.prompt) == ("image-1", ImageStatus.COMPLETED, text + closing.decode())
    assert orjson.loads(orjson.dumps(image.raw))["prompt"] == image.prompt


@pytest.mark.parametrize("code", [b"1" * 400, b"1" * 5000, b"1e400", b"NaN", b'"%s"' % (b"1" * 5000)])
def test_a_code_beyond_measure_is_no_code(code):
    """A reply without a readable code is not AKOOL's, even with other fields."""
    with pytest.raises(ResponseError, match="code"):
        codec.read_envelope(b'{"code": %s, "data": {"_id": "image-1"}}' % code)


def test_a_batch_is_a_list_of_images():
    """v4 answers with one image or a list of them."""
    one, two = ({"_id": name, "image_status": 1} for name in ("a", "b"))
    envelope = codec.Envelope([one, two], {})
    assert [image.id for image in codec.read_images(envelope)] == ["a", "b"]
    assert [image.id for image in codec.read_images(codec.Envelope(one, {}))] == ["a"]
    half = codec.Envelope([one, {"_id": None}], {})
    assert [image.id for image in codec.read_images(half)] == ["a"]  # the paid id is not lost


def test_a_reply_with_nothing_new_gives_the_image_that_is_known():
    """Equal data returns the same object in any notation, and new data a new object."""
    known = read({"code": 1000, "data": {"_id": "a", "image_status": 2, "news": {"b": [1]}}})
    same = codec.read_envelope(
        b'{"code": 1000, "msg": "again", "data": {"news": {"b": [1]}, "image_status": 2, "_id": "a"}}'
    )
    assert codec.read_image(same, known) is known
    new = codec.read_envelope(b'{"code": 1000, "data": {"_id": "a", "image_status": 2, "news": {"b": [2]}}}')
    assert codec.read_image(new, known).raw["news"] == {"b": [2]}


def test_data_nested_too_deeply_to_compare_is_read_again():
    """A deeply nested reply can be parsed, so it must not end a wait."""
    body = b'{"code": 1000, "data": {"_id": "a", "deep": %s}}' % (b"[" * 990 + b"]" * 990)
    known = codec.read_image(codec.read_envelope(body))
    assert codec.read_image(codec.read_envelope(body), known) == known


@each_code
@pytest.mark.parametrize("text_name", ["msg", "message"])
def test_every_code_is_its_class(code, expected, text_name):
    """With HTTP 200 the code decides. An unknown code keeps its number and text; msg may be called message."""
    body = json.dumps({"code": code, text_name: "because", "data": None}).encode()
    with pytest.raises(APIError, match="because") as caught:
        codec.read_envelope(body)
    assert type(caught.value) is expected.error
    assert (caught.value.code, caught.value.msg, caught.value.http_status) == (code, "because", 200)


def test_the_code_decides_with_any_http_status():
    """Code 1000 with HTTP 500 is a success, also as the text "1000"."""
    assert codec.read_envelope(b'{"code": 1000, "data": 1}', http_status=500).data == 1
    assert codec.read_envelope(b'{"code": "1000", "data": 1}').data == 1


@pytest.mark.parametrize("body", [b"<html>slow down</html>", b'{"error": "slow down"}', b'{"code": 77, "msg": "slow"}'])
def test_http_429_is_a_rate_limit_with_any_body(body):
    """A gateway's 429 is a RateLimitedError that keeps Retry-After."""
    with pytest.raises(RateLimitedError) as caught:
        codec.read_envelope(body, http_status=429, headers={"Retry-After": "7"})
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize(
    ("body", "looks"),
    [(b"", "empty"), (b" \n", "empty"), (b"<!doctype html>", "HTML"), (b"ok", "not JSON"), (b"[]", "code")],
)
def test_an_unreadable_body_is_described(body, looks):
    """The error distinguishes HTML, empty, other text and foreign JSON, and keeps the HTTP status."""
    with pytest.raises(ResponseError, match=looks) as caught:
        codec.read_envelope(body, http_status=502)
    assert caught.value.http_status == 502


@pytest.mark.parametrize("reply", [{"code": 1000, "token": "t"}, {"code": 1000, "data": {"token": "t"}}])
def test_a_token_is_read_from_both_places(reply):
    """Get Token answers with token, or with data.token."""
    assert codec.read_token(codec.read_envelope(json.dumps(reply).encode())) == "t"


def test_the_documented_body_of_create_by_button():
    """The body has _id, button and, if there is one, webhookUrl."""
    press = ButtonPress("65d3206b83ccf5ab7d46cdc6", "U2")
    assert orjson.loads(codec.button_body(press, None)) == {"_id": "65d3206b83ccf5ab7d46cdc6", "button": "U2"}
    assert orjson.loads(codec.button_body(press, "https://me.example/h"))["webhookUrl"] == "https://me.example/h"


def test_defaults_are_not_sent():
    """The body of a v4 request with only a prompt has only the prompt."""
    assert orjson.loads(codec.prompt_body(SourcePrompt("a fox"), None)) == {"prompt": "a fox"}
