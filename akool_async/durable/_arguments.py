"""What callers of a durable fan-out pass in: read, or refused with what to pass."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from akool_async import ButtonPress
from akool_async.durable._job import JobState
from akool_async.durable._job_store import PAGE

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    Press = ButtonPress | tuple[str, str]

LONGEST_AGE: Final = timedelta(days=36_500)
LONGEST_ACCOUNT: Final = 64
"""It is part of a file's name."""


def check_account(name: str) -> None:
    """Raise where it is no name of an account."""
    is_word = isinstance(name, str) and name.isascii() and name.isalnum()
    if not is_word or len(name) > LONGEST_ACCOUNT:
        raise ValueError(
            f"account must be a name of at most {LONGEST_ACCOUNT} ASCII letters and digits, not {name!r:.100}"
        )


def check_age(age: timedelta) -> timedelta:
    """How long ago, within what a calendar holds."""
    if not isinstance(age, timedelta) or not timedelta() <= age <= LONGEST_AGE:
        raise ValueError(f"older_than must be a timedelta of 0 to {LONGEST_AGE.days:,} days, not {age!r}")
    return age


def pages(presses: list[ButtonPress]) -> Iterable[list[ButtonPress]]:
    """As many at a time as one statement takes."""
    return (presses[start : start + PAGE] for start in range(0, len(presses), PAGE))


async def batches_of(presses: Iterable[Press] | AsyncIterable[Press]) -> AsyncGenerator[list[ButtonPress], None]:
    """A thousand at a time, and what is left at the end, or where one is bad."""
    batch: list[ButtonPress] = []
    try:
        async for press in read_presses(presses):
            batch.append(press)
            if len(batch) == PAGE:
                yield batch
                batch = []
    except Exception:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


async def read_presses(presses: Iterable[Press] | AsyncIterable[Press]) -> AsyncGenerator[ButtonPress, None]:
    """Each of them, as it comes."""
    if isinstance(presses, str) or not isinstance(presses, Iterable | AsyncIterable):
        raise ValueError(f"presses must be pairs (image id, button), not {presses!r:.100}")  # noqa: TRY004 - bad input
    if isinstance(presses, AsyncIterable):
        async for press in presses:
            yield read_press(press)
    else:
        for press in presses:
            yield read_press(press)


def read_press(press: Press) -> ButtonPress:
    """A press, or the pair that stands for it."""
    if isinstance(press, ButtonPress):
        return press
    if not isinstance(press, tuple | list) or len(press) != len(("image_id", "button")):
        raise ValueError(
            f"press must be a pair (image id, button), such as ('65d3206b83ccf5ab7d46cdc6', 'U1'), not {press!r:.100}"
        )
    return ButtonPress(*press)


def read_state(state: JobState | str) -> JobState:
    """A state, by its name as well."""
    try:
        return JobState(state)
    except ValueError:
        raise ValueError(f"states must be among {', '.join(map(repr, map(str, JobState)))}, not {state!r}") from None


def read_id(operation_id: str, press: ButtonPress) -> str:
    """An id that may be that of what the press made."""
    try:
        told = ButtonPress(operation_id, press.button).image_id
    except ValueError:
        raise ValueError(f"operation_id must be the _id that AKOOL gave the press, not {operation_id!r:.100}") from None
    if told == press.image_id:
        raise ValueError(f"operation_id: {told} is the source image itself, not what the press made of it")
    return told
