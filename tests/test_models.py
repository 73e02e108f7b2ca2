"""The values users hold."""

import pickle
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from akool_async import Button, ButtonPress, ImageResult, ImageStatus


def test_buttons_know_what_they_are():
    """U1-U4 are upscales, V1-V4 variations, and a button equals its name."""
    assert [button for button in Button if button.is_upscale] == ["U1", "U2", "U3", "U4"]
    assert (Button.upscale(3), Button.vary(4), Button.parse("V1")) == (Button.U3, Button.V4, Button.V1)


@pytest.mark.parametrize("value", ["U5", "u2", "", None, 2])
def test_a_button_that_does_not_exist_is_named(value):
    """The error names the eight there are."""
    with pytest.raises(ValueError, match=r"^button must be one of U1, U2.*V4, not"):
        Button.parse(value)


def test_urls_are_single_images_first_each_once_grid_last():
    """Urls drops repeats and keeps the grid last; external_img only stands in for nothing."""
    result = ImageResult(id="a", upscaled_urls=("1", "2"), images=("2", "3"), image="grid", external_img="x")
    assert result.urls == ("1", "2", "3", "grid")
    assert ImageResult(id="a", image="one", upscaled_urls=("one",)).urls == ("one",)
    assert ImageResult(id="a", external_img="x").urls == ("x",)
    assert ImageResult(id="a").urls == ()


def test_results_expire_seven_days_after_creation():
    """expires_at is aware and 7 days on; without a creation time, or beyond the calendar, there is none."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    assert ImageResult(id="a", created_at=created).expires_at == created + timedelta(days=7)
    assert ImageResult(id="a").expires_at is None
    assert ImageResult(id="a", created_at=datetime.max.replace(tzinfo=UTC)).expires_at is None


@pytest.mark.parametrize(("status", "final"), [(1, False), (2, False), (3, True), (4, True), (9, False), (None, False)])
def test_only_3_and_4_are_final(status, final):
    """An unknown status is not an end."""
    assert ImageResult(id="a", status=status).is_final is final


def test_values_are_frozen_and_pickle():
    """A press is a key for dictionaries; results pickle with their raw."""
    press = ButtonPress("image-1", "U1")
    assert {press: 1}[ButtonPress("image-1", Button.U1)] == 1
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        press.button = Button.U2
    result = ImageResult(id="a", status=ImageStatus.COMPLETED, raw={"_id": "a"})
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert again.raw == result.raw
    assert len({result, again}) == 1
