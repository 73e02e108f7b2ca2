"""The body of a POST, which knows whether the POST can have reached AKOOL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http import StreamWriter

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

JSON: Final = "application/json"


class SendGate:
    """Whether a POST that spends credits has gone out, and whether it still may.

    Cancelling a task is not enough to keep a POST back: aiohttp writes in a task of its own.
    """

    __slots__ = ("_is_closed", "is_passed")

    def __init__(self) -> None:
        self.is_passed = False
        """True once the POST began to be written: from then on AKOOL may have accepted it."""
        self._is_closed = False

    def close(self) -> bool:
        """Let nothing out from now on. True if nothing has gone out."""
        self._is_closed = True
        return not self.is_passed

    def let_pass(self) -> None:
        """Note that the POST goes out.

        Raises:
            ConnectionAbortedError: The gate is closed.
        """
        if self._is_closed and not self.is_passed:
            raise ConnectionAbortedError("the request was withdrawn before it was sent")
        self.is_passed = True


class RequestBody(aiohttp.Payload):
    """Bytes that are given out only on request, by whatever aiohttp session sends them.

    aiohttp asks for a body when it has a connection and begins to write the request, so a body that was never given
    out proves that AKOOL got no request. (Before 3.12 aiohttp writes the headers a moment earlier; without its body a
    POST is none that AKOOL could accept.) It keeps its bytes to itself (aiohttp's own ``value`` stays None), so that no
    version of aiohttp and no middleware of an injected session can send them unnoticed. A ``gate`` is
    asked before they are given out.
    """

    def __init__(self, content: bytes, gate: SendGate | None = None) -> None:
        super().__init__(None, content_type=JSON)
        self._gate = gate
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
        if self._gate is not None:
            self._gate.let_pass()
        self._was_given_out = True
        return self._content
