"""The service over HTTP: routes, authentication, envelopes, and the pictures' host."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from akool_async.emulator._fault_injector import Reply, Spoiler
from akool_async.emulator._faults import CREATES, Fault, Faults
from akool_async.emulator._images import read_picture_name
from akool_async.emulator._ledger import Ledger, Post
from akool_async.emulator._parameters import Body, read_body, read_press, read_prompt, read_source_prompt
from akool_async.emulator._refusals import Refusal
from akool_async.emulator._replies import envelope, refusal

if TYPE_CHECKING:
    from akool_async.emulator._images import Image
    from akool_async.emulator._service import Service

Answer = Callable[[web.Request, Body, Fault | None], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
AUTHORIZATION, API_KEY = "Authorization", "x-api-key"
NEVER_ACCEPTED = Reply(json.dumps(envelope({"_id": "0" * 24, "image_status": 1})).encode())
"""What is cut or stalled where nothing was accepted."""


class HttpFront:
    """AKOOL's endpoints and, on another port, the host of its pictures."""

    def __init__(self, service: Service, ledger: Ledger, faults: Faults) -> None:
        self.expect_callback: Callable[[Image], None] = lambda _: None
        self._service = service
        self._ledger = ledger
        self._faults = faults
        self.spoiler = Spoiler()
        self.pictures_url = ""
        self._render = _load_renderer()

    def api_application(self) -> web.Application:
        """AKOOL's API."""
        application = web.Application(client_max_size=2**20)
        v3, v4 = "/api/open/v3", "/api/open/v4"
        for method, path, endpoint, answer in (
            ("POST", f"{v3}/getToken", "get_token", self._get_token),
            ("POST", f"{v3}/content/image/createbybutton", "create_by_button", self._create_by_button),
            ("GET", f"{v3}/content/image/infobymodelid", "get_image_result", self._get_image_result),
            ("POST", f"{v3}/content/image/createbyprompt", "create_by_prompt", self._create_by_prompt),
            ("POST", f"{v4}/content/image/createBySourcePrompt", "create_by_source_prompt", self._create_by_source),
            ("GET", f"{v3}/faceswap/quota/info", "get_credit", self._get_credit),
        ):
            application.router.add_route(method, path, self._handler(endpoint, answer))
        return application

    def pictures_application(self) -> web.Application:
        """The pictures' host, which knows no keys."""
        application = web.Application()
        application.router.add_get("/{name}", self._picture)
        return application

    # --- endpoints: what AKOOL answers; a Refusal where it refuses ---

    def _get_token(self, _: web.Request, body: Body, __: Fault | None) -> dict[str, Any]:
        return {
            "code": 1000,
            "token": self._service.account.issue_token(body.get("clientId"), body.get("clientSecret")),
        }

    def _create_by_button(self, request: web.Request, body: Body, fault: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        image = self._service.press(read_press(body), fault)
        self.expect_callback(image)
        return envelope(image.show_press(image.accepted_at))

    def _create_by_prompt(self, request: web.Request, body: Body, fault: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        (image,) = self._service.create(read_prompt(body), fault)
        self.expect_callback(image)
        return envelope(image.show(image.accepted_at, ""))

    def _create_by_source(self, request: web.Request, body: Body, fault: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        images = self._service.create(read_source_prompt(body), fault)
        for image in images:
            self.expect_callback(image)
        shown = [image.show(image.accepted_at, "") for image in images]
        return envelope(shown if len(shown) > 1 else shown[0])

    def _get_image_result(self, request: web.Request, _: Body, __: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        image = self._service.find(request.query.get("image_model_id"))
        return envelope(image.show(self._service.now(), self.pictures_url))

    def _get_credit(self, request: web.Request, _: Body, __: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        return envelope({"credit": self._service.credits})

    def _authenticate(self, request: web.Request) -> None:
        self._service.account.authenticate(request.headers.get(AUTHORIZATION), request.headers.get(API_KEY))

    # --- the way of every request ---

    def _handler(self, endpoint: str, answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            received_at = self._receive(endpoint, request)
            fault = self._faults.draw(endpoint)
            body = read_body(await request.read())
            if fault is not None and fault.when == "before":
                spoilt = await self._strike_before(request, fault)
                if spoilt is not None:  # pragma: no branch - Python 3.11 loses track of it after a time-out within
                    self._note(endpoint, body, {}, fault, received_at, 0)
                    return spoilt
            with self._ledger.changes.changing():
                charged_before = self._ledger.charged
                reply = self._answer(answer, request, body, fault)
                self._note(endpoint, body, reply, fault, received_at, self._ledger.charged - charged_before)
            encoded = Reply(json.dumps(reply).encode())
            if fault is not None and fault.when == "after":
                spoilt = await self.spoiler.spoil(request, fault, encoded)
                if spoilt is not None:
                    return spoilt
            return encoded.whole()

        return handle

    def _receive(self, endpoint: str, request: web.Request) -> float:
        with self._ledger.changes.changing():
            self._ledger.requests[endpoint] += 1
            if AUTHORIZATION in request.headers and API_KEY in request.headers:
                self._ledger.both_headers_sent += 1
            return self._service.now()

    async def _strike_before(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.kind == "slow":
            # What nobody waits for any more is dropped, as a proxy in front of the service would.
            return None if await self.spoiler.delay(request, fault.number) else web.Response()
        return await self.spoiler.spoil(request, fault, NEVER_ACCEPTED)

    @staticmethod
    def _answer(answer: Answer, request: web.Request, body: Body, fault: Fault | None) -> dict[str, Any]:
        try:
            reply = answer(request, body, fault)
        except Refusal as refused:
            return refusal(refused.code, refused.msg)
        if fault is not None:
            for shown in _read_data(reply):
                fault.misreport(shown)
        return reply

    def _note(
        self,
        endpoint: str,
        body: Body,
        reply: dict[str, Any],
        fault: Fault | None,
        received_at: float,
        charged: int,
    ) -> None:
        if endpoint not in CREATES:
            return
        post = Post(
            endpoint,
            body.get("_id"),
            body.get("button"),
            reply.get("code"),
            str(fault) if fault else None,
            tuple(image["_id"] for image in _read_data(reply)),
            received_at,
            charged,
            body.get("webhookUrl"),
        )
        with self._ledger.changes.changing():
            self._ledger.posts.append(post)

    # --- pictures ---

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        if self._render is None:
            raise web.HTTPNotImplemented(reason='pictures need Pillow: pip install "akool-async[emulator]"')
        image, index = self._find_picture(request)
        fault = self._faults.draw("pictures")
        picture = await asyncio.to_thread(self._render, image, index)
        reply = _reply_picture(request, picture, f"image/{image.picture_format}")
        spoilt = None if fault is None else await self.spoiler.spoil(request, fault, reply)
        return reply.whole() if spoilt is None else spoilt

    def _find_picture(self, request: web.Request) -> tuple[Image, int]:
        name = request.match_info["name"]
        image_id, index = read_picture_name(name)
        with self._ledger.changes.changing():
            self._ledger.requests["pictures"] += 1
            self._ledger.picture_ranges.append(request.http_range.start or 0)
            if AUTHORIZATION in request.headers or API_KEY in request.headers:
                self._ledger.pictures_with_key += 1
            try:
                image = self._service.find(image_id)
            except Refusal:
                raise web.HTTPNotFound from None
            if not image.has_urls(self._service.now()) or image.picture_name(index) != name:
                raise web.HTTPNotFound
            if image.kind == "upscale" and index:
                raise web.HTTPNotFound
            return image, index


def _read_data(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """The images of a reply: one, several, or none."""
    data = reply.get("data") or []
    return data if isinstance(data, list) else [data]


def _reply_picture(request: web.Request, picture: bytes, content_type: str) -> Reply:
    """The picture, or what a client that has its beginning asks for."""
    etag = f'"{zlib.crc32(picture):08x}"'
    start = request.http_range.start or 0
    if start >= len(picture):
        return Reply(b"", content_type, 416, {"Content-Range": f"bytes */{len(picture)}"})
    if not start or request.headers.get("If-Range") != etag:
        return Reply(picture, content_type, headers={"ETag": etag, "Accept-Ranges": "bytes"})
    told = f"bytes {start}-{len(picture) - 1}/{len(picture)}"
    return Reply(picture[start:], content_type, 206, {"ETag": etag, "Content-Range": told})


def _load_renderer() -> Callable[[Image, int], bytes] | None:
    try:
        from akool_async.emulator import _pictures  # noqa: PLC0415 - Pillow comes with the extra, and only here
    except ImportError:
        return None
    return _pictures.render
