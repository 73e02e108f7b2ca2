"""The door for ASGI servers: ``app.mount("/akool", WebhookApp(session, verifier))`` in FastAPI and Starlette."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from akool_async.webhooks._receiver import LARGEST_BODY, METHOD, take_in

if TYPE_CHECKING:
    from akool_async.webhooks._receiver import Notified
    from akool_async.webhooks._verifier import WebhookVerifier

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class WebhookApp:
    """An ASGI application that takes AKOOL's callbacks in, to be mounted in another or served by itself.

    ``session`` may also be a ``DurableFanOut``, whose workers it reaches wherever they are.

    It answers 200 where the event was taken in, 400 to what is not AKOOL's, 405 to other methods than POST, 413 to
    large bodies, and 503 once the session is closed or where the state cannot be written.
    """

    def __init__(self, session: Notified, verifier: WebhookVerifier) -> None:
        self._session = session
        self._verifier = verifier

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection, or the server's lifespan."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
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
            if len(body) > LARGEST_BODY:
                await _reply(send, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            more = message.get("more_body", False)
        query = scope.get("query_string", b"").decode("latin-1")
        await _reply(send, await take_in(self._session, self._verifier, bytes(body), query))


async def _reply(send: Send, status: HTTPStatus, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    length = (b"content-length", b"0")
    await send({"type": "http.response.start", "status": int(status), "headers": [length, *(headers or [])]})
    await send({"type": "http.response.body", "body": b""})


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
