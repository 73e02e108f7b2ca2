"""The handler for aiohttp servers: ``app.router.add_post("/akool", webhook_handler(session, verifier))``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from akool_async.webhooks._receiver import MAX_BODY_SIZE, METHOD, receive_webhook

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from akool_async.webhooks._receiver import SupportsNotify
    from akool_async.webhooks._verifier import WebhookVerifier


__all__ = ["webhook_handler"]


def webhook_handler(
    session: SupportsNotify, verifier: WebhookVerifier
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Make a handler that receives AKOOL's webhooks.

    The handler answers 200 after it has notified the session, 400 if the webhook is not AKOOL's, 405 to methods other
    than POST, 413 to large bodies, and 503 if the session is closed or the store cannot be written.

    Args:
        session: An ``AkoolSession``; or a ``DurableFanOut``, which notifies its workers on any machine.
        verifier: A verifier for the account of the session.
    """

    async def handle(request: web.Request) -> web.Response:
        if request.method != METHOD:
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": METHOD})
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > MAX_BODY_SIZE:
                    return web.Response(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except (web.RequestPayloadError, ClientError, OSError):  # a malformed body, or the client has left
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        return web.Response(status=await receive_webhook(session, verifier, bytes(body), request.query_string))

    return handle
