"""The host of AKOOL's pictures, which takes no keys."""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

from aiohttp import web

from akool_async.emulator._extras import install_hint, load_renderer
from akool_async.emulator._fault_injector import Reply
from akool_async.emulator._images import read_picture_name
from akool_async.emulator._refusals import Refusal
from akool_async.emulator._replies import API_KEY, AUTHORIZATION

if TYPE_CHECKING:
    from akool_async.emulator._fault_injector import FaultInjector
    from akool_async.emulator._images import Image
    from akool_async.emulator._service import Service


class PictureHost:
    """Serves the pictures of finished images, whole or from a given byte on."""

    def __init__(self, service: Service, injector: FaultInjector) -> None:
        self._service = service
        self._injector = injector
        self._render = load_renderer()

    def application(self) -> web.Application:
        """Return the web application."""
        application = web.Application()
        application.router.add_get("/{name}", self._serve)
        return application

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self._render is None:
            raise web.HTTPNotImplemented(reason=f"pictures need Pillow: {install_hint('emulator')}")
        image, index = self._find(request)
        fault = self._injector.faults.draw("pictures")
        picture = await asyncio.to_thread(self._render, image, index)
        reply = _reply_with(picture, f"image/{image.picture_format}", request)
        faulty = None if fault is None else await self._injector.inject(request, fault, reply)
        return reply.to_response() if faulty is None else faulty

    def _find(self, request: web.Request) -> tuple[Image, int]:
        """Count a request, and return the image that its picture belongs to, and the picture's index."""
        name = request.match_info["name"]
        image_id, index = read_picture_name(name)
        ledger = self._service.ledger
        with ledger.changes.changing():
            ledger.requests["pictures"] += 1
            ledger.picture_ranges.append(request.http_range.start or 0)
            if AUTHORIZATION in request.headers or API_KEY in request.headers:
                ledger.pictures_with_key += 1
            try:
                image = self._service.find(image_id)
            except Refusal:
                raise web.HTTPNotFound from None
            if not image.has_urls(self._service.now()) or image.picture_name(index) != name:
                raise web.HTTPNotFound
            if image.kind == "upscale" and index:
                raise web.HTTPNotFound
            return image, index


def _reply_with(picture: bytes, content_type: str, request: web.Request) -> Reply:
    """Return a reply with the picture, or with the rest of it that the request asks for."""
    etag = f'"{zlib.crc32(picture):08x}"'
    start = request.http_range.start or 0
    if start >= len(picture):
        return Reply(b"", content_type, 416, {"Content-Range": f"bytes */{len(picture)}"})
    if not start or request.headers.get("If-Range") != etag:
        return Reply(picture, content_type, headers={"ETag": etag, "Accept-Ranges": "bytes"})
    content_range = f"bytes {start}-{len(picture) - 1}/{len(picture)}"
    return Reply(picture[start:], content_type, 206, {"ETag": etag, "Content-Range": content_range})
