"""Faults on command: per endpoint, in a scripted order or at random with a seed."""

from __future__ import annotations

import json
import math
import random
import threading
from collections import defaultdict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

When = Literal["before", "after"]

ENDPOINTS = (
    "get_token",
    "create_by_button",
    "get_image_result",
    "create_by_prompt",
    "create_by_source_prompt",
    "get_credit",
    "pictures",
    "webhook",
)
API_ENDPOINTS = ENDPOINTS[:-2]
CREATES = ("create_by_button", "create_by_prompt", "create_by_source_prompt")
JOB_KINDS = frozenset({"stuck", "late_urls", "fails"})
REPLY_KINDS = frozenset(
    {
        "reset",
        "status",
        "html",
        "cut",
        "empty",
        "huge",
        "endless",
        "wrong_length",
        "stall",
        "slow",
        "redirect",
        "bad_bytes",
    }
)
WEBHOOK_KINDS = frozenset({"lost", "twice", "forged"})
REPORT_KINDS = {
    "image_status": ("get_image_result",),
    "deduction_credit": (*CREATES, "get_image_result"),
    "other_image": (*CREATES, "get_image_result"),
}
"""Faults that change an image in a reply, and the endpoints that they fit."""
KINDS = JOB_KINDS | WEBHOOK_KINDS | REPLY_KINDS | REPORT_KINDS.keys() | {"throttle", "code"}
ERROR_STATUSES = range(400, 600)


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of fault. Use the constructors below.

    With ``when="before"`` the service does nothing: no job is accepted or charged. With ``when="after"`` the service
    does its work, and the fault changes its reply.

    Raises:
        ValueError: An argument has a wrong value; the message names it. The constructors raise it, too.
    """

    kind: str
    when: When = "before"
    number: float = 0
    text: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(sorted(KINDS))}, not {self.kind!r}")
        if self.when not in {"before", "after"}:
            raise ValueError(f"when must be 'before' or 'after', not {self.when!r}")
        if not math.isfinite(self.number) or self.number < 0:
            raise ValueError(f"number of a {self.kind} fault must be at least 0, not {self.number!r}")

    def __str__(self) -> str:
        detail = f" {self.number:g}" if self.number else ""
        return f"{self.kind}{detail} {self.when}"

    @classmethod
    def reset(cls, when: When = "before") -> Fault:
        """The connection is reset without a reply."""
        return cls("reset", when)

    @classmethod
    def status(cls, status: int, when: When = "before") -> Fault:
        """An HTTP error with a gateway's HTML.

        Args:
            status: 400 to 599, such as 500, 502 or 503.
            when: Before or after the service's work.

        Raises:
            ValueError: ``status`` is something else.
        """
        if status not in ERROR_STATUSES:
            raise ValueError(f"status must be an HTTP error between 400 and 599, not {status!r}")
        return cls("status", when, status)

    @classmethod
    def html(cls, when: When = "before") -> Fault:
        """HTML with HTTP status 200."""
        return cls("html", when)

    @classmethod
    def cut(cls, when: When = "before") -> Fault:
        """The body ends before its Content-Length."""
        return cls("cut", when)

    @classmethod
    def empty(cls, when: When = "before") -> Fault:
        """HTTP status 200 without a body."""
        return cls("empty", when)

    @classmethod
    def huge(cls, size: int, when: When = "before") -> Fault:
        """A large body.

        Args:
            size: Its bytes.
            when: Before or after the service's work.
        """
        return cls("huge", when, size)

    @classmethod
    def endless(cls, when: When = "before") -> Fault:
        """A body without a length and without an end."""
        return cls("endless", when)

    @classmethod
    def wrong_length(cls, when: When = "before") -> Fault:
        """Half the body, with a matching Content-Length: the reply seems whole."""
        return cls("wrong_length", when)

    @classmethod
    def stall(cls, when: When = "before") -> Fault:
        """Headers and half a body, then nothing until the client leaves."""
        return cls("stall", when)

    @classmethod
    def slow(cls, seconds: float, when: When = "before") -> Fault:
        """The reply, or webhook, is delayed by ``seconds``.

        With ``when="before"`` the work is delayed as well; it is dropped if the client has left by then.

        Args:
            seconds: The delay.
            when: Before or after the service's work.
        """
        return cls("slow", when, seconds)

    @classmethod
    def throttle(cls, retry_after: float | datetime) -> Fault:
        """HTTP status 429 with Retry-After.

        Args:
            retry_after: Seconds, which are rounded up, or a timezone-aware datetime, which becomes an HTTP date.

        Raises:
            ValueError: ``retry_after`` is something else.
        """
        if not isinstance(retry_after, datetime):
            if not (math.isfinite(retry_after) and retry_after >= 0):
                raise ValueError(f"retry_after must be at least 0 seconds, not {retry_after!r}")
            return cls("throttle", text=str(math.ceil(retry_after)))
        if retry_after.tzinfo is None:
            raise ValueError("retry_after must be an aware datetime: give it a tzinfo, such as UTC")
        return cls("throttle", text=format_datetime(retry_after.astimezone(UTC), usegmt=True))

    @classmethod
    def code(cls, code: int, msg: str | None = None) -> Fault:
        """A refusal with HTTP status 200. Nothing is accepted.

        Args:
            code: AKOOL's code.
            msg: AKOOL's message.
        """
        return cls("code", "before", code, "refused on command" if msg is None else msg)

    @classmethod
    def redirect(cls, url: str, when: When = "before") -> Fault:
        """HTTP status 302.

        Args:
            url: The target.
            when: Before or after the service's work.
        """
        return cls("redirect", when, text=url)

    @classmethod
    def image_status(cls, status: int) -> Fault:
        """One reply of Get Image Result reports ``status``, such as 2 for an image that seems stuck."""
        return cls("image_status", "after", status)

    @classmethod
    def deduction_credit(cls, reported: float | str | None) -> Fault:
        """One reply reports ``reported`` credits instead of those charged: fewer, 0, a text, or null."""
        return cls("deduction_credit", "after", text=json.dumps(reported))

    @classmethod
    def other_image(cls) -> Fault:
        """One reply is about another image and another button, as if a cache had mixed them up."""
        return cls("other_image", "after")

    @classmethod
    def bad_bytes(cls) -> Fault:
        """A text in one reply contains a byte that is not UTF-8, and a raw control character."""
        return cls("bad_bytes", "after")

    @classmethod
    def stuck(cls) -> Fault:
        """The accepted job stays at status 2."""
        return cls("stuck", "after")

    @classmethod
    def late_urls(cls, seconds: float) -> Fault:
        """The accepted job gets its URLs ``seconds`` after status 3."""
        return cls("late_urls", "after", seconds)

    @classmethod
    def fails(cls, reason: str = "generation failed") -> Fault:
        """The accepted job ends with status 4; ``reason`` is its ``error_reasons``."""
        return cls("fails", "after", text=reason)

    @classmethod
    def lost(cls) -> Fault:
        """The webhook is never sent."""
        return cls("lost")

    @classmethod
    def twice(cls) -> Fault:
        """The webhook is sent twice."""
        return cls("twice")

    @classmethod
    def forged(cls) -> Fault:
        """A forged webhook precedes the real one. Its forger knows the client id, but not the secret."""
        return cls("forged")


class Faults:
    """Decides which request has which fault: scripted faults first, then those drawn at random.

    Endpoints: ``create_by_button``, ``create_by_prompt``, ``create_by_source_prompt``, ``get_image_result``,
    ``get_credit`` and ``get_token``; ``pictures`` for downloads, and ``webhook`` for what AKOOL sends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._scripts: dict[str, deque[Fault | None]] = defaultdict(deque)
        self._rates: dict[str, _Rate] = {}

    def script(self, endpoint: str, *faults: Fault | None) -> None:
        """Script the next requests of an endpoint.

        Args:
            endpoint: An endpoint of those above.
            faults: One per request, in order; None for a request without a fault.

        Raises:
            ValueError: The endpoint does not exist, or a fault does not fit it.
        """
        _check_endpoints([endpoint])
        _check_faults([fault for fault in faults if fault is not None], [endpoint])
        with self._lock:
            self._scripts[endpoint].extend(faults)

    def rate(self, probability: float, *faults: Fault, endpoints: Iterable[str] = API_ENDPOINTS, seed: int = 0) -> None:
        """Give each request of the endpoints a fault at random.

        Args:
            probability: The probability, between 0 and 1, that a request has a fault.
            faults: The faults to draw from. Each endpoint gets only those that fit it.
            endpoints: The endpoints. Default: all but ``pictures`` and ``webhook``.
            seed: Determines the faults: the same seed draws the same ones.

        Raises:
            ValueError: An argument has a wrong value, or a fault fits none of the endpoints.
        """
        if not 0 <= probability <= 1:
            raise ValueError(f"probability must be between 0 and 1, not {probability!r}")
        if not faults:
            raise ValueError("faults must name at least one Fault")
        endpoints = tuple(endpoints)
        _check_endpoints(endpoints)
        _check_faults(faults, endpoints)
        with self._lock:
            for endpoint in endpoints:
                fitting = tuple(fault for fault in faults if _fits(fault, endpoint))
                rng = random.Random(f"{seed} {endpoint}")  # noqa: S311 - independent of the order of endpoints
                self._rates[endpoint] = _Rate(probability if fitting else 0.0, fitting, rng)

    def clear(self) -> None:
        """Remove all faults, scripted and random."""
        with self._lock:
            self._scripts.clear()
            self._rates.clear()

    def draw(self, endpoint: str) -> Fault | None:
        """Return the fault of the next request; None if it has none."""
        with self._lock:
            if script := self._scripts.get(endpoint):
                return script.popleft()
            rate = self._rates.get(endpoint)
            return None if rate is None else rate.draw()


