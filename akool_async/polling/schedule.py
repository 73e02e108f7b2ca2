"""The protocol of a polling schedule, which decides when to poll next and may learn from finished operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

if TYPE_CHECKING:
    from akool_async.models import ImageStatus


@frozen
class Progress:
    """The progress of an operation, as its polls saw it. Ages are in seconds since AKOOL accepted it."""

    kind: str | None
    """"upscale", "variation" or "prompt"; None if this session did not start it, so its true age is unknown."""
    age: float
    """Current age; if this session did not start the operation, seconds since the session first polled it."""
    polls: int
    """Number of polls sent so far."""
    status: ImageStatus | int | None
    """``image_status`` at the latest poll; None before the first."""
    processing_since: float | None
    """Age at the first poll that saw it processing (status 2); None until then."""


@frozen
class Finished:
    """An operation that ended, or whose polling stopped before that. Ages are in seconds since AKOOL accepted it."""

    kind: str
    """"upscale", "variation" or "prompt"."""
    running_at: float
    """Age at the last poll that saw it unfinished; 0.0 if no poll did."""
    ended_at: float | None
    """Age, above 0, at the poll or webhook that reported its end; None if polling stopped before the end."""
    queued_at: float = 0.0
    """Age at the last poll that saw it queueing (status 1); 0.0 if no poll did."""
    processing_at: float | None = None
    """Age at the first poll that saw it processing (status 2); None if no poll did."""
    duration: float | None = None
    """Seconds it took by AKOOL's clock; None if the result does not show them or they contradict the polls."""


class Polling(Protocol):
    """A schedule that decides when to poll running operations.

    The session calls both methods in its event loop, so they must not block. If one raises, the wait raises that error.
    """

    def next_delay(self, progress: Progress) -> float:
        """Return the seconds from now to the next poll of an operation, at least 0."""

    def learn(self, finished: Finished) -> None:
        """Learn from an operation that this session started, once it has ended or is no longer polled."""
