"""Check the arguments of a durable fan-out. Each error says what to pass instead."""

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
"""Characters. The account is part of the names of DBOS's queues and workers."""


@frozen(kw_only=True)
class Resolution:
    """How to settle a job."""

    job_item: JobItem
    operation_id: str | None
    """The operation id with which a worker follows the job; None to abandon it or to press again."""
    abandon: bool
    """True to count the job as failed. If False and there is no id, it is pressed again."""


def read_resolution(item: AnyItem | Job | str, operation_id: str | None, *, retry: bool, abandon: bool) -> Resolution:
    """Return how to settle a job, from the arguments of ``DurableFanOut.resolve``.

    Raises:
        ValueError: Not exactly one of ``operation_id``, ``retry`` and ``abandon`` is given, ``item`` is not an item, or
            ``operation_id`` cannot be the id of the image that the item made.
    """
    job_item = read_one("item", item)
    if [operation_id is not None, retry, abandon].count(True) != 1:
        raise ValueError("resolve takes exactly one of operation_id, retry=True and abandon=True")
    if operation_id is not None:
        operation_id = _validate.image_id("operation_id", operation_id)
        if isinstance(job_item.item, ButtonPress) and operation_id == job_item.item.image_id:
            raise ValueError(
                f"operation_id: {operation_id} is the source image; pass the id of the image that the press made"
            )
    return Resolution(job_item=job_item, operation_id=operation_id, abandon=abandon)


def check_account(name: str) -> None:
    """Raise ``ValueError`` if the name of an account is not allowed."""
    is_name = isinstance(name, str) and name.isascii() and name.isalnum()
    if not is_name or len(name) > ACCOUNT_LENGTH_LIMIT:
        raise ValueError(
            f"account must be a name of at most {ACCOUNT_LENGTH_LIMIT} ASCII letters and digits, not {name!r:.100}"
        )


def check_lost_reply_timeout(seconds: float) -> float:
    """Return the timeout; raise ``ValueError`` if it is not a finite number of seconds of at least 0."""
    if not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        raise ValueError(f"lost_reply_timeout must be a number of seconds of at least 0, not {seconds!r}")
    return seconds


def check_worker_timing(timing: WorkerTiming) -> WorkerTiming:
    """Return the timing; raise ``ValueError`` if it is not a :class:`WorkerTiming`."""
    if not isinstance(timing, WorkerTiming):
        raise ValueError(f"worker_timing must be a WorkerTiming, not {timing!r}")  # noqa: TRY004 - bad input
    return timing


def check_age(age: timedelta) -> timedelta:
    """Return the age; raise ``ValueError`` if ``datetime`` cannot subtract it from today."""
    if not isinstance(age, timedelta) or not timedelta() <= age <= MAX_AGE:
        raise ValueError(f"older_than must be a timedelta of 0 to {MAX_AGE.days:,} days, not {age!r}")
    return age


def read_state(state: JobState | str) -> JobState:
    """Return the state with this name; raise ``ValueError`` if there is none."""
    try:
        return JobState(state)
    except ValueError:
        raise ValueError(f"states must be among {', '.join(map(repr, map(str, JobState)))}, not {state!r}") from None


def read_one(name: str, item: AnyItem | Job | str) -> JobItem:
    """Return the job item of an item. A batch stands for its first image, and a text for the prompt with this key."""
    if isinstance(item, Job):
        return item._job_item  # noqa: SLF001 - the store needs it, and users do not
    if isinstance(item, str):
        item = Prompt(item, key=item)  # the key alone identifies a prompt
    return next(ItemReader().read(_sendable(items.read_item(name, item)), name))


async def read_items(name: str, given: Items) -> AsyncGenerator[tuple[JobItem, tuple[Branch, ...]], None]:
    """Yield the jobs of each item, each with the branches to press on its result.

    Raises:
        ValueError: An item is wrong. The message names its position in the input.
    """
    items.check_items(given, name)
    reader, position = ItemReader(), 0
    async with aclosing(items.pull(given)) as pulled:
        async for one in pulled:
            item = _sendable(items.read_item(f"{name}[{position}]", one))
            try:
                job_items = reader.read(item, f"{name}[{position}]")
            except ValueError as error:
                raise ValueError(f"{name}[{position}]: {error}") from None
            for job_item in job_items:
                yield job_item, item.then
            position += 1


def _sendable(item: Item) -> Item:
    if isinstance(item, ButtonPress):
        Button.parse(item.button)
    return item


async def read_batches(given: Items, budget: str | None) -> AsyncGenerator[list[NewJob], None]:
    """Yield new jobs in pages. The last page comes when the input ends, even if it ends with an error."""
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


def pages(values: list[T]) -> Iterable[list[T]]:
    """Return slices of a list, each short enough for one statement."""
    return (values[start : start + PAGE_SIZE] for start in range(0, len(values), PAGE_SIZE))
