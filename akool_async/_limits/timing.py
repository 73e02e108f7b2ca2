"""How long a session waits, in one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import Attribute, evolve, field, fields, frozen

from akool_async import _validate

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALE_VARIABLE: Final = "AKOOL_TIME_SCALE"


def wait(seconds: float, *, scales: bool = True) -> float:
    """A field of seconds with its default. ``scales``: whether ``scaled`` changes it."""

    def check(_: object, attribute: Attribute[float], value: float) -> None:
        _validate.seconds(attribute.name, value)

    default: float = field(default=seconds, validator=check, metadata={"scales": scales})
    return default


@frozen(kw_only=True)
class Timing:
    """How long a session waits, in seconds. The defaults fit AKOOL, whose jobs take 20 to 60 seconds.

    How long one request may take is ``request_timeout`` of :class:`AkoolSession`, and when to poll an operation is its
    ``polling``. A ``Retry-After`` in AKOOL's replies always counts as it is.

    Args:
        retry_delay: Before a failed request is sent again. It doubles with every try, and half of it is random.
        max_retry_delay: The longest such delay, also between presses that AKOOL refuses with 1005 or 429.
        delivery_timeout: A POST that did not reach AKOOL is sent again for this long, six times at most.
        throttle_delay: After a 1005 or 429 without ``Retry-After``. It doubles while AKOOL goes on refusing.
        throttle_timeout: A press fails if AKOOL refuses it with 1005 or 429 for this long. On a busy account room may
            take minutes.
        throttle_reset: If the last try is longer ago than this, the delay starts again at ``throttle_delay``.
        reconcile_gap: Between the two reads of a source image that must both still offer the button of a lost press.
        lost_reply_timeout: For the webhook of a POST whose reply was lost.
        not_found_grace: After a press, "not found" may only mean that the new image is not known everywhere yet.
        poll_failure_timeout: A wait ends with :class:`PollingError` after this long of nothing but failed polls, or
            after 30 of them.
        url_grace: For the URLs of a completed image that has none yet.
        single_images_grace: For the URLs of the four single images, if only that of the grid is there.
        url_interval: The longest time between polls for such URLs.
        slot_timeout: An operation that has not ended after this long gives its slot back.
        webhook_grace: If a poll sees the end first, wait this long before counting the webhook as missing.
        fallback_poll_interval: Between polls of an operation while webhooks arrive reliably.
        price_timeout: For the price of the first press of a kind, if the budget has no room for a surprise.
        download_pause_timeout: For the pauses that a host of pictures asks for, all pauses of one picture together.
        closing_timeout: When a session closes, for an asynchronous observer, and for POSTs under way beyond their
            ``request_timeout``.

    Raises:
        ValueError: A value is not a number of seconds above 0.
    """

    retry_delay: float = wait(0.5)
    max_retry_delay: float = wait(10.0)
    delivery_timeout: float = wait(60.0)
    throttle_delay: float = wait(1.0)
    throttle_timeout: float = wait(900.0, scales=False)
    throttle_reset: float = wait(60.0)
    reconcile_gap: float = wait(3.0)
    lost_reply_timeout: float = wait(60.0)
    not_found_grace: float = wait(10.0)
    poll_failure_timeout: float = wait(900.0, scales=False)
    url_grace: float = wait(10.0)
    single_images_grace: float = wait(5.0)
    url_interval: float = wait(1.0)
    slot_timeout: float = wait(3600.0)
    webhook_grace: float = wait(10.0)
    fallback_poll_interval: float = wait(60.0)
    price_timeout: float = wait(120.0)
    download_pause_timeout: float = wait(60.0, scales=False)
    closing_timeout: float = wait(5.0, scales=False)

    def scaled(self, share: float) -> Timing:
        """The waits multiplied by ``share``: 0.01 for an emulator that works a hundred times faster than AKOOL.

        Timeouts that a ``Retry-After`` counts against, and the time for closing, stay as they are.

        Raises:
            ValueError: ``share`` is not a number above 0.
        """
        _validate.scale("share", share)
        names = [attribute.name for attribute in fields(Timing) if attribute.metadata["scales"]]
        return evolve(self, **{name: getattr(self, name) * share for name in names})


def read_scale(environment: Mapping[str, str]) -> float:
    """The share of ``AKOOL_TIME_SCALE``, which ``Emulator.environment()`` sets; 1 if it is not set.

    Raises:
        ValueError: It is not a number above 0.
    """
    text = environment.get(SCALE_VARIABLE)
    if not text:
        return 1.0
    try:
        return _validate.scale(SCALE_VARIABLE, float(text))
    except ValueError:
        raise ValueError(f"{SCALE_VARIABLE} must be a number above 0, such as 0.01, not {text!r}") from None
