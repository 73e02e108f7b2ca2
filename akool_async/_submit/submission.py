"""One POST under way that spends credits: callers come and go, the POST runs to its end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from akool_async._poll.listeners import Listeners
from akool_async.errors import AkoolError, OutcomeUnknownError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from akool_async.models import ButtonPress

T = TypeVar("T")


class Submission(Generic[T]):
    """One POST under way. Once ``committed`` it outlives its callers; before that, it ends with the last of them."""

    def __init__(
        self,
        work: Callable[[Submission[T]], Coroutine[None, None, T]],
        *,
        press: ButtonPress | None,
        leave: Callable[[T | AkoolError], None],
        forget: Callable[[Submission[T]], None],
    ) -> None:
        self.committed = False
        """True while a POST may have reached AKOOL whose outcome is not known yet."""
        self.press = press
        self._callers = 0
        self._landing: Listeners[None] = Listeners()
        self._claimed = False
        self._leave = leave
        self._forget = forget
        self.task = asyncio.create_task(work(self))
        self.task.add_done_callback(self._land)

    @property
    def dropped(self) -> bool:
        """True once it was ended because nobody waits for it any more."""
        return self.task.cancelling() > 0

    async def join(self) -> T:
        """Wait for the outcome. A caller that leaves takes nothing from the others."""
        self._callers += 1
        landed = self._landing.join()
        try:
            await landed  # also if it has just ended: its outcome is about to arrive
            self._claimed = True
        finally:
            self._landing.discard(landed)
            self._callers -= 1
            self._settle()
        error = self._error()
        if isinstance(error, AkoolError):
            raise error.fresh() from error.__cause__
        return self.task.result()

    def drop_if_idle(self) -> None:
        """End it where nobody waits and nothing is on its way."""
        if not self._callers and not self.committed:
            self.task.cancel()

    def _error(self) -> BaseException | None:
        if not self.task.cancelled():
            return self.task.exception()
        if self.committed:
            return OutcomeUnknownError("the session was closed before AKOOL's reply came").about(press=self.press)
        return SessionClosedError("the session was closed before this was sent; nothing was spent").about(
            press=self.press
        )

    def _land(self, _: object) -> None:
        self._landing.tell(None)
        self._settle()
        self._forget(self)

    def _settle(self) -> None:
        if not self.task.done():
            self.drop_if_idle()
        elif not self._callers and not self._claimed:
            self._claimed = True
            error = self._error()
            if error is None:
                self._leave(self.task.result())
            elif isinstance(error, AkoolError):  # pragma: no branch - anything else is a bug
                self._leave(error)
