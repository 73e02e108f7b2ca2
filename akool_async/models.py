"""The values that AKOOL answers with: statuses, results and webhooks. Nothing here knows AKOOL's wire names."""

from __future__ import annotations

import re
from collections.abc import Mapping  # noqa: TC003 - cattrs reads the annotations at run time
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final

from attrs import field, frozen

_MILLISECONDS: Final = re.compile(r"(\d{13})(?!\d)", re.ASCII)
RESULT_LIFETIME: Final = timedelta(days=7)  # the Create By Button page: resources are valid for 7 days


class ImageStatus(IntEnum):
    """AKOOL's ``image_status``. A number that is not listed here stays a plain ``int``."""

    QUEUEING = 1
    PROCESSING = 2
    COMPLETED = 3
    FAILED = 4


FINAL: Final = (ImageStatus.COMPLETED, ImageStatus.FAILED)


@frozen(kw_only=True)
class ImageResult:
    """An image as AKOOL last reported it. Any field but ``id`` may be missing; ``raw`` keeps all that was sent."""

    id: str
    status: ImageStatus | int | None = None
    """1 queueing, 2 processing, 3 completed, 4 failed; None where AKOOL gave none that can be read."""
    image: str | None = None
    """URL of the upscaled image, or of the 2x2 grid of a prompt or a variation."""
    upscaled_urls: tuple[str, ...] = ()
    """URLs of the four single images of a prompt or a variation; empty for an upscale."""
    images: tuple[str, ...] = ()
    external_img: str | None = None
    buttons: tuple[str, ...] = ()
    """Buttons that can still be pressed. Compares equal to ``Button``; may hold names not known here."""
    used_buttons: tuple[str, ...] = ()
    source_image_id: str | None = None
    """The image whose button was pressed (``image_content_model_id``)."""
    op_button: str | None = None
    op_button_message_id: str | None = None
    created_at: datetime | None = None
    """When the work was accepted, aware, in UTC."""
    deduction_credit: float | None = None
    """Credits charged."""
    error_reasons: tuple[str, ...] = ()
    """Why a failed image failed, where AKOOL says so."""
    prompt: str | None = None
    origin_prompt: str | None = None
    source_image: str | None = None
    scale: str | None = None
    faceswap_quality: float | None = None
    type: int | None = None
    from_: int | None = None
    uid: int | None = None
    raw: Mapping[str, Any] = field(factory=dict, eq=False, repr=False)
    """The untouched mapping that AKOOL sent."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Every result URL once, single images first, the 2x2 grid last."""
        listed = (*self.upscaled_urls, *self.images, *filter(None, [self.image]))
        return tuple(dict.fromkeys(listed)) or tuple(filter(None, [self.external_img]))

    @property
    def is_final(self) -> bool:
        """True once the status is completed (3) or failed (4)."""
        return self.status in FINAL

    @property
    def finished_at(self) -> datetime | None:
        """When AKOOL stored the result, by AKOOL's clock, aware, in UTC; None if its URLs do not tell.

        Seen in use: a result's file name begins with the epoch milliseconds at which it was stored.
        """
        moments = [moment for url in self.urls if (moment := _stored_at(url)) is not None]
        latest = max(moments, default=None)
        return None if latest is None or (self.created_at is not None and latest < self.created_at) else latest

    @property
    def expires_at(self) -> datetime | None:
        """When AKOOL deletes the result, 7 days after its creation, aware, in UTC."""
        try:
            return None if self.created_at is None else self.created_at + RESULT_LIFETIME
        except OverflowError:
            return None


def _stored_at(url: str) -> datetime | None:
    found = _MILLISECONDS.match(url.partition("?")[0].rpartition("/")[2])
    return None if found is None else datetime.fromtimestamp(int(found[1]) / 1000, UTC)


@frozen(kw_only=True)
class WebhookEvent:
    """What AKOOL calls back with: a hint that an image came to an end, which a poll confirms."""

    id: str
    """The image's ``_id``, which is the operation's."""
    status: ImageStatus | int
    """2 processing, 3 completed, 4 failed."""
    type: str | None = None
    """"image" for images."""
    url: str | None = None
    """The result as the webhook has it. Not used here: whoever knows the address of the webhook may have sent it."""


@frozen(kw_only=True)
class Counters:
    """How a session stands; see ``AkoolSession.counters``. Counts are since the session was made."""

    waiting: int
    """Presses and prompts that AKOOL cannot have accepted yet."""
    in_flight: int
    """Operations that are polled for."""
    upscale_slots: int
    """``max_concurrent_upscales``."""
    upscale_slots_held: int
    """Upscales that run at AKOOL, or whose POST is under way."""
    pressed: int
    """Operations that AKOOL accepted."""
    finished: int
    """Operations whose end was seen, the failed ones included."""
    failed: int
    """Operations that ended with status 4."""
    refused: int
    """Presses and prompts that ended without being accepted, and without a charge."""
    unknown: int
    """POSTs of unknown outcome."""
    throttled: int
    """How often AKOOL asked for a slower pace."""
    credits_charged: float
    """Credits charged for operations whose id is known."""
    credits_lost: float
    """Credits charged for presses whose id was lost (``OutcomeUnknownError.charged`` is True), by estimate."""
    credits_in_doubt: float
    """Credits that may have been charged, by estimate: for POSTs of which AKOOL does not show what became of them."""
    credits_estimated: float
    """Of ``credits_charged``: what AKOOL has reported no price for, at the price of the last one of its kind."""
    credits_elsewhere: float | None
    """Credits by which the balance fell beyond ``credits_charged`` and ``credits_lost`` between the first time that
    ``get_credit`` read it and the last: other programs on the account, prices reported too low, or what is in doubt.
    Negative after a top-up; None unless it was read twice.
    """
    polls: int
    """Answers of Get Image Result."""
    polls_per_job: float
    """Polls of an operation that has finished, on average."""
    duration: float
    """Seconds that a finished operation took, on average: by AKOOL's clock if its result tells, or as polls saw it."""
    detection_delay: float
    """Seconds between the end of an operation and the poll that saw it, on average; as exact as ``duration``."""
