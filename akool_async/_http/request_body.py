"""The body of a POST. It records whether the POST can have reached AKOOL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.http import StreamWriter

if TYPE_CHECKING:
    from aiohttp.abc import AbstractStreamWriter

JSON: Final = "application/json"


class SendGate:
    """Records whether a POST that spends credits has gone out, and can hold it back.

    Cancelling the caller's task is not enough to hold it back, since aiohttp writes in another task.
    """

    __slots__ = ("_is_closed", "is_passed")

    def __init__(self) -> None:
        self.is_passed = False
        """True once the POST is being written, so that AKOOL may have accepted it."""
        self._is_closed = False

    def close(self) -> bool:
        """Hold the POST back from now on. Return True if it has not gone out."""
        self._is_closed = True
        return not self.is_passed

    def let_pass(self) -> None:
        """Record that the POST goes out.

        Raises:
            ConnectionAbortedError: The gate is closed.
        """
        if self._is_closed and not self.is_passed:
            raise ConnectionAbortedError("the request was withdrawn before it was sent")
        self.is_passed = True


class RequestBody(aiohttp.Payload):
    """Bytes that are given out only on request, and that record whether they were.

    aiohttp requests the body when it has a connection and begins to write, so a body that was never given out proves
    that AKOOL got no request. (aiohttp before 3.12 writes the headers slightly earlier, but AKOOL cannot accept a POST
    without its body.) The bytes are private (aiohttp's own ``value`` stays None), so that no version of aiohttp and no
    middleware of an injected session can send them unnoticed.

    Args:
        content: The bytes.
        gate: Checked before the bytes are given out; None for requests that spend nothing.
    """

    def __init__(self, content: bytes, gate: SendGate | None = None) -> None:
        super().__init__(None, content_type=JSON)
        self._gate = gate
        self._size = len(content)
        self._content: bytes | None = content
        self._was_given_out = False

    def withdraw(self) -> bool:
        """Give out nothing from now on. Return True if nothing was given out before."""
        self._content = None
        return not self._was_given_out

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Return the body as text, for middleware that reads it."""
        return self._give_out().decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:  # noqa: ARG002 - aiohttp's
        """Return the body, for middleware that reads it."""
        return self._give_out()

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the body, unless the connection was closed meanwhile."""
        if isinstance(writer, StreamWriter) and (writer.transport is None or writer.transport.is_closing()):
            raise ConnectionResetError("the connection was closed before the request was written")
        await writer.write(self._give_out())

    def _give_out(self) -> bytes:
        if self._content is None:
            raise ConnectionAbortedError("the request was withdrawn before it was written")
        if self._gate is not None:
            self._gate.let_pass()
        self._was_given_out = True
        return self._content
