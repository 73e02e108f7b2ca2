"""`Operation`: a handle to wait for an accepted operation. `Outcome`: the result of one press or prompt of a fan-out.

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

__all__ = ["Operation", "Outcome"]

_JSON_VERSION = 1


class Operation:
    """An operation that AKOOL accepted. ``await operation`` waits until it is finished and returns the result.

    Sessions make operations; do not call this class. Any process can rebuild one from its id
    (``session.operation(id)``) or its JSON (``session.resume(text)``). It holds no secret. A pickled copy is detached
    from its session: pass it to ``session.wait_until_complete(operation)``. Operations with the same id are equal.

    Attributes:
        id: AKOOL's ``_id`` of the operation, which is also the id of the image that it makes.
        button: The button that was pressed; None for a prompt, and if only the id is known.
        source_image_id: The image whose button was pressed; None for a prompt, and if only the id is known.
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
        """The newest snapshot, at first AKOOL's reply to the POST. None if this process has not read the image yet."""
        return None if self._tracked is None else self._tracked.latest

    @property
    def press(self) -> ButtonPress | None:
        """The press that made it; None for a prompt, and if only the id is known."""
        if self.button is None or self.source_image_id is None:
            return None
        return ButtonPress(self.source_image_id, self.button)

    @property
    def status(self) -> ImageStatus | int | None:
        """``image_status`` of :attr:`latest`; None if this process has not read it yet. Sends nothing."""
        return None if self._tracked is None else self._tracked.status

    def done(self) -> bool:
        """Return True if status 3 or 4 was seen. Sends nothing."""
        return self.latest is not None and self.latest.is_final

    async def wait_until_complete(
        self,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 - the public name
        raise_on_failure: bool = True,
    ) -> ImageResult:
        """Poll Get Image Result until ``image_status`` is 3 (completed) or 4 (failed).

        All callers that wait for this id in one session share one poll loop.

        Args:
            timeout: Seconds to wait; None for no limit.
            raise_on_failure: False returns the result of status 4 instead of raising.

        Returns:
            The final result, whose URLs can be fetched for 7 days.

        Raises:
            ValueError: ``timeout`` is not a number of seconds above 0.
            OperationFailedError: AKOOL reports status 4; the error carries the result.
            WaitTimeoutError: The timeout is over. The job runs on at no further cost, and you can wait again.
            PollingError: 30 polls in a row failed, or all polls of 15 minutes; the job may run on.
            AuthenticationError, NotFoundError, ...: AKOOL gave an answer that later polls cannot change.
            SessionClosedError: The session was closed meanwhile.
            ConfigurationError: This is a detached copy, or it was called outside of the session's event loop.
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
        """``await operation`` is the same as ``await operation.wait_until_complete()``."""
        return self.wait_until_complete().__await__()

    async def updates(self) -> AsyncGenerator[ImageResult, None]:
        """Yield each new snapshot, the final one last, whatever its status. Uses the same poll loop as the waiters.

        Raises:
            PollingError, AuthenticationError, SessionClosedError, ...: See :meth:`wait_until_complete`.
        """
        tracked, poller = self._attached()
        async for snapshot in poller.updates(tracked):
            yield snapshot

    def to_json(self) -> str:
        """Return a text from which ``session.resume`` rebuilds this operation in any process."""
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
                "this operation is a copy without a session; use session.wait_until_complete(operation)"
            ).about(operation_id=self.id)
        return self._tracked, self._poller


def _button_of(outcome: Outcome) -> Button | None:
    return None if outcome.press is None else outcome.press.button


@frozen
class Outcome:
    """The outcome of one press or prompt of a fan-out: a result or an error, and the operation if AKOOL accepted it.

    Attributes:
        press: The press. None for a prompt, and for a press on an image that AKOOL never accepted.
        operation: The operation; None if AKOOL did not accept it, or its id is lost.
        result: The final result, also of a failed operation (status 4); None if the operation did not end or does not
            exist.
        error: Why there is no finished image; None if there is one. An :class:`AkoolError`, unless the caller's own
            code, such as a polling schedule, raised something else.
        prompt: The prompt, as it was passed; None for a press.
        button: The button that was or would have been pressed; None for a prompt.
        parent: The outcome on whose image the button was or would have been pressed; None for an item of the input.
        number: The position of the image in its prompt's batch, from 1.
    """

    press: ButtonPress | None = None
    operation: Operation | None = None
    result: ImageResult | None = None
    error: Exception | None = None
    prompt: Prompt | SourcePrompt | None = field(default=None, kw_only=True)
    button: Button | None = field(default=Factory(_button_of, takes_self=True), kw_only=True)
    parent: Outcome | None = field(default=None, kw_only=True, repr=False)
    number: int = field(default=1, kw_only=True)

    @property
    def ok(self) -> bool:
        """True if the operation was completed (status 3)."""
        return self.error is None

    @property
    def item(self) -> Item | None:
        """The item of the input that this outcome belongs to."""
        return (self.prompt or self.press) if self.parent is None else self.parent.item

    @property
    def path(self) -> tuple[Button, ...]:
        """The buttons that lead from the item to this outcome, such as ``(V1, U3)``; empty for a prompt."""
        before = () if self.parent is None else self.parent.path
        return before if self.button is None else (*before, self.button)

    def unwrap(self) -> ImageResult:
        """Return the result, or raise the error.

        Raises:
            Exception: :attr:`error`, if it is not None.
        """
        if self.error is not None:
            raise self.error
        if self.result is None:
            raise ValueError(f"the outcome of {self.prompt or self.press} holds neither a result nor an error")
        return self.result


def failure_of(result: ImageResult) -> OperationFailedError | None:
    """Return the error for a result of status 4; None for any other status."""
    return OperationFailedError(result) if result.status == ImageStatus.FAILED else None


def read_operation(text: str) -> Operation:
    """Read a detached operation from a text of ``to_json``.

    Raises:
        ValueError: The text is something else.
    """
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
