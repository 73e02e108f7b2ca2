"""The door for aiohttp servers: ``app.router.add_post("/akool", webhook_handler(session, verifier))``."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from aiohttp import ClientError, web

from akool_async.webhooks._receiver import LARGEST_BODY, METHOD, take_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from akool_async.webhooks._receiver import Notified
    from akool_async.webhooks._verifier import WebhookVerifier


def webhook_handler(session: Notified, verifier: WebhookVerifier) -> Callable[[web.Request], Awaitable[web.Response]]:
    """A handler that takes AKOOL's callbacks in.

    ``session`` may also be a ``DurableFanOut``, whose workers it reaches wherever they are.

    It answers 200 where the event was taken in, 400 to what is not AKOOL's, 405 to other methods than POST, 413 to
    large bodies, and 503 once the session is closed or where the state cannot be written.
    """

    async def handle(request: web.Request) -> web.Response:
        if request.method != METHOD:
            return web.Response(status=HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": METHOD})
        body = bytearray()
        try:
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > LARGEST_BODY:
                    return web.Response(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except (web.RequestPayloadError, ClientError, OSError):  # not what its headers say, or gone
            return web.Response(status=HTTPStatus.BAD_REQUEST)
        return web.Response(status=await take_in(session, verifier, bytes(body), request.query_string))

    return handle
