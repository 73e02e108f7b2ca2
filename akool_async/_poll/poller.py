"""One shared poll loop per image id, however many wait.

A loop runs while somebody waits or while the operation holds a slot, since the cap counts what runs at the server. It
ends at a final status, or for a reason that no later poll will mend; a fault that may pass never ends it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from akool_async._http.retry import is_permanent
from akool_async._limits.recent import Recent
from akool_async._poll.listeners import Listeners
from akool_async._poll.missing_urls import missing_urls_grace
from akool_async._poll.streak import Streak
from akool_async._poll.tracked import TrackedOperation
from akool_async._poll.webhook_statistics import WebhookStatistics
from akool_async.errors import (
    AkoolError,
    ConfigurationError,
    NotFoundError,
    PollingError,
    SessionClosedError,
    WaitTimeoutError,
)
from akool_async.events import Finished

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from akool_async._http.endpoints import Snapshot
    from akool_async._http.event_loop import HomeLoop
    from akool_async._limits.journal import Journal
    from akool_async._limits.slots import Slot
    from akool_async._limits.timing import Timing
    from akool_async.events import Reporter
    from akool_async.models import Button, ImageResult
    from akool_async.polling import Polling

logger = logging.getLogger("akool_async")

SHORTEST_INTERVAL: Final = 0.001
LONGEST_INTERVAL: Final = 1e9
HINT_PRECISION: Final = 1.0
"""Seconds before its webhook in which an operation has ended."""


class Poller:
    """The tracked operations of one session."""

    def __init__(
        self,
        look: Callable[[str, Snapshot | None], Awaitable[Snapshot]],
        polling: Polling,
        timing: Timing,
        reporter: Reporter,
        home: HomeLoop,
        journal: Journal,
        *,
        on_end: Callable[[], None],
    ) -> None:
        self._look = look
        self._polling = polling
        self._timing = timing
        self._reporter = reporter
        self._home = home
        self._journal = journal
        self._made_here: Recent[str, TrackedOperation] = Recent()
        self._on_end = on_end
        self._hints = WebhookStatistics()
        self._ended: Recent[str, None] = Recent()  # ids of ended operations: the end of each is reported once
        self._tracked: WeakValueDictionary[str, TrackedOperation] = WeakValueDictionary()
        self._loops: dict[asyncio.Task[None], TrackedOperation] = {}
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Operations that are polled for."""
        return len(self._loops)

    def tracked(self, image_id: str, button: Button | None = None) -> TrackedOperation:
        """The one tracked of an image id. Sends nothing."""
        tracked = self._tracked.get(image_id)
        if tracked is None:
            tracked = self._tracked[image_id] = TrackedOperation(image_id, button)
        return tracked

    def track(
        self, created: ImageResult, button: Button | None, slot: Slot, *, expects_webhook: bool, is_new: bool
    ) -> TrackedOperation:
        """Take over an operation that AKOOL accepted; with a slot, it is polled for even when nobody waits.

        One that is not new was accepted some time ago: how long it takes teaches nothing.
        """
        tracked = self.tracked(created.id, button)
        tracked.pressed_here = True
        self._made_here[created.id] = tracked
        tracked.called_back = expects_webhook
        tracked.learned = not is_new
        tracked.kind = tracked.kind or "prompt"
        tracked.began = asyncio.get_running_loop().time()
        ended_now = created.is_final and not tracked.is_final
        tracked.see(created)
        if ended_now:  # a webhook told of it after its reply was lost
            self._end_seen(tracked, created, 0.0)
        if slot and not created.is_final and not self._closed:
            tracked.release_slot()  # an id that AKOOL gives twice holds one slot
            tracked.slot = slot
            self._ensure_loop(tracked)
        else:
            slot.release()
        return tracked

    def hint(self, image_id: str, *, ended: bool) -> bool:
        """A webhook came: True where the operation is known here."""
        tracked = self._tracked.get(image_id)
        if tracked is None:
            if ended:
                self._hints.keep(image_id)
            return False
        if ended and tracked.is_final:
            if not tracked.hints:  # a poll was only just ahead of it
                tracked.hints = 1
                self._hints.came()
        elif ended:
            tracked.hint(asyncio.get_running_loop().time())
        return True

    async def wait(self, tracked: TrackedOperation, seconds: float | None) -> ImageResult:
        """Wait for the end, or raise :class:`WaitTimeoutError` when this caller's own time is up."""
        if seconds is None:
            await self._outlast(tracked)
        else:
            try:
                async with asyncio.timeout(seconds) as timer:
                    await self._outlast(tracked)
            except TimeoutError:
                if not timer.expired():
                    raise
        if tracked.latest is None or not tracked.latest.is_final:
            raise WaitTimeoutError(tracked.id, seconds or 0.0, tracked.status)
        return tracked.latest

    async def updates(self, tracked: TrackedOperation) -> AsyncIterator[ImageResult]:
        """Every new snapshot until the end; one that came and went between two looks of a slow reader is skipped."""
        shown: ImageResult | None = None
        while True:
            if tracked.latest is not None and tracked.latest != shown:
                shown = tracked.latest
                yield shown
            elif tracked.settled:
                return
            else:
                tracked.changes = tracked.changes or Listeners()
                await self._listen(tracked, tracked.changes)

    async def aclose(self) -> None:
        """End every loop and every wait; the operations themselves run on at AKOOL."""
        self._closed = True
        loops = dict(self._loops)
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        if loops:
            running = ", ".join(tracked.id for tracked in loops.values())
            logger.info("session closed; still running at AKOOL: %s", running)

    async def _outlast(self, tracked: TrackedOperation) -> None:
        while not tracked.settled:  # a loop also stops where nobody waited just then: once more
            await self._listen(tracked, tracked.end)

    async def _listen(self, tracked: TrackedOperation, listeners: Listeners[BaseException | None]) -> None:
        """Wait until these are told, and raise what ended the loop, where something did."""
        self._home.require()
        if self._closed:
            raise SessionClosedError(operation_ids=(tracked.id,))
        self._ensure_loop(tracked)
        tracked.waiters += 1
        told = listeners.join()
        try:
            error = await told
        finally:
            listeners.discard(told)
            tracked.waiters -= 1
        if isinstance(error, AkoolError):
            raise error.fresh() from error.__cause__
        if error is not None:
            raise error

    def _ensure_loop(self, tracked: TrackedOperation) -> None:
        if tracked.loop is None:
            tracked.loop = asyncio.create_task(self._poll(tracked))
            self._loops[tracked.loop] = tracked
            tracked.loop.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        """A loop is over, for whatever reason, perhaps before its first step: the slot comes back, all are told."""
        tracked = self._loops.pop(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or isinstance(error, SessionClosedError):
            error = SessionClosedError(operation_ids=(tracked.id,))
        elif error is not None and tracked.is_final:  # its end is known, and no more URLs of it are to be had
            tracked.settled, error = True, None
        if error is not None and not tracked.waiters and not task.cancelled():
            logger.warning("operation %s is no longer watched: %s", tracked.id, error)
        if not tracked.is_final:
            self._learn(tracked, None)
        tracked.release_slot()
        tracked.tell_end(error)

    async def _poll(self, tracked: TrackedOperation) -> None:
        loop = asyncio.get_running_loop()
        streak: Streak | None = None
        began = tracked.began = loop.time() if tracked.began is None else tracked.began
        final_since: float | None = None
        pause = 0.0
        # Of what was not pressed here, or was looked at before, the end may be long past: the first look is at once.
        if tracked.pressed_here and not tracked.looks and not tracked.is_final:
            pause = began + self._interval(tracked, 0.0) - loop.time()
        if self._hints.take(tracked.id):
            tracked.hint(loop.time())
        while True:
            if not tracked.hinted:
                tracked.alarm = loop.create_future()
                timer = loop.call_later(pause, tracked.wake)
                try:
                    await tracked.alarm
                finally:
                    timer.cancel()
                    tracked.alarm = None
            if not tracked.waiters and tracked.slot is None:
                return
            asked_at = loop.time() - began
            tracked.looks += 1
            tracked.hinted = False
            try:
                look = await self._look(tracked.id, tracked.last_look)
            except AkoolError as error:
                streak = streak or Streak(self._timing.poll_failure_timeout)
                self._check_worth_going_on(tracked, error, streak, loop.time() - began)
                pause = max(self._interval(tracked, loop.time() - began) * streak.stretch, error.retry_after or 0.0)
                logger.debug("poll of %s failed (%s), next in %.1f s", tracked.id, error, pause)
                continue
            streak = None
            age = loop.time() - began
            self._take_in(tracked, look, asked_at=asked_at, age=age)
            pause = self._interval(tracked, age)
            if tracked.latest is not None and tracked.latest.is_final:
                final_since = final_since or loop.time()
                is_settled = look.is_settled and not tracked.pressed_here
                if is_settled or loop.time() - final_since >= missing_urls_grace(
                    tracked.latest, tracked.button, self._timing
                ):
                    tracked.settled = True
                    return
                pause = min(pause, self._timing.url_interval)
            elif tracked.slot is not None and age > self._timing.slot_timeout:
                logger.warning("operation %s has not ended in %.0f s; its slot is given back", tracked.id, age)
                tracked.release_slot()

    def _take_in(self, tracked: TrackedOperation, look: Snapshot, *, asked_at: float, age: float) -> None:
        """A good poll: what it says of the operation, and of how long operations take."""
        result = look.image
        ended_now = result.is_final and not tracked.is_final
        if look is not tracked.last_look:
            tracked.last_look = None if result.is_final else look
            tracked.see(result)
        self._reporter.report_poll(tracked.id, tracked.kind, result.status, age)
        if not result.is_final:
            tracked.running_at = asked_at
        elif ended_now:
            self._end_seen(tracked, result, age)

    def _end_seen(self, tracked: TrackedOperation, result: ImageResult, age: float) -> None:
        """Status 3 or 4, for the first time; an operation that is taken up again has ended before."""
        if tracked.id in self._ended:
            return
        self._ended[tracked.id] = None
        self._on_end()
        self._journal.end(tracked.id, result.deduction_credit)
        was_hinted = tracked.hinted_at > tracked.running_at
        duration = tracked.exact_duration(result, age)
        if was_hinted:
            lateness = age - tracked.hinted_at
        elif duration is not None:
            lateness = age - duration
        else:
            lateness = (age - tracked.running_at) / 2
        self._reporter.report(
            Finished(
                operation_id=tracked.id,
                kind=tracked.kind,
                status=result.status,
                seconds=age,
                duration=duration,
                polls=tracked.looks,
                lateness=lateness if tracked.pressed_here else 0.0,
            )
        )
        if was_hinted:
            self._hints.came()
            tracked.running_at = max(tracked.running_at, tracked.hinted_at - HINT_PRECISION)
            age = tracked.hinted_at
        elif tracked.relies_on_hint:
            self._stop_relying_on_hints()
        elif tracked.called_back:
            asyncio.get_running_loop().call_later(self._timing.webhook_grace, self._miss_hint, tracked)
        self._learn(tracked, age)

    def _miss_hint(self, tracked: TrackedOperation) -> None:
        if not tracked.hints:
            self._hints.failed_to_come()

    def _stop_relying_on_hints(self) -> None:
        """One did not come: those that count on theirs are looked at as ever."""
        logger.warning("no webhook came for an operation that ended: polling takes over")
        self._hints.failed_to_come()
        loop = asyncio.get_running_loop()
        for tracked in self._loops.values():
            if tracked.relies_on_hint and tracked.began is not None:  # pragma: no branch - it saves the others a poll
                tracked.relies_on_hint = False
                loop.call_later(self._interval(tracked, loop.time() - tracked.began), tracked.wake)

    def _interval(self, tracked: TrackedOperation, age: float) -> float:
        # The age of an operation that was not pressed here is not known.
        interval = self._polling.interval(tracked.kind if tracked.pressed_here else None, age, tracked.looks)
        if not isinstance(interval, (int, float)) or not 0 <= interval <= LONGEST_INTERVAL:
            raise ConfigurationError(
                f"polling: {self._polling!r} gave the interval {interval!r}, not a number of seconds"
            )
        tracked.relies_on_hint = tracked.called_back and self._hints.are_reliable and not tracked.hints
        return max(interval, self._timing.fallback_poll_interval if tracked.relies_on_hint else SHORTEST_INTERVAL)

    def _learn(self, tracked: TrackedOperation, ended_at: float | None) -> None:
        if tracked.pressed_here and tracked.kind is not None and tracked.looks and not tracked.learned:
            tracked.learned = True
            try:
                self._polling.learn(tracked.kind, running_at=tracked.running_at, ended_at=ended_at)
            except Exception:
                logger.exception("the schedule failed to learn from operation %s", tracked.id)

    def _check_worth_going_on(self, tracked: TrackedOperation, error: AkoolError, streak: Streak, age: float) -> None:
        fresh = tracked.pressed_here and age < self._timing.not_found_grace
        if is_permanent(error) and not (isinstance(error, NotFoundError) and fresh):
            raise error
        if streak.add(asyncio.get_running_loop().time()):
            raise PollingError(tracked.id, status=tracked.status, age=age, reason=str(error.args[0])) from error
