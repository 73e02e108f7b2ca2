"""The emulator: AKOOL's service, its server, and the controls and checks for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self, Unpack

from akool_async.emulator._client import open_session
from akool_async.emulator._clock import Clock
from akool_async.emulator._faults import Faults
from akool_async.emulator._ledger import Ledger
from akool_async.emulator._options import Options, is_count, is_number, require
from akool_async.emulator._parameters import BUTTONS
from akool_async.emulator._prices import PRICES, Prices
from akool_async.emulator._refusals import NOT_EXISTING, NOT_OPERABLE, Refusal
from akool_async.emulator._server import Server
from akool_async.emulator._service import Service
from akool_async.emulator._threads import LoopThread

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from types import TracebackType

    from akool_async import AkoolSession
    from akool_async.emulator._client import EmulatorSessionOptions


class Emulator:
    """AKOOL's image API on this machine.

    ``async with Emulator()`` serves in the running event loop. ``with Emulator()`` serves in a separate thread, for
    synchronous tests and for other processes.

    A job queues (status 1), is processed (status 2) and ends. Both phases have lognormal durations. With the defaults a
    variation takes about 25 s, a prompt 33 s and an upscale 42 s, divided by ``speed``.

    Args:
        speed: How many times faster than AKOOL jobs run. The times in replies are real.
        seed: Determines durations, failures, keys and pictures. The ids of images are new in every run.
        median_seconds: Median of the processing time of a prompt, in seconds at speed 1. Upscales take 1.3 times as
            long, variations 0.75 times.
        sigma: Spread of the processing time: the standard deviation of its logarithm. With 0, each takes the median.
        queue_median_seconds: Median of the time in the queue, in seconds at speed 1.
        queue_sigma: Spread of the time in the queue, like ``sigma``.
        credits: The balance, in credits.
        prices: Credits per image, if they differ from AKOOL's of October 2026: ``upscale``, ``variation`` and
            ``prompt`` (2 each), and ``4k`` (4) and ``1080p`` (3) for Create By Source Prompt.
        reported_prices: Credits that ``deduction_credit`` reports, if they differ from those charged. The keys are
            those of ``prices``.
        plan_concurrency: How many jobs the plan allows concurrently; None for any number.
        plan_queues: What happens to more jobs. False refuses them with 1005; True accepts and queues them (status 1).
        token_lifetime: Seconds until a token expires with 1101; None for never.
        used_buttons_lag: Seconds for which ``buttons`` still lists a pressed button. A second press is refused anyway.
        used_button_codes: 1010, 1011 or both: the codes that refuse a used button, in turn. AKOOL does not document
            which it uses.
        not_found_code: The code for an image that does not exist: 1008 or 1014.
        failure_rate: Share of the jobs, between 0 and 1, that end with status 4. They are charged, too.
        picture_format: ``jpeg`` or ``png``.
        clock_skew: Seconds by which AKOOL's clock is ahead of this machine's; negative if it is behind.
        host: The loopback address to listen on.
        port: The API's port; 0 for any free one.

    Raises:
        ValueError: An option has a wrong value; the message names it.
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
        used_button_codes: Collection[int] = (NOT_OPERABLE,),
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
        """Credits per image by kind. Changeable at any time: ``emulator.prices["upscale"] = 4``."""
        self.reported_prices = Prices(reported_prices or {})
        """Credits that replies report, if they differ from those charged. Changeable like ``prices``."""
        self.ledger = Ledger()
        """The record of requests, accepted jobs and charges; ``await emulator.ledger.until(...)`` waits for them."""
        self.faults = Faults()
        """Makes requests fail on command."""
        self.base_url = ""
        """The address for ``AkoolSession(base_url=...)``; empty before the emulator serves."""
        self.pictures_url = ""
        """The address of the pictures, which is another origin as with AKOOL; empty before the emulator serves."""
        self._lock = self.ledger.changes.lock
        self._clock = Clock(clock_skew)
        self._service = Service(
            self._options,
            clock=self._clock,
            ledger=self.ledger,
            prices=self.prices,
            reported_prices=self.reported_prices,
        )
        self.api_key = self._service.account.api_key
        self.client_id = self._service.account.client_id
        self.client_secret = self._service.account.client_secret
        self._server: Server | None = None
        self._thread: LoopThread | None = None

    @property
    def credits(self) -> int:
        """The account's balance, in credits."""
        with self._lock:
            return self._service.credits

    @property
    def account_state(self) -> str:
        """``active``, or the reason why AKOOL refuses requests. Changeable at any time.

        ``unpaid`` (1103) and ``unverified`` (1004) refuse requests that cost credits. ``missing`` (1109) and ``banned``
        (1200) refuse all requests.
        """
        with self._lock:
            return self._service.account.state

    @account_state.setter
    def account_state(self, state: str) -> None:
        with self._lock:
            self._service.account.state = state

    def spend_elsewhere(self, credits: int) -> None:  # noqa: A002 - AKOOL's word
        """Take credits from the balance, as if another program used the account; see ``ledger.spent_elsewhere``.

        Raises:
            ValueError: ``credits`` is not a whole number between 0 and the balance.
        """
        with self.ledger.changes.changing():
            balance = self._service.credits
            fits = is_count(credits) and credits <= balance
            require("credits", credits, fits, f"a whole number between 0 and the balance of {balance}")
            self._service.credits -= credits
            self.ledger.spent_elsewhere += credits

    def add_image(self, *, buttons: tuple[str, ...] | list[str] | None = None) -> str:
        """Add a finished image, free of charge, and return its ``_id``.

        Args:
            buttons: The buttons that can be pressed; None for all eight.

        Raises:
            ValueError: A button does not exist.
        """
        wanted = BUTTONS if buttons is None else tuple(buttons)
        require("buttons", buttons, set(wanted) <= set(BUTTONS), f"some of {', '.join(BUTTONS)}")
        with self._lock:
            return self._service.add_image(wanted)

    def advance(self, seconds: float) -> None:
        """Move the service's clock forward: jobs finish, results and tokens expire.

        Raises:
            ValueError: ``seconds`` is not a number of at least 0.
        """
        require("seconds", seconds, is_number(seconds), "at least 0: time does not run backwards")
        with self._lock:
            self._clock.advance(seconds)
        if self._server is not None:
            self._server.on_clock_moved()

    def ends_at(self, image_id: str) -> float:
        """Return when an image's job ends: seconds since the epoch by the service's clock, infinite for a stuck job.

        Raises:
            ValueError: The image does not exist.
        """
        with self._lock:
            try:
                return self._service.find(image_id).finished_at
            except Refusal:
                raise ValueError(f"image_id must be the _id of an image of this emulator, not {image_id!r}") from None

    def expire_tokens(self) -> None:
        """Expire every token: its next use is refused with 1101."""
        with self._lock:
            self._service.account.expire_tokens()

    def environment(self) -> dict[str, str]:
        """Return environment variables that make the library use this emulator, in this or another process.

        The client id and secret verify webhooks; for requests the library uses the key. ``AKOOL_TIME_SCALE`` shortens
        the waits of sessions, as in :meth:`session`.

        Raises:
            RuntimeError: The emulator does not serve yet.
        """
        return {
            "AKOOL_API_KEY": self.api_key,
            "AKOOL_CLIENT_ID": self.client_id,
            "AKOOL_CLIENT_SECRET": self.client_secret,
            "AKOOL_BASE_URL": self._require_address(),
            "AKOOL_TIME_SCALE": f"{self._time_scale:g}",
        }

    def session(self, **options: Unpack[EmulatorSessionOptions]) -> AkoolSession:
        """Make a session for this emulator's account, whose waits are divided by ``speed``.

        Use it as ``async with emulator.session() as akool``. ``request_timeout`` is not divided: pass a short one to
        test replies that do not arrive (``Fault.stall``).

        Args:
            options: The arguments of :class:`AkoolSession`; they override the emulator's.

        Raises:
            RuntimeError: The emulator does not serve yet.
        """
        return open_session(self.api_key, self._require_address(), self._time_scale, options)

    async def __aenter__(self) -> Self:
        self._raise_if_serving()
        await self._start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stop()

    def __enter__(self) -> Self:
        self._raise_if_serving()
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
            raise RuntimeError("this emulator does not serve yet: enter it first, with `async with` or `with`")
        return self.base_url

    @property
    def _time_scale(self) -> float:
        return 1 / self._options.speed

    def _raise_if_serving(self) -> None:
        if self._server is not None or self._thread is not None:
            raise RuntimeError("this emulator already serves: make another one")

    async def _start(self) -> None:
        self._server = Server(self._service, self.faults)
        try:
            await self._server.start()
        except BaseException:
            await self._stop()
            raise
        self.base_url, self.pictures_url = self._server.base_url, self._server.pictures_url

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
