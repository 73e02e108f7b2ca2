"""The common part of the handlers: turn a body and a query into an HTTP status."""

from __future__ import annotations

from http import HTTPStatus
from inspect import isawaitable
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import parse_qs

from akool_async import AkoolError, WebhookError
from akool_async._submit.recovery import PARAMETER
from akool_async.webhooks._verifier import MAX_BODY_SIZE

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from akool_async import WebhookEvent
    from akool_async.webhooks._verifier import WebhookVerifier

METHOD: Final = "POST"
MAX_QUERY_FIELDS: Final = 100

__all__ = ["MAX_BODY_SIZE", "METHOD", "SupportsNotify", "receive_webhook"]


class SupportsNotify(Protocol):
    """An ``AkoolSession`` or a ``DurableFanOut``."""

    def notify(self, event: WebhookEvent, *, correlation_id: str | None = None) -> bool | Awaitable[bool]:
        """Process a webhook."""


async def receive_webhook(session: SupportsNotify, verifier: WebhookVerifier, body: bytes, query: str) -> HTTPStatus:
    """Verify a webhook and notify the session. AKOOL sends the webhook again unless the status is 200.

    A genuine event about an operation of another process is also answered with 200.
    """
    try:
        event = verifier.parse(body)
    except WebhookError:
        return HTTPStatus.BAD_REQUEST
    try:
        notified = session.notify(event, correlation_id=_read_correlation_id(query))
        if isawaitable(notified):
            await notified
    except AkoolError:  # the session is closed, or the store cannot be written
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.OK


def _read_correlation_id(query: str) -> str | None:
    try:
        values = parse_qs(query, max_num_fields=MAX_QUERY_FIELDS).get(PARAMETER)
    except ValueError:  # this library did not make the URL
        return None
    return values[0] if values else None
