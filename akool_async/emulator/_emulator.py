"""The emulator: a service, its HTTP front on two loopback ports, and the handles a test needs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, Unpack

from aiohttp import web

from akool_async.emulator._client import open_session
from akool_async.emulator._faults import Faults
from akool_async.emulator._http import HttpFront
from akool_async.emulator._ledger import Ledger
from akool_async.emulator._options import Options, is_count, is_number, require
from akool_async.emulator._parameters import BUTTONS
from akool_async.emulator._prices import PRICES, Prices
from akool_async.emulator._refusals import NOT_EXISTING, NOT_OPERABLE, Refusal
from akool_async.emulator._service import Service
from akool_async.emulator._threads import LoopThread
from akool_async.emulator._webhooks import WebhookSender

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

    from akool_async import AkoolSession
    from akool_async.emulator._client import EmulatorSessionOptions

USED_BUTTON_CODES = (NOT_OPERABLE,)
"""What AKOOL's pages leave open: 1010 or 1011 (ALREADY_OPERATED)."""


class Emulator:
    """AKOOL's image API on loopback.

    ``async with Emulator()`` serves in the running event loop, ``with Emulator()`` in a thread of its own, for
    synchronous tests and for other processes.

    A job queues (status 1), is worked on (status 2) and ends; both phases take lognormal times. With the defaults a
    variation takes some 25 s, a prompt 33 s and an upscale 42 s, divided by ``speed``.

    Args:
        speed: How many times faster than AKOOL jobs are done. Times in replies are real ones all the same.
        seed: Draws durations, failures, keys and pictures. The ids of images are new in every run.
        median_seconds: Median of the work on a prompt; upscales take 1.3, variations 0.75 times that. At speed 1.
        sigma: Spread of the work's duration: the standard deviation of its logarithm. 0: always the median.
        queue_median_seconds: Median of the time in the queue, in seconds at speed 1.
        queue_sigma: Spread of the time in the queue, as ``sigma``.
        credits: The balance.
        prices: Credits of each image where they differ from AKOOL's of October 2026: ``upscale``, ``variation`` and
            ``prompt`` (2 each), and ``4k`` (4) and ``1080p`` (3) for Create By Source Prompt.
        reported_prices: What ``deduction_credit`` says where that is not what is charged; keys as those of ``prices``.
        plan_concurrency: How many generations the plan allows at the same time; None: any number.
        plan_queues: What happens to more than that: False: refused with 1005; True: accepted, and queued (status 1).
        token_lifetime: Seconds after which a token ends with 1101; None: never.
        used_buttons_lag: Seconds for which a pressed button is still listed in ``buttons``. A second press is refused
            all the same.
        used_button_codes: 1010, 1011 or both: the codes that refuse a used button, in turn.
        not_found_code: 1008 or 1014, for an image that does not exist.
        failure_rate: Share of the jobs, between 0 and 1, that end with status 4. They are charged too.
        picture_format: ``jpeg`` or ``png``.
        clock_skew: Seconds by which AKOOL's clock is ahead of this machine's; negative: behind it.
        host: The loopback address to listen on.
        port: The API's port; 0 takes any free one.

    Raises:
        ValueError: for an option that makes no sense; names it.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        seed: int = 0,
        median_seconds: float = 30.0,
        sigma: float = 0.25,
        queue_median_seconds: float = 3.0,
        queue_sigma: float = 0.5,
        credits: int = 10_000,  # noqa: A002 - AKOOL's word
        prices: Mapping[str, int] | None = None,
        reported_prices: Mapping[str, int] | None = None,
        plan_concurrency: int | None = None,
        plan_queues: bool = False,
        token_lifetime: float | None = None,
        used_buttons_lag: float = 0.0,
        used_button_codes: Collection[int] = USED_BUTTON_CODES,
        not_found_code: int = NOT_EXISTING,
        failure_rate: float = 0.0,
        picture_format: str = "jpeg",
        clock_skew: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._options = Options(
            speed=speed,
            seed=seed,
            median_seconds=median_seconds,
            sigma=sigma,
            queue_median_seconds=queue_median_seconds,
            queue_sigma=queue_sigma,
            credits=credits,
            plan_concurrency=plan_concurrency,
            plan_queues=plan_queues,
            token_lifetime=token_lifetime,
            used_buttons_lag=used_buttons_lag,
            used_button_codes=used_button_codes,
            not_found_code=not_found_code,
            failure_rate=failure_rate,
            picture_format=picture_format,
            clock_skew=clock_skew,
            host=host,
            port=port,
        )
        self.prices = Prices({**PRICES, **(prices or {})})
        """Credits of each image by kind; can be changed while it serves: ``emulator.prices["upscale"] = 4``."""
        self.reported_prices = Prices(reported_prices or {})
        """What replies report where that is not what is charged; can be changed as ``prices`` can."""
        self.ledger = Ledger()
        """What was received, accepted and charged; ``await emulator.ledger.until(...)`` waits for it."""
        self.faults = Faults()
        """Breaks requests on command."""
        self.base_url = ""
        """What ``AkoolSession(base_url=...)`` takes; known once it serves."""
        self.pictures_url = ""
        """Another origin, as AKOOL's pictures come from one."""
        self._lock = self.ledger.changes.lock
        self._advanced = 0.0
        self._epoch = time.time() - time.monotonic() + clock_skew
        self._service = Service(
            self._options,
            clock=self._now,
            ledger=self.ledger,
            prices=self.prices,
            reported_prices=self.reported_prices,
        )
        self.api_key = self._service.account.api_key
        self.client_id = self._service.account.client_id
        self.client_secret = self._service.account.client_secret
        self._front: HttpFront | None = None
        self._webhooks: WebhookSender | None = None
        self._runners: list[web.AppRunner] = []
        self._thread: LoopThread | None = None

    @property
    def credits(self) -> int:
        """The account's balance."""
        with self._lock:
            return self._service.credits

    @property
    def account_state(self) -> str:
        """``active``, or why AKOOL refuses the account; can be set.

        ``unpaid`` (1103) and ``unverified`` (1004) refuse whatever costs credits, ``missing`` (1109) and ``banned``
        (1200) every request.
        """
        with self._lock:
            return self._service.account.state

    @account_state.setter
    def account_state(self, state: str) -> None:
        with self._lock:
            self._service.account.state = state

    def spend_elsewhere(self, credits: int) -> None:  # noqa: A002 - AKOOL's word
        """Take credits from the balance, as another program on the same account does; see ``ledger.spent_elsewhere``.

        Raises:
            ValueError: for more than the balance, or for what is no whole number of at least 0.
        """
        with self.ledger.changes.changing():
            balance = self._service.credits
            fits = is_count(credits) and not is_count(credits, at_least=balance + 1)
            require("credits", credits, fits, f"a whole number between 0 and the balance of {balance}")
            self._service.credits -= credits
            self.ledger.spent_elsewhere += credits

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
            self._service.account.expire_tokens()

    def environment(self) -> dict[str, str]:
        """The variables that point the library, in this or another process, at this emulator.

        The client id and secret are those that webhooks are verified with; the library prefers the key for requests.
        ``AKOOL_TIME_SCALE`` shortens what its sessions wait for, as in :meth:`session`.
        """
        return {
            "AKOOL_API_KEY": self.api_key,
            "AKOOL_CLIENT_ID": self.client_id,
            "AKOOL_CLIENT_SECRET": self.client_secret,
            "AKOOL_BASE_URL": self._require_address(),
            "AKOOL_TIME_SCALE": f"{self._time_scale:g}",
        }

    def session(self, **options: Unpack[EmulatorSessionOptions]) -> AkoolSession:
        """A session of this emulator's account, whose waits are divided by ``speed``.

        A lost reply is settled within milliseconds, for example. Use it as ``async with emulator.session() as akool``.
        ``request_timeout`` stays as it is: give a short one if a reply is to be missed (``Fault.stall``).

        Args:
            options: Those of :class:`AkoolSession`; they override the emulator's.

        Raises:
            RuntimeError: The emulator does not serve yet.
        """
        return open_session(self.api_key, self._require_address(), self._time_scale, options)

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
        thread = LoopThread("akool-emulator")
        try:
            thread.run(self._start())
        except BaseException:
            thread.close()
            raise
        self._thread = thread
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                thread.run(self._stop())
            finally:
                thread.close()

    def __repr__(self) -> str:
        return f"Emulator(base_url={self.base_url!r})"

    def _require_address(self) -> str:
        if not self.base_url:
            raise RuntimeError("this emulator does not serve yet: enter it first, by `async with` or `with`")
        return self.base_url

    @property
    def _time_scale(self) -> float:
        return 1 / self._options.speed

    def _refuse_to_serve_twice(self) -> None:
        if self._runners or self._thread is not None:
            raise RuntimeError("this emulator already serves: make another one")

    async def _start(self) -> None:
        self._front = HttpFront(self._service, self.ledger, self.faults)
        try:
            self.pictures_url = await self._serve(self._front.pictures_application(), 0)
            self._front.pictures_url = self.pictures_url
            self._webhooks = WebhookSender(
                self._service,
                self.ledger,
                self.faults,
                pictures_url=self.pictures_url,
                options=self._options,
            )
            self._front.expect_callback = self._webhooks.expect
            self.base_url = await self._serve(self._front.api_application(), self._options.port)
        except BaseException:
            await self._stop()
            raise

    async def _serve(self, application: web.Application, port: int) -> str:
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, self._options.host, port, backlog=4096).start()
        host, bound = runner.addresses[0][:2]
        return f"http://[{host}]:{bound}" if ":" in host else f"http://{host}:{bound}"

    async def _stop(self) -> None:
        if self._front is not None:  # pragma: no branch - what was begun has one
            self._front.spoiler.stop()
        if self._webhooks is not None:
            await self._webhooks.stop()
            self._webhooks = None
        for runner in self._runners:
            await runner.cleanup()
        self._runners.clear()

    def _now(self) -> float:
        return self._epoch + time.monotonic() + self._advanced
