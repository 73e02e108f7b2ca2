"""Sends replies with faults."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web

from akool_async.emulator._replies import JSON, refuse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from akool_async.emulator._faults import Fault, Faults

    Send = Callable[[web.Request, Fault, "Reply"], Awaitable[web.StreamResponse | None]]

GATEWAY_PAGE = "<html><head><title>{status}</title></head><body><center>nginx</center></body></html>"
CHUNK = b" " * 2**16
NO_LINGER = struct.pack("ii", 1, 0)
CHECK_INTERVAL = 0.02
"""Seconds between checks whether the client of a stalled reply has left."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply of the service, before a fault changes it."""

    body: bytes
    content_type: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_response(self) -> web.Response:
        """Return the reply without a fault."""
        return web.Response(body=self.body, content_type=self.content_type, status=self.status, headers=self.headers)

    async def begin(self, request: web.Request, size: int | None) -> web.StreamResponse:
        """Send the headers. ``size`` is the Content-Length; None for a chunked body."""
        headers = {"Content-Type": self.content_type, **self.headers}
        response = web.StreamResponse(headers=headers, status=self.status)
        response.content_length = size
        await response.prepare(request)
        return response


class FaultInjector:
    """Sends faulty replies, until :meth:`stop`.

    Args:
        faults: Decides which request has which fault.
    """

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._stopping = asyncio.Event()
        self._senders: dict[str, Send] = {
            "reset": self._reset,
            "cut": self._cut,
            "stall": self._stall,
            "huge": self._huge,
            "endless": self._endless,
            "wrong_length": self._wrong_length,
            "slow": self._slow,
        }

    def stop(self) -> None:
        """End every stalled and slow reply."""
        self._stopping.set()

    async def inject(self, request: web.Request, fault: Fault, reply: Reply) -> web.StreamResponse | None:
        """Send the reply with the fault. Return None if the fault does not change the reply."""
        send = self._senders.get(fault.kind)
        if send is None:
            return _replacement(fault, reply)
        try:
            return await send(request, fault, reply)
        except ConnectionResetError:  # the client has left meanwhile
            return web.Response()

    async def delay(self, request: web.Request, seconds: float) -> bool:
        """Wait. Return False if the client has left meanwhile, or the emulator stops."""
        await self._pause(seconds)
        return not self._stopping.is_set() and not is_gone(request)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    async def _slow(self, _: web.Request, fault: Fault, __: Reply) -> None:
        await self._pause(fault.number)

    async def _reset(self, request: web.Request, _: Fault, __: Reply) -> web.StreamResponse:
        if request.transport is not None:  # pragma: no branch - None if the client has just left
            # Otherwise the kernel would send FIN rather than RST.
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            request.transport.abort()
        return web.Response()

    async def _cut(self, request: web.Request, _: Fault, reply: Reply) -> web.StreamResponse:
        response = await _send_half(request, reply)
        _close(request)
        return response

    async def _stall(self, request: web.Request, _: Fault, reply: Reply) -> web.StreamResponse:
        response = await _send_half(request, reply)
        while not self._stopping.is_set() and not is_gone(request):
            await self._pause(CHECK_INTERVAL)
        _close(request)
        return response

    async def _huge(self, request: web.Request, fault: Fault, reply: Reply) -> web.StreamResponse:
        size = int(fault.number)
        response = await reply.begin(request, size)
        for sent in range(0, size, len(CHUNK)):
            await response.write(CHUNK[: size - sent])
        return response

    async def _endless(self, request: web.Request, _: Fault, reply: Reply) -> web.StreamResponse:
        response = await reply.begin(request, None)
        await response.write(reply.body)
        while not self._stopping.is_set() and not is_gone(request):
            await response.write(CHUNK)
        _close(request)
        return response

    async def _wrong_length(self, request: web.Request, _: Fault, reply: Reply) -> web.StreamResponse:
        half = reply.body[: len(reply.body) // 2]
        response = await reply.begin(request, len(half))
        await response.write(half)
        return response


def misreport(fault: Fault, shown: dict[str, Any]) -> None:
    """Change the reported status or credits of an image, if the fault does that."""
    if fault.kind == "image_status":
        shown["image_status"] = int(fault.number)
    elif fault.kind == "deduction_credit":
        shown["deduction_credit"] = json.loads(fault.text)


def is_gone(request: web.Request) -> bool:
    """Return True if the client has closed the connection."""
    return request.transport is None or request.transport.is_closing()


def _replacement(fault: Fault, reply: Reply) -> web.Response | None:  # noqa: PLR0911 - one for each kind
    match fault.kind:
        case "status" | "html":
            status = int(fault.number) or 200
            return web.Response(status=status, text=GATEWAY_PAGE.format(status=status), content_type="text/html")
        case "empty":
            return web.Response(body=b"")
        case "throttle":
            return web.Response(status=429, text="slow down", headers={"Retry-After": fault.text})
        case "redirect":
            return web.Response(status=302, headers={"Location": fault.text})
        case "bad_bytes":
            return web.Response(body=reply.body.replace(b'"OK"', b'"O\xff\x01K"'), content_type=JSON)
        case "other_image":
            return web.json_response(_mix_up(json.loads(reply.body)))
        case "code":
            return refuse(int(fault.number), fault.text)
        case _:
            return None


def _mix_up(reply: dict[str, Any]) -> dict[str, Any]:
    """Make the reply one about another image."""
    data = reply.get("data")
    for image in data if isinstance(data, list) else [data]:
        if isinstance(image, dict):
            image["_id"] = image["_id"][::-1]
            image["op_button"] = "V1" if image.get("op_button") != "V1" else "U1"
    return reply


async def _send_half(request: web.Request, reply: Reply) -> web.StreamResponse:
    response = await reply.begin(request, len(reply.body))
    await response.write(reply.body[: len(reply.body) // 2])
    return response


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
