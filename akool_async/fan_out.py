"""Many presses, pulled lazily, bounded, each ending in an :class:`Outcome`; see ``AkoolSession.fan_out``."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Final

from attrs import define, field

from akool_async._budget import Budget
from akool_async._preflight import Preflight
from akool_async.errors import (
    AccountBannedError,
    AkoolError,
    AuthenticationError,
    InsufficientCreditError,
    OperationFailedError,
    OutcomeUnknownError,
)
from akool_async.models import ButtonPress, ImageStatus
from akool_async.operations import Outcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    from akool_async._spend import Spender
    from akool_async.models import ImageResult
    from akool_async.operations import Operation

    Press = ButtonPress | tuple[str, str]
    Presses = Iterable[Press] | AsyncIterable[Press]

POINTLESS: Final = (AuthenticationError, AccountBannedError, InsufficientCreditError)
"""After these no other press of the account would fare better."""


@define(eq=False)
class _Job:
    """A press that has begun."""

    press: ButtonPress
    task: asyncio.Task[Outcome] | None = None
    is_sent: bool = False
    reserved: float | None = None
    operation: Operation | None = None


@define
class _Lane:
    """The presses of one kind: those that wait, and how many have begun."""

    most_begun: int
    waiting: deque[ButtonPress] = field(factory=deque)
    begun: int = 0

    @property
    def is_open(self) -> bool:
        """True where another may begin."""
        return self.begun < self.most_begun


class FanOut:
    """One run over an input; ``outcomes()`` is iterated once."""

    def __init__(
        self,
        presses: Presses,
        *,
        spender: Spender,
        read: Callable[[str], Awaitable[ImageResult]],
        upscale_cap: int,
        webhook_url: str | None,
        max_in_flight: int,
        preflight: bool,
        max_credits: float | None,
        timeout: float | None,
    ) -> None:
        if not isinstance(presses, Iterable | AsyncIterable) or isinstance(presses, str | bytes | ButtonPress):
            raise ValueError(f"presses must be an iterable of ButtonPress or (image_id, button), not {presses!r}")  # noqa: TRY004
        self._presses = presses
        self._spender = spender
        self._webhook_url = webhook_url
        self._preflight = Preflight(read) if preflight else None
        self._max_in_flight = max_in_flight
        self._timeout = timeout
        self._budget = Budget(max_credits)
        # Twice the cap: the next upscale has passed its preflight when a slot comes free. More of them would only wait
        # for slots in the place of variations.
        self._upscales, self._variations = _Lane(2 * upscale_cap), _Lane(max_in_flight)
        self._jobs: set[_Job] = set()
        self._done: deque[Outcome] = deque()
        self._news = asyncio.Event()  # something was done, or all is over
        self._wanted = asyncio.Event()  # more input is wanted
        self._stopped_by: AkoolError | None = None
        self._input_ended = False
        self._input_error: Exception | None = None

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Every press's outcome, as they come."""
        pulling = asyncio.create_task(self._pull())
        try:
            while self._done or not self._is_over():
                if self._done:
                    outcome = self._done.popleft()
                    self._advance()
                    yield outcome
                else:
                    self._news.clear()
                    await self._news.wait()
        finally:
            await self._leave(pulling)
        if self._input_error is not None:
            raise self._input_error

    async def _pull(self) -> None:
        """Take presses from the input while they are wanted."""
        try:
            place = 0
            self._advance()
            await self._wanted.wait()
            async for item in _iterate(self._presses):
                press = _read_press(item, place)
                place += 1
                self._lane_of(press).waiting.append(press)
                self._advance()
                await self._wanted.wait()
        except Exception as error:  # noqa: BLE001 - of the caller's own input; raised when all else has come out
            self._input_error = error
        finally:
            self._input_ended = True
            self._news.set()

    def _advance(self) -> None:
        """Begin what may begin, the two kinds in turn, and say whether more input is wanted."""
        lanes = (self._upscales, self._variations)
        if self._stopped_by is not None:
            for lane in lanes:
                while lane.waiting:
                    self._done.append(self._not_pressed(lane.waiting.popleft(), self._stopped_by))
        while ready := [lane for lane in lanes if lane.waiting and lane.is_open and self._has_room]:
            for lane in ready:
                if self._has_room:
                    self._begin(lane)
        waiting = sum(len(lane.waiting) for lane in lanes)
        missing = any(lane.is_open and not lane.waiting for lane in lanes)
        if self._has_room and missing and waiting < self._max_in_flight:
            self._wanted.set()
        else:
            self._wanted.clear()
        self._news.set()

    @property
    def _has_room(self) -> bool:
        return len(self._jobs) + len(self._done) < self._max_in_flight

    def _is_over(self) -> bool:
        return self._input_ended and not (self._jobs or self._upscales.waiting or self._variations.waiting)

    def _lane_of(self, press: ButtonPress) -> _Lane:
        return self._upscales if press.button.is_upscale else self._variations

    def _begin(self, lane: _Lane) -> None:
        job = _Job(lane.waiting.popleft())
        lane.begun += 1
        self._jobs.add(job)
        job.task = asyncio.create_task(self._carry_out(job))
        job.task.add_done_callback(lambda task: self._end(job, task))

    def _end(self, job: _Job, task: asyncio.Task[Outcome]) -> None:
        self._lane_of(job.press).begun -= 1
        self._jobs.discard(job)
        if not task.cancelled():
            self._done.append(task.result())
        elif self._stopped_by is not None:
            self._done.append(self._not_pressed(job.press, self._stopped_by))
        self._advance()

    async def _carry_out(self, job: _Job) -> Outcome:
        result: ImageResult | None = None
        error: Exception | None = None
        try:
            if self._preflight is not None and not self._spender.knows(job.press):
                await self._preflight.check(job.press)
            job.operation = await self._press(job)
            result = await job.operation.wait_until_complete(timeout=self._timeout, raise_on_failure=False)
            if result.status == ImageStatus.FAILED:
                error = OperationFailedError(result)
        except POINTLESS as stopping:
            error = stopping
            self._stop(stopping)
        except Exception as caught:  # noqa: BLE001 - whatever it is, it is this press's and touches no other
            error = caught
        return Outcome(job.press, job.operation, result, error)

    async def _press(self, job: _Job) -> Operation:
        async def permit() -> None:
            job.reserved = await self._budget.reserve(job.press.button)
            job.is_sent = True

        charged = 0.0
        try:
            operation = await self._spender.press(job.press, self._webhook_url, permit)
            told = None if operation.latest is None else operation.latest.deduction_credit
            charged = (job.reserved or 0.0) if told is None else told
        except OutcomeUnknownError:
            charged = job.reserved or 0.0
            raise
        finally:
            # Nothing was set aside where the press was under way or known already: it is charged once.
            if job.reserved is not None:
                await self._budget.settle(job.press.button, job.reserved, charged)
        return operation

    def _stop(self, error: AkoolError) -> None:
        """No new presses: those not sent yet come out with the error that makes them pointless."""
        if self._stopped_by is None:
            self._stopped_by = error
            for job in self._jobs:
                unsent = not job.is_sent and job.operation is None  # an operation may be known from before this run
                if unsent and job.task is not None and job.task is not asyncio.current_task():
                    job.task.cancel()

    @staticmethod
    def _not_pressed(press: ButtonPress, reason: AkoolError) -> Outcome:
        error = reason.fresh()
        error.args = (f"not pressed, as another press met: {reason.args[0]}",)
        error.operation_id, error.press = None, press
        return Outcome(press, error=error)

    async def _leave(self, pulling: asyncio.Task[None]) -> None:
        """The loop is over, or was left early: no new presses; what was accepted and not yielded is kept."""
        self._max_in_flight = 0
        jobs = list(self._jobs)
        tasks = [pulling, *(job.task for job in jobs if job.task is not None)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._preflight is not None:
            await self._preflight.aclose()
        for job in jobs:
            if job.operation is not None:
                self._spender.keep_unclaimed([job.operation])
        for outcome in self._done:
            if outcome.operation is not None:
                self._spender.keep_unclaimed([outcome.operation])
            elif isinstance(outcome.error, OutcomeUnknownError):
                self._spender.keep_unclaimed(outcome.error)


async def _iterate(presses: Presses) -> AsyncIterator[object]:
    if isinstance(presses, AsyncIterable):
        async for press in presses:
            yield press
    else:
        for press in presses:
            yield press


def _read_press(item: object, place: int) -> ButtonPress:
    if isinstance(item, ButtonPress):
        return item
    pair = tuple(item) if isinstance(item, Iterable) and not isinstance(item, str) else ()
    if len(pair) != 2:  # noqa: PLR2004 - a pair
        raise ValueError(f"presses[{place}] must be a ButtonPress or (image_id, button), not {item!r}")
    try:
        return ButtonPress(*pair)
    except ValueError as error:
        raise ValueError(f"presses[{place}]: {error}") from None
