"""Checks on what a caller passes in: each raises a ``ValueError`` that names the argument and says what to pass."""

import math
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

LONGEST: Final = 1e9
"""Seconds: some thirty years, beyond which timers overflow."""
LONGEST_ID: Final = 256
LONGEST_SHOWN: Final = 200


def seconds(name: str, value: float) -> float:
    """A duration in seconds: finite and above zero."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= LONGEST:
        raise ValueError(f"{name} must be a number of seconds above 0 and finite, not {_show(value)}")
    return float(value)


def optional_seconds(name: str, value: float | None) -> float | None:
    """A duration in seconds, or None for no limit."""
    return None if value is None else seconds(name, value)


def optional_rate(name: str, value: float | None) -> float | None:
    """So many a second, or None for no limit."""
    if value is not None and not 0 < number_between(name, value, 0, math.inf) < math.inf:
        raise ValueError(f"{name} must be a number above 0 and finite, or None for no limit, not {_show(value)}")
    return value


def amount(name: str, value: float) -> float:
    """A finite number of at least 0."""
    if number_between(name, value, 0, math.inf) == math.inf:
        raise ValueError(f"{name} must be finite; leave it out for no limit")
    return value


def flag(name: str, value: bool) -> bool:
    """True or False, and not something that only looks like it."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {_show(value)}")  # noqa: TRY004 - bad input is ValueError
    return value


def number_between(name: str, value: float, low: float, high: float) -> float:
    """A number in ``[low, high]``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        expected = f"of at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be a number {expected}, not {_show(value)}")
    return value


def count(name: str, value: int, *, at_most: int | None = None) -> int:
    """A whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (at_most is not None and value > at_most):
        expected = "of at least 1" if at_most is None else f"from 1 to {at_most}"
        raise ValueError(f"{name} must be a whole number {expected}, not {_show(value)}")
    return value


def optional_count(name: str, value: int | None) -> int | None:
    """A whole number of at least 1, or None for no limit."""
    return None if value is None else count(name, value)


def text(name: str, value: str) -> str:
    """A text with something in it, that can be sent."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a non-empty text, not {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be a text of whole characters: it holds half a surrogate pair") from None
    return value


def image_id(name: str, value: str) -> str:
    """AKOOL's ``_id`` of an image: one printable word."""
    is_word = isinstance(value, str) and 0 < len(value) <= LONGEST_ID and value.isprintable() and " " not in value
    if not is_word:
        raise ValueError(f"{name} must be the _id of an image, such as '65d3206b83ccf5ab7d46cdc6', not {_show(value)}")
    return value


def urls(name: str, value: Iterable[str]) -> tuple[str, ...]:
    """Several absolute http or https addresses."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ValueError(f"{name} must be a list of URLs, not {_show(value)}")  # noqa: TRY004 - bad input is ValueError
    return tuple(web_url(name, url) for url in value)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """One of the values that AKOOL knows."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {_show(value)}")
    return value


def web_url(name: str, value: str) -> str:
    """An absolute http or https address."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except (ValueError, AttributeError, TypeError):
        fits = False
    if not fits or not value.isprintable() or " " in value:
        raise ValueError(f"{name} must be an absolute http(s) URL, not {_show(value)}")
    return value


def _show(value: object) -> str:
    shown = repr(value) if not isinstance(value, int) or abs(value) <= LONGEST else "a number beyond measure"
    return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
