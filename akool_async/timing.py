"""How long a session waits, in one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import Attribute, asdict, field, frozen

from akool_async import _validate

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALE_VARIABLE: Final = "AKOOL_TIME_SCALE"


def wait(seconds: float) -> float:
    """A field: a number of seconds, with its default."""

    def check(_: Timing, attribute: Attribute[float], value: float) -> None:
        _validate.seconds(attribute.name, value)

    default: float = field(default=seconds, validator=check)
    return default


@frozen(kw_only=True)
class Timing:
    """How long a session waits, in seconds. The defaults fit AKOOL, whose jobs take 20 to 60 seconds.

    How long one request may take is ``request_timeout`` of :class:`AkoolSession`, and when to poll an operation is its
    ``polling``. A ``Retry-After`` of AKOOL's replies always counts as it is.

    Raises:
        ValueError: a value that is not a number of seconds above 0.
    """

    retry_delay: float = wait(0.5)
    """Before a failed request is sent again. It doubles with every try, and half of it is random."""
    max_retry_delay: float = wait(10.0)
    """The longest such delay, also between presses that AKOOL refuses with 1005 or 429."""
    delivery_timeout: float = wait(60.0)
    """A POST that did not reach AKOOL is tried again for so long, six times at most."""
    throttle_delay: float = wait(1.0)
    """After a 1005 or 429 without ``Retry-After``. It doubles while AKOOL goes on refusing."""
    throttle_timeout: float = wait(900.0)
    """After so long of nothing but 1005 and 429 a press is given up. On a busy account a place may take minutes."""
    throttle_reset: float = wait(60.0)
    """So long after the last try, a refusal counts as the first one again."""

    reconcile_gap: float = wait(3.0)
    """Between the two reads of a source image that must both still offer the button of a lost press."""
    lost_reply_timeout: float = wait(60.0)
    """For the webhook of a POST whose reply was lost."""

    not_found_grace: float = wait(10.0)
    """After a press: until then, "not found" may only mean that the new image is not known everywhere yet."""
    poll_failure_timeout: float = wait(900.0)
    """After so long of nothing but failed polls (or 30 of them) a wait ends with :class:`PollingError`."""
    url_grace: float = wait(10.0)
    """For the URLs of a completed image that has none yet."""
    single_images_grace: float = wait(5.0)
    """For the URLs of the four single images, if only that of the grid is there."""
    url_interval: float = wait(1.0)
    """The longest time between polls for such URLs."""
    slot_timeout: float = wait(3600.0)
    """An operation that has not ended after so long gives its slot back."""

    webhook_grace: float = wait(10.0)
    """If a poll sees an end first: for its webhook, before that counts as missing."""
    fallback_poll_interval: float = wait(60.0)
    """Between polls of an operation while webhooks arrive reliably."""

    price_timeout: float = wait(120.0)
    """For the price of the first press of a kind, if the budget has no room for a surprise."""
    download_pause_timeout: float = wait(60.0)
    """For the pauses that a host of pictures asks for, all pauses of one picture together."""
    closing_timeout: float = wait(5.0)
    """When a session closes: for an asynchronous observer, and for POSTs under way beyond ``request_timeout``."""

    def scaled(self, share: float) -> Timing:
        """All waits multiplied by ``share``: 0.01 for an emulator that works a hundred times faster than AKOOL."""
        _validate.seconds("share", share)
        return Timing(**{name: seconds * share for name, seconds in asdict(self).items()})


def read_scale(environment: Mapping[str, str]) -> float:
    """The share of ``AKOOL_TIME_SCALE``, which ``Emulator.environment()`` sets; 1 if it is not set.

    Raises:
        ValueError: it is not a number above 0.
    """
    text = environment.get(SCALE_VARIABLE)
    if not text:
        return 1.0
    try:
        return _validate.seconds(SCALE_VARIABLE, float(text))
    except ValueError:
        raise ValueError(f"{SCALE_VARIABLE} must be a number above 0, such as 0.01, not {text!r}") from None
