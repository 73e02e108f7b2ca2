"""The arguments of a durable fan-out: each is read, or refused with a message that says what to pass."""

from __future__ import annotations

import math
from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import frozen

from akool_async import Button, ButtonPress, Prompt, _validate
from akool_async._fan_out import items
from akool_async.durable._job import PAGE_SIZE, Job, JobState
from akool_async.durable._job_items import ItemReader
from akool_async.durable._recording import NewJob
from akool_async.durable._worker_timing import WorkerTiming

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from akool_async._fan_out.items import AnyItem, Items
    from akool_async.durable._job_items import JobItem
    from akool_async.items import Branch, Item

T = TypeVar("T")

MAX_AGE: Final = timedelta(days=36_500)
ACCOUNT_LENGTH_LIMIT: Final = 64
"""It is part of a file's name."""


@frozen(kw_only=True)
class Resolution:
    """How to settle a job."""

    job_item: JobItem
    operation_id: str | None
    """The id to follow it by."""
    abandon: bool
    """Whether to count it as failed. If this is False and there is no id, it is pressed again."""


def read_resolution(item: AnyItem | Job | str, operation_id: str | None, *, retry: bool, abandon: bool) -> Resolution:
    """Exactly one of ``operation_id``, ``retry`` and ``abandon``.

    Raises:
        ValueError: Another number of them, no item, or an id that cannot be what it made.
    """
    job_item = read_one("item", item)
    if [operation_id is not None, retry, abandon].count(True) != 1:
        raise ValueError("resolve takes one of operation_id, retry=True and abandon=True")
    if operation_id is not None:
        operation_id = _validate.image_id("operation_id", operation_id)
        if isinstance(job_item.item, ButtonPress) and operation_id == job_item.item.image_id:
            raise ValueError(f"operation_id: {operation_id} is the source image itself, not what the press made of it")
    return Resolution(job_item=job_item, operation_id=operation_id, abandon=abandon)


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


def read_one(name: str, item: AnyItem | Job | str) -> JobItem:
    """What the job of an item is for; of a batch, of its first image. A text is the key of a prompt."""
    if isinstance(item, Job):
        return item.job_item
    if isinstance(item, str):
        item = Prompt(item, key=item)  # the key alone tells it from others
    return next(ItemReader().read(_sendable(items.read_item(name, item)), name))


async def read_items(name: str, given: Items) -> AsyncGenerator[tuple[JobItem, tuple[Branch, ...]], None]:
    """What the jobs of each item are for, and what is pressed on its result; an error names the item's place."""
    items.check_items(given, name)
    reader, place = ItemReader(), 0
    async with aclosing(items.pull(given)) as pulled:
        async for one in pulled:
            item = _sendable(items.read_item(f"{name}[{place}]", one))
            try:
                job_items = reader.read(item, f"{name}[{place}]")
            except ValueError as error:
                raise ValueError(f"{name}[{place}]: {error}") from None
            for job_item in job_items:
                yield job_item, item.then
            place += 1


def _sendable(item: Item) -> Item:
    if isinstance(item, ButtonPress):
        Button.parse(item.button)
    return item


async def batches_of(given: Items, budget: str | None) -> AsyncGenerator[list[NewJob], None]:
    """New jobs by the page, and the rest when the input ends, also if it ends with an error."""
    batch: list[NewJob] = []
    try:
        async for job_item, then in read_items("items", given):
            batch.append(NewJob(job_item, then, budget))
            if len(batch) == PAGE_SIZE:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def pages(of: list[T]) -> Iterable[list[T]]:
    """A list by the page, as many as one statement takes."""
    return (of[start : start + PAGE_SIZE] for start in range(0, len(of), PAGE_SIZE))
