"""What to do after each reply to a paid POST: the README's table of outcomes, as pure functions."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async._http.retry import is_ambiguous
from akool_async.errors import NotOperableError, RateLimitedError, TransportError

if TYPE_CHECKING:
    from akool_async.errors import AkoolError

MAX_LOST_REPLIES: Final = 3
"""Lost replies to one press after which it is not sent again, although each time AKOOL had not accepted it."""


class Reply(Enum):
    """What came back for a paid POST."""

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
    """Nothing that says whether AKOOL accepted it: a time-out, a reset, a 5xx, an unreadable body."""


class Source(Enum):
    """What was found out of a press whose reply was lost."""

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
    """AKOOL did not accept it: its callers get the error of this reply."""


@frozen
class Retry:
    """AKOOL did not accept it: send it again, after the wait that goes with the reply."""


@frozen
class FindOut:
    """Find out what became of it, by the source image or a webhook."""


@frozen
class Unknown:
    """Its callers get an :class:`OutcomeUnknownError`: AKOOL may have accepted it, and it must not be sent again."""

    reason: str
    charged: bool | None = None
    """True if AKOOL was found to have accepted it."""
    unread: AkoolError | None = None
    """Why the source image could not be read."""


Decision = Finish | Fail | Retry | FindOut | Unknown


def reply_of(error: AkoolError | None) -> Reply:
    """Which kind of reply an error is; None stands for no error."""
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
    """What to do after a reply.

    Args:
        reply: What came back.
        lost_replies: How many replies to earlier POSTs of the same press were lost.
        can_retry: False if the time for retries is over, or the session is closed.
        is_press: False for a prompt, of which nothing can be found out.
    """
    if reply is Reply.ACCEPTED:
        return Finish()
    if reply is Reply.LOST:
        return FindOut() if is_press else Unknown("whether AKOOL accepted it cannot be found out")
    if reply in {Reply.NOT_DELIVERED, Reply.THROTTLED} and can_retry:
        return Retry()
    if not lost_replies:
        return Fail()
    # AKOOL accepts a button once, so its refusal shows that an earlier POST was accepted.
    return _USED_BEFORE if reply is Reply.BUTTON_REFUSED else _FAILED_AFTER_LOST


def after_finding_out(source: Source, *, lost_replies: int, can_retry: bool) -> Decision:
    """What to do once it was found out what became of a press.

    Args:
        source: What was found out.
        lost_replies: How many replies to POSTs of this press were lost, the last one included.
        can_retry: False for ``resubmit_lost=False``, and if the session is closed.
    """
    if source is Source.OFFERED and can_retry and lost_replies < MAX_LOST_REPLIES:
        return Retry()
    return _UNKNOWN[source]


_USED_BEFORE: Final = Unknown(
    "an earlier reply was lost, and the button is used: its new id is not known", charged=True
)
_FAILED_AFTER_LOST: Final = Unknown("an earlier reply was lost, and another try failed")
REPORTED: Final = Unknown("the reply was lost, and a webhook reported that AKOOL accepted it", charged=True)
_UNKNOWN: Final = {
    Source.REPORTED: REPORTED,
    Source.USED: Unknown("the reply was lost, and the button is used: its new id is not known", charged=True),
    Source.OFFERED: Unknown("the reply was lost, and the button is still offered; it was not pressed again"),
    Source.ABSENT: Unknown("the reply was lost, and the button is neither used nor offered"),
    Source.UNREADABLE: Unknown("the reply was lost, and the source image could not be read"),
}
