"""The session: AKOOL's image API for one account, within its caps."""

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
from akool_async.polling import AdaptivePolling

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

__all__ = ["BASE_URL", "AkoolSession", "SessionOptions"]

BASE_URL: Final = "https://openapi.akool.com"
"""AKOOL's address."""


class SessionOptions(TypedDict, total=False):
    """Keyword arguments of :class:`AkoolSession`, for functions that pass them on as ``**options``."""

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
    """The checked arguments of a session, completed from the environment."""

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
        """Check the arguments and fill in the defaults."""
        base_url = check_base_url(
            (os.environ.get("AKOOL_BASE_URL") or BASE_URL) if base_url is None else base_url,
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

    ::

        async with AkoolSession() as akool:
            operation = await akool.create_by_button("65d3206b83ccf5ab7d46cdc6", "U2")
            result = await operation.wait_until_complete()
            await akool.download(result, "pictures")

    A session belongs to the event loop in which it is first used. Use it as an async context manager, or call
    :meth:`aclose`.

    Args:
        auth: An :class:`ApiKey`, :class:`ClientCredentials`, or an API key as ``str``. None reads the environment:
            ``AKOOL_API_KEY``, or ``AKOOL_CLIENT_ID`` with ``AKOOL_CLIENT_SECRET``.
        base_url: AKOOL's address. None reads ``AKOOL_BASE_URL``; if that is not set either, it is
            ``https://openapi.akool.com``.
        max_concurrent_upscales: How many upscales (U1-U4) may run at AKOOL concurrently.
        max_concurrent_operations: How many operations of any kind may run at AKOOL concurrently; None for no limit.
        max_requests_per_second: Maximum rate of all requests to AKOOL; presses go before polls. None for no limit.
        polling: The schedule of polls of running operations. The default is :class:`AdaptivePolling`.
        request_timeout: Seconds that one request may take.
        webhook_url: The address that AKOOL calls when an image is finished. It is sent with every POST that makes
            images, and carries a correlation id (``akool_press``) in its query. Pass the callbacks to :meth:`notify`.
            If the reply to a POST is lost, the session waits a minute for its webhook.
        http: An aiohttp session for the requests. This session never closes it.
        observer: A function or coroutine function that is called with each event of ``akool_async.events``.
        resubmit_lost: False never presses again after a lost reply, even if AKOOL did not accept the first press.
        allow_http: True allows plain http to other machines, which shows the key to the network.
        timing: All other waits. The default is :class:`Timing`, multiplied by the environment's ``AKOOL_TIME_SCALE``,
            which only an emulator on this machine may use.

    Raises:
        ConfigurationError: There are no credentials, or the address must not get a key.
        ValueError: An argument has a wrong value.
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
        """Identifies the account without revealing its key."""
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
        """Build what a paid POST needs, from the poller up to the fan-outs."""
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

    # --- POSTs that spend credits ---

    async def create_by_button(
        self, image_id: str, button: Button | str, *, webhook_url: str | None = None
    ) -> Operation:
        """Press a button of a finished image: U1-U4 upscale one of its four pictures to 4K, V1-V4 vary one.

        A press costs credits, and each button of an image works once. Callers of this session that press the same
        button share one POST and one :class:`Operation`. An upscale first waits for a slot. Cancelling a caller after
        the POST was sent loses nothing: the same press again returns the operation. AKOOL's page: Create By Button.

        Args:
            image_id: The ``_id`` of the image.
            button: U1-U4 or V1-V4.
            webhook_url: Replaces the session's ``webhook_url``; ``""`` sends no address. If the press is already under
                way, the first caller's address is used.

        Returns:
            The operation, which AKOOL has accepted.

        Raises:
            ValueError: An argument is wrong; nothing was sent.
            NotOperableError: The button is used or not available, or the image is not finished.
            OutcomeUnknownError: The reply was lost. ``charged`` is True if the source image shows that AKOOL accepted
                the press, and None if nothing shows whether it did.
            InsufficientCreditError, AuthenticationError, NotFoundError, ...: AKOOL refused; nothing was spent.
            RateLimitedError: AKOOL refused with 1005 or 429 for 15 minutes (``Timing.throttle_timeout``).
            TransportError: AKOOL could not be reached in several tries; nothing was spent.
            SessionClosedError: The session is closed.
        """
        press = ButtonPress(image_id, Button.parse(button))
        webhook_url = self._webhook(webhook_url)
        return self._submitter.recall(press) or await self._submitter.submit(press, webhook_url).join()

    async def upscale(self, image_id: str, index: int, *, webhook_url: str | None = None) -> Operation:
        """Upscale one of the four pictures of a finished image: press U1-U4.

        Args:
            image_id: The ``_id`` of the image.
            index: The picture, 1 to 4.
            webhook_url: See :meth:`create_by_button`.

        Raises:
            ValueError: An argument is wrong; nothing was sent.
            NotOperableError, OutcomeUnknownError, ...: See :meth:`create_by_button`.
        """
        return await self.create_by_button(image_id, Button.upscale(index), webhook_url=webhook_url)

    async def vary(self, image_id: str, index: int, *, webhook_url: str | None = None) -> Operation:
        """Vary one of the four pictures of a finished image: press V1-V4.

        Args:
            image_id: The ``_id`` of the image.
            index: The picture, 1 to 4.
            webhook_url: See :meth:`create_by_button`.

        Raises:
            ValueError: An argument is wrong; nothing was sent.
            NotOperableError, OutcomeUnknownError, ...: See :meth:`create_by_button`.
        """
        return await self.create_by_button(image_id, Button.vary(index), webhook_url=webhook_url)

    async def create_by_prompt(
        self, prompt: str, *, scale: str = "1:1", source_image: str | None = None, webhook_url: str | None = None
    ) -> Operation:
        """Make an image of four pictures from a prompt. Costs credits (AKOOL's page Create By Prompt, v3).

        If the reply is lost, only the session's webhook can report the new id. Otherwise the outcome stays unknown.

        Args:
            prompt: The prompt's text.
            scale: Width to height: "1:1", "4:3", "3:4", "16:9", "9:16", "3:2" or "2:3".
            source_image: The URL of an image to start from.
            webhook_url: See :meth:`create_by_button`.

        Returns:
            The operation, which AKOOL has accepted.

        Raises:
            ValueError: An argument is wrong; nothing was sent.
            OutcomeUnknownError: The reply was lost; ``charged`` is None.
            InsufficientCreditError, AuthenticationError, TransportError, ...: See :meth:`create_by_button`.
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
            prompt: The prompt's text.
            model_name: AKOOL's name of a model. None leaves the choice to AKOOL.
            source_images: URLs of images to start from.
            scale: A scale of :meth:`create_by_prompt`, or "Original" with ``source_images``. None is AKOOL's default.
            resolution: "1080p" or "4k". None is AKOOL's default, 4k.
            batch_quantity: How many images to make, 1 to 4. Each takes a slot of ``max_concurrent_operations``.
            similar: AKOOL's ``similar``, 0 to 1. None is AKOOL's default, 0.5.
            negative_prompt: What the images must not show.
            webhook_url: See :meth:`create_by_button`.

        Returns:
            An operation for each image.

        Raises:
            ValueError: An argument is wrong, or the batch is larger than ``max_concurrent_operations``.
            OutcomeUnknownError, InsufficientCreditError, ...: See :meth:`create_by_prompt`.
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

    # --- reads, which are free and are retried ---

    async def get_image_result(self, image_id: str) -> ImageResult:
        """Read the current state of an image. Costs nothing (AKOOL's page Get Image Result).

        Args:
            image_id: The ``_id`` of the image.

        Raises:
            NotFoundError: There is no such image, or it is older than 7 days.
            AuthenticationError, APIError, ...: AKOOL refused.
            TransportError, ResponseError: No readable reply came in several tries.
        """
        _validate.image_id("image_id", image_id)
        return await self._endpoints.get_image_result(image_id)

    async def get_credit(self) -> float:
        """Read the account's balance, in credits. Costs nothing.

        Raises:
            AuthenticationError, TransportError, ResponseError, ...: See :meth:`get_image_result`.
        """
        balance = await self._endpoints.get_credit()
        self._journal.account.read_balance(balance)
        return balance

    async def reconcile(self, image_id: str, button: Button | str) -> bool | None:
        """Find out whether AKOOL accepted a press whose reply was lost. Works in any process, at any later time.

        This reads the source image. If the button is still offered, it reads the image again 3 seconds later
        (``Timing.reconcile_gap``).

        Args:
            image_id: The ``_id`` of the source image.
            button: The button that was pressed.

        Returns:
            True if AKOOL accepted the press and charged for it, False if it did not, None if the source image shows
            neither.

        Raises:
            NotFoundError, AuthenticationError, TransportError, ...: See :meth:`get_image_result`.
        """
        source = await reconcile(self._endpoints, ButtonPress(image_id, button), self._settings.timing.reconcile_gap)
        return {Source.USED: True, Source.OFFERED: False}.get(source)

    # --- operations ---

    def operation(self, operation_id: str) -> Operation:
        """Return the operation with this id, to wait for it. Any process may have made it. Sends nothing.

        Args:
            operation_id: The ``_id`` that AKOOL gave the operation.

        Raises:
            ValueError: ``operation_id`` cannot be an id.
        """
        return self._attach(Operation(_validate.image_id("operation_id", operation_id)))

    def resume(self, text: str) -> Operation:
        """Rebuild an operation from the text of ``Operation.to_json()``. Sends nothing.

        Raises:
            ValueError: ``text`` is something else.
        """
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
        """Press many buttons and send many prompts, and yield an :class:`Outcome` for each as it finishes.

        ::

            prompts = (Prompt(text, then="U*") for text in texts)
            async for outcome in akool.fan_out(prompts, max_credits=500):
                print(outcome.item, *outcome.path, outcome.unwrap().urls if outcome.ok else outcome.error)

        ``then`` of an item says what to press on its result: ``Prompt("a fox", then="U* V1>U2")`` makes an image,
        upscales its four pictures, varies the first one, and upscales picture 2 of the variation. Each prompt and each
        press of such a tree has one outcome, whose ``parent`` is the outcome on whose image it was pressed. If an image
        was not made, the presses on it have :class:`NotPressedError` as their ``error``, or :class:`BudgetError` if
        the budget was spent.

        Items are pulled lazily, and one failure touches no other item. Upscales, variations and prompts run
        concurrently. Presses on images of this fan-out go before new prompts, and a new tree with upscales begins only
        when the upscales of the earlier ones no longer keep all slots busy.

        Bad authentication, a banned account or exhausted credit stops new POSTs: the rest of the input is yielded with
        that error, unsent. Leaving the loop or cancelling its task stops new POSTs as soon as the generator is closed:
        immediately with ``contextlib.aclosing``, otherwise when Python collects it, or by :meth:`aclose`. Accepted
        operations that were not yielded are then in :attr:`unclaimed`. If ``items`` raises, or holds a bad item, that
        error is raised after everything that was sent has been yielded.

        Args:
            items: An iterable or an async iterable, which may be endless. Each item is a :class:`ButtonPress`, an
                ``(image_id, button)`` pair, a :class:`Prompt` or a :class:`SourcePrompt`.
            max_in_flight: Maximum number of presses and prompts that are under way or whose outcome you have not taken.
                Up to the same number of further items is kept in memory, plus the presses on finished images.
            preflight: True reads each source image once, and refuses a button that is used or not available without
                pressing it (:class:`NotOperableError`).
            max_credits: Maximum number of credits to be charged, as far as AKOOL reports prices. A POST that could
                exceed it is not sent. None for no limit.
            timeout: Seconds that each operation may take after AKOOL accepted it; None for no limit.

        Raises:
            ValueError: An argument is wrong (raised before any item is pulled), or an item is, which the message names
                by its position.
            SessionClosedError: The session is closed, or was closed before the fan-out ended.
        """
        if self._closed:
            raise SessionClosedError
        options = Options(max_in_flight=max_in_flight, preflight=preflight, max_credits=max_credits, timeout=timeout)
        fan_out = FanOut(items, options, self._fan_out_services)
        self._fan_outs.add(fan_out)
        return fan_out.outcomes()

    def notify(self, event: WebhookEvent, *, correlation_id: str | None = None) -> bool:
        """Handle a webhook: poll its operation immediately.

        A webhook is only a hint; the poll reads what really happened. Call this in the session's event loop. Webhooks
        for operations of other processes do no harm and cause no request.

        Args:
            event: What :meth:`WebhookVerifier.parse` returned.
            correlation_id: ``akool_press`` from the query of the address that was called. It leads to the press or
                prompt if the reply to that was lost.

        Returns:
            True if the event concerns this session.

        Raises:
            ValueError: An argument is of the wrong type.
            SessionClosedError: The session is closed. Answer with an error, so that AKOOL calls again.
            ConfigurationError: This was called outside of the session's event loop.
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
        """Accepted operations that no caller received; the newest 10,000.

        Either all their callers were cancelled, or a webhook reported the id after the reply was lost and
        :class:`OutcomeUnknownError` was raised.
        """
        return tuple(self._operation(made) for made in self._journal.unclaimed)

    @property
    def unclaimed_errors(self) -> tuple[OutcomeUnknownError, ...]:
        """Errors of POSTs whose outcome is unknown and whose callers were all cancelled; the newest 10,000."""
        return tuple(self._journal.unclaimed_errors)

    def counters(self) -> Counters:
        """Return the numbers of operations that wait, run and ended, and their credits: see :class:`Counters`."""
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
        """Wait for an operation, also one of another session or a pickled copy.

        Args:
            operation: The operation, or its id.
            timeout: Seconds to wait; None for no limit.
            raise_on_failure: False returns the result of status 4 instead of raising.

        Returns:
            The final result.

        Raises:
            OperationFailedError, WaitTimeoutError, PollingError, ...: See :meth:`Operation.wait_until_complete`.
        """
        if not isinstance(operation, Operation):
            operation = Operation(_validate.image_id("operation", operation))
        handle = self._attach(operation)
        return await handle.wait_until_complete(timeout=timeout, raise_on_failure=raise_on_failure)

    async def download(
        self, result: ImageResult, directory: str | os.PathLike[str], *, name: str | None = None
    ) -> list[Path]:
        """Save every picture of a result as ``ID-1.jpg``, ``ID-2.jpg``, ... and return the paths, in ``urls`` order.

        The session downloads at most 8 pictures concurrently. A download that breaks off is resumed, or begun again if
        the host does not support that, a few times. If a host refuses an address, AKOOL is asked once for a fresh one.
        If a host asks for a pause (Retry-After), it gets no request meanwhile; one picture waits at most 60 seconds in
        total. The suffix is that of the real format (jpg, png, gif or webp). No file is overwritten: an identical file
        is kept, and a different one is an error. The hosts get no key. If you passed ``http``, downloads use its proxy
        and nothing else of it.

        Args:
            result: The result.
            directory: The folder. It is created if it does not exist.
            name: The beginning of the file names: ``NAME-1.jpg``, ... and ``NAME-grid.jpg`` for the grid of four, or
                ``NAME.jpg`` for the only picture of an upscale. None is the result's id.

        Returns:
            The path of each picture.

        Raises:
            ValueError: An argument is wrong, such as a name that leads out of the folder; nothing was requested.
            ResultExpiredError: The host refuses, and AKOOL no longer has the result or its 7 days are over by the
                servers' clocks.
            DownloadError: A picture could not be saved whole, or the result has no picture.
            SessionClosedError: The session was closed meanwhile.
        """
        if not isinstance(result, ImageResult):
            raise ValueError(f"result must be an ImageResult, such as wait_until_complete() returns, not {result!r}")  # noqa: TRY004
        if not isinstance(directory, str | os.PathLike) or not str(directory) or "\0" in str(directory):
            raise ValueError(f"directory must be a path, such as 'pictures', not {directory!r}")
        if name is not None:
            _validate.file_name("name", name)
        self._home.require()
        return await self._downloads.save(result, Path(directory), name)

    # --- lifecycle ---

    async def aclose(self) -> None:
        """Close the session.

        This first waits for the replies to POSTs under way, at most for the request timeout and 5 seconds. Then all
        waits end with :class:`SessionClosedError`, and an observer that is a coroutine function gets 5 seconds to
        finish. Accepted operations run on at AKOOL, and another session can wait for them by their ids.
        """
        self._closed = True
        self._rate_limiter.close()
        async with AsyncExitStack() as closing:  # each step runs even if the one before was cancelled
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
        raise TypeError("AkoolSession holds a secret and cannot be pickled; make one in the other process")

    def _webhook(self, webhook_url: str | None) -> str | None:
        return self._settings.webhook_url if webhook_url is None else _read_webhook_url(webhook_url)

    def _make_journal(self) -> MemoryJournal:
        """Make the journal. A durable worker's session makes another one."""
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
            f"{SCALE_VARIABLE} shortens a session's waits, and works only with an emulator on this machine: unset it, "
            "or set AKOOL_BASE_URL to the emulator's address"
        )
    return scale


def _read_webhook_url(webhook_url: str | None) -> str | None:
    return None if webhook_url is None or webhook_url == "" else _validate.web_url("webhook_url", webhook_url)


def _read_own_webhook_url(webhook_url: str | None) -> str | None:
    # "" is most often a variable that was not set: silently, no webhook would ever come.
    read = None if webhook_url is None else _validate.web_url("webhook_url", webhook_url)
    if f"{PARAMETER}=" in (read or ""):
        raise ConfigurationError(f"webhook_url must not contain {PARAMETER}=: each POST puts a correlation id there")
    return read


def _check_timing(timing: Timing) -> Timing:
    if not isinstance(timing, Timing):
        raise ConfigurationError(f"timing must be a Timing, such as Timing(reconcile_gap=5), not {timing!r}")
    return timing


def _default_polling(scale: float) -> Polling:
    return AdaptivePolling().scaled(scale)


def _check_polling(polling: Polling) -> Polling:
    is_schedule = all(callable(getattr(polling, name, None)) for name in ("next_delay", "learn"))
    if isinstance(polling, type) or not is_schedule:
        raise ConfigurationError(f"polling must be a schedule such as ExponentialPolling(), not {polling!r}")
    return polling


def _check_observer(observer: Observer | None) -> Observer | None:
    if observer is not None and not callable(observer):
        raise ConfigurationError(f"observer must be a function of one event, not {observer!r}")
    return observer
