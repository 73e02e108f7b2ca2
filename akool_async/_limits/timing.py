"""All waits of a session, in one value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import Attribute, evolve, field, fields, frozen

from akool_async import _validate

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALE_VARIABLE: Final = "AKOOL_TIME_SCALE"


def wait(seconds: float, *, scales: bool = True) -> float:
    """Define a field of seconds.

    Args:
        seconds: The default.
        scales: True if :meth:`Timing.scaled` changes it.
    """

    def check(_: object, attribute: Attribute[float], value: float) -> None:
        _validate.seconds(attribute.name, value)

    default: float = field(default=seconds, validator=check, metadata={"scales": scales})
    return default


@frozen(kw_only=True)
class Timing:
    """The waits of a session, in seconds. The defaults fit AKOOL, whose jobs take 20 to 60 seconds.

    Two waits are arguments of :class:`AkoolSession`: ``request_timeout``, and ``polling`` for the time between polls.
    A ``Retry-After`` in AKOOL's replies is always kept.

    Args:
        retry_delay: Wait before a failed request is sent again. It doubles with every try, and half of it is random.
        max_retry_delay: The longest such wait, also between tries of a press that AKOOL refuses with 1005 or 429.
        delivery_timeout: How long to resend a POST that did not reach AKOOL. It is sent at most six times.
        throttle_delay: Wait after a 1005 or 429 without ``Retry-After``. It doubles while AKOOL goes on refusing.
        throttle_timeout: How long AKOOL may refuse a press with 1005 or 429 before it fails. On a busy account it may
            take minutes until there is room.
        throttle_reset: If the last try is longer ago than this, the delay starts again at ``throttle_delay``.
        reconcile_gap: Wait between the two reads of a source image that must both still offer the button of a press
            whose reply was lost.
        lost_reply_timeout: How long to wait for the webhook of a POST whose reply was lost.
        not_found_grace: How long after a press "not found" is not an error, since AKOOL may not know the new image yet.
        poll_failure_timeout: How long all polls may fail before a wait ends with :class:`PollingError`. It also ends
            after 30 failed polls in a row.
        url_grace: How long to poll for the URLs of a completed image that has none.
        single_images_grace: How long to poll for the URLs of the four single images if only the grid has one.
        url_interval: The longest time between polls for such URLs.
        slot_timeout: How long an operation may hold its slot.
        webhook_grace: If a poll sees the end first, wait this long before counting the webhook as missing.
        fallback_poll_interval: Time between polls of an operation while webhooks arrive reliably.
        price_timeout: How long to wait for the price of an earlier press, if the budget does not cover a rise.
        download_pause_timeout: How long one picture waits, in total, if its host asks for pauses.
        closing_timeout: When a session closes, how long to wait for an asynchronous observer, and for POSTs under way
            beyond their ``request_timeout``.

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
        """Return the waits multiplied by ``share``. ``closing_timeout``, and limits that apply to Retry-After, stay.

        Args:
            share: The factor: 0.01 for an emulator that works a hundred times faster than AKOOL.

        Raises:
            ValueError: ``share`` is not a number above 0.
        """
        _validate.scale("share", share)
        names = [attribute.name for attribute in fields(Timing) if attribute.metadata["scales"]]
        return evolve(self, **{name: getattr(self, name) * share for name in names})


def read_scale(environment: Mapping[str, str]) -> float:
    """Read ``AKOOL_TIME_SCALE``, which ``Emulator.environment()`` sets; 1 if it is not set.

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
