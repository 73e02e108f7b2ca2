"""Many presses, pulled lazily, bounded, each ending in an :class:`Outcome`; see ``AkoolSession.fan_out``."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from akool_async import _validate
from akool_async._fan_out.items import check_items, pull, read_press
from akool_async._fan_out.preflight import Preflight
from akool_async._http.retry import is_account_error
from akool_async._limits.budget import Purchase
from akool_async._limits.journal import Made
from akool_async.errors import AkoolError, BudgetError, OutcomeUnknownError, SessionClosedError
from akool_async.events import Refused
from akool_async.models import Button, ButtonPress
from akool_async.operations import Outcome, failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from akool_async._fan_out.items import Items
    from akool_async._http.endpoints import Endpoints
    from akool_async._http.event_loop import HomeLoop
    from akool_async._limits.journal import Journal
    from akool_async._submit.submitter import Submitter
    from akool_async.events import Reporter
    from akool_async.models import ImageResult
    from akool_async.operations import Operation


@define(eq=False)
class _Job:
    """A press that has begun."""

    press: ButtonPress
    task: asyncio.Task[Outcome] | None = None
    has_begun_pressing: bool = False
    operation: Operation | None = None


@define
class _Lane:
    """The presses of one kind: those that wait, and how many have begun."""

    limit: int
    waiting: deque[ButtonPress] = field(factory=deque)
    begun: int = 0

    @property
    def is_open(self) -> bool:
        """True where another may begin."""
        return self.begun < self.limit


@frozen
class FanOutServices:
    """What all fan-outs of a session share."""

    submitter: Submitter
    endpoints: Endpoints
    journal: Journal
    reporter: Reporter
    home: HomeLoop
    upscale_cap: int
    webhook_url: str | None


@frozen(kw_only=True)
class Options:
    """How one fan-out goes about its items; see ``AkoolSession.fan_out``."""

    max_in_flight: int
    preflight: bool
    max_credits: float | None
    timeout: float | None

    def __attrs_post_init__(self) -> None:
        _validate.count("max_in_flight", self.max_in_flight)
        _validate.flag("preflight", self.preflight)
        if self.max_credits is not None:
            _validate.amount("max_credits", self.max_credits)
        _validate.optional_seconds("timeout", self.timeout)


class FanOut:
    """One run over an input; ``outcomes()`` is iterated once."""

    def __init__(self, items: Items, options: Options, services: FanOutServices) -> None:
        check_items(items)
        self._items = items
        self._options = options
        self._services = services
        self._preflight = Preflight(services.endpoints) if options.preflight else None
        self._budget = services.journal.open_budget(options.max_credits)
        self._max_in_flight = options.max_in_flight
        # Some beyond the cap: the next upscale has passed its preflight when a slot comes free. More of them would only
        # wait for slots in the place of variations.
        ready = min(services.upscale_cap, options.max_in_flight // 4)
        self._upscales, self._variations = _Lane(services.upscale_cap + ready), _Lane(options.max_in_flight)
        self._jobs: set[_Job] = set()
        self._pressing: dict[ButtonPress, asyncio.Event] = {}
        self._done: deque[Outcome] = deque()
        self._news = asyncio.Event()  # something was done, or all is over
        self._wanted = asyncio.Event()  # more items are wanted
        self._stopped_by: AkoolError | None = None
        self._input_ended = False
        self._input_error: Exception | None = None
        self._pulling: asyncio.Task[None] | None = None
        self._is_left = False

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Every press's outcome, as they come."""
        self._services.home.require()
        if self._is_left:
            raise SessionClosedError
        self._pulling = asyncio.create_task(self._pull())
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
            was_left = self._is_left
            await self.aclose()
        if was_left:
            raise SessionClosedError("the session was closed before the fan-out had ended")
        if self._input_error is not None:
            raise self._input_error

    async def _pull(self) -> None:
        """Take items while they are wanted."""
        try:
            place = 0
            self._advance()
            await self._wanted.wait()
            async with aclosing(pull(self._items)) as items:
                async for item in items:
                    press = read_press(f"items[{place}]", item)
                    place += 1
                    try:
                        Button.parse(press.button)
                    except ValueError as error:  # AKOOL lists a button that this version does not know
                        self._done.append(self._refuse(press, error))
                    else:
                        self._lane_of(press).waiting.append(press)
                    self._advance()
                    if self._is_left:
                        break
                    await self._wanted.wait()
        except asyncio.CancelledError:
            if self._is_left:
                raise
            self._input_error = RuntimeError("items ended with a CancelledError of their own, before their end")
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
                    press = lane.waiting.popleft()
                    self._done.append(self._refuse(press, _because_of(self._stopped_by, press)))
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
        if self._is_left:
            self._keep(Outcome(job.press, job.operation) if task.cancelled() else task.result())
        elif not task.cancelled():
            self._done.append(task.result())
        elif self._stopped_by is not None:  # pragma: no branch - else it is the end of the event loop that cancels
            error = _because_of(self._stopped_by, job.press)
            self._done.append(
                Outcome(job.press, error=error) if job.has_begun_pressing else self._refuse(job.press, error)
            )
        self._advance()

    async def _carry_out(self, job: _Job) -> Outcome:
        result: ImageResult | None = None
        error: Exception | None = None
        try:
            await self._check(job.press)
            async with Purchase(self._budget, job.press.button) as purchase:
                operation = await self._press(job, purchase)
                result = await operation.wait_until_complete(timeout=self._options.timeout, raise_on_failure=False)
                await purchase.end(result.deduction_credit)
            error = failure_of(result)
        except Exception as caught:  # noqa: BLE001 - whatever it is, it is this press's and touches no other
            error = caught
            if isinstance(caught, AkoolError) and is_account_error(caught):
                self._stop(caught)
        return Outcome(job.press, job.operation, result, error)

    async def _press(self, job: _Job, purchase: Purchase) -> Operation:
        """Press within the budget. If the same press stands in the input twice, the second waits for the first."""
        while (first := self._pressing.get(job.press)) is not None:
            await first.wait()
        pressed = self._pressing[job.press] = asyncio.Event()
        try:
            if not self._services.submitter.has_sent(job.press):  # or else it is charged to whoever sent it
                await self._reserve(job.press, purchase)
            job.has_begun_pressing = True
            submitter, webhook_url = self._services.submitter, self._services.webhook_url
            operation = submitter.recall(job.press) or await submitter.submit(job.press, webhook_url).join()
            job.operation = operation  # before anything else is awaited: from here on it is this run's to keep
            await purchase.accept(None if operation.latest is None else operation.latest.deduction_credit)
        finally:
            del self._pressing[job.press]
            pressed.set()
        return operation

    async def _reserve(self, press: ButtonPress, purchase: Purchase) -> None:
        try:
            await purchase.reserve()
        except BudgetError as error:
            self._services.reporter.report(Refused(press=press, error=error))
            raise

    async def _check(self, press: ButtonPress) -> None:
        """Refuse a press that cannot be made, before it queues."""
        if self._services.submitter.knows(press):
            return
        try:
            self._budget.refuse_if_spent(press.button)
            if self._preflight is not None:
                await self._preflight.check(press)
        except Exception as error:
            self._services.reporter.report(Refused(press=press, error=error))
            raise

    def _stop(self, error: AkoolError) -> None:
        """No new presses: those not sent yet come out with the error that makes them pointless."""
        if self._stopped_by is None:
            self._stopped_by = error
            for job in self._jobs:
                # If the submitter no longer knows the press, it has failed; the job will see that error shortly.
                has_ended = job.has_begun_pressing and not self._services.submitter.knows(job.press)
                unsent = job.operation is None and not has_ended and not self._services.submitter.has_sent(job.press)
                if unsent and job.task is not None and job.task is not asyncio.current_task():
                    job.task.cancel()

    def _refuse(self, press: ButtonPress, error: Exception) -> Outcome:
        """The outcome of a press that the submitter never saw."""
        self._services.reporter.report(Refused(press=press, error=error))
        return Outcome(press, error=error)

    async def aclose(self) -> None:
        """The loop is over, or was left early: no new presses; what was accepted and not yielded is kept."""
        if self._is_left:
            return
        # All that is known is kept before the first await, and the rest as each job ends: a caller who is cancelled
        # twice may end this one early.
        self._is_left = self._input_ended = True
        self._max_in_flight = 0
        for lane in (self._upscales, self._variations):
            lane.waiting.clear()
        while self._done:
            self._keep(self._done.popleft())
        begun = [self._pulling, *(job.task for job in self._jobs)]
        # The input itself may close the session: it runs in the task that pulls.
        tasks = [task for task in begun if task is not None and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if self._preflight is not None:
            self._preflight.close()
        self._news.set()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, outcome: Outcome) -> None:
        """Of what nobody is told any more, what was or may have been paid for."""
        if outcome.operation is not None:
            self._services.journal.keep_unclaimed([Made(outcome.operation.id, outcome.press)])
        elif isinstance(outcome.error, OutcomeUnknownError):
            self._services.journal.keep_unclaimed_error(outcome.error)


def _because_of(reason: AkoolError, press: ButtonPress) -> AkoolError:
    error = reason.fresh()
    error.args = (f"not pressed, as another press met: {reason.args[0]}",)
    error.operation_id, error.press = None, press
    return error
