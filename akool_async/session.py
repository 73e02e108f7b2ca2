"""The session: one account, its caps, and thin verbs over the rooms below."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypedDict
from urllib.parse import urlsplit
from weakref import WeakSet

from akool_async import _validate
from akool_async._download.downloads import Downloads
from akool_async._download.picture_hosts import PictureHosts
from akool_async._fan_out.fan_out import FanOut
from akool_async._http.auth import read_credentials
from akool_async._http.endpoints import Endpoints
from akool_async._http.event_loop import HomeLoop
from akool_async._http.proxies import is_loopback
from akool_async._http.transport import Transport, check_base_url
from akool_async._limits.credits import Account
from akool_async._limits.ramp import Ramp
from akool_async._limits.rate import RateLimiter
from akool_async._limits.slots import Slots
from akool_async._limits.timing import SCALE_VARIABLE, Timing, read_scale
from akool_async._poll.poller import Poller
from akool_async._submit.reconcile import reconcile
from akool_async._submit.submitter import Submitter
from akool_async.errors import ConfigurationError, SessionClosedError
from akool_async.events import Reporter
from akool_async.models import (
    FINAL,
    Button,
    ButtonPress,
    Counters,
    ImageResult,
    PromptRequest,
    SourcePromptRequest,
    WebhookEvent,
)
from akool_async.operations import Operation, read_operation
from akool_async.polling import AdaptivePolling, ExponentialPolling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    import aiohttp

    from akool_async._fan_out.fan_out import Presses
    from akool_async._http.auth import Credentials
    from akool_async.errors import OutcomeUnknownError
    from akool_async.events import Observer
    from akool_async.operations import Outcome
    from akool_async.polling import Polling

BASE_URL: Final = "https://openapi.akool.com"


class SessionOptions(TypedDict, total=False):
    """Keyword arguments of :class:`AkoolSession`, as functions that hand them on take them."""

    base_url: str | None
    max_concurrent_operations: int | None
    polling: Polling | None
    request_timeout: float
    webhook_url: str | None
    observer: Observer | None
    resubmit_lost: bool
    allow_http: bool
    timing: Timing | None


class AkoolSession:
    """AKOOL's image API for one account.

    ``auth`` is an :class:`ApiKey`, :class:`ClientCredentials`, an API key as ``str``, or None for the environment
    (``AKOOL_API_KEY``, or ``AKOOL_CLIENT_ID`` with ``AKOOL_CLIENT_SECRET``). ``base_url`` is AKOOL's unless given here
    or in ``AKOOL_BASE_URL``; plain http is for loopback alone unless ``allow_http`` is set.

    ``max_concurrent_upscales`` caps the U1-U4 that run at AKOOL at once, ``max_concurrent_operations`` all kinds
    together. ``max_requests_per_second`` bounds all requests to AKOOL, presses going before polls. ``polling`` says
    when to look at a running operation: :class:`AdaptivePolling` unless another is given. ``request_timeout`` is in
    seconds, for one request. ``webhook_url`` goes along with every POST that makes images, each with a word of its own
    (``akool_press``) in the query: what arrives there is to be handed to :meth:`notify`, and a POST whose reply is lost
    waits a minute for it. An injected ``http`` is never closed here. ``observer`` is told of everything that
    happens (``akool_async.events``). ``resubmit_lost=False`` never presses a second time after a lost reply, even if
    AKOOL was found not to have taken the first. ``timing`` holds all other waits: :class:`Timing` unless another is
    given, multiplied by the environment's ``AKOOL_TIME_SCALE``, which is for an emulator on this machine alone.

    A session belongs to the event loop that it is first used in. Use it as an async context manager, or call
    :meth:`aclose`.

    Raises:
        ConfigurationError: no credentials, or an address that must not get a key.
        ValueError: an argument that is wrong in itself.
    """

    def __init__(
        self,
        auth: Credentials | str | None = None,
        *,
        base_url: str | None = None,
        max_concurrent_upscales: int = 4,
        max_concurrent_operations: int | None = None,
        max_requests_per_second: float | None = None,
        polling: Polling | None = None,
        request_timeout: float = 30.0,
        webhook_url: str | None = None,
        http: aiohttp.ClientSession | None = None,
        observer: Observer | None = None,
        resubmit_lost: bool = True,
        allow_http: bool = False,
        timing: Timing | None = None,
    ) -> None:
        base_url = check_base_url(
            base_url or os.environ.get("AKOOL_BASE_URL") or BASE_URL,
            allow_http=_validate.flag("allow_http", allow_http),
        )
        scale = _read_scale(base_url) if timing is None or polling is None else 1.0
        self._timing = Timing().scaled(scale) if timing is None else timing
        if not isinstance(self._timing, Timing):
            raise ConfigurationError(f"timing must be a Timing, such as Timing(reconcile_gap=5), not {timing!r}")
        polling = AdaptivePolling(start=ExponentialPolling().scaled(scale)) if polling is None else polling
        is_schedule = all(callable(getattr(polling, name, None)) for name in ("interval", "learn"))
        if isinstance(polling, type) or not is_schedule:
            raise ConfigurationError(f"polling must be a schedule such as ExponentialPolling(), not {polling!r}")
        if observer is not None and not callable(observer):
            raise ConfigurationError(f"observer must be a function of one event, not {observer!r}")
        self._closed = False
        self._fan_outs: WeakSet[FanOut] = WeakSet()
        self._webhook_url = _read_webhook_url(webhook_url)
        if "akool_press=" in (self._webhook_url or ""):
            raise ConfigurationError("webhook_url must not hold akool_press: each POST puts a word of its own there")
        self._request_timeout = _validate.seconds("request_timeout", request_timeout)
        self._slots = Slots(
            max_upscales=_validate.count("max_concurrent_upscales", max_concurrent_upscales),
            max_operations=_validate.optional_count("max_concurrent_operations", max_concurrent_operations),
        )
        self._reporter = Reporter(observer)
        self._home = HomeLoop()
        self._account = Account()
        self._rate_limiter = RateLimiter(_validate.optional_rate("max_requests_per_second", max_requests_per_second))
        credentials = read_credentials(auth, os.environ)
        self.account_id = credentials.fingerprint
        """Tells this account from others without revealing its key."""
        self._transport = Transport(
            credentials,
            base_url=base_url,
            request_timeout=self._request_timeout,
            http=http,
            home=self._home,
            rate_limiter=self._rate_limiter,
            throttle_delay=self._timing.throttle_delay,
            reporter=self._reporter,
        )
        self._endpoints = Endpoints(self._transport, self._timing)
        hosts = PictureHosts(read_timeout=self._request_timeout, injected=http)
        self._downloads = Downloads(hosts, self.get_image_result, self._timing)
        ramp = Ramp(self._timing)
        self._poller = Poller(
            self._endpoints.poll,
            polling,
            self._timing,
            self._reporter,
            self._home,
            self._account,
            on_end=ramp.make_room,
        )
        self._submitter = Submitter(
            self._endpoints,
            self._slots,
            ramp,
            self._poller,
            self._reporter,
            self._home,
            self._account,
            self._timing,
            resubmit_lost=_validate.flag("resubmit_lost", resubmit_lost),
            webhook_url=self._webhook_url,
        )

    # --- acts: POSTs that spend credits ---

    async def create_by_button(
        self, image_id: str, button: Button | str, *, webhook_url: str | None = None, word: str | None = None
    ) -> Operation:
        """Press a button of a finished image: U1-U4 upscale one of its four to 4K, V1-V4 vary one.

        A press costs credits and works once per button and image; (image_id, button) is its name: all who press the
        same in this session share one POST and one :class:`Operation`. Upscales wait here for a slot. Cancelling the
        caller once the POST is sent loses nothing: the same press again gives the operation.

        ``webhook_url`` replaces the session's; ``""`` sends none. ``word`` is what the session's webhook is to carry as
        ``akool_press``, where another process is to know it; else it is drawn. Where the press is under way already,
        the first caller's count.

        Raises:
            ValueError: a bad argument; nothing was sent.
            NotOperableError: the button is used or not available, or the image is not finished.
            OutcomeUnknownError: the reply was lost; its ``charged`` tells whether AKOOL was found to have accepted it.
            InsufficientCreditError, AuthenticationError, NotFoundError, ...: AKOOL refused; nothing was spent.
            RateLimitedError: AKOOL kept refusing with 1005 or 429 for ``Timing.throttle_timeout``, 15 minutes.
            TransportError: AKOOL could not be reached at several tries; nothing was sent.
        """
        word = None if word is None else _validate.text("word", word)
        press = ButtonPress(image_id, Button.parse(button))
        return await self._submitter.press(press, self._webhook(webhook_url), word=word)

    async def upscale(self, image_id: str, index: int, *, webhook_url: str | None = None) -> Operation:
        """Press U1-U4 by ``index`` 1 to 4; see :meth:`create_by_button`."""
        return await self.create_by_button(image_id, Button.upscale(index), webhook_url=webhook_url)

    async def vary(self, image_id: str, index: int, *, webhook_url: str | None = None) -> Operation:
        """Press V1-V4 by ``index`` 1 to 4; see :meth:`create_by_button`."""
        return await self.create_by_button(image_id, Button.vary(index), webhook_url=webhook_url)

    async def create_by_prompt(
        self, prompt: str, *, scale: str = "1:1", source_image: str | None = None, webhook_url: str | None = None
    ) -> Operation:
        """Make four pictures of a prompt; with the URL of a ``source_image``, image to image.

        ``scale`` is "1:1", "4:3", "3:4", "16:9", "9:16", "3:2" or "2:3". Raises as :meth:`create_by_button`, but a lost
        reply is always of unknown outcome, unless the session's webhook tells: AKOOL offers no other way to find out.
        """
        request = PromptRequest(
            prompt=prompt, scale=scale, source_image=source_image, webhook_url=self._webhook(webhook_url)
        )
        return (await self._submitter.create(request))[0]

    async def create_by_source_prompt(
        self,
        prompt: str,
        *,
        model_name: str | None = None,
        source_images: Iterable[str] = (),
        scale: str | None = None,
        resolution: str | None = None,
        batch_quantity: int = 1,
        similar: float | None = None,
        negative_prompt: str | None = None,
        webhook_url: str | None = None,
    ) -> list[Operation]:
        """Create By Source Prompt (v4): one operation, or ``batch_quantity`` (1-4) of them.

        ``scale`` may also be "Original" where there are ``source_images`` (URLs); ``resolution`` is "1080p" or "4k"
        (AKOOL's default), ``similar`` 0 to 1 (AKOOL's default 0.5). Raises as :meth:`create_by_prompt`.
        """
        request = SourcePromptRequest(
            prompt=prompt,
            model_name=model_name,
            source_images=_validate.urls("source_images", source_images),
            scale=scale,
            resolution=resolution,
            batch_quantity=batch_quantity,
            similar=similar,
            negative_prompt=negative_prompt,
            webhook_url=self._webhook(webhook_url),
        )
        cap = self._slots.operations
        if cap is not None and batch_quantity > cap.limit:
            raise ValueError(
                f"batch_quantity must not pass max_concurrent_operations ({cap.limit}), not {batch_quantity}"
            )
        return await self._submitter.create(request)

    # --- reads: they cost nothing, and are tried again ---

    async def get_image_result(self, image_id: str) -> ImageResult:
        """Get Image Result, once; see :meth:`wait_until_complete` for waiting.

        Raises:
            NotFoundError: no such image.
            AuthenticationError, TransportError, ResponseError, ...: no answer, after a few tries.
        """
        _validate.image_id("image_id", image_id)
        return await self._endpoints.get_image_result(image_id)

    async def get_credit(self) -> float:
        """The account's balance in credits. Raises as :meth:`get_image_result`."""
        balance = await self._endpoints.get_credit()
        self._account.read_balance(balance)
        return balance

    async def reconcile(self, image_id: str, button: Button | str) -> bool | None:
        """What became of a press whose reply was lost: True accepted and charged, False not, None not to be told.

        Reads the source image, twice some seconds apart where the button is still offered. Works in any process, at any
        later time. Raises as :meth:`get_image_result`.
        """
        return await reconcile(self._endpoints, ButtonPress(image_id, button), self._timing.reconcile_gap)

    # --- operations ---

    def operation(self, image_id: str) -> Operation:
        """Take up an operation by its id, in this process or another. Sends nothing."""
        return self._attach(Operation(_validate.image_id("image_id", image_id)))

    def resume(self, text: str) -> Operation:
        """Rebuild an operation from ``Operation.to_json()``. Sends nothing."""
        return self._attach(read_operation(text))

    def fan_out(
        self,
        presses: Presses,
        *,
        max_in_flight: int = 256,
        preflight: bool = True,
        max_credits: float | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Press many buttons and yield an :class:`Outcome` for each as it finishes.

        ``presses`` may be endless and may be an async iterable; each is a :class:`ButtonPress` or an
        ``(image_id, button)`` pair. It is pulled lazily: at most ``max_in_flight`` presses run or have an outcome that
        was not taken yet, and at most as many wait. Every press pulled comes out in exactly one outcome, and a failure
        never touches another press. Variations go on while upscales wait for their slots.

        ``preflight`` reads each source image once and refuses a button that is used or absent without pressing it
        (:class:`NotOperableError`). ``max_credits`` is never passed by what is charged, as far as AKOOL reports
        prices: a press that could pass it is refused with :class:`BudgetError`. ``timeout`` is in seconds, for each
        operation once it is pressed.

        Bad authentication, a banned account or exhausted credit end new presses: the rest of the input comes out with
        that error, unpressed. Leaving the loop or cancelling its task ends new presses too, as soon as the generator is
        closed: by ``contextlib.aclosing``, by Python in its own time, or by :meth:`aclose`. What was accepted and not
        yielded then stands in :attr:`unclaimed`. An error of ``presses`` itself, a bad item included, is raised once
        everything that was pressed has come out.

        Raises:
            ValueError: a bad argument, before anything is pulled; a bad item, naming its place.
            SessionClosedError: the session is closed, or was while the outcomes came.
        """
        if self._closed:
            raise SessionClosedError
        fan_out = FanOut(
            presses,
            submitter=self._submitter,
            reporter=self._reporter,
            home=self._home,
            prices=self._account.prices,
            price_timeout=self._timing.price_timeout,
            read=self.get_image_result,
            upscale_cap=self._slots.upscales.limit,
            webhook_url=self._webhook_url,
            max_in_flight=_validate.count("max_in_flight", max_in_flight),
            preflight=_validate.flag("preflight", preflight),
            max_credits=None if max_credits is None else _validate.amount("max_credits", max_credits),
            timeout=_validate.optional_seconds("timeout", timeout),
        )
        self._fan_outs.add(fan_out)
        return fan_out.outcomes()

    def notify(self, event: WebhookEvent, *, word: str | None = None) -> bool:
        """Take in a webhook, from a :class:`~akool_async.webhooks.WebhookVerifier`: its operation is looked at at once.

        It is a hint and no more: what happened is what AKOOL answers to that look. ``word`` is the ``akool_press`` of
        the query that it was sent to, by which an operation is found whose reply was lost. Call it in the session's
        event loop. True where the event concerns this session; another process's costs nothing.

        Raises:
            SessionClosedError: it was not taken in; let AKOOL call again.
            ConfigurationError: it was called outside of the session's event loop.
        """
        if not isinstance(event, WebhookEvent):
            raise ValueError(f"event must be a WebhookEvent, as WebhookVerifier.parse() returns, not {event!r}")  # noqa: TRY004
        if word is not None and not isinstance(word, str):
            raise ValueError(f"word must be the text of the query's akool_press, or None, not {word!r}")
        if self._closed:
            raise SessionClosedError(operation_ids=(event.id,))
        self._home.require()
        was_awaited = word is not None and self._submitter.recovery.hear(word, event.id)
        return self._poller.hint(event.id, ended=event.status in FINAL) or was_awaited

    @property
    def max_requests_per_second(self) -> float | None:
        """All requests to AKOOL in a second at most; None for no limit. It can be changed at any time."""
        return self._rate_limiter.rate

    @max_requests_per_second.setter
    def max_requests_per_second(self, rate: float | None) -> None:
        self._rate_limiter.rate = _validate.optional_rate("max_requests_per_second", rate)

    @property
    def unclaimed(self) -> tuple[Operation, ...]:
        """Accepted operations whose callers were all cancelled before they got them, and those of lost replies that a
        webhook told of after the error was raised; the newest 10,000.
        """
        return tuple(self._submitter.unclaimed)

    @property
    def unclaimed_errors(self) -> tuple[OutcomeUnknownError, ...]:
        """Unknown outcomes of POSTs whose callers had all left; the newest 10,000. Some may have been charged."""
        return tuple(self._submitter.unclaimed_errors)

    def counters(self) -> Counters:
        """How the session stands at this moment."""
        totals = self._reporter.totals
        finished = totals.finished or 1
        return Counters(
            waiting=self._submitter.waiting,
            in_flight=self._poller.in_flight,
            upscale_slots=self._slots.upscales.limit,
            upscale_slots_held=self._slots.upscales.held,
            pressed=totals.pressed,
            finished=totals.finished,
            failed=totals.failed,
            refused=totals.refused,
            unknown=totals.unknown,
            throttled=totals.throttled,
            credits_charged=self._account.charged,
            credits_lost=self._account.lost,
            credits_in_doubt=self._account.in_doubt,
            credits_estimated=self._account.estimated,
            credits_elsewhere=self._account.spent_elsewhere,
            polls=totals.polls,
            polls_per_job=totals.polls_of_finished / finished,
            duration=totals.duration / finished,
            lateness=totals.lateness / finished,
        )

    async def wait_until_complete(
        self,
        operation: Operation | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the public name
        raise_on_failure: bool = True,
    ) -> ImageResult:
        """Wait for an operation or an id; see :meth:`Operation.wait_until_complete`."""
        if not isinstance(operation, Operation):
            operation = Operation(_validate.image_id("operation", operation))
        handle = self._attach(operation)
        return await handle.wait_until_complete(timeout=timeout, raise_on_failure=raise_on_failure)

    async def download(self, result: ImageResult, directory: str | os.PathLike[str]) -> list[Path]:
        """Save every picture of a result as ``ID-1.png``, ``ID-2.png``, ... and return the paths, in ``urls`` order.

        A few at once, 8 in the whole session. One that breaks off is asked for again a few times, from there on where
        the host allows it; an address that the host does not know (any more) is read anew from AKOOL, once. If a host
        asks for a pause (Retry-After), nothing is requested from it meanwhile; a picture waits for at most 60 seconds
        in total. Nothing is overwritten: an equal file is kept, another one is an error. No key goes to the pictures'
        host; of an injected ``http`` only the proxy is used.

        Raises:
            ResultExpiredError: the host refuses, and AKOOL does not have the result any more or its 7 days are over, by
                the servers' clocks.
            DownloadError: a picture could not be saved whole, or there is none.
        """
        if not isinstance(result, ImageResult):
            raise ValueError(f"result must be an ImageResult, such as wait_until_complete() returns, not {result!r}")  # noqa: TRY004
        if not isinstance(directory, str | os.PathLike) or not str(directory):
            raise ValueError(f"directory must be a path, such as 'pictures', not {directory!r}")
        self._home.require()
        return await self._downloads.save(result, Path(directory))

    # --- lifecycle ---

    async def aclose(self) -> None:
        """End all waits (:class:`SessionClosedError`) and close; POSTs under way end first, within the request timeout,
        and a coroutine function that observes is given 5 seconds to take in what it was told.

        What was accepted runs on at AKOOL and can be taken up by its id in another session.
        """
        self._closed = True
        self._rate_limiter.close()
        async with AsyncExitStack() as closing:  # each step is taken also where the one before was cancelled
            closing.push_async_callback(self._reporter.aclose, self._timing.closing_timeout)
            closing.push_async_callback(self._transport.aclose)
            closing.push_async_callback(self._downloads.aclose)
            closing.push_async_callback(self._poller.aclose)
            closing.push_async_callback(self._submitter.aclose, self._request_timeout + self._timing.closing_timeout)
            for fan_out in list(self._fan_outs):
                closing.push_async_callback(fan_out.leave)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError("AkoolSession holds a secret and does not pickle; make one in the other process")

    def _webhook(self, webhook_url: str | None) -> str | None:
        return self._webhook_url if webhook_url is None else _read_webhook_url(webhook_url)

    def _attach(self, operation: Operation) -> Operation:
        tracked = self._poller.tracked(operation.id, operation.button)
        return Operation(
            operation.id, operation.button, operation.source_image_id, tracked=tracked, poller=self._poller
        )


def _read_scale(base_url: str) -> float:
    scale = read_scale(os.environ)
    if scale != 1 and not is_loopback(urlsplit(base_url).hostname or ""):
        raise ConfigurationError(
            f"{SCALE_VARIABLE} scales what a session waits for, and is for an emulator on this machine alone: unset "
            "it, or set AKOOL_BASE_URL to the emulator's address"
        )
    return scale


def _read_webhook_url(webhook_url: str | None) -> str | None:
    return None if webhook_url is None or webhook_url == "" else _validate.web_url("webhook_url", webhook_url)
