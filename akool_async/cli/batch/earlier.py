"""How the results of earlier runs decide what this run does with a node, and what it writes."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import evolve

from akool_async import NotFoundError, NotOperableError
from akool_async._http.origin import contradiction, has_other_origin, made_by
from akool_async.cli.outcomes.line import FREE, OutcomeLine, PressState
from akool_async.errors import codes_of

if TYPE_CHECKING:
    from akool_async import ButtonPress, ImageResult

CODES_OF_USED: Final = codes_of(NotOperableError)
"""AKOOL's codes for a button that is used."""
CODES_OF_UNKNOWN: Final = codes_of(NotFoundError)
"""AKOOL's codes for an id that it does not know."""
USED: Final = "the reply was lost, and the button is used: the press was charged, and its new id is not known"


class Step(Enum):
    """The action of a run for a press that has no id."""

    PRESS = "press"
    KEEP_LOST = "it was charged"
    KEEP_IN_DOUBT = "it is not known"
    REFUSE_USED = "another program pressed it"
    REFUSE_NOT_OFFERED = "it cannot be pressed"


def next_step(earlier: PressState | None, *, is_used: bool, is_offered: bool) -> Step:
    """Decide by the result of earlier runs and by the buttons of the source image, since a button works once.

    Args:
        earlier: The state that an earlier run wrote; None if there is no line.
        is_used: True if the source image shows the button as used.
        is_offered: True if the source image offers the button.
    """
    if earlier is PressState.LOST:
        return Step.KEEP_LOST
    if is_used:
        return Step.KEEP_LOST if earlier is PressState.IN_DOUBT else Step.REFUSE_USED
    if is_offered:
        return Step.PRESS
    return Step.KEEP_IN_DOUBT if earlier is PressState.IN_DOUBT else Step.REFUSE_NOT_OFFERED


def with_earlier(line: OutcomeLine, earlier: OutcomeLine | None) -> OutcomeLine:
    """Return the new line of a press, completed with facts that only an earlier line has.

    A poll that shows less, as it does after 7 days, does not remove these facts.
    """
    if earlier is None:
        return line
    if not earlier.is_settled:
        return _settle(line, earlier)
    if line.id is None or line.id != earlier.id or line.status is not None:
        return line
    return evolve(line, status=earlier.status, urls=earlier.urls, files=earlier.files, credits=earlier.credits)


def _settle(line: OutcomeLine, earlier: OutcomeLine) -> OutcomeLine:
    """Return the line for a press whose id was lost, or whose outcome was unknown, after an earlier run.

    If this run did not press, the earlier press counts. If the button is used, AKOOL accepted the earlier press. An id
    that AKOOL does not know settles nothing.
    """
    if line.id is not None and line.code in CODES_OF_UNKNOWN:
        return evolve(earlier, error=f"AKOOL does not know the id {line.id} that was entered for it")
    if line.state not in FREE:
        return line
    if line.code in CODES_OF_USED:
        return evolve(line, error=USED, code=None, charged=True)
    return evolve(line, credits=earlier.credits, charged=earlier.charged)


def reason_against(image: ImageResult, press: ButtonPress | None, *, by_hand: bool) -> str | None:
    """Return why an image cannot be the result of a press, or of a prompt; None if it can be.

    Args:
        image: The image.
        press: The press; None for a prompt.
        by_hand: True if a person entered the id. An id from AKOOL is checked less strictly, since AKOOL's pages show a
            reply that names another source image.
    """
    is_other = has_other_origin(image, press) if by_hand else contradiction(image, press) is not None
    wanted = "one of a prompt" if press is None else f"{press.button} of {press.image_id}"
    return f"the id {image.id} is {made_by(image)}, not {wanted}" if is_other else None
