"""The record of received, accepted and charged requests: the truth to check a client against."""

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
    """``_id`` in its body; None for a prompt."""
    button: str | None
    """``button`` in its body; None for a prompt."""
    code: int | None
    """AKOOL's code, even if a fault changed the reply; None if a fault came before AKOOL's work."""
    fault: str | None
    """Its fault, such as "reset after"; None if it had none."""
    new_ids: tuple[str, ...] = ()
    """The ids of the accepted images: several for a batch, none for a refusal."""
    time: float = 0.0
    """When it was received, in seconds since the epoch (UTC) by the service's clock."""
    charged: int = 0
    """Credits charged for it, which its reply may report wrongly."""
    webhook_url: str | None = None
    """``webhookUrl`` in its body; None if it had none."""


@dataclass(frozen=True, slots=True)
class Callback:
    """A webhook that was sent, or that a fault suppressed."""

    image_id: str
    """The ``_id`` of the image."""
    url: str
    """The address that was called."""
    status: int | None
    """HTTP status of the reply; None if there was no reply, or if a fault suppressed the webhook."""
    fault: str | None
    """Its fault: "lost before" or "forged before"; None if it had none."""


class Running:
    """Counts concurrent jobs, by the times at which they finish."""

    def __init__(self) -> None:
        self.peak = 0
        self._finishes: list[float] = []

    def count(self, now: float) -> int:
        """Return the number of jobs that have not finished at ``now``."""
        while self._finishes and self._finishes[0] <= now:
            heapq.heappop(self._finishes)
        return len(self._finishes)

    def add(self, now: float, finish: float) -> None:
        """Add a job that runs from ``now`` until ``finish``."""
        self.count(now)
        heapq.heappush(self._finishes, finish)
        self.peak = max(self.peak, len(self._finishes))


@dataclass
class Ledger:
    """Everything that was received, accepted and charged since the emulator was made."""

    requests: Counter[str] = field(default_factory=Counter)
    """Requests received per endpoint: get_token, create_by_button, get_image_result, create_by_prompt,
    create_by_source_prompt, get_credit, pictures."""
    posts: list[Post] = field(default_factory=list)
    """Every POST that spends credits, in the order of processing."""
    callbacks: list[Callback] = field(default_factory=list)
    """Every webhook, including repeats and forgeries."""
    presses_accepted: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each (image id, button) was accepted and charged."""
    accepted: int = 0
    """Number of accepted jobs: images of prompts, variations and upscales."""
    charged: int = 0
    """Credits charged for accepted jobs."""
    spent_elsewhere: int = 0
    """Credits that another program on the same account spent (``Emulator.spend_elsewhere``); not in ``charged``."""
    tokens_issued: int = 0
    """Number of tokens that Get Token issued."""
    picture_ranges: list[int] = field(default_factory=list)
    """The first byte that each request for a picture asked for; 0 for a whole picture."""
    both_headers_sent: int = 0
    """Number of requests to the API with both Authorization and x-api-key."""
    pictures_with_key: int = 0
    """Number of requests for pictures with an authentication header: each disclosed a key."""
    generations: Running = field(default_factory=Running, repr=False)
    """Running jobs of any kind."""
    upscales: Running = field(default_factory=Running, repr=False)
    """Running upscales."""
    changes: Changes = field(default_factory=Changes, init=False, repr=False, compare=False)
    """Write to the ledger only within ``changes.changing()``."""

    async def until(self, condition: Callable[[Ledger], Answer], *, timeout: float = 30.0) -> Answer:  # noqa: ASYNC109
        """Wait until ``condition(ledger)`` is true, and return what it returned.

        ``await emulator.ledger.until(lambda ledger: ledger.accepted >= 3)`` replaces a sleep in a test. The condition
        is called immediately and after each change of the ledger, even if the emulator serves in another thread.
        Requests, webhooks and charges are changes; the end of a job is not. The emulator waits while the condition
        runs, so it should only read the ledger, and be quick.

        Args:
            condition: A plain function of the ledger.
            timeout: Seconds to wait.

        Raises:
            ValueError: ``timeout`` is not a number of seconds above 0.
            TypeError: The condition is a coroutine function.
            TimeoutError: The condition was not true within ``timeout`` seconds. The message shows it and the ledger.
        """
        require("timeout", timeout, is_positive(timeout), "a positive number of seconds")
        try:
            async with asyncio.timeout(timeout) as limit:
                return await self.changes.until(lambda: condition(self))
        except TimeoutError as error:
            if not limit.expired():  # the condition itself raised it
                raise
            message = f"not true within {timeout:g} s: {_source_of(condition)}; the ledger has {self._summary()}"
            raise TimeoutError(message) from error

    @property
    def peak_generations(self) -> int:
        """The largest number of jobs of any kind that ran concurrently."""
        return self.generations.peak

    @property
    def peak_upscales(self) -> int:
        """The largest number of upscales that ran concurrently."""
        return self.upscales.peak

    def pressed_twice(self) -> list[tuple[str, str]]:
        """Return presses that were accepted more than once. There are none, unless the emulator itself is wrong."""
        # A copy, since another thread may be serving meanwhile.
        return [press for press, times in list(self.presses_accepted.items()) if times > 1]

    def accept(self, kind: str, now: float, finish: float, price: int) -> None:
        """Record an accepted job. The emulator calls this.

        Args:
            kind: "prompt", "upscale" or "variation".
            now: When it was accepted, in seconds since the epoch by the service's clock.
            finish: When it ends, by the same clock.
            price: Credits charged.
        """
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
    """Return the source of a condition, or its repr if there is no source."""
    try:
        return " ".join(inspect.getsource(condition).split())
    except (OSError, TypeError):
        return repr(condition)
