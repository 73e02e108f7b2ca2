"""The handle of one accepted operation, and the outcome of one press or prompt of many.

.. include:: _poll/README.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from attrs import Factory, field, frozen

from akool_async import _validate
from akool_async.errors import AkoolError, ConfigurationError, OperationFailedError
from akool_async.items import Button, ButtonPress
from akool_async.models import ImageResult, ImageStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from akool_async._poll.poller import Poller
    from akool_async._poll.tracked import TrackedOperation
    from akool_async.items import Item, Prompt, SourcePrompt

_JSON_VERSION = 1


class Operation:
    """An operation that AKOOL accepted: its id, and the means to wait for its end.

    It is a small value: it can be rebuilt from its id (``session.operation(id)``) or its JSON
    (``session.resume(text)``) in any process, and holds no secret. A pickled copy is detached from its session; pass it
    to ``session.wait_until_complete(operation)``.
    """

    __slots__ = ("__weakref__", "_poller", "_tracked", "button", "id", "source_image_id")

    def __init__(
        self,
        id: str,  # noqa: A002 - AKOOL's word for it
        button: Button | None = None,
        source_image_id: str | None = None,
        *,
        tracked: TrackedOperation | None = None,
        poller: Poller | None = None,
    ) -> None:
        self.id = id
        self.button = button
        self.source_image_id = source_image_id
        self._tracked = tracked
        self._poller = poller

    @property
    def latest(self) -> ImageResult | None:
        """The newest snapshot; at first the reply of the press, with its ``deduction_credit``. None for a bare id."""
        return None if self._tracked is None else self._tracked.latest

    @property
    def press(self) -> ButtonPress | None:
        """The press it was made by; None for a prompt and for a bare id."""
        if self.button is None or self.source_image_id is None:
            return None
        return ButtonPress(self.source_image_id, self.button)

    @property
    def status(self) -> ImageStatus | int | None:
        """The status last seen, without asking; None where nothing was seen yet."""
        return None if self._tracked is None else self._tracked.status

    def done(self) -> bool:
        """True once status 3 or 4 was seen, without asking."""
        return self.latest is not None and self.latest.is_final

    async def wait_until_complete(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the public name
        raise_on_failure: bool = True,
    ) -> ImageResult:
        """Poll Get Image Result until ``image_status`` is 3 (completed) or 4 (failed).

        All who wait for this id share one poll loop.

        Args:
            timeout: Seconds, on a monotonic clock; None waits for as long as it takes.
            raise_on_failure: False returns the result of status 4 instead of raising.

        Returns:
            The final result, whose URLs can be fetched for 7 days.

        Raises:
            OperationFailedError: AKOOL reports status 4; the error carries the result.
            WaitTimeoutError: Time is up. The job runs on and costs nothing more. Wait again whenever you like.
            PollingError: Polls failed for minutes; the job may run on.
            AuthenticationError, NotFoundError, ...: AKOOL gave an answer that no later poll will mend.
            SessionClosedError: The session was closed meanwhile.
        """
        seconds = _validate.optional_seconds("timeout", timeout)
        tracked, poller = self._attached()
        try:
            result = await poller.wait_until_final(tracked, seconds)
        except AkoolError as error:
            error.about(press=self.press)
            raise
        failure = failure_of(result)
        if raise_on_failure and failure is not None:
            raise failure.about(press=self.press)
        return result

    def __await__(self) -> Generator[Any, None, ImageResult]:
        """``await operation`` is ``await operation.wait_until_complete()``."""
        return self.wait_until_complete().__await__()

    async def updates(self) -> AsyncGenerator[ImageResult, None]:
        """Yield each new snapshot until the final one, whatever its status; shares the poll loop of the waiters."""
        tracked, poller = self._attached()
        async for snapshot in poller.updates(tracked):
            yield snapshot

    def to_json(self) -> str:
        """A text from which ``session.resume`` rebuilds this operation, in this process or another."""
        fields = {
            "version": _JSON_VERSION,
            "id": self.id,
            "button": self.button,
            "source_image_id": self.source_image_id,
        }
        return orjson.dumps(fields).decode()

    def __repr__(self) -> str:
        return f"Operation(id={self.id!r}, button={self.button!r}, source_image_id={self.source_image_id!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Operation) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return Operation, (self.id, self.button, self.source_image_id)

    def _attached(self) -> tuple[TrackedOperation, Poller]:
        if self._tracked is None or self._poller is None:
            raise ConfigurationError(
                "this operation was copied out of its session; use session.wait_until_complete(operation)"
            ).about(operation_id=self.id)
        return self._tracked, self._poller


def _button_of(outcome: Outcome) -> Button | None:
    return None if outcome.press is None else outcome.press.button


@frozen
class Outcome:
    """What became of one press or prompt of a fan-out: a result or an error, and the operation if AKOOL accepted it."""

    press: ButtonPress | None = None
    """None for a prompt, and for a press whose source image was never accepted."""
    operation: Operation | None = None
    result: ImageResult | None = None
    """The final result; of an operation that failed too."""
    error: Exception | None = None
    """An :class:`AkoolError`, unless code of the caller's own, such as a polling schedule, failed."""
    prompt: Prompt | SourcePrompt | None = field(default=None, kw_only=True)
    """None for a press."""
    button: Button | None = field(default=Factory(_button_of, takes_self=True), kw_only=True)
    """The button that was or would have been pressed; None for a prompt."""
    parent: Outcome | None = field(default=None, kw_only=True, repr=False)
    """The outcome on whose result this was or would have been pressed; None for an item of the fan-out itself."""
    number: int = field(default=1, kw_only=True)
    """Which image of a prompt's batch it is, counted from 1."""

    @property
    def ok(self) -> bool:
        """True for a completed operation."""
        return self.error is None

    @property
    def item(self) -> Item | None:
        """The item of the fan-out that this is part of."""
        return (self.prompt or self.press) if self.parent is None else self.parent.item

    @property
    def path(self) -> tuple[Button, ...]:
        """The buttons from the item to here, such as ``(V1, U3)``; empty for a prompt."""
        before = () if self.parent is None else self.parent.path
        return before if self.button is None else (*before, self.button)

    def unwrap(self) -> ImageResult:
        """The result; raises the error where there is one."""
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise ValueError(f"the outcome of {self.prompt or self.press} holds neither a result nor an error")
        return self.result


def failure_of(result: ImageResult) -> OperationFailedError | None:
    """The error that a result of status 4 is; None for another."""
    return OperationFailedError(result) if result.status == ImageStatus.FAILED else None


def read_operation(text: str) -> Operation:
    """The detached operation in a text of ``to_json``; a ``ValueError`` says what is wrong with it."""
    try:
        fields = orjson.loads(text)
    except (orjson.JSONDecodeError, TypeError):
        fields = None
    if not isinstance(fields, dict) or "id" not in fields:
        raise ValueError("text must be what Operation.to_json() returned")
    if fields.get("version") != _JSON_VERSION or fields["version"] is True:
        raise ValueError(f"text must be of version {_JSON_VERSION}, not {fields.get('version')!r}")
    button = fields.get("button")
    source = fields.get("source_image_id")
    return Operation(
        _validate.image_id("id in text", fields["id"]),
        None if button is None else Button.parse(button),
        None if source is None else _validate.image_id("source_image_id in text", source),
    )
