"""The emulator: a service, its HTTP front on two loopback ports, and the handles a test needs."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from aiohttp import web

from akool_async.emulator._faults import Faults
from akool_async.emulator._http import HttpFront
from akool_async.emulator._ledger import Ledger
from akool_async.emulator._options import (
    is_count,
    is_loopback,
    is_number,
    is_port,
    is_positive,
    is_share,
    require,
)
from akool_async.emulator._parameters import BUTTONS
from akool_async.emulator._refusals import Refusal
from akool_async.emulator._service import Service
from akool_async.emulator._threads import LoopThread
from akool_async.emulator._webhooks import WebhookSender

if TYPE_CHECKING:
    from types import TracebackType


class Emulator:
    """AKOOL's image API on loopback.

    ``async with Emulator()`` serves in the running event loop, ``with Emulator()`` in a thread of its own, for
    synchronous tests and for other processes.

    Jobs take lognormal times around ``median_seconds`` with ``sigma`` (upscales 1.3, variations 0.75 times that),
    divided by ``speed``; ``seed`` draws durations, ids, keys and pictures. ``credits`` is the balance; each generation
    costs 2. ``plan_concurrency`` refuses more generations at once with 1005. ``token_lifetime`` is in seconds (None:
    for ever). ``used_buttons_lag`` is how many seconds a pressed button still shows in ``buttons``; a second press is
    refused all the same. ``failure_rate`` is the share of jobs that end with status 4. ``port`` 0 takes any free one.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        seed: int = 0,
        median_seconds: float = 20.0,
        sigma: float = 0.35,
        credits: int = 10_000,  # noqa: A002 - AKOOL's word
        plan_concurrency: int | None = None,
        token_lifetime: float | None = None,
        used_buttons_lag: float = 0.0,
        failure_rate: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        require("speed", speed, is_positive(speed), "a positive number")
        require("seed", seed, type(seed) is int, "a whole number")
        require("median_seconds", median_seconds, is_positive(median_seconds), "a positive number of seconds")
        require("sigma", sigma, is_number(sigma), "a number of at least 0")
        require("credits", credits, is_count(credits), "a whole number of at least 0")
        plan_fits = plan_concurrency is None or is_count(plan_concurrency, at_least=1)
        require("plan_concurrency", plan_concurrency, plan_fits, "a whole number of at least 1, or None for no cap")
        lifetime_fits = token_lifetime is None or is_positive(token_lifetime)
        require("token_lifetime", token_lifetime, lifetime_fits, "a positive number of seconds, or None for ever")
        require("used_buttons_lag", used_buttons_lag, is_number(used_buttons_lag), "at least 0 seconds")
        require("failure_rate", failure_rate, is_share(failure_rate), "between 0 and 1")
        require("host", host, is_loopback(host), "a loopback address such as 127.0.0.1")
        require("port", port, is_port(port), "between 0 (any free one) and 65535")
        self.ledger = Ledger()
        """What was received, accepted and charged."""
        self.faults = Faults()
        """Breaks requests on command."""
        self.base_url = ""
        """What ``AkoolSession(base_url=...)`` takes; known once it serves."""
        self.pictures_url = ""
        """Another origin, as AKOOL's pictures come from one."""
        self._host = host
        self._port = port
        self._lock = threading.RLock()
        self._advanced = 0.0
        self._epoch = time.time() - time.monotonic()
        self._service = Service(
            clock=self._now,
            ledger=self.ledger,
            seed=seed,
            speed=speed,
            median_seconds=median_seconds,
            sigma=sigma,
            credit=credits,
            plan_concurrency=plan_concurrency,
            token_lifetime=token_lifetime,
            used_buttons_lag=used_buttons_lag,
            failure_rate=failure_rate,
        )
        self.api_key = self._service.api_key
        self.client_id = self._service.client_id
        self.client_secret = self._service.client_secret
        self._front: HttpFront | None = None
        self._webhooks: WebhookSender | None = None
        self._speed = speed
        self._runners: list[web.AppRunner] = []
        self._thread: LoopThread | None = None

    @property
    def credits(self) -> int:
        """The account's balance."""
        with self._lock:
            return self._service.credits

    def add_image(self, *, buttons: tuple[str, ...] | list[str] | None = None) -> str:
        """Add a finished image whose ``buttons`` (all eight) can be pressed, free of charge; returns its ``_id``."""
        wanted = BUTTONS if buttons is None else tuple(buttons)
        require("buttons", buttons, set(wanted) <= set(BUTTONS), f"some of {', '.join(BUTTONS)}")
        with self._lock:
            return self._service.add_image(wanted)

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward: jobs finish, results and tokens expire."""
        require("seconds", seconds, is_number(seconds), "at least 0: time does not run backwards")
        with self._lock:
            self._advanced += seconds
        if self._webhooks is not None:
            self._webhooks.clock_moved()

    def ends_at(self, image_id: str) -> float:
        """When its job ends, or ended, in seconds since the epoch by the service's clock; infinite for a stuck one."""
        with self._lock:
            try:
                return self._service.find(image_id).finished_at
            except Refusal:
                raise ValueError(f"image_id must be the _id of an image of this emulator, not {image_id!r}") from None

    def expire_tokens(self) -> None:
        """End every token that was issued; their next use is answered with 1101."""
        with self._lock:
            self._service.expire_tokens()

    def environment(self) -> dict[str, str]:
        """The variables that point the library, in this or another process, at this emulator."""
        return {"AKOOL_API_KEY": self.api_key, "AKOOL_BASE_URL": self.base_url}

    async def __aenter__(self) -> Self:
        self._refuse_to_serve_twice()
        await self._start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    def __enter__(self) -> Self:
        self._refuse_to_serve_twice()
        self._thread = LoopThread("akool-emulator")
        try:
            self._thread.run(self._start())
        except BaseException:
            self._end_thread()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is not None:
            try:
                self._thread.run(self._stop())
            finally:
                self._end_thread()

    def __repr__(self) -> str:
        return f"Emulator(base_url={self.base_url!r})"

    def _refuse_to_serve_twice(self) -> None:
        if self._runners or self._thread is not None:
            raise RuntimeError("this emulator already serves: make another one")

    async def _start(self) -> None:
        self._front = HttpFront(self._service, self.ledger, self.faults, self._lock)
        try:
            self.pictures_url = await self._serve(self._front.pictures_application(), 0)
            self._front.pictures_url = self.pictures_url
            self._webhooks = WebhookSender(
                self._service,
                self.ledger,
                self.faults,
                self._lock,
                pictures_url=self.pictures_url,
                speed=self._speed,
            )
            self._front.expect_callback = self._webhooks.expect
            self.base_url = await self._serve(self._front.api_application(), self._port)
        except BaseException:
            await self._stop()
            raise

    async def _serve(self, application: web.Application, port: int) -> str:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self._host, port, backlog=4096).start()
        host, bound = runner.addresses[0][:2]
        return f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"

    async def _stop(self) -> None:
        if self._front is not None:
            self._front.spoiler.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
            self._webhooks = None
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    def _end_thread(self) -> None:
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    def _now(self) -> float:
        return self._epoch + time.monotonic() + self._advanced
