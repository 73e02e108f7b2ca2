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
from akool_async._poll.tracked import Watch
from akool_async._poll.webhook_statistics import Hints
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

    from akool_async._http.endpoints import Look
    from akool_async._http.event_loop import HomeLoop
    from akool_async._limits.credits import Account
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


class Watcher:
    """The watches of one session."""

    def __init__(
        self,
        look: Callable[[str, Look | None], Awaitable[Look]],
        polling: Polling,
        timing: Timing,
        reporter: Reporter,
        home: HomeLoop,
        account: Account,
        *,
        on_end: Callable[[], None],
    ) -> None:
        self._look = look
        self._polling = polling
        self._timing = timing
        self._reporter = reporter
        self._home = home
        self._account = account
        self._on_end = on_end
        self._hints = Hints()
        self._ended: Recent[str, None] = Recent()  # ids of ended operations: the end of each is reported once
        self._watches: WeakValueDictionary[str, Watch] = WeakValueDictionary()
        self._loops: dict[asyncio.Task[None], Watch] = {}
        self._closed = False

    @property
    def in_flight(self) -> int:
        """Operations that are polled for."""
        return len(self._loops)

    def watch(self, image_id: str, button: Button | None = None) -> Watch:
        """The one watch of an image id. Sends nothing."""
        watch = self._watches.get(image_id)
        if watch is None:
            watch = self._watches[image_id] = Watch(image_id, button)
        return watch

    def adopt(
        self, created: ImageResult, button: Button | None, slot: Slot, *, called_back: bool, is_new: bool
    ) -> Watch:
        """Take over an operation that AKOOL accepted; with a slot, it is polled for even when nobody waits.

        One that is not new was accepted some time ago: how long it takes teaches nothing.
        """
        watch = self.watch(created.id, button)
        watch.pressed_here = True
        watch.called_back = called_back
        watch.learned = not is_new
        watch.kind = watch.kind or "prompt"
        watch.began = asyncio.get_running_loop().time()
        ended_now = created.is_final and not watch.is_final
        watch.see(created)
        if ended_now:  # a webhook told of it after its reply was lost
            self._end_seen(watch, created, 0.0)
        if slot and not created.is_final and not self._closed:
            watch.release_slot()  # an id that AKOOL gives twice holds one slot
            watch.slot = slot
            self._ensure_loop(watch)
        else:
            slot.release()
        return watch

    def hint(self, image_id: str, *, ended: bool) -> bool:
        """A webhook came: True where the operation is known here."""
        watch = self._watches.get(image_id)
        if watch is None:
            if ended:
                self._hints.keep(image_id)
            return False
        if ended and watch.is_final:
            if not watch.hints:  # a poll was only just ahead of it
                watch.hints = 1
                self._hints.came()
        elif ended:
            watch.hint(asyncio.get_running_loop().time())
        return True

    async def wait(self, watch: Watch, seconds: float | None) -> ImageResult:
        """Wait for the end, or raise :class:`WaitTimeoutError` when this caller's own time is up."""
        if seconds is None:
            await self._outlast(watch)
        else:
            try:
                async with asyncio.timeout(seconds) as timer:
                    await self._outlast(watch)
            except TimeoutError:
                if not timer.expired():
                    raise
        if watch.latest is None or not watch.latest.is_final:
            raise WaitTimeoutError(watch.id, seconds or 0.0, watch.status)
        return watch.latest

    async def updates(self, watch: Watch) -> AsyncIterator[ImageResult]:
        """Every new snapshot until the end; one that came and went between two looks of a slow reader is skipped."""
        shown: ImageResult | None = None
        while True:
            if watch.latest is not None and watch.latest != shown:
                shown = watch.latest
                yield shown
            elif watch.settled:
                return
            else:
                watch.changes = watch.changes or Listeners()
                await self._listen(watch, watch.changes)

    async def aclose(self) -> None:
        """End every loop and every wait; the operations themselves run on at AKOOL."""
        self._closed = True
        loops = dict(self._loops)
        for task in loops:
            task.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        if loops:
            running = ", ".join(watch.id for watch in loops.values())
            logger.info("session closed; still running at AKOOL: %s", running)

    async def _outlast(self, watch: Watch) -> None:
        while not watch.settled:  # a loop also stops where nobody waited just then: once more
            await self._listen(watch, watch.end)

    async def _listen(self, watch: Watch, listeners: Listeners[BaseException | None]) -> None:
        """Wait until these are told, and raise what ended the loop, where something did."""
        self._home.require()
        if self._closed:
            raise SessionClosedError(operation_ids=(watch.id,))
        self._ensure_loop(watch)
        watch.waiters += 1
        told = listeners.join()
        try:
            error = await told
        finally:
            listeners.discard(told)
            watch.waiters -= 1
        if isinstance(error, AkoolError):
            raise error.fresh() from error.__cause__
        if error is not None:
            raise error

    def _ensure_loop(self, watch: Watch) -> None:
        if watch.loop is None:
            watch.loop = asyncio.create_task(self._poll(watch))
            self._loops[watch.loop] = watch
            watch.loop.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        """A loop is over, for whatever reason, perhaps before its first step: the slot comes back, all are told."""
        watch = self._loops.pop(task)
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or isinstance(error, SessionClosedError):
            error = SessionClosedError(operation_ids=(watch.id,))
        elif error is not None and watch.is_final:  # its end is known, and no more URLs of it are to be had
            watch.settled, error = True, None
        if error is not None and not watch.waiters and not task.cancelled():
            logger.warning("operation %s is no longer watched: %s", watch.id, error)
        if not watch.is_final:
            self._learn(watch, None)
        watch.release_slot()
        watch.tell_end(error)

    async def _poll(self, watch: Watch) -> None:
        loop = asyncio.get_running_loop()
        streak: Streak | None = None
        began = watch.began = loop.time() if watch.began is None else watch.began
        final_since: float | None = None
        pause = 0.0
        # Of what was not pressed here, or was looked at before, the end may be long past: the first look is at once.
        if watch.pressed_here and not watch.looks and not watch.is_final:
            pause = began + self._interval(watch, 0.0) - loop.time()
        if self._hints.take(watch.id):
            watch.hint(loop.time())
        while True:
            if not watch.hinted:
                watch.alarm = loop.create_future()
                timer = loop.call_later(pause, watch.wake)
                try:
                    await watch.alarm
                finally:
                    timer.cancel()
                    watch.alarm = None
            if not watch.waiters and watch.slot is None:
                return
            asked_at = loop.time() - began
            watch.looks += 1
            watch.hinted = False
            try:
                look = await self._look(watch.id, watch.last_look)
            except AkoolError as error:
                streak = streak or Streak(self._timing.poll_failure_timeout)
                self._check_worth_going_on(watch, error, streak, loop.time() - began)
                pause = max(self._interval(watch, loop.time() - began) * streak.stretch, error.retry_after or 0.0)
                logger.debug("poll of %s failed (%s), next in %.1f s", watch.id, error, pause)
                continue
            streak = None
            age = loop.time() - began
            self._take_in(watch, look, asked_at=asked_at, age=age)
            pause = self._interval(watch, age)
            if watch.latest is not None and watch.latest.is_final:
                final_since = final_since or loop.time()
                is_settled = look.is_settled and not watch.pressed_here
                if is_settled or loop.time() - final_since >= missing_urls_grace(
                    watch.latest, watch.button, self._timing
                ):
                    watch.settled = True
                    return
                pause = min(pause, self._timing.url_interval)
            elif watch.slot is not None and age > self._timing.slot_timeout:
                logger.warning("operation %s has not ended in %.0f s; its slot is given back", watch.id, age)
                watch.release_slot()

    def _take_in(self, watch: Watch, look: Look, *, asked_at: float, age: float) -> None:
        """A good poll: what it says of the operation, and of how long operations take."""
        result = look.image
        ended_now = result.is_final and not watch.is_final
        if look is not watch.last_look:
            watch.last_look = None if result.is_final else look
            watch.see(result)
        self._reporter.report_poll(watch.id, watch.kind, result.status, age)
        if not result.is_final:
            watch.running_at = asked_at
        elif ended_now:
            self._end_seen(watch, result, age)

    def _end_seen(self, watch: Watch, result: ImageResult, age: float) -> None:
        """Status 3 or 4, for the first time; an operation that is taken up again has ended before."""
        if watch.id in self._ended:
            return
        self._ended[watch.id] = None
        self._on_end()
        self._account.end(watch.id, result.deduction_credit)
        was_hinted = watch.hinted_at > watch.running_at
        duration = watch.exact_duration(result, age)
        if was_hinted:
            lateness = age - watch.hinted_at
        elif duration is not None:
            lateness = age - duration
        else:
            lateness = (age - watch.running_at) / 2
        self._reporter.report(
            Finished(
                operation_id=watch.id,
                kind=watch.kind,
                status=result.status,
                seconds=age,
                duration=duration,
                polls=watch.looks,
                lateness=lateness if watch.pressed_here else 0.0,
            )
        )
        if was_hinted:
            self._hints.came()
            watch.running_at = max(watch.running_at, watch.hinted_at - HINT_PRECISION)
            age = watch.hinted_at
        elif watch.relies_on_hint:
            self._stop_relying_on_hints()
        elif watch.called_back:
            asyncio.get_running_loop().call_later(self._timing.webhook_grace, self._miss_hint, watch)
        self._learn(watch, age)

    def _miss_hint(self, watch: Watch) -> None:
        if not watch.hints:
            self._hints.failed_to_come()

    def _stop_relying_on_hints(self) -> None:
        """One did not come: those that count on theirs are looked at as ever."""
        logger.warning("no webhook came for an operation that ended: polling takes over")
        self._hints.failed_to_come()
        loop = asyncio.get_running_loop()
        for watch in self._loops.values():
            if watch.relies_on_hint and watch.began is not None:  # pragma: no branch - it saves the others a poll
                watch.relies_on_hint = False
                loop.call_later(self._interval(watch, loop.time() - watch.began), watch.wake)

    def _interval(self, watch: Watch, age: float) -> float:
        # The age of an operation that was not pressed here is not known.
        interval = self._polling.interval(watch.kind if watch.pressed_here else None, age, watch.looks)
        if not isinstance(interval, (int, float)) or not 0 <= interval <= LONGEST_INTERVAL:
            raise ConfigurationError(
                f"polling: {self._polling!r} gave the interval {interval!r}, not a number of seconds"
            )
        watch.relies_on_hint = watch.called_back and self._hints.are_reliable and not watch.hints
        return max(interval, self._timing.fallback_poll_interval if watch.relies_on_hint else SHORTEST_INTERVAL)

    def _learn(self, watch: Watch, ended_at: float | None) -> None:
        if watch.pressed_here and watch.kind is not None and watch.looks and not watch.learned:
            watch.learned = True
            try:
                self._polling.learn(watch.kind, running_at=watch.running_at, ended_at=ended_at)
            except Exception:
                logger.exception("the schedule failed to learn from operation %s", watch.id)

    def _check_worth_going_on(self, watch: Watch, error: AkoolError, streak: Streak, age: float) -> None:
        fresh = watch.pressed_here and age < self._timing.not_found_grace
        if is_permanent(error) and not (isinstance(error, NotFoundError) and fresh):
            raise error
        if streak.add(asyncio.get_running_loop().time()):
            raise PollingError(watch.id, status=watch.status, age=age, reason=str(error.args[0])) from error
