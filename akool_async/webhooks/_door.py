"""What both doors do: a body in, an HTTP status out."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from akool_async import SessionClosedError, WebhookError
from akool_async.webhooks._verifier import LARGEST_BODY

if TYPE_CHECKING:
    from akool_async import AkoolSession
    from akool_async.webhooks._verifier import WebhookVerifier

METHOD: Final = "POST"
WORD: Final = "akool_press"

__all__ = ["LARGEST_BODY", "METHOD", "take_in"]


def take_in(session: AkoolSession, verifier: WebhookVerifier, body: bytes, query: str) -> HTTPStatus:
    """200 where the event was taken in, other processes' too; AKOOL calls again on anything else."""
    try:
        event = verifier.parse(body)
    except WebhookError:
        return HTTPStatus.BAD_REQUEST
    try:
        words = parse_qs(query, max_num_fields=100).get(WORD, [None])
    except ValueError:
        return HTTPStatus.BAD_REQUEST
    try:
        session.notify(event, word=words[0])
    except SessionClosedError:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.OK
