"""The session: one account, its caps, and thin verbs over the rooms below."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypedDict
from urllib.parse import urlsplit
from weakref import WeakSet

from attrs import frozen

from akool_async import _validate
from akool_async._download.downloader import Downloader
from akool_async._download.hosts import PictureHosts
from akool_async._fan_out.fan_out import FanOut, FanOutServices, Options
from akool_async._http.auth import read_credentials
from akool_async._http.endpoints import Endpoints
from akool_async._http.event_loop import HomeLoop
from akool_async._http.proxies import is_loopback
from akool_async._http.transport import Transport, check_base_url
from akool_async._limits.journal import MemoryJournal
from akool_async._limits.ramp import Ramp
from akool_async._limits.rate import RateLimiter
from akool_async._limits.slots import Slots
from akool_async._limits.timing import SCALE_VARIABLE, Timing, read_scale
from akool_async._poll.poller import Poller
from akool_async._submit.acceptance import Acceptance
from akool_async._submit.decision import Source
from akool_async._submit.reconcile import reconcile
from akool_async._submit.recovery import PARAMETER, Recovery
from akool_async._submit.submission import SubmissionServices
from akool_async._submit.submitter import Submitter
from akool_async.errors import ConfigurationError, SessionClosedError
from akool_async.events import Reporter
from akool_async.items import Button, ButtonPress, Prompt, SourcePrompt
from akool_async.models import (
    FINAL,
    Counters,
    ImageResult,
    WebhookEvent,
)
from akool_async.operations import Operation, read_operation
from akool_async.polling import AdaptivePolling, ExponentialPolling

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from types import TracebackType

    import aiohttp

    from akool_async._fan_out.items import Items
    from akool_async._http.auth import Credentials
    from akool_async._limits.journal import Made
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


@frozen(kw_only=True)
class _Settings:
    """The arguments of a session, checked, with what the environment adds to them."""

    base_url: str
    request_timeout: float
    webhook_url: str | None
    timing: Timing
    polling: Polling
    observer: Observer | None
    resubmit_lost: bool

    @staticmethod
    def read(
        *,
        base_url: str | None,
        allow_http: bool,
        request_timeout: float,
        webhook_url: str | None,
        timing: Timing | None,
        polling: Polling | None,
        observer: Observer | None,
        resubmit_lost: bool,
    ) -> _Settings:
        """Check the arguments, and fill in the defaults."""
        base_url = check_base_url(
            base_url or os.environ.get("AKOOL_BASE_URL") or BASE_URL,
            allow_http=_validate.flag("allow_http", allow_http),
        )
        scale = _read_scale(base_url) if timing is None or polling is None else 1.0
        return _Settings(
            base_url=base_url,
            request_timeout=_validate.seconds("request_timeout", request_timeout),
            webhook_url=_read_own_webhook_url(webhook_url),
            timing=Timing().scaled(scale) if timing is None else _check_timing(timing),
            polling=_default_polling(scale) if polling is None else _check_polling(polling),
            observer=_check_observer(observer),
            resubmit_lost=_validate.flag("resubmit_lost", resubmit_lost),
        )


class AkoolSession:
    """AKOOL's image API for one account.

    A session belongs to the event loop that it is first used in. Use it as an async context manager, or call
    :meth:`aclose`.

    Args:
        auth: An :class:`ApiKey`, :class:`ClientCredentials`, or an API key as ``str``. None reads the environment:
            ``AKOOL_API_KEY``, or ``AKOOL_CLIENT_ID`` with ``AKOOL_CLIENT_SECRET``.
        base_url: AKOOL's address. None reads ``AKOOL_BASE_URL``, or takes AKOOL's own.
        max_concurrent_upscales: How many U1-U4 may run at AKOOL at a time.
        max_concurrent_operations: How many operations of any kind may run at AKOOL at a time; None for no limit.
        max_requests_per_second: The limit of all requests to AKOOL; presses go before polls. None for no limit.
        polling: When to poll a running operation. The default is :class:`AdaptivePolling`.
        request_timeout: Seconds that one request may take.
        webhook_url: Sent along with every POST that makes images, with a correlation id (``akool_press``) in its query.
            Pass what arrives there to :meth:`notify`. A POST whose reply is lost waits a minute for its webhook.
        http: An aiohttp session to use. It is never closed here.
        observer: A function, or a coroutine function, that is called with every event of ``akool_async.events``.
        resubmit_lost: False never presses a second time after a lost reply, even if AKOOL was found not to have
            accepted the first press.
        allow_http: True allows plain http to other machines, which shows the key to the network.
        timing: All other waits. The default is :class:`Timing`, multiplied by ``AKOOL_TIME_SCALE`` of the environment,
            which is for an emulator on this machine alone.

    Raises:
        ConfigurationError: There are no credentials, or the address must not get a key.
        ValueError: An argument is wrong in itself.
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
        settings = self._settings = _Settings.read(
            base_url=base_url,
            allow_http=allow_http,
            request_timeout=request_timeout,
            webhook_url=webhook_url,
            timing=timing,
            polling=polling,
            observer=observer,
            resubmit_lost=resubmit_lost,
        )
        self._slots = Slots(
            max_upscales=_validate.count("max_concurrent_upscales", max_concurrent_upscales),
            max_operations=_validate.optional_count("max_concurrent_operations", max_concurrent_operations),
        )
        self._rate_limiter = RateLimiter(_validate.optional_rate("max_requests_per_second", max_requests_per_second))
        credentials = read_credentials(auth, os.environ)
        self.account_id = credentials.fingerprint
        """Tells this account from others without revealing its key."""
        self._closed = False
        self._fan_outs: WeakSet[FanOut] = WeakSet()
        self._reporter = Reporter(settings.observer)
        self._home = HomeLoop()
        self._journal = self._make_journal()
        self._transport = Transport(
            credentials,
            base_url=settings.base_url,
            request_timeout=settings.request_timeout,
            http=http,
            home=self._home,
            rate_limiter=self._rate_limiter,
            throttle_delay=settings.timing.throttle_delay,
            reporter=self._reporter,
        )
        self._endpoints = Endpoints(self._transport, settings.timing)
        hosts = PictureHosts(read_timeout=settings.request_timeout, injected=http)
        self._downloads = Downloader(hosts, self.get_image_result, settings.timing)
        self._build_submitter()

    def _build_submitter(self) -> None:
        """Build the rooms of a paid POST, from the poller up to the fan-outs."""
        settings, ramp = self._settings, Ramp(self._settings.timing)
        self._poller = Poller(
            self._endpoints,
            settings.polling,
            settings.timing,
            self._reporter,
            self._home,
            self._journal,
            ramp,
        )
        acceptance = Acceptance(self._journal, self._poller, self._reporter)
        self._recovery = Recovery(
            self._endpoints,
            self._journal,
            acceptance,
            webhook_url=settings.webhook_url,
            timeout=settings.timing.lost_reply_timeout,
        )
        services = SubmissionServices(
            endpoints=self._endpoints,
            journal=self._journal,
            ramp=ramp,
            acceptance=acceptance,
            recovery=self._recovery,
            reporter=self._reporter,
            timing=settings.timing,
            resubmit_lost=settings.resubmit_lost,
        )
        self._submitter = Submitter(services, self._poller, self._home)
        self._fan_out_services = FanOutServices(
            submitter=self._submitter,
            endpoints=self._endpoints,
            journal=self._journal,
            reporter=self._reporter,
            home=self._home,
            slots=self._slots,
            webhook_url=settings.webhook_url,
        )

    # --- acts: POSTs that spend credits ---

    async def create_by_button(
        self, image_id: str, button: Button | str, *, webhook_url: str | None = None
    ) -> Operation:
        """Press a button of a finished image: U1-U4 upscale one of its four pictures to 4K, V1-V4 vary one.

        A press costs credits and works once per button and image. All who press the same in this session share one POST
        and one :class:`Operation`. Upscales wait here for a slot. If the caller is cancelled once the POST is sent,
        nothing is lost: the same press again returns the operation. AKOOL's page: Create By Button.

        Args:
            image_id: The ``_id`` of the image.
            button: U1-U4 or V1-V4.
            webhook_url: Replaces the session's; ``""`` sends none. If the press is under way already, the first
                caller's counts.

        Returns:
            The operation, which AKOOL has accepted.

        Raises:
            ValueError: An argument is wrong; nothing was sent.
            NotOperableError: The button is used or not there, or the image is not finished.
            OutcomeUnknownError: The reply was lost. Its ``charged`` says whether AKOOL was found to have accepted it.
            InsufficientCreditError, AuthenticationError, NotFoundError, ...: AKOOL refused; nothing was spent.
            RateLimitedError: AKOOL kept refusing with 1005 or 429 for ``Timing.throttle_timeout``, 15 minutes.
            TransportError: AKOOL could not be reached in several tries; nothing was sent.
            SessionClosedError: The session is closed.
        """
        press = ButtonPress(image_id, Button.parse(button))
        webhook_url = self._webhook(webhook_url)
        return self._submitter.recall(press) or await self._submitter.submit(press, webhook_url).join()

    async def upscale(self, image_id: str, index: int, *, webhook_url: str | None = None) -> Operation:
        """Press U1-U4 by ``index``, 1 to 4: the picture that is upscaled. As :meth:`create_by_button`."""
        return await self.create_by_button(image_id, Button.upscale(index), webhook_url=webhook_url)

    async def vary(self, image_id: str, index: int, *, webhook_url: str | None = None) -> Operation:
        """Press V1-V4 by ``index``, 1 to 4: the picture that is varied. As :meth:`create_by_button`."""
        return await self.create_by_button(image_id, Button.vary(index), webhook_url=webhook_url)

    async def create_by_prompt(
        self, prompt: str, *, scale: str = "1:1", source_image: str | None = None, webhook_url: str | None = None
    ) -> Operation:
        """Make an image of four pictures from a prompt. Costs credits (AKOOL's page Create By Prompt, v3).

        If the reply is lost, the outcome is unknown, unless the session's webhook reports the new id: AKOOL offers no
        other way to find out.

        Args:
            prompt: The text.
            scale: "1:1", "4:3", "3:4", "16:9", "9:16", "3:2" or "2:3".
            source_image: The URL of an image to start from.
            webhook_url: As of :meth:`create_by_button`.

        Raises:
            ValueError: An argument is wrong; nothing was sent.
            OutcomeUnknownError: The reply was lost; ``charged`` is None.
            InsufficientCreditError, AuthenticationError, TransportError, ...: As :meth:`create_by_button`.
        """
        item = Prompt(_validate.text("prompt", prompt), scale=scale, source_image=source_image)
        return (await self._submitter.submit_prompt(item, self._webhook(webhook_url)).join())[0]

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
        """Make up to four images from a prompt. Costs credits (AKOOL's page Create By Source Prompt, v4).

        Args:
            prompt: The text.
            model_name: AKOOL's name of a model.
            source_images: URLs of images to start from.
            scale: As of :meth:`create_by_prompt`, or "Original" with ``source_images``.
            resolution: "1080p" or "4k", AKOOL's default.
            batch_quantity: How many images, 1 to 4. Each takes a slot of ``max_concurrent_operations``.
            similar: 0 to 1. AKOOL's default is 0.5.
            negative_prompt: What the images shall not show.
            webhook_url: As of :meth:`create_by_button`.

        Returns:
            An operation for each image.

        Raises:
            ValueError: An argument is wrong, or the batch is larger than ``max_concurrent_operations``.
            OutcomeUnknownError, InsufficientCreditError, ...: As :meth:`create_by_prompt`.
        """
        item = SourcePrompt(
            _validate.text("prompt", prompt),
            model_name=model_name,
            source_images=source_images,
            scale=scale,
            resolution=resolution,
            batch_quantity=batch_quantity,
            similar=similar,
            negative_prompt=negative_prompt,
        )
        cap = self._slots.operations
        if cap is not None and batch_quantity > cap.limit:
            raise ValueError(
                f"batch_quantity must not pass max_concurrent_operations ({cap.limit}), not {batch_quantity}"
            )
        return await self._submitter.submit_prompt(item, self._webhook(webhook_url)).join()

    # --- reads: they cost nothing, and are tried again ---

    async def get_image_result(self, image_id: str) -> ImageResult:
        """Read an image as it is now. Costs nothing (AKOOL's page Get Image Result).

        Raises:
            NotFoundError: There is no such image, or it is older than 7 days.
            AuthenticationError, TransportError, ResponseError, ...: No answer came in a few tries.
        """
        _validate.image_id("image_id", image_id)
        return await self._endpoints.get_image_result(image_id)

    async def get_credit(self) -> float:
        """Read the account's balance, in credits; raises as :meth:`get_image_result`."""
        balance = await self._endpoints.get_credit()
        self._journal.account.read_balance(balance)
        return balance

    async def reconcile(self, image_id: str, button: Button | str) -> bool | None:
        """Find out what became of a press whose reply was lost, in any process, at any later time.

        This reads the source image; if the button is still offered, it reads it again some seconds later
        (``Timing.reconcile_gap``).

        Args:
            image_id: The source image.
            button: The button that was pressed.

        Returns:
            True if AKOOL accepted the press and charged for it, False if it did not, None if that cannot be found out.

        Raises:
            NotFoundError, AuthenticationError, TransportError, ...: As :meth:`get_image_result`.
        """
        source = await reconcile(self._endpoints, ButtonPress(image_id, button), self._settings.timing.reconcile_gap)
        return {Source.USED: True, Source.OFFERED: False}.get(source)

    # --- operations ---

    def operation(self, operation_id: str) -> Operation:
        """The operation with an id, accepted in this process or another, to be waited for. Sends nothing."""
        return self._attach(Operation(_validate.image_id("operation_id", operation_id)))

    def resume(self, text: str) -> Operation:
        """Rebuild an operation from ``Operation.to_json()``. Sends nothing."""
        return self._attach(read_operation(text))

    def fan_out(
        self,
        items: Items,
        *,
        max_in_flight: int = 256,
        preflight: bool = True,
        max_credits: float | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Press many buttons, and send many prompts, and yield an :class:`Outcome` for each as it finishes.

        Each item may say what is pressed on its result: ``Prompt("a fox", then="U* V1>U2")`` makes an image, upscales
        its four pictures, varies the first one, and upscales one of those. Each prompt and press of such a tree comes
        out once, with the outcome that it followed as its ``parent``. If an image was not made, what was to be pressed
        on it comes out with :class:`NotPressedError`, or with :class:`BudgetError` if the budget was spent.

        Items are pulled lazily, and a failure touches no other item. Upscales, variations and prompts go on beside each
        other. Presses on images that were made here go before new prompts, and no more trees with upscales are open
        than keep the slots busy.

        Bad authentication, a banned account or exhausted credit end new POSTs: the rest of the input comes out with
        that error, unsent. Leaving the loop or cancelling its task ends new POSTs too, as soon as the generator is
        closed: by ``contextlib.aclosing``, by Python in its own time, or by :meth:`aclose`. What was accepted and not
        yielded then stands in :attr:`unclaimed`. An error of ``items`` itself, a bad item included, is raised once
        everything that was sent has come out.

        Args:
            items: An iterable or an async iterable, which may be endless. Each item is a :class:`ButtonPress`, an
                ``(image_id, button)`` pair, a :class:`Prompt` or a :class:`SourcePrompt`.
            max_in_flight: How many may be under way or have an outcome that was not taken yet. At most as many more
                items wait, and what is pressed on images that are there.
            preflight: Whether to read each source image once, and refuse a button that is used or absent without
                pressing it (:class:`NotOperableError`).
            max_credits: The most that may be charged, as far as AKOOL reports prices. What could pass it is not sent.
            timeout: Seconds that each operation may take once it is accepted.

        Raises:
            ValueError: An argument is wrong, before anything is pulled; or an item is, which is named by its place.
            SessionClosedError: The session is closed, or was while the outcomes came.
        """
        if self._closed:
            raise SessionClosedError
        options = Options(max_in_flight=max_in_flight, preflight=preflight, max_credits=max_credits, timeout=timeout)
        fan_out = FanOut(items, options, self._fan_out_services)
        self._fan_outs.add(fan_out)
        return fan_out.outcomes()

    def notify(self, event: WebhookEvent, *, correlation_id: str | None = None) -> bool:
        """Take in a webhook: the operation that it is about is polled immediately.

        A webhook is a hint: what happened is what AKOOL answers to that poll. Call this in the session's event loop.
        An event of another process costs nothing.

        Args:
            event: What :meth:`WebhookVerifier.parse` returned.
            correlation_id: The ``akool_press`` of the query that the webhook was sent to. By it an operation is found
                whose reply was lost.

        Returns:
            True if the event concerns this session.

        Raises:
            SessionClosedError: The session is closed; let AKOOL call again.
            ConfigurationError: It was called outside of the session's event loop.
        """
        if not isinstance(event, WebhookEvent):
            raise ValueError(f"event must be a WebhookEvent, as WebhookVerifier.parse() returns, not {event!r}")  # noqa: TRY004
        if correlation_id is not None and not isinstance(correlation_id, str):
            raise ValueError(f"correlation_id must be the text of akool_press, or None, not {correlation_id!r}")
        if self._closed:
            raise SessionClosedError(operation_ids=(event.id,))
        self._home.require()
        was_awaited = correlation_id is not None and self._recovery.on_webhook(correlation_id, event.id)
        return self._poller.on_webhook(event.id, ended=event.status in FINAL) or was_awaited

    @property
    def unclaimed(self) -> tuple[Operation, ...]:
        """Accepted operations that no caller got; the newest 10,000.

        Their callers were all cancelled, or a webhook reported the id of a lost reply after its error was raised.
        """
        return tuple(self._operation(made) for made in self._journal.unclaimed)

    @property
    def unclaimed_errors(self) -> tuple[OutcomeUnknownError, ...]:
        """The errors of POSTs of unknown outcome whose callers had all left; the newest 10,000."""
        return tuple(self._journal.unclaimed_errors)

    def counters(self) -> Counters:
        """Count what is waiting, under way and ended, and what it cost: see :class:`Counters`."""
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
            credits_charged=self._journal.account.charged,
            credits_lost=self._journal.account.lost,
            credits_in_doubt=self._journal.account.in_doubt,
            credits_estimated=self._journal.account.estimated,
            credits_elsewhere=self._journal.account.spent_elsewhere,
            polls=totals.polls,
            polls_per_job=totals.polls_of_finished / finished,
            duration=totals.duration / finished,
            detection_delay=totals.detection_delay / finished,
        )

    async def wait_until_complete(
        self,
        operation: Operation | str,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the public name
        raise_on_failure: bool = True,
    ) -> ImageResult:
        """Wait for an operation, also one that was copied out of another session, or for an id.

        Args:
            operation: The operation, or its id.
            timeout: Seconds; None waits for as long as it takes.
            raise_on_failure: False returns the result of status 4 instead of raising.

        Raises:
            OperationFailedError, WaitTimeoutError, PollingError, ...: As :meth:`Operation.wait_until_complete`.
        """
        if not isinstance(operation, Operation):
            operation = Operation(_validate.image_id("operation", operation))
        handle = self._attach(operation)
        return await handle.wait_until_complete(timeout=timeout, raise_on_failure=raise_on_failure)

    async def download(
        self, result: ImageResult, directory: str | os.PathLike[str], *, name: str | None = None
    ) -> list[Path]:
        """Save every picture of a result as ``ID-1.png``, ``ID-2.png``, ... and return the paths, in ``urls`` order.

        A few at once, 8 in the whole session. One that breaks off is asked for again a few times, from there on where
        the host allows it; an address that the host does not know (any more) is read anew from AKOOL, once. If a host
        asks for a pause (Retry-After), nothing is requested from it meanwhile; a picture waits for at most 60 seconds
        in total. Nothing is overwritten: an equal file is kept, another one is an error. No key goes to the pictures'
        host; of an injected ``http`` only the proxy is used.

        Args:
            result: The result.
            directory: The folder, which is made if it is not there.
            name: Name the pictures after this: ``NAME-1.png``, ... and ``NAME-grid.png`` for the grid of four, and
                ``NAME.png`` for the only picture of an upscale.

        Raises:
            ValueError: an argument is wrong, such as a name that leads out of the folder; nothing was requested.
            ResultExpiredError: the host refuses, and AKOOL does not have the result any more or its 7 days are over, by
                the servers' clocks.
            DownloadError: a picture could not be saved whole, or there is none.
        """
        if not isinstance(result, ImageResult):
            raise ValueError(f"result must be an ImageResult, such as wait_until_complete() returns, not {result!r}")  # noqa: TRY004
        if not isinstance(directory, str | os.PathLike) or not str(directory):
            raise ValueError(f"directory must be a path, such as 'pictures', not {directory!r}")
        if name is not None:
            _validate.file_name("name", name)
        self._home.require()
        return await self._downloads.save(result, Path(directory), name)

    # --- lifecycle ---

    async def aclose(self) -> None:
        """Close the session.

        POSTs under way end first, within the request timeout. An observer that is a coroutine function gets 5 seconds
        to finish. Then all waits end with :class:`SessionClosedError`. What was accepted runs on at AKOOL, and another
        session can wait for it by its id.
        """
        self._closed = True
        self._rate_limiter.close()
        async with AsyncExitStack() as closing:  # each step is taken also where the one before was cancelled
            closing.push_async_callback(self._reporter.aclose, self._settings.timing.closing_timeout)
            closing.push_async_callback(self._transport.aclose)
            closing.push_async_callback(self._downloads.aclose)
            closing.push_async_callback(self._poller.aclose)
            closing.push_async_callback(
                self._submitter.aclose, self._settings.request_timeout + self._settings.timing.closing_timeout
            )
            for fan_out in list(self._fan_outs):
                closing.push_async_callback(fan_out.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError("AkoolSession holds a secret and does not pickle; make one in the other process")

    def _webhook(self, webhook_url: str | None) -> str | None:
        return self._settings.webhook_url if webhook_url is None else _read_webhook_url(webhook_url)

    def _make_journal(self) -> MemoryJournal:
        """What remembers the presses: a worker's session has another one."""
        return MemoryJournal(self._slots, self._settings.timing.price_timeout)

    def _operation(self, made: Made) -> Operation:
        press = made.press
        button, source_image_id = (None, None) if press is None else (press.button, press.image_id)
        return self._attach(Operation(made.operation_id, button, source_image_id))

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


def _read_own_webhook_url(webhook_url: str | None) -> str | None:
    read = _read_webhook_url(webhook_url)
    if f"{PARAMETER}=" in (read or ""):
        raise ConfigurationError(f"webhook_url must not hold {PARAMETER}: each POST puts a correlation id there")
    return read


def _check_timing(timing: Timing) -> Timing:
    if not isinstance(timing, Timing):
        raise ConfigurationError(f"timing must be a Timing, such as Timing(reconcile_gap=5), not {timing!r}")
    return timing


def _default_polling(scale: float) -> Polling:
    return AdaptivePolling(fallback=ExponentialPolling().scaled(scale))


def _check_polling(polling: Polling) -> Polling:
    is_schedule = all(callable(getattr(polling, name, None)) for name in ("next_delay", "learn"))
    if isinstance(polling, type) or not is_schedule:
        raise ConfigurationError(f"polling must be a schedule such as ExponentialPolling(), not {polling!r}")
    return polling


def _check_observer(observer: Observer | None) -> Observer | None:
    if observer is not None and not callable(observer):
        raise ConfigurationError(f"observer must be a function of one event, not {observer!r}")
    return observer
