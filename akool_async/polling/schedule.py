"""What a schedule is: it says when to poll next, and may learn from the operations that ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from akool_async.models import ImageStatus


@frozen
class Progress:
    """How far an operation has come, as its polls saw it. Ages are seconds since AKOOL accepted it."""

    kind: str | None
    """"upscale", "variation" or "prompt"; None if this session did not press it: then its age is not known."""
    age: float
    """Its age now; if it was not pressed here, seconds since this session first polled it."""
    polls: int
    """How often it was polled."""
    status: ImageStatus | int | None
    """``image_status`` as last seen; None if it was not seen yet."""
    processing_since: float | None
    """Its age at the first poll that saw status 2; None before."""


@frozen
class Finished:
    """An operation that ended, or that nobody polls any more. Ages are seconds since AKOOL accepted it."""

    kind: str
    """"upscale", "variation" or "prompt"."""
    running_at: float
    """Its age at the last poll that saw it unfinished; 0.0 if none did."""
    ended_at: float | None
    """Its age at the poll that saw it finished, or at its webhook; above 0. None if it was abandoned before."""
    queued_at: float = 0.0
    """Its age at the last poll that saw it queueing (status 1); 0.0 if none did."""
    processing_at: float | None = None
    """Its age at the first poll that saw it processing (status 2); None if none did."""
    duration: float | None = None
    """Seconds that it took by AKOOL's clock; None if its result does not say, or the polls saw otherwise."""


class Polling(Protocol):
    """A schedule: when to poll running operations.

    It is called in the session's event loop, so it must not block. An exception ends the wait with it.
    """

    def next_delay(self, progress: Progress) -> float:
        """Seconds from now to the next poll of an operation, at least 0."""

    def learn(self, finished: Finished) -> None:
        """Learn from an operation that this session pressed, once it has ended or is not polled any more."""
