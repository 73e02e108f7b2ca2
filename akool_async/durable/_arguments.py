"""The arguments of a durable fan-out: each is read, or refused with a message that says what to pass."""

from __future__ import annotations

import math
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from attrs import frozen

from akool_async import Button, ButtonPress, _validate
from akool_async._fan_out import items
from akool_async.durable._job import PAGE_SIZE, JobState
from akool_async.durable._worker_timing import WorkerTiming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from akool_async._fan_out.items import Items

    Press = ButtonPress | tuple[str, str]

MAX_AGE: Final = timedelta(days=36_500)
ACCOUNT_LENGTH_LIMIT: Final = 64
"""It is part of a file's name."""


@frozen(kw_only=True)
class Resolution:
    """How to settle the job of a press."""

    press: ButtonPress
    operation_id: str | None
    """The id to follow it by."""
    abandon: bool
    """Whether to count it as failed. If this is False and there is no id, it is pressed again."""


def read_resolution(press: Press, operation_id: str | None, *, retry: bool, abandon: bool) -> Resolution:
    """Exactly one of ``operation_id``, ``retry`` and ``abandon``.

    Raises:
        ValueError: Another number of them, no press, or an id that cannot be what the press made.
    """
    press = read_press(press)
    if [operation_id is not None, retry, abandon].count(True) != 1:
        raise ValueError("resolve takes one of operation_id, retry=True and abandon=True")
    if operation_id is not None:
        operation_id = _validate.image_id("operation_id", operation_id)
        if operation_id == press.image_id:
            raise ValueError(f"operation_id: {operation_id} is the source image itself, not what the press made of it")
    return Resolution(press=press, operation_id=operation_id, abandon=abandon)


def check_account(name: str) -> None:
    """Raise a ``ValueError`` unless it can name an account."""
    is_name = isinstance(name, str) and name.isascii() and name.isalnum()
    if not is_name or len(name) > ACCOUNT_LENGTH_LIMIT:
        raise ValueError(
            f"account must be a name of at most {ACCOUNT_LENGTH_LIMIT} ASCII letters and digits, not {name!r:.100}"
        )


def check_lost_reply_timeout(seconds: float) -> float:
    """A number of seconds, 0 included."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"lost_reply_timeout must be a number of seconds of at least 0, not {seconds!r}")
    return seconds


def check_worker_timing(timing: WorkerTiming) -> WorkerTiming:
    """A :class:`WorkerTiming`."""
    if not isinstance(timing, WorkerTiming):
        raise ValueError(f"worker_timing must be a WorkerTiming, not {timing!r}")  # noqa: TRY004 - bad input
    return timing


def check_age(age: timedelta) -> timedelta:
    """An age that a calendar can subtract from today."""
    if not isinstance(age, timedelta) or not timedelta() <= age <= MAX_AGE:
        raise ValueError(f"older_than must be a timedelta of 0 to {MAX_AGE.days:,} days, not {age!r}")
    return age


def read_state(state: JobState | str) -> JobState:
    """The state of a job, or its name."""
    try:
        return JobState(state)
    except ValueError:
        raise ValueError(f"states must be among {', '.join(map(repr, map(str, JobState)))}, not {state!r}") from None


def read_press(press: Press) -> ButtonPress:
    """A press, or a pair (image id, button); its button must be one of the eight."""
    return _pressable(items.read_press("press", press))


async def read_presses(name: str, presses: Items) -> AsyncGenerator[ButtonPress, None]:
    """Each press as it comes; an error names its place."""
    items.check_items(presses, name)
    place = 0
    async with aclosing(items.pull(presses)) as pulled:
        async for item in pulled:
            yield _pressable(items.read_press(f"{name}[{place}]", item))
            place += 1


def _pressable(press: ButtonPress) -> ButtonPress:
    Button.parse(press.button)
    return press


async def batches_of(presses: Items) -> AsyncGenerator[list[ButtonPress], None]:
    """Presses by the page, and the rest when the input ends, also if it ends with an error."""
    batch: list[ButtonPress] = []
    try:
        async for press in read_presses("items", presses):
            batch.append(press)
            if len(batch) == PAGE_SIZE:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def pages(presses: list[ButtonPress]) -> Iterable[list[ButtonPress]]:
    """Presses by the page, as many as one statement takes."""
    return (presses[start : start + PAGE_SIZE] for start in range(0, len(presses), PAGE_SIZE))
