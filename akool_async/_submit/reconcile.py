"""What became of a press whose reply was lost: a button works once, so its source image tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NoReturn

from akool_async.errors import AkoolError, NotOperableError, OutcomeUnknownError

if TYPE_CHECKING:
    from collections.abc import Callable

    from akool_async._http.endpoints import Endpoints
    from akool_async.models import ButtonPress

RECONCILE_TRIES: Final = 10
"""Tries of each of these reads; with their waits most of a minute."""


async def reconcile(api: Endpoints, press: ButtonPress, gap: float) -> bool | None:
    """Ask the source image what became of a press: True taken, False not taken, None not to be told.

    Two reads, ``gap`` seconds apart, must both still offer its button before the press counts as not taken.
    """
    taken = await _is_used(api, press)
    if taken is False:
        await asyncio.sleep(gap)
        taken = await _is_used(api, press)
    return taken


async def require_not_taken(
    api: Endpoints, press: ButtonPress | None, lost: AkoolError, *, gap: float, may_press_again: Callable[[], bool]
) -> None:
    """Return where AKOOL surely did not take the press, so that it may be sent again.

    Raises:
        OutcomeUnknownError: AKOOL took it, or may have, or it may not be sent again.
    """
    if press is None:
        tell_unknown(None, f"{lost}; whether AKOOL accepted it cannot be told", None, lost)
    try:
        taken = await reconcile(api, press, gap)
    except AkoolError as error:
        message = f"the reply was lost ({lost}) and the source image could not be read ({error})"
        tell_unknown(press, message, None, lost)
    if taken:
        message = "the reply was lost, and the button is used: it was charged, its new id is not known"
        tell_unknown(press, f"{message} ({lost})", True, lost)
    if taken is None:
        tell_unknown(press, f"the reply was lost, and the button is neither used nor offered ({lost})", None, lost)
    if not may_press_again():
        message = "the reply was lost, and the button is still offered; it was not pressed again"
        tell_unknown(press, f"{message} ({lost})", None, lost)


def tell_refused_after_doubt(press: ButtonPress | None, last: AkoolError) -> NoReturn:
    """A reply was lost, the press seemed not taken, and another try was refused: the first may have been taken."""
    if isinstance(last, NotOperableError):
        message = f"a reply was lost, and the button is used: it was charged, its new id is not known ({last})"
        tell_unknown(press, message, True, last)
    tell_unknown(press, f"a reply was lost, and another try failed ({last})", None, last)


def tell_unknown(press: ButtonPress | None, message: str, charged: bool | None, cause: AkoolError) -> NoReturn:
    """Raise :class:`OutcomeUnknownError`."""
    raise OutcomeUnknownError(message, charged=charged).about(press=press) from cause


async def _is_used(api: Endpoints, press: ButtonPress) -> bool | None:
    source = await api.get_image_result(press.image_id, tries=RECONCILE_TRIES)
    if press.button in source.used_buttons:
        return True
    return False if press.button in source.buttons else None
