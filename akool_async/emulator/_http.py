"""The service over HTTP: routes, authentication, envelopes, and the faults that strike on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from akool_async.emulator._faults import Fault, Faults
from akool_async.emulator._ledger import Ledger, Post
from akool_async.emulator._service import Refusal, Service

if TYPE_CHECKING:
    import threading

Answer = Callable[[web.Request, dict[str, Any], Fault | None], dict[str, Any]]
CREATED = ("_id", "image_status")
GATEWAY_PAGE = "<html><head><title>{status}</title></head><body><center>nginx</center></body></html>"


class HttpFront:
    """AKOOL's endpoints and, on another port, the host of its pictures."""

    def __init__(self, service: Service, ledger: Ledger, faults: Faults, lock: threading.RLock) -> None:
        self._service = service
        self._ledger = ledger
        self._faults = faults
        self._lock = lock
        self.stopping = asyncio.Event()
        self.pictures_url = ""

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
        application.router.add_get("/{image_id}/{index:[0-4]}.png", self._picture)
        return application

    # --- endpoints: what AKOOL answers; a Refusal where it refuses ---

    def _get_token(self, _: web.Request, body: dict[str, Any], __: Fault | None) -> dict[str, Any]:
        token = self._service.issue_token(body.get("clientId"), body.get("clientSecret"))
        return {"code": 1000, "token": token}

    def _create_by_button(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        shown = self._service.show(self._service.press(body, fault), self.pictures_url)
        return _envelope({name: value for name, value in shown.items() if name not in {"type", "uid"}})

    def _create_by_prompt(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        (image,) = self._service.create(body, fault, version=3)
        return _envelope(self._service.show(image, self.pictures_url))

    def _create_by_source(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        images = self._service.create(body, fault, version=4)
        shown = [self._service.show(image, self.pictures_url) for image in images]
        return _envelope(shown if len(shown) > 1 else shown[0])

    def _get_image_result(self, request: web.Request, _: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        shown = self._service.show(self._service.find(request.query.get("image_model_id")), self.pictures_url)
        if fault is not None and fault.kind == "image_status":
            shown["image_status"] = int(fault.number)
        return _envelope(shown)

    def _get_credit(self, request: web.Request, _: dict[str, Any], __: Fault | None) -> dict[str, Any]:
        self._authenticate(request)
        return _envelope({"credit": self._service.credits})

    def _authenticate(self, request: web.Request) -> None:
        self._service.authenticate(request.headers.get("Authorization"), request.headers.get("x-api-key"))

    # --- the way of every request ---

    def _handler(self, endpoint: str, answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        spends = endpoint.startswith("create")

        async def handle(request: web.Request) -> web.StreamResponse:
            with self._lock:
                self._ledger.requests[endpoint] += 1
            fault = self._faults.draw(endpoint)
            body = _read_json(await request.read())
            if fault is not None and fault.when == "before":
                gone = await self._strike_before(request, fault)
                if gone is not None:
                    if spends:
                        self._note(endpoint, body, None, fault, [])
                    return gone
            with self._lock:
                reply = _answer(answer, request, body, fault)
            if spends:
                self._note(endpoint, body, reply["code"], fault, reply.get("data"))
            encoded = json.dumps(reply).encode()
            if fault is not None and fault.when == "after":
                spoilt = await self._spoil(request, fault, encoded)
                if spoilt is not None:
                    return spoilt
            return web.Response(body=encoded, content_type="application/json")

        return handle

    async def _strike_before(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.kind == "slow":
            await self._pause(fault.number)
            # What nobody waits for any more is dropped, as a proxy in front of the service would.
            return web.Response() if request.transport is None or request.transport.is_closing() else None
        return await self._spoil(request, fault, json.dumps(_envelope({"_id": "0" * 24, "image_status": 1})).encode())

    async def _spoil(self, request: web.Request, fault: Fault, reply: bytes) -> web.StreamResponse | None:
        """The reply as the fault leaves it; None where it goes out as it is."""
        if fault.kind in {"cut", "stall"}:
            return await self._break_off(request, reply, stall=fault.kind == "stall")
        if fault.kind == "slow":
            await self._pause(fault.number)
            return None
        if fault.kind == "reset":
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        if fault.kind == "code":
            refusal = {"code": int(fault.number), "msg": fault.text}
            return web.json_response(refusal)
        if fault.kind in {"status", "html"}:
            status = int(fault.number) or 200
            page = GATEWAY_PAGE.format(status=status)
            return web.Response(status=status, text=page, content_type="text/html")
        plain = {
            "empty": lambda: web.Response(body=b""),
            "huge": lambda: web.Response(body=b" " * int(fault.number), content_type="application/json"),
            "throttle": lambda: web.Response(status=429, text="slow down", headers={"Retry-After": fault.text}),
            "redirect": lambda: web.Response(status=302, headers={"Location": fault.text}),
        }
        return plain[fault.kind]() if fault.kind in plain else None

    async def _break_off(self, request: web.Request, reply: bytes, *, stall: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.content_length = len(reply)
        await response.prepare(request)
        await response.write(reply[: len(reply) // 2])
        while stall and not self.stopping.is_set() and request.transport is not None:
            await self._pause(0.02)
        if request.transport is not None:
            request.transport.close()
        return response

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self.stopping.wait()
        except TimeoutError:
            pass

    def _note(self, endpoint: str, body: dict[str, Any], code: int | None, fault: Fault | None, data: object) -> None:
        listed = data if isinstance(data, list) else [data]
        new_ids = tuple(item["_id"] for item in listed if isinstance(item, dict))
        with self._lock:
            self._ledger.posts.append(
                Post(endpoint, body.get("_id"), body.get("button"), code, str(fault) if fault else None, new_ids)
            )

    async def _picture(self, request: web.Request) -> web.StreamResponse:
        with self._lock:
            self._ledger.requests["pictures"] += 1
            if {"Authorization", "x-api-key"} & {*request.headers}:
                self._ledger.pictures_with_key += 1
            try:
                image = self._service.find(request.match_info["image_id"])
                finished = "image" in self._service.show(image, "")
            except Refusal:
                finished = False
        index = int(request.match_info["index"])
        if not finished or (image.kind == "upscale" and index):
            raise web.HTTPNotFound
        fault = self._faults.draw("pictures")
        picture = await asyncio.to_thread(_render, image, index)
        spoilt = None if fault is None else await self._spoil(request, fault, picture)
        return web.Response(body=picture, content_type="image/png") if spoilt is None else spoilt


def _render(image: Any, index: int) -> bytes:  # noqa: ANN401
    try:
        from akool_async.emulator import _pictures  # noqa: PLC0415 - Pillow comes with the extra, and only here
    except ModuleNotFoundError as error:
        raise RuntimeError('pictures need Pillow: pip install "akool-async[emulator]"') from error
    return _pictures.render(image, index)


def _envelope(data: object) -> dict[str, Any]:
    return {"code": 1000, "msg": "OK", "data": data}


def _answer(answer: Answer, request: web.Request, body: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    try:
        return answer(request, body, fault)
    except Refusal as refusal:
        return {"code": refusal.code, "msg": refusal.msg}


def _read_json(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
