"""What the emulator received, accepted and charged: the truth that a client's word is held against."""

from __future__ import annotations

import asyncio
import heapq
import inspect
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from akool_async.emulator._changes import Changes
from akool_async.emulator._options import is_positive, require

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Post:
    """A POST that spends credits, as it was received."""

    endpoint: str
    image_id: str | None
    """``_id`` of the body, if any."""
    button: str | None
    code: int | None
    """AKOOL's code, also where the reply was spoilt; None where a fault struck before AKOOL looked at it."""
    fault: str | None
    """The fault that struck and when: "reset after"."""
    new_ids: tuple[str, ...] = ()
    """The images that were accepted: several for a batch."""
    time: float = 0.0
    """When it was received, in seconds since the epoch (UTC) by the service's clock."""
    charged: int = 0
    """Credits charged for it, whatever its reply reported."""
    webhook_url: str | None = None
    """``webhookUrl`` of the body, if any."""


@dataclass(frozen=True, slots=True)
class Callback:
    """A webhook as it was sent, or was to be."""

    image_id: str
    url: str
    status: int | None
    """HTTP status of the answer; None where none came, or it was lost on command."""
    fault: str | None
    """"lost before" or "forged before" where a fault struck."""


class Running:
    """How many jobs run at once, by their times of finish; evaluated only when asked."""

    def __init__(self) -> None:
        self.peak = 0
        self._finishes: list[float] = []

    def count(self, now: float) -> int:
        """Jobs that have not finished at ``now``."""
        while self._finishes and self._finishes[0] <= now:
            heapq.heappop(self._finishes)
        return len(self._finishes)

    def add(self, now: float, finish: float) -> None:
        """One more job runs from ``now`` until ``finish``."""
        self.count(now)
        heapq.heappush(self._finishes, finish)
        self.peak = max(self.peak, len(self._finishes))


@dataclass
class Ledger:
    """Counts since the emulator was made."""

    requests: Counter[str] = field(default_factory=Counter)
    """Requests received per endpoint: get_token, create_by_button, get_image_result, create_by_prompt,
    create_by_source_prompt, get_credit, pictures."""
    posts: list[Post] = field(default_factory=list)
    """Every POST that spends credits, in the order in which they were dealt with."""
    callbacks: list[Callback] = field(default_factory=list)
    """Every webhook, its repeats and forgeries included."""
    presses_accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each (image id, button) was accepted and charged."""
    accepted: int = 0
    """Generations accepted: images of prompts, variations, upscales."""
    charged: int = 0
    """Credits charged for what was accepted."""
    spent_elsewhere: int = 0
    """Credits that another program on the same account spent (``Emulator.spend_elsewhere``); not in ``charged``."""
    tokens_issued: int = 0
    """Tokens that Get Token gave out."""
    picture_ranges: list[int] = field(default_factory=list)
    """From which byte on each request wanted its picture; 0 for all of it."""
    both_headers_sent: int = 0
    """Requests to the API that carried Authorization and x-api-key."""
    pictures_with_key: int = 0
    """Requests for pictures that carried an authentication header: a key that was given away."""
    generations: Running = field(default_factory=Running, repr=False)
    """The generations of any kind that run."""
    upscales: Running = field(default_factory=Running, repr=False)
    """The upscales that run."""
    changes: Changes = field(default_factory=Changes, init=False, repr=False, compare=False)
    """Whoever writes to the ledger does so within ``changes.changing()``."""

    async def until(self, condition: Callable[[Ledger], Answer], *, timeout: float = 30.0) -> Answer:  # noqa: ASYNC109
        """Wait until ``condition(ledger)`` is true, and return what it returned.

        ``await emulator.ledger.until(lambda ledger: ledger.accepted >= 3)`` takes the place of a sleep in a test. The
        condition is evaluated immediately and after each change of the ledger, also if the emulator serves in a thread
        of its own: each request, webhook and credit changes it; that a job ends does not. Meanwhile the emulator stands
        still: a condition should only read the ledger, and be quick.

        Args:
            condition: A plain function of the ledger.
            timeout: Seconds.

        Raises:
            ValueError: ``timeout`` is not a number of seconds above 0.
            TypeError: the condition is a coroutine function.
            TimeoutError: the condition was not true within ``timeout`` seconds; names it, and what the ledger says.
        """
        require("timeout", timeout, is_positive(timeout), "a positive number of seconds")
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self.changes.until(lambda: condition(self))
        except TimeoutError as error:
            if not limit.expired():  # it is the condition's own
                raise
            message = f"not within {timeout:g} s: {_source_of(condition)}; the ledger says: {self._summary()}"
            raise TimeoutError(message) from error

    @property
    def peak_generations(self) -> int:
        """The most generations of any kind that ever ran at once."""
        return self.generations.peak

    @property
    def peak_upscales(self) -> int:
        """The most upscales that ever ran at once."""
        return self.upscales.peak

    def pressed_twice(self) -> list[tuple[str, str]]:
        """Presses that were accepted more than once: never, unless the emulator itself is wrong."""
        # A copy: another thread may be serving meanwhile.
        return [press for press, times in list(self.presses_accepted.items()) if times > 1]

    def accept(self, kind: str, now: float, finish: float, price: int) -> None:
        """Book a generation that runs from ``now`` until ``finish`` and costs ``price`` credits."""
        self.accepted += 1
        self.charged += price
        self.generations.add(now, finish)
        if kind == "upscale":
            self.upscales.add(now, finish)

    def _summary(self) -> str:
        with self.changes.lock:
            return (
                f"requests={dict(self.requests)}, {len(self.posts)} posts, {len(self.callbacks)} callbacks, "
                f"accepted={self.accepted}, charged={self.charged}, last post: {self.posts[-1] if self.posts else None}"
            )


def _source_of(condition: Callable[..., object]) -> str:
    """The lines that define it, or its name if they cannot be found."""
    try:
        return " ".join(inspect.getsource(condition).split())
    except (OSError, TypeError):
        return repr(condition)
