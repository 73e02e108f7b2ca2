"""Polls each operation, once for all of its waiters.

An operation is polled while a caller waits for it, or while it holds a slot, since the cap counts operations that run
at AKOOL. Its polls end at a final status, or with an error that later polls cannot change; transient errors never end
them. Between two polls there is only a timer, so that thousands of operations take little memory.
"""

from __future__ import annotations

import asyncio
import logging
import math
from functools import partial
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from akool_async import events
from akool_async._http.retry import is_permanent
from akool_async._limits.recent import Recent
from akool_async._poll.consecutive_failures import ConsecutiveFailures
from akool_async._poll.missing_urls import missing_urls_grace
from akool_async._poll.schedule import Schedule
from akool_async._poll.tracked import TrackedOperation
from akool_async._poll.webhook_statistics import WebhookStatistics
from akool_async.errors import (
    AkoolError,
    NotFoundError,
    PollingError,
    SessionClosedError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from akool_async._http.endpoints import Endpoints, Snapshot
    from akool_async._http.event_loop import HomeLoop
    from akool_async._limits.journal import Journal
    from akool_async._limits.ramp import Ramp
    from akool_async._limits.slots import Slot
    from akool_async._limits.timing import Timing
    from akool_async.events import Reporter
    from akool_async.items import Button
    from akool_async.models import ImageResult, ImageStatus
    from akool_async.polling import Polling

logger = logging.getLogger("akool_async")

POLL_GRID: Final = 0.02
"""Seconds. Polls that are due within this time are sent together, which saves a twentieth of the CPU time with 1,000
operations in flight."""
GRIDDED_DELAY: Final = 10 * POLL_GRID
"""Seconds. Shorter delays are not rounded."""


class Poller:
    """The tracked operations of one session."""

    def __init__(
        self,
        endpoints: Endpoints,
        polling: Polling,
        timing: Timing,
        reporter: Reporter,
        home: HomeLoop,
        journal: Journal,
        ramp: Ramp,
    ) -> None:
        self._endpoints = endpoints
        self._timing = timing
        self._reporter = reporter
        self._home = home
        self._journal = journal
        self._ramp = ramp
        self._webhooks = WebhookStatistics(timing.webhook_grace)
        self._schedule = Schedule(polling, timing, self._webhooks)
        self._tracked: WeakValueDictionary[str, TrackedOperation] = WeakValueDictionary()
        self._made_here: Recent[str, TrackedOperation] = Recent()  # kept, so that the same press finds the result
        self._ended: Recent[str, None] = Recent()  # operations whose end was reported
        self._polls: dict[TrackedOperation, asyncio.Handle | asyncio.Task[None]] = {}
        """The next poll of each operation, or the one under way."""
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Number of operations that are being polled."""
        return len(self._polls)

    def tracked(self, operation_id: str, button: Button | None = None) -> TrackedOperation:
        """Return the :class:`TrackedOperation` of an id. Sends nothing."""
        tracked = self._tracked.get(operation_id)
        if tracked is None:
            tracked = self._tracked[operation_id] = TrackedOperation(operation_id, button)
        return tracked

    def track(
        self, image: ImageResult, button: Button | None, slot: Slot, *, expects_webhook: bool, is_new: bool
    ) -> TrackedOperation:
        """Track an operation that AKOOL accepted. While it holds a slot, it is polled even if no caller waits.

        Args:
            image: AKOOL's reply to the POST.
            button: The button that was pressed; None for a prompt.
            slot: The operation's slot, released when it ends.
            expects_webhook: True if the POST carried this session's webhook address.
            is_new: False if AKOOL accepted it some time ago, so that its duration is not known.
        """
        tracked = self._made_here[image.id] = self.tracked(image.id, button)
        tracked.accept(button, expects_webhook=expects_webhook, is_new=is_new)
        if self._webhooks.pop_early(image.id):
            tracked.report_end()
        self._update(tracked, image, asked_at=0.0, age=0.0)
        if slot and not tracked.is_final and not self._closed:
            tracked.hold(slot)
            self._ensure_polled(tracked)
        else:
            slot.release()
        self._hurry(tracked)
        return tracked

    def on_webhook(self, operation_id: str, *, ended: bool) -> bool:
        """Handle a webhook. Return True if the operation is known here.

        Args:
            operation_id: The operation.
            ended: True if the webhook reports that it has ended.
        """
        tracked = self._tracked.get(operation_id)
        if tracked is not None and ended:
            if tracked.is_final and not tracked.timeline.reports:  # a poll was slightly faster than the webhook
                self._webhooks.on_hit()
            tracked.report_end()
            self._hurry(tracked)
        elif ended:
            self._webhooks.add_early(operation_id)
        return tracked is not None

    async def wait_until_final(self, tracked: TrackedOperation, timeout: float | None) -> ImageResult:  # noqa: ASYNC109
        """Wait for the final result.

        Args:
            tracked: The operation.
            timeout: Seconds to wait; None for no limit.

        Raises:
            WaitTimeoutError: The timeout is over.
            Exception: The error that ended the polls.
        """
        if tracked.latest is not None and tracked.is_settled:
            return tracked.latest
        waiter = self._join(tracked)
        try:
            if timeout is None:
                await waiter
            else:
                async with asyncio.timeout(timeout):
                    await waiter
        except TimeoutError:
            pass
        finally:
            tracked.waiters.remove(waiter)
        if waiter.done() and not waiter.cancelled():
            return _unwrap(waiter.result())
        if tracked.latest is not None and tracked.latest.is_final:  # some URLs are still missing
            return tracked.latest
        raise WaitTimeoutError(tracked.id, timeout or 0.0, tracked.status)

    async def updates(self, tracked: TrackedOperation) -> AsyncIterator[ImageResult]:
        """Yield each new snapshot until the end. Snapshots that are replaced while the reader is busy are skipped."""
        shown: ImageResult | None = None
        while True:
            if tracked.latest is not None and tracked.latest != shown:
                shown = tracked.latest
                yield shown
                continue
            if tracked.is_settled:
                return
            waiter = self._join(tracked)
            try:
                await asyncio.wait((waiter, tracked.next_change()), return_when=asyncio.FIRST_COMPLETED)
            finally:
                tracked.waiters.remove(waiter)
            if waiter.done():
                _unwrap(waiter.result())

    async def aclose(self) -> None:
        """End all polls and all waits; the operations themselves run on at AKOOL."""
        self._closed = True
        polls = dict(self._polls)
        for poll in polls.values():
            poll.cancel()
        try:
            under_way = [poll for poll in polls.values() if isinstance(poll, asyncio.Task)]
            await asyncio.gather(*under_way, return_exceptions=True)
        finally:
            for tracked in list(self._polls):
                self._end(tracked, SessionClosedError(operation_ids=(tracked.id,)))
        if polls:
            logger.info("session closed; still running at AKOOL: %s", ", ".join(tracked.id for tracked in polls))

    def _join(self, tracked: TrackedOperation) -> asyncio.Future[ImageResult | Exception]:
        """Add a waiter and return the future to await. The caller removes it from ``waiters`` in the end."""
        if not tracked.is_settled:
            self._home.require()
            if self._closed:
                raise SessionClosedError(operation_ids=(tracked.id,))
        waiter = tracked.waiters.add()
        self._ensure_polled(tracked)
        return waiter

    def _ensure_polled(self, tracked: TrackedOperation) -> None:
        if tracked in self._polls:
            return
        tracked.timeline.begin()
        age = tracked.timeline.age_at(asyncio.get_running_loop().time())
        try:
            delay = self._schedule.first_delay(tracked, age)
        except Exception as error:  # noqa: BLE001 - a bug of a user's schedule
            self._end(tracked, error)
        else:
            self._poll_after(tracked, delay)

    def _poll_after(self, tracked: TrackedOperation, delay: float) -> None:
        """Poll in ``delay`` seconds, or now if a webhook has reported the end since the last poll began."""
        loop = asyncio.get_running_loop()
        if tracked.is_due:
            delay = 0.0
        due = loop.time() + delay
        if delay >= GRIDDED_DELAY:
            due = math.ceil(due / POLL_GRID) * POLL_GRID
        self._polls[tracked] = loop.call_at(due, self._begin_poll, tracked)

    def _hurry(self, tracked: TrackedOperation) -> None:
        """Poll now if a webhook has reported the end and no poll is under way."""
        timer = self._polls.get(tracked)
        if tracked.is_due and timer is not None and not isinstance(timer, asyncio.Task) and not self._closed:
            timer.cancel()
            self._begin_poll(tracked)

    def _begin_poll(self, tracked: TrackedOperation) -> None:
        if not tracked.is_needed:
            self._end(tracked, None)
            return
        poll = asyncio.create_task(self._poll(tracked), name=tracked.id)
        if not poll.done():  # an eager task may be done
            self._polls[tracked] = poll
            poll.add_done_callback(partial(self._end_unbegun, tracked))

    def _end_unbegun(self, tracked: TrackedOperation, poll: asyncio.Task[None]) -> None:
        """End the polls if a poll was cancelled before its first step: then it has not set the next timer."""
        if self._polls.get(tracked) is poll:
            self._end(tracked, SessionClosedError(operation_ids=(tracked.id,)))

    async def _poll(self, tracked: TrackedOperation) -> None:
        """Poll once. Then set the timer for the next poll, or hand the result or the error to all waiters."""
        loop = asyncio.get_running_loop()
        tracked.begin_poll()
        asked_at = loop.time()
        try:
            try:
                snapshot = tracked.snapshot = await self._endpoints.poll(tracked.id, tracked.snapshot)
            except AkoolError as error:
                delay: float | None = self._after_failure(tracked, error, loop.time())
            else:
                delay = self._after_poll(tracked, snapshot, asked_at, loop.time())
        except (asyncio.CancelledError, SessionClosedError):
            self._end(tracked, SessionClosedError(operation_ids=(tracked.id,)))
        except Exception as error:  # noqa: BLE001 - any error, such as a bug of a user's schedule, ends the waits
            self._end(tracked, error)
        else:
            if delay is None:
                self._end(tracked, None)
            else:
                self._poll_after(tracked, delay)

    def _after_poll(self, tracked: TrackedOperation, snapshot: Snapshot, asked: float, now: float) -> float | None:
        """Process the snapshot of a poll. Return the seconds to the next poll; None if there is none."""
        tracked.failures = None
        timeline = tracked.timeline  # AKOOL may have accepted the operation since the poll was sent
        asked_at, age = max(timeline.age_at(asked), 0.0), timeline.age_at(now)
        self._reporter.report_poll(tracked.id, tracked.kind, snapshot.image.status, age)
        if snapshot.image is not tracked.latest:
            self._update(tracked, snapshot.image, asked_at=asked_at, age=age)
        elif not tracked.is_final:
            timeline.add_status(snapshot.image.status, asked_at=asked_at, age=age)
        if tracked.latest is not None and tracked.latest.is_final:
            grace = missing_urls_grace(tracked.latest, tracked.kind, self._timing)
            ended_for = age - (tracked.timeline.ended_at or 0.0)
            if ended_for >= grace or (not tracked.pressed_here and snapshot.is_old):
                tracked.settle(tracked.latest)
                return None
            return min(self._schedule.next_delay(tracked, age), self._timing.url_interval)
        if age > self._timing.slot_timeout and tracked.slot is not None:
            logger.warning("operation %s has not ended in %.0f s; its slot is released", tracked.id, age)
            tracked.release_slot()
        return self._schedule.next_delay(tracked, age)

    def _after_failure(self, tracked: TrackedOperation, error: AkoolError, now: float) -> float:
        """Return the seconds to the next poll.

        Raises:
            PollingError: Too many polls have failed.
            AkoolError: ``error`` itself, if later polls cannot change it.
        """
        age = tracked.timeline.age_at(now)
        may_be_unknown_yet = tracked.pressed_here and age < self._timing.not_found_grace
        if is_permanent(error) and not (isinstance(error, NotFoundError) and may_be_unknown_yet):
            raise error
        failures = tracked.failures = tracked.failures or ConsecutiveFailures(self._timing.poll_failure_timeout)
        if failures.add(now):
            raise PollingError(tracked.id, status=tracked.status, age=age, reason=str(error.args[0])) from error
        delay = max(self._schedule.next_delay(tracked, age, failures.stretch), error.retry_after or 0.0)
        logger.debug("poll of %s failed (%s), next in %.1f s", tracked.id, error, delay)
        return delay

    def _end(self, tracked: TrackedOperation, error: Exception | None) -> None:
        """End the polls of an operation: it is settled, nobody needs it, or ``error`` ended them."""
        self._polls.pop(tracked, None)
        if isinstance(error, AkoolError):
            error.about(operation_id=tracked.id)
        if not tracked.is_final:
            self._schedule.learn(tracked)
        if error is None:
            tracked.stop()
        elif tracked.latest is not None and tracked.latest.is_final and not isinstance(error, SessionClosedError):
            tracked.settle(tracked.latest)  # it has ended, and its missing URLs cannot be fetched
        else:
            if not tracked.waiters and not isinstance(error, SessionClosedError):
                logger.warning("operation %s is no longer polled: %s", tracked.id, error)
            tracked.fail(error)

    def _update(self, tracked: TrackedOperation, image: ImageResult, *, asked_at: float, age: float) -> None:
        """Process a newer snapshot. If it is the first final one, report the end of the operation."""
        ended_now = image.is_final and not tracked.is_final
        tracked.update(image, asked_at=asked_at, age=age)
        if ended_now and tracked.id not in self._ended:  # a resumed operation may have ended before
            self._ended[tracked.id] = None
            self._journal.end(tracked.id, image.deduction_credit)
            self._ramp.on_capacity()
            duration = tracked.timeline.exact_duration(image, age) if tracked.pressed_here else None
            self._report_end(tracked, image.status, age, duration)
            self._webhooks.count(tracked)
            self._schedule.learn(tracked, ended_at=age, duration=duration)

    def _report_end(
        self, tracked: TrackedOperation, status: ImageStatus | int | None, age: float, duration: float | None
    ) -> None:
        delay = tracked.timeline.detection_delay(age, duration) if tracked.pressed_here else 0.0
        self._reporter.report(
            events.Finished(
                operation_id=tracked.id,
                kind=tracked.kind,
                status=status,
                seconds=age,
                duration=duration,
                polls=tracked.timeline.polls,
                detection_delay=delay,
            )
        )


def _unwrap(outcome: ImageResult | Exception) -> ImageResult:
    """Return the result, or raise the error. Each caller gets a separate copy of an :class:`AkoolError`."""
    if isinstance(outcome, AkoolError):
        raise outcome.fresh() from outcome.__cause__
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
