"""The application for ASGI servers: ``app.mount("/akool", WebhookApp(session, verifier))`` in FastAPI or Starlette."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from akool_async.webhooks._receiver import MAX_BODY_SIZE, METHOD, receive_webhook

if TYPE_CHECKING:
    from akool_async.webhooks._receiver import SupportsNotify
    from akool_async.webhooks._verifier import WebhookVerifier

__all__ = ["WebhookApp"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class WebhookApp:
    """An ASGI application that receives AKOOL's webhooks. Mount it in another application, or serve it alone.

    It answers 200 after it has notified the session, 400 if the webhook is not AKOOL's, 405 to methods other than POST,
    413 to large bodies, and 503 if the session is closed or the store cannot be written.

    Args:
        session: An ``AkoolSession``; or a ``DurableFanOut``, which notifies its workers on any machine.
        verifier: A verifier for the account of the session.
    """

    def __init__(self, session: SupportsNotify, verifier: WebhookVerifier) -> None:
        self._session = session
        self._verifier = verifier

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection, or the server's lifespan.

        Args:
            scope: ASGI's description of the connection.
            receive: Returns the next message of the connection.
            send: Sends a message.
        """
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _run_lifespan(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1003})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["method"] != METHOD:
            await _reply(send, HTTPStatus.METHOD_NOT_ALLOWED, [(b"allow", METHOD.encode())])
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > MAX_BODY_SIZE:
                await _reply(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            more = message.get("more_body", False)
        query = scope.get("query_string", b"").decode("latin-1")
        await _reply(send, await receive_webhook(self._session, self._verifier, bytes(body), query))


async def _reply(send: Send, status: HTTPStatus, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    length = (b"content-length", b"0")
    await send({"type": "http.response.start", "status": int(status), "headers": [length, *(headers or [])]})
    await send({"type": "http.response.body", "body": b""})


async def _run_lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
