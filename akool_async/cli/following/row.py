"""One operation that a command follows, from the POST to the pictures on disk."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from akool_async import AkoolError, Button, ImageStatus, OutcomeUnknownError, PollingError, WaitTimeoutError
from akool_async.cli.outcomes.describe import UNSAVED, explain_running, fields_of_prompt, with_error, with_image
from akool_async.cli.outcomes.line import UNSETTLED, OutcomeLine, PressState

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async import ImageResult, Operation

PROMPT: Final = "prompt"
"""The name of the row of a prompt; the row of a press has the name of its button."""
ENDED: Final = frozenset({"completed", "failed", "not finished"}) | UNSETTLED


@define(eq=False)
class Row:
    """One operation that is followed."""

    name: str
    image_id: str = ""
    """The source image of a press; empty until it is known."""
    prompt: str | None = None
    """The text of the prompt, if the JSON of the row contains it; else None."""
    state: str = "queued here"
    operation: Operation | None = None
    latest: ImageResult | None = None
    result: ImageResult | None = None
    files: list[Path] = field(factory=list)
    error: AkoolError | OSError | None = None
    _started: float | None = None
    _ended: float | None = None

    @property
    def id(self) -> str:
        """The id of the operation; empty before AKOOL accepts it."""
        return "" if self.operation is None else self.operation.id

    @property
    def short_name(self) -> str:
        """A name for its pictures that fits into a narrow table, such as ``U1-3fa9``."""
        return f"{'image' if self.name == PROMPT else self.name}-{self.id[-4:]}"

    @property
    def kind(self) -> str:
        """The kind of price, such as ``upscale`` or ``prompt``."""
        return Button(self.name).kind if self.name in Button.__members__ else PROMPT

    @property
    def credits(self) -> float:
        """Credits that AKOOL reported; 0 before."""
        return (self.latest and self.latest.deduction_credit) or 0

    @property
    def seconds(self) -> float | None:
        """Seconds since AKOOL accepted it, until its end or until now; None before."""
        if self._started is None:
            return None
        return (time.monotonic() if self._ended is None else self._ended) - self._started

    @property
    def has_ended(self) -> bool:
        """True once its state is final."""
        return self.state in ENDED

    @property
    def is_unsettled(self) -> bool:
        """True if it was or may have been charged, and its id is not known."""
        return self.state in UNSETTLED

    def accept(self, operation: Operation) -> None:
        """Note that AKOOL accepted it."""
        self.operation, self._started = operation, time.monotonic()
        self.state = "accepted"
        if operation.latest is not None:
            self.update(operation.latest)

    def update(self, snapshot: ImageResult) -> None:
        """Note the result of a poll. The row is not completed before its pictures are saved."""
        self.latest = snapshot
        status = snapshot.status
        if status == ImageStatus.COMPLETED:
            self._stop_clock()
            self.state = "saving"
        else:
            self.state = status.name.lower() if isinstance(status, ImageStatus) else f"status {status}"

    def complete(self, files: list[Path]) -> None:
        """Note that it is completed, with the pictures that were saved."""
        self.files, self.state = files, "completed"

    def fail(self, error: AkoolError | OSError) -> None:
        """Note an error: it ended without a result, or the wait ended."""
        self.error = error
        if isinstance(error, OutcomeUnknownError) and not self.id:
            self.state = PressState.LOST if error.charged else PressState.IN_DOUBT
        else:
            self.state = "not finished" if isinstance(error, WaitTimeoutError | PollingError) else "failed"
        self._stop_clock()

    def stop_waiting(self) -> None:
        """Note that the command no longer waits for it, although AKOOL accepted it."""
        is_final = self.latest is not None and self.latest.is_final
        self.error = AkoolError(UNSAVED if is_final else explain_running(self.id))
        self.state = PressState.NOT_FINISHED
        self._stop_clock()

    def line(self, *, price: float) -> OutcomeLine:
        """Return the line of the row.

        Args:
            price: The expected price, for a press whose id was lost.
        """
        line = OutcomeLine(
            image_id=self.image_id or self.id,  # a prompt has its own image as source
            button=self.name,
            ok=self.result is not None and self.error is None,
            id=self.id or None,
            files=tuple(map(str, self.files)),
        )
        line = with_error(with_image(line, self.latest), self.error)
        return evolve(line, credits=price) if line.state is PressState.LOST else line

    def to_json(self, *, price: float) -> str:
        """Return the line of the row as JSON."""
        line = self.line(price=price)
        return line.to_json() if self.prompt is None else json.dumps(fields_of_prompt(self.prompt, line, self.result))

    def _stop_clock(self) -> None:
        if self._ended is None:
            self._ended = time.monotonic()
