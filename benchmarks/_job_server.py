"""A server on loopback whose jobs take a given time. It speaks the protocols of all contenders and does little work.

A POST creates a job and a GET polls it. The first part of the path names the protocol. Job ids are 24 hex digits.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from aiohttp import web
from attrs import define, field, frozen

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

JOB_ID, BASE_URL = "JOB_ID", "BASE_URL"
"""Placeholders in a reply for the job's id and the server's address."""
FIND_ID = re.compile(r"[0-9a-f]{24}")
PICTURE = "https://pictures.invalid/" + JOB_ID
BACKLOG = 2048


@frozen
class Protocol:
    """The three replies of one service as JSON, with a placeholder for the id."""

    accepted: bytes
    running: bytes
    done: bytes

    @classmethod
    def of(cls, accepted: Any, running: Any, done: Any) -> Protocol:  # noqa: ANN401 - any JSON
        """Encode the replies."""
        return cls(*(json.dumps(reply, separators=(",", ":")).encode() for reply in (accepted, running, done)))

    def at(self, base_url: str) -> Protocol:
        """Return the replies with the server's address filled in."""
        place, address = BASE_URL.encode(), base_url.encode()
        replies = (self.accepted, self.running, self.done)
        return Protocol(*(reply.replace(place, address) for reply in replies))


def _akool() -> Protocol:
    common = {
        "faceswap_quality": 2,
        "deduction_credit": 2,
        "buttons": [],
        "used_buttons": [],
        "upscaled_urls": [],
        "_id": JOB_ID,
        "create_time": 1700000000000,
        "from": 1,
        "image_content_model_id": "0123456789abcdef01234567",
        "op_button": "U1",
        "op_buttonMessageId": "0123456789abcdef0123",
    }
    seen = {**common, "uid": 378337, "type": 3}
    replies = (
        {**common, "image_status": 1},
        {**seen, "image_status": 2},
        {**seen, "image_status": 3, "image": PICTURE + "/0.png"},
    )
    return Protocol.of(*({"code": 1000, "msg": "OK", "data": data} for data in replies))


def _fal() -> Protocol:
    accepted = {
        "status": "IN_QUEUE",
        "request_id": JOB_ID,
        "response_url": f"{BASE_URL}/fal-result/{JOB_ID}",
        "status_url": f"{BASE_URL}/fal/{JOB_ID}/status",
        "cancel_url": f"{BASE_URL}/fal/{JOB_ID}/cancel",
        "logs": None,
        "metrics": {},
        "queue_position": 0,
    }
    running = {**accepted, "status": "IN_PROGRESS"}
    return Protocol.of(accepted, running, {**running, "status": "COMPLETED", "metrics": {"inference_time": 1.0}})


def _fal_result() -> Protocol:
    image = {"url": PICTURE, "width": 1024, "height": 1024, "content_type": "image/png"}
    result = {"images": [image], "seed": 1, "prompt": "a fox"}
    return Protocol.of(result, result, result)


def _replicate() -> Protocol:
    accepted: dict[str, Any] = {
        "id": JOB_ID,
        "model": "owner/model",
        "version": "0" * 64,
        "status": "starting",
        "input": {"prompt": "a fox"},
        "output": None,
        "logs": "",
        "error": None,
        "metrics": {},
        "created_at": "2025-01-01T00:00:00.000Z",
        "started_at": None,
        "completed_at": None,
        "urls": {"get": f"{BASE_URL}/replicate/v1/predictions/{JOB_ID}", "cancel": f"{BASE_URL}/replicate/{JOB_ID}"},
    }
    running = {**accepted, "status": "processing", "started_at": "2025-01-01T00:00:01.000Z"}
    done = {**running, "status": "succeeded", "output": [PICTURE], "completed_at": "2025-01-01T00:00:02.000Z"}
    return Protocol.of(accepted, running, done)


def _runway() -> Protocol:
    seen = {"id": JOB_ID, "createdAt": "2025-01-01T00:00:00.000Z"}
    price = {"credits": 5}
    return Protocol.of(
        {"id": JOB_ID, "estimatedCost": price},
        {**seen, "status": "RUNNING", "progress": 0.5, "estimatedCost": price},
        {**seen, "status": "SUCCEEDED", "output": [PICTURE], "cost": price},
    )


def _openai() -> Protocol:
    accepted: dict[str, Any] = {
        "id": JOB_ID,
        "object": "video",
        "created_at": 1700000000,
        "completed_at": None,
        "expires_at": None,
        "error": None,
        "status": "queued",
        "model": "sora-2",
        "progress": 0,
        "prompt": "a fox",
        "remixed_from_video_id": None,
        "seconds": "4",
        "size": "1280x720",
    }
    running = {**accepted, "status": "in_progress", "progress": 50}
    return Protocol.of(
        accepted, running, {**running, "status": "completed", "progress": 100, "completed_at": 1700000004}
    )


PROTOCOLS = {
    "akool": _akool(),
    "fal": _fal(),
    "fal-result": _fal_result(),
    "replicate": _replicate(),
    "runway": _runway(),
    "openai": _openai(),
}


@define
class JobServer:
    """Creates jobs, reports their state, and counts requests."""

    base_url: str = ""
    requests: int = 0
    reported_done: set[int] = field(factory=set)
    """Numbers of the jobs whose end a poll has seen."""
    _seconds: float = 0.0
    """Seconds that each job takes."""
    _ends: list[float] = field(factory=list)
    """For each job, the time of its end on the monotonic clock."""
    _protocols: dict[str, Protocol] = field(factory=dict)

    @property
    def in_flight(self) -> int:
        """The number of jobs that were accepted and not yet reported as done."""
        return len(self._ends) - len(self.reported_done)

    def begin(self, seconds: float) -> None:
        """Forget all jobs and requests. Each new job takes ``seconds``."""
        self._seconds = seconds
        self.requests = 0
        self.reported_done.clear()
        self._ends.clear()

    def serve_at(self, base_url: str) -> None:
        """Fill the server's address into the replies."""
        self.base_url = base_url
        self._protocols = {name: protocol.at(base_url) for name, protocol in PROTOCOLS.items()}

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Answer one request."""
        self.requests += 1
        path = request.raw_path
        protocol = self._protocols[path.split("/", 2)[1]]
        if request.method == "POST":
            await request.read()
            job_id, body = self._accept(), protocol.accepted
        else:
            job_id = FIND_ID.search(path)[0]  # type: ignore[index] - every contender polls with an id
            body = protocol.done if self._is_done(int(job_id, 16)) else protocol.running
        return web.Response(
            body=body.replace(JOB_ID.encode(), job_id.encode()), headers={"Content-Type": "application/json"}
        )

    def _accept(self) -> str:
        job = len(self._ends)
        self._ends.append(time.monotonic() + self._seconds)
        return f"{job:024x}"

    def _is_done(self, job: int) -> bool:
        done = time.monotonic() >= self._ends[job]
        if done:
            self.reported_done.add(job)
        return done


@asynccontextmanager
async def job_server() -> AsyncIterator[JobServer]:
    """Start a job server on a free port."""
    server = JobServer()
    runner = web.ServerRunner(web.Server(server.answer, access_log=None), shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG).start()
        server.serve_at(f"http://127.0.0.1:{runner.addresses[0][1]}")
        yield server
    finally:
        await runner.cleanup()
