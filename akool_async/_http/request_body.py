"""The body of a POST, which knows whether the POST can have reached AKOOL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http import StreamWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp.abc import AbstractStreamWriter

JSON: Final = "application/json"


class RequestBody(aiohttp.Payload):
    """Bytes that are given out only on request, by whatever aiohttp session sends them.

    aiohttp asks for a body when it has a connection and begins to write the request, so a body that was never given
    out proves that AKOOL got no request. (Before 3.12 aiohttp writes the headers a moment earlier; without its body a
    POST is none that AKOOL could accept.) It keeps its bytes to itself (aiohttp's own ``value`` stays None), so that no
    version of aiohttp and no middleware of an injected session can send them unnoticed. ``on_send`` is called before
    they are first given out, and keeps them back by raising.
    """

    def __init__(self, content: bytes, on_send: Callable[[], None] | None = None) -> None:
        super().__init__(None, content_type=JSON)
        self._on_send = on_send
        self._size = len(content)
        self._content: bytes | None = content
        self._was_given_out = False

    def withdraw(self) -> bool:
        """Give out nothing from now on; True if nothing was given out before."""
        self._content = None
        return not self._was_given_out

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """The body as text, for a middleware that looks at it."""
        return self._give_out().decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - aiohttp's
        """The body, for a middleware that looks at it."""
        return self._give_out()

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body; a connection that was closed meanwhile does not get it."""
        if isinstance(writer, StreamWriter) and (writer.transport is None or writer.transport.is_closing()):
            raise ConnectionResetError("the connection was closed before the request was written")
        await writer.write(self._give_out())

    def _give_out(self) -> bytes:
        if self._content is None:
            raise ConnectionAbortedError("the request was given up before it was written")
        if not self._was_given_out and self._on_send is not None:
            self._on_send()
        self._was_given_out = True
        return self._content