@dataclass(frozen=True, slots=True)
class _Rate:
    """The random faults of one endpoint."""

    probability: float
    faults: tuple[Fault, ...]
    rng: random.Random

    def draw(self) -> Fault | None:
        return self.rng.choice(self.faults) if self.rng.random() < self.probability else None


def _fits(fault: Fault, endpoint: str) -> bool:
    if fault.kind in JOB_KINDS:
        return endpoint in CREATES
    if fault.kind in WEBHOOK_KINDS or endpoint == "webhook":
        return endpoint == "webhook" and fault.kind in {*WEBHOOK_KINDS, "slow"}
    return fault.kind not in REPORT_KINDS or endpoint in REPORT_KINDS[fault.kind]


def _check_endpoints(endpoints: Iterable[str]) -> None:
    for endpoint in endpoints:
        if endpoint not in ENDPOINTS:
            raise ValueError(f"endpoint must be one of {', '.join(ENDPOINTS)}, not {endpoint!r}")


def _check_faults(faults: Iterable[Fault], endpoints: Iterable[str]) -> None:
    for fault in faults:
        if not isinstance(fault, Fault):
            raise ValueError(f"faults must be made by Fault's constructors, not {fault!r}")  # noqa: TRY004
        if not any(_fits(fault, endpoint) for endpoint in endpoints):
            fitting = ", ".join(endpoint for endpoint in ENDPOINTS if _fits(fault, endpoint))
            raise ValueError(f"fault {fault.kind!r} does not fit endpoint {', '.join(endpoints)}, but {fitting}")
