"""AKOOL's endpoints over HTTP: routes, authentication and envelopes."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from akool_async.emulator._fault_injector import Reply, misreport
from akool_async.emulator._faults import CREATES, Fault
from akool_async.emulator._ledger import Post
from akool_async.emulator._parameters import Body, read_body, read_press, read_prompt, read_source_prompt
from akool_async.emulator._refusals import Refusal
from akool_async.emulator._replies import API_KEY, AUTHORIZATION, envelope, refusal

if TYPE_CHECKING:
    from akool_async.emulator._fault_injector import FaultInjector
    from akool_async.emulator._service import Service
    from akool_async.emulator._webhooks import WebhookSender

MAX_BODY_SIZE = 2**20
NEVER_ACCEPTED = Reply(json.dumps(envelope({"_id": "0" * 24, "image_status": 1})).encode())
"""The reply that is cut or stalled if nothing was accepted."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an endpoint."""

    endpoint: str
    request: web.Request
    received_at: float
    """Seconds since the epoch (UTC) by the service's clock."""
    fault: Fault | None
    """Its fault; None if it has none."""
    body: Body


Answer = Callable[[Call], dict[str, Any]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Api:
    """AKOOL's API, without the host of its pictures."""

    def __init__(
        self, service: Service, injector: FaultInjector, webhooks: WebhookSender, *, pictures_url: str
    ) -> None:
        self._service = service
        self._injector = injector
        self._webhooks = webhooks
        self._pictures_url = pictures_url

    def application(self) -> web.Application:
        """Return the web application with all endpoints."""
        application = web.Application(client_max_size=MAX_BODY_SIZE)
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

    # --- endpoints: each returns AKOOL's reply, or raises a Refusal ---

    def _get_token(self, call: Call) -> dict[str, Any]:
        token = self._service.account.issue_token(call.body.get("clientId"), call.body.get("clientSecret"))
        return {"code": 1000, "token": token}

    def _create_by_button(self, call: Call) -> dict[str, Any]:
        self._authenticate(call)
        image = self._service.press(read_press(call.body), call.fault)
        self._webhooks.schedule(image)
        return envelope(image.show_press(image.accepted_at))

    def _create_by_prompt(self, call: Call) -> dict[str, Any]:
        self._authenticate(call)
        (image,) = self._service.create(read_prompt(call.body), call.fault)
        self._webhooks.schedule(image)
        return envelope(image.show(image.accepted_at, ""))

    def _create_by_source(self, call: Call) -> dict[str, Any]:
        self._authenticate(call)
        images = self._service.create(read_source_prompt(call.body), call.fault)
        for image in images:
            self._webhooks.schedule(image)
        shown = [image.show(image.accepted_at, "") for image in images]
        return envelope(shown if len(shown) > 1 else shown[0])

    def _get_image_result(self, call: Call) -> dict[str, Any]:
        self._authenticate(call)
        image = self._service.find(call.request.query.get("image_model_id"))
        return envelope(image.show(self._service.now(), self._pictures_url))

    def _get_credit(self, call: Call) -> dict[str, Any]:
        self._authenticate(call)
        return envelope({"credit": self._service.credits})

    def _authenticate(self, call: Call) -> None:
        headers = call.request.headers
        self._service.account.authenticate(headers.get(AUTHORIZATION), headers.get(API_KEY))

    # --- common to all requests ---

    def _handler(self, endpoint: str, answer: Answer) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            received_at = self._count(endpoint, request)
            fault = self._injector.faults.draw(endpoint)
            call = Call(endpoint, request, received_at, fault, read_body(await request.read()))
            if fault is not None and fault.when == "before":
                faulty = await self._inject_before(request, fault)
                if faulty is not None:  # pragma: no branch - Python 3.11 measures this wrongly after a timeout
                    self._record(call, {}, charged=0)
                    return faulty
            reply = Reply(json.dumps(self._serve(call, answer)).encode())
            if fault is not None and fault.when == "after":
                faulty = await self._injector.inject(request, fault, reply)
                if faulty is not None:
                    return faulty
            return reply.to_response()

        return handle

    def _count(self, endpoint: str, request: web.Request) -> float:
        """Count a request, and return the service's time."""
        ledger = self._service.ledger
        with ledger.changes.changing():
            ledger.requests[endpoint] += 1
            if AUTHORIZATION in request.headers and API_KEY in request.headers:
                ledger.both_headers_sent += 1
            return self._service.now()

    async def _inject_before(self, request: web.Request, fault: Fault) -> web.StreamResponse | None:
        if fault.kind == "slow":
            # If the client has left, the request is dropped, as a proxy in front of the service would do.
            return None if await self._injector.delay(request, fault.number) else web.Response()
        return await self._injector.inject(request, fault, NEVER_ACCEPTED)

    def _serve(self, call: Call, answer: Answer) -> dict[str, Any]:
        """Answer and record a call in one step, so that the ledger never shows it half done."""
        ledger = self._service.ledger
        with ledger.changes.changing():
            charged_before = ledger.charged
            try:
                reply = answer(call)
                if call.fault is not None:
                    for shown in _read_data(reply):
                        misreport(call.fault, shown)
            except Refusal as refused:
                reply = refusal(refused.code, refused.msg)
            self._record(call, reply, charged=ledger.charged - charged_before)
        return reply

    def _record(self, call: Call, reply: dict[str, Any], *, charged: int) -> None:
        if call.endpoint not in CREATES:
            return
        post = Post(
            endpoint=call.endpoint,
            image_id=call.body.get("_id"),
            button=call.body.get("button"),
            code=reply.get("code"),
            fault=None if call.fault is None else str(call.fault),
            new_ids=tuple(image["_id"] for image in _read_data(reply)),
            time=call.received_at,
            charged=charged,
            webhook_url=call.body.get("webhookUrl", call.body.get("webhookurl")),
        )
        with self._service.ledger.changes.changing():
            self._service.ledger.posts.append(post)


def _read_data(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the images of a reply."""
    data = reply.get("data") or []
    return data if isinstance(data, list) else [data]
