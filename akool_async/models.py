"""The values that AKOOL returns: statuses, results and webhooks. They are independent of AKOOL's JSON names."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - cattrs reads the annotations at run time
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from attrs import field, frozen

__all__ = ["FINAL", "RESULT_LIFETIME", "Counters", "ImageResult", "ImageStatus", "WebhookEvent"]

_MILLISECONDS: Final = re.compile(r"(\d{13})(?!\d)", re.ASCII)
RESULT_LIFETIME: Final = timedelta(days=7)
"""How long AKOOL keeps a result. AKOOL's page Create By Button: resources are valid for 7 days."""


class ImageStatus(IntEnum):
    """AKOOL's ``image_status``. Any other number is a plain ``int``."""

    QUEUEING = 1
    PROCESSING = 2
    COMPLETED = 3
    FAILED = 4


FINAL: Final = (ImageStatus.COMPLETED, ImageStatus.FAILED)
"""The statuses at which an operation has ended."""


@frozen(kw_only=True)
class ImageResult:
    """An image as AKOOL last reported it. Any field but ``id`` may be missing; ``raw`` has everything AKOOL sent."""

    id: str
    """AKOOL's ``_id``."""
    status: ImageStatus | int | None = None
    """1 queueing, 2 processing, 3 completed, 4 failed; None if the reply has no readable status."""
    image: str | None = None
    """URL of the upscaled image, or of the 2x2 grid of a prompt or a variation."""
    upscaled_urls: tuple[str, ...] = ()
    """URLs of the four single images of a prompt or a variation; empty for an upscale."""
    images: tuple[str, ...] = ()
    """AKOOL's ``images``: URLs of pictures."""
    external_img: str | None = None
    """AKOOL's ``external_img``: the URL of a picture, used if there is no other."""
    buttons: tuple[str, ...] = ()
    """Buttons that can still be pressed. They compare equal to ``Button``; this version may not know all names."""
    used_buttons: tuple[str, ...] = ()
    """Buttons that were pressed before."""
    source_image_id: str | None = None
    """The image whose button was pressed (``image_content_model_id``); None for a prompt."""
    op_button: str | None = None
    """The button whose press made this image; None for a prompt."""
    op_button_message_id: str | None = None
    """AKOOL's ``op_button_message_id``."""
    created_at: datetime | None = None
    """When AKOOL accepted the operation, in UTC (timezone-aware)."""
    deduction_credit: float | None = None
    """Credits charged, as AKOOL reports them."""
    error_reasons: tuple[str, ...] = ()
    """Why the image failed, as AKOOL reports it; empty if it did not fail, or AKOOL gives no reason."""
    prompt: str | None = None
    """AKOOL's ``prompt``."""
    origin_prompt: str | None = None
    """AKOOL's ``origin_prompt``."""
    source_image: str | None = None
    """The URL of the image that a prompt started from."""
    scale: str | None = None
    """Width to height, such as "1:1"."""
    faceswap_quality: float | None = None
    """AKOOL's ``faceswap_quality``."""
    type: int | None = None
    """AKOOL's ``type``."""
    from_: int | None = None
    """AKOOL's ``from``."""
    uid: int | None = None
    """AKOOL's ``uid``."""
    raw: Mapping[str, Any] = field(factory=dict, eq=False, repr=False)
    """The mapping that AKOOL sent, unchanged."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Every result URL once, single images first, the 2x2 grid last."""
        listed = (*self.upscaled_urls, *self.images, *filter(None, [self.image]))
        return tuple(dict.fromkeys(listed)) or tuple(filter(None, [self.external_img]))

    @property
    def is_final(self) -> bool:
        """True if the status is completed (3) or failed (4)."""
        return self.status in FINAL

    @property
    def finished_at(self) -> datetime | None:
        """When AKOOL stored the result, by AKOOL's clock, in UTC (timezone-aware); None if its URLs do not show it.

        Observed, not documented: a result's file name begins with the epoch milliseconds at which it was stored.
        """
        times = [time for url in self.urls if (time := _stored_at(url)) is not None]
        latest = max(times, default=None)
        return None if latest is None or (self.created_at is not None and latest < self.created_at) else latest

    @property
    def expires_at(self) -> datetime | None:
        """When AKOOL deletes the result: 7 days after :attr:`created_at`, in UTC. None if that is not known."""
        try:
            return None if self.created_at is None else self.created_at + RESULT_LIFETIME
        except OverflowError:
            return None


def _stored_at(url: str) -> datetime | None:
    found = _MILLISECONDS.match(url.partition("?")[0].rpartition("/")[2])
    return None if found is None else datetime.fromtimestamp(int(found[1]) / 1000, UTC)


@frozen(kw_only=True)
class WebhookEvent:
    """The content of AKOOL's webhook: a hint that an image has ended, which a poll confirms."""

    id: str
    """The ``_id`` of the image, which is also the operation's id."""
    status: ImageStatus | int
    """2 processing, 3 completed, 4 failed."""
    type: str | None = None
    """"image" for images."""
    url: str | None = None
    """The URL of the result in the webhook. This library does not use it, since it may be forged."""


@frozen(kw_only=True)
class Counters:
    """Numbers about a session, from ``AkoolSession.counters``. They count from the beginning of the session.

    Attributes:
        waiting: Presses and prompts that AKOOL cannot have accepted yet: now, not since the beginning.
        in_flight: Operations that are being polled now.
        upscale_slots: ``max_concurrent_upscales``.
        upscale_slots_held: Slots that are taken now: by upscales that run at AKOOL, or whose POST is under way.
        pressed: Operations that AKOOL accepted.
        finished: Operations whose end a poll saw, including those that failed.
        failed: Operations that ended with status 4.
        refused: Presses and prompts that were not accepted and cost nothing, including a fan-out's presses on an image
            that was not made.
        unknown: POSTs whose outcome is unknown.
        throttled: How often AKOOL asked for a slower pace, with 1005 or HTTP 429.
        credits_charged: Credits charged for operations whose id is known.
        credits_lost: Estimated credits charged for presses whose id was lost (``OutcomeUnknownError.charged`` is True).
        credits_in_doubt: Estimated credits of POSTs that AKOOL may or may not have accepted.
        credits_estimated: The part of ``credits_charged`` for which AKOOL has reported no price; the last price of the
            kind is used.
        credits_elsewhere: Credits by which the balance fell beyond ``credits_charged`` and ``credits_lost``, between
            the first and the last call of ``get_credit``. Possible reasons are other programs on the account, prices
            that AKOOL reported too low, and POSTs in doubt. Negative after a top-up; None before the second call.
        polls: Polls that AKOOL answered (Get Image Result).
        polls_per_job: Mean number of polls of a finished operation.
        duration: Mean seconds that a finished operation took, by AKOOL's clock if the result shows it, else by the
            polls.
        detection_delay: Mean seconds between the end of an operation and the poll that saw it.
    """

    waiting: int
    in_flight: int
    upscale_slots: int
    upscale_slots_held: int
    pressed: int
    finished: int
    failed: int
    refused: int
    unknown: int
    throttled: int
    credits_charged: float
    credits_lost: float
    credits_in_doubt: float
    credits_estimated: float
    credits_elsewhere: float | None
    polls: int
    polls_per_job: float
    duration: float
    detection_delay: float
