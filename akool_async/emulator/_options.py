"""The emulator's options and their validation."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

from akool_async.emulator._refusals import ALREADY_OPERATED, NOT_EXISTING, NOT_OPERABLE, RESOURCE_NOT_EXISTING

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_PORT = 65_535
PICTURE_FORMATS = ("jpeg", "png")
NOT_FOUND_CODES = (NOT_EXISTING, RESOURCE_NOT_EXISTING)
ALL_USED_BUTTON_CODES = (NOT_OPERABLE, ALREADY_OPERATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of ``Emulator``, which explains them."""

    speed: float
    seed: int
    median_seconds: float
    sigma: float
    queue_median_seconds: float
    queue_sigma: float
    credits: int
    plan_concurrency: int | None
    plan_queues: bool
    token_lifetime: float | None
    used_buttons_lag: float
    used_button_codes: Collection[int]
    not_found_code: int
    failure_rate: float
    picture_format: str
    clock_skew: float
    host: str
    port: int

    def __post_init__(self) -> None:
        for name, fits, remedy in (
            ("speed", is_positive(self.speed), "a positive number"),
            ("seed", type(self.seed) is int, "a whole number"),
            ("median_seconds", is_positive(self.median_seconds), "a positive number of seconds"),
            ("sigma", is_number(self.sigma), "a number of at least 0"),
            ("queue_median_seconds", is_number(self.queue_median_seconds), "at least 0 seconds"),
            ("queue_sigma", is_number(self.queue_sigma), "a number of at least 0"),
            ("credits", is_count(self.credits), "a whole number of at least 0"),
            (
                "plan_concurrency",
                self.plan_concurrency is None or is_count(self.plan_concurrency, at_least=1),
                "a whole number of at least 1, or None for no cap",
            ),
            ("plan_queues", type(self.plan_queues) is bool, "True or False"),
            (
                "token_lifetime",
                self.token_lifetime is None or is_positive(self.token_lifetime),
                "a positive number of seconds, or None for no end",
            ),
            ("used_buttons_lag", is_number(self.used_buttons_lag), "at least 0 seconds"),
            (
                "used_button_codes",
                is_some_of(self.used_button_codes, ALL_USED_BUTTON_CODES),
                f"a tuple of one or both of {ALL_USED_BUTTON_CODES}",
            ),
            ("not_found_code", self.not_found_code in NOT_FOUND_CODES, f"one of {NOT_FOUND_CODES}"),
            ("failure_rate", is_share(self.failure_rate), "between 0 and 1"),
            ("picture_format", self.picture_format in PICTURE_FORMATS, f"one of {PICTURE_FORMATS}"),
            ("clock_skew", is_number(self.clock_skew, at_least=-math.inf), "a number of seconds"),
            ("host", is_loopback(self.host), "a loopback address such as 127.0.0.1"),
            ("port", is_port(self.port), "between 0 (any free one) and 65535"),
        ):
            require(name, getattr(self, name), fits, remedy)


def require(name: str, value: object, fits: bool, remedy: str) -> None:
    """Raise a ``ValueError`` that names an option, unless its value fits."""
    if not fits:
        raise ValueError(f"{name} must be {remedy}, not {value!r}")


def is_number(value: object, *, at_least: float = 0.0) -> TypeGuard[float]:
    """Return True for a finite number of at least ``at_least``."""
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value) and value >= at_least


def is_positive(value: object) -> bool:
    """Return True for a finite number above 0."""
    return is_number(value) and value > 0


def is_count(value: object, *, at_least: int = 0) -> TypeGuard[int]:
    """Return True for a whole number of at least ``at_least``."""
    return type(value) is int and value >= at_least


def is_share(value: object) -> bool:
    """Return True for a number between 0 and 1."""
    return is_number(value) and value <= 1


def is_some_of(values: object, known: Collection[int]) -> bool:
    """Return True for a tuple or list that is not empty and has only known values."""
    return isinstance(values, tuple | list) and bool(values) and all(value in known for value in values)


def is_port(value: object) -> bool:
    """Return True for a TCP port, and for 0 (any free one)."""
    return is_count(value) and value <= MAX_PORT


def is_loopback(host: object) -> bool:
    """Return True for an address that only this machine can reach."""
    try:
        return host == "localhost" or (isinstance(host, str) and ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
