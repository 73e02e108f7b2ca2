"""Decides what to do after each reply to a paid POST. These pure functions are the README's table of outcomes."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async._http.retry import is_ambiguous
from akool_async.errors import NotOperableError, RateLimitedError, TransportError

if TYPE_CHECKING:
    from akool_async.errors import AkoolError

MAX_LOST_REPLIES: Final = 3
"""After this many lost replies a press is not sent again, even if AKOOL accepted none of its POSTs."""


class Reply(Enum):
    """The kinds of replies to a paid POST."""

    ACCEPTED = auto()
    NOT_DELIVERED = auto()
    """Nothing of the request reached AKOOL."""
    THROTTLED = auto()
    """Refused for now: 1005 or 429."""
    BUTTON_REFUSED = auto()
    """1010 or 1011: the button is used, or not available."""
    REFUSED = auto()
    """Any other code of AKOOL's."""
    LOST = auto()
    """No reply that shows whether AKOOL accepted it: a timeout, a reset, a 5xx, an unreadable body."""


class Source(Enum):
    """What the source image, or a webhook, shows about a press whose reply was lost."""

    USED = auto()
    """The source image lists the button as used."""
    OFFERED = auto()
    """Two reads of the source image, some seconds apart, both still offered the button."""
    ABSENT = auto()
    """The source image neither offers the button nor lists it as used."""
    UNREADABLE = auto()
    """The source image could not be read."""
    REPORTED = auto()
    """A webhook reported the new id."""


@frozen
class Finish:
    """AKOOL accepted it."""


@frozen
class Fail:
    """AKOOL did not accept it. Its callers get the error of this reply."""


@frozen
class Retry:
    """AKOOL did not accept it. Send it again, after the wait that belongs to the reply."""


@frozen
class FindOut:
    """Find out whether AKOOL accepted it, by the source image or a webhook."""


@frozen
class Unknown:
    """AKOOL may have accepted it, so it must not be sent again. Its callers get an :class:`OutcomeUnknownError`."""

    reason: str
    """The error's message."""
    charged: bool | None = None
    """True if AKOOL accepted it, None if that is not known."""
    unread: AkoolError | None = None
    """Why the source image could not be read; None if it was read, or if there is none."""


Decision = Finish | Fail | Retry | FindOut | Unknown


def reply_of(error: AkoolError | None) -> Reply:
    """Return the kind of reply that an error stands for. None, no error, stands for acceptance."""
    if error is None:
        return Reply.ACCEPTED
    if isinstance(error, TransportError) and error.delivered is False:
        return Reply.NOT_DELIVERED
    if isinstance(error, RateLimitedError):
        return Reply.THROTTLED
    if is_ambiguous(error):
        return Reply.LOST
    return Reply.BUTTON_REFUSED if isinstance(error, NotOperableError) else Reply.REFUSED


def after_reply(reply: Reply, *, lost_replies: int, can_retry: bool, is_press: bool) -> Decision:
    """Decide what to do after a reply.

    Args:
        reply: The kind of reply.
        lost_replies: The number of lost replies to earlier POSTs of the same press.
        can_retry: False if the time for retries is over, or the session is closed.
        is_press: False for a prompt, which has no source image that could show its outcome.
    """
    if reply is Reply.ACCEPTED:
        return Finish()
    if reply is Reply.LOST:
        return FindOut() if is_press else Unknown("the reply was lost, and AKOOL may have accepted it")
    if reply in {Reply.NOT_DELIVERED, Reply.THROTTLED} and can_retry:
        return Retry()
    if not lost_replies:
        return Fail()
    # A button works once, so this refusal shows that AKOOL accepted an earlier POST.
    return _USED_BEFORE if reply is Reply.BUTTON_REFUSED else _FAILED_AFTER_LOST


def after_finding_out(source: Source, *, lost_replies: int, can_retry: bool) -> Decision:
    """Decide what to do after a lost reply to a press.

    Args:
        source: What the source image, or a webhook, shows.
        lost_replies: The number of lost replies to this press, the last one included.
        can_retry: False for ``resubmit_lost=False``, and if the session is closed.
    """
    if source is Source.OFFERED and can_retry and lost_replies < MAX_LOST_REPLIES:
        return Retry()
    return _UNKNOWN[source]


_USED_BEFORE: Final = Unknown(
    "an earlier reply was lost, and the button is used: AKOOL accepted the press, and the new id is unknown",
    charged=True,
)
_FAILED_AFTER_LOST: Final = Unknown("an earlier reply was lost, and another try failed")
REPORTED: Final = Unknown("the reply was lost, and a webhook reported that AKOOL accepted it", charged=True)
_UNKNOWN: Final = {
    Source.REPORTED: REPORTED,
    Source.USED: Unknown(
        "the reply was lost, and the button is used: AKOOL accepted the press, and the new id is unknown", charged=True
    ),
    Source.OFFERED: Unknown("the reply was lost, and the button is still offered; it was not pressed again"),
    Source.ABSENT: Unknown("the reply was lost, and the button is neither used nor offered"),
    Source.UNREADABLE: Unknown("the reply was lost, and the source image could not be read"),
}
