"""What both doors do: a body in, an HTTP status out."""

from __future__ import annotations

from http import HTTPStatus
from inspect import isawaitable
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qs

from akool_async import AkoolError, WebhookError
from akool_async.webhooks._verifier import LARGEST_BODY

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from akool_async import WebhookEvent
    from akool_async.webhooks._verifier import WebhookVerifier

METHOD: Final = "POST"
WORD: Final = "akool_press"
MOST_FIELDS: Final = 100

__all__ = ["LARGEST_BODY", "METHOD", "Notified", "take_in"]


class Notified(Protocol):
    """An ``AkoolSession``, or a ``DurableFanOut``."""

    def notify(self, event: WebhookEvent, *, correlation_id: str | None = None) -> bool | Awaitable[bool]:
        """Take in a webhook."""


async def take_in(session: Notified, verifier: WebhookVerifier, body: bytes, query: str) -> HTTPStatus:
    """200 where the event was taken in, other processes' too; AKOOL calls again on anything else."""
    try:
        event = verifier.parse(body)
    except WebhookError:
        return HTTPStatus.BAD_REQUEST
    try:
        told = session.notify(event, correlation_id=_correlation_id_in(query))
        if isawaitable(told):
            await told
    except AkoolError:  # the session is closed, or the state cannot be written
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.OK


def _correlation_id_in(query: str) -> str | None:
    try:
        words = parse_qs(query, max_num_fields=MOST_FIELDS).get(WORD)
    except ValueError:  # not an address that this library made
        return None
    return words[0] if words else None
