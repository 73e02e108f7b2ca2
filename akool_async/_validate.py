"""Checks of arguments. Each returns the value, or raises a ``ValueError`` that names the argument and the remedy.

Also the hint that names the extra to install.
"""

import math
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

MAX_SECONDS: Final = 1e9
"""About thirty years. Timers overflow beyond."""
MAX_ID_LENGTH: Final = 256
MAX_SHOWN_LENGTH: Final = 200
MAX_NAME_SIZE: Final = 180
"""Bytes. File systems allow 255, which must also hold a picture's number, its suffix and the temporary name."""
_CONTROL_CHARACTERS: Final = frozenset([*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029])


def install_hint(package: str | None, extra: str) -> str:
    """Return the message about a missing package. It names the extra of this library that installs the package."""
    return f'{package} is missing; install it with: pip install "akool-async[{extra}]"'


def seconds(name: str, value: float) -> float:
    """Check a duration in seconds: finite and above zero."""
    if not _is_positive(value):
        raise ValueError(f"{name} must be a number of seconds above 0 and finite, not {_show(value)}")
    return float(value)


def optional_seconds(name: str, value: float | None) -> float | None:
    """Check a duration in seconds, or None for no limit."""
    return None if value is None else seconds(name, value)


def scale(name: str, value: float) -> float:
    """Check a factor for durations: finite and above zero."""
    if not _is_positive(value):
        raise ValueError(f"{name} must be a number above 0, such as 0.01, not {_show(value)}")
    return float(value)


def optional_rate(name: str, value: float | None) -> float | None:
    """Check a rate per second: finite and above zero, or None for no limit."""
    if value is not None and not _is_positive(value):
        raise ValueError(f"{name} must be a number above 0 and finite, or None for no limit, not {_show(value)}")
    return value


def amount(name: str, value: float) -> float:
    """Check a finite number of at least 0."""
    if number_between(name, value, 0, math.inf) == math.inf:
        raise ValueError(f"{name} must be finite; leave it out for no limit")
    return value


def flag(name: str, value: bool) -> bool:
    """Check a bool. Other truthy or falsy values are refused."""
    if not isinstance(value, bool):
        raise ValueError(f"{name} must be True or False, not {_show(value)}")  # noqa: TRY004 - bad input is ValueError
    return value


def number_between(name: str, value: float, low: float, high: float) -> float:
    """Check a number between ``low`` and ``high``, both included."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        expected = f"of at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
        raise ValueError(f"{name} must be a number {expected}, not {_show(value)}")
    return value


def count(name: str, value: int, *, at_most: int | None = None) -> int:
    """Check a whole number of at least 1."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (at_most is not None and value > at_most):
        expected = "of at least 1" if at_most is None else f"from 1 to {at_most}"
        raise ValueError(f"{name} must be a whole number {expected}, not {_show(value)}")
    return value


def optional_count(name: str, value: int | None) -> int | None:
    """Check a whole number of at least 1, or None for no limit."""
    return None if value is None else count(name, value)


def text(name: str, value: str) -> str:
    """Check a text: not blank, and possible to encode as UTF-8."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} must be a non-empty text, not {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} must be a text of whole characters: it holds half a surrogate pair") from None
    return value


def image_id(name: str, value: str) -> str:
    """Check AKOOL's ``_id`` of an image: printable, without spaces."""
    is_text = isinstance(value, str) and 0 < len(value) <= MAX_ID_LENGTH
    if not is_text or not value.isprintable() or " " in value:
        raise ValueError(f"{name} must be the _id of an image, such as '65d3206b83ccf5ab7d46cdc6', not {_show(value)}")
    return value


def file_name(name: str, value: str) -> str:
    """Check the beginning of a file name: valid on every system, and unable to lead out of the folder."""
    text(name, value)
    if value != value.strip() or value.startswith(".") or value.endswith("."):
        raise ValueError(f"{name} must neither begin nor end with a dot or a space, since files are named after it")
    forbidden = sorted({letter for letter in value if letter in '/\\:*?"<>|' or ord(letter) in _CONTROL_CHARACTERS})
    if forbidden:
        raise ValueError(f"{name} must not hold {_show(''.join(forbidden))}, since files are named after it")
    if len(value.encode()) > MAX_NAME_SIZE:
        raise ValueError(f"{name} must have at most {MAX_NAME_SIZE} bytes, since files are named after it")
    return value


def urls(name: str, value: Iterable[str]) -> tuple[str, ...]:
    """Check a list of absolute http or https URLs."""
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ValueError(f"{name} must be a list of URLs, not {_show(value)}")  # noqa: TRY004 - bad input is ValueError
    return tuple(web_url(name, url) for url in value)


def one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    """Check that the value is one of ``allowed``."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, not {_show(value)}")
    return value


def web_url(name: str, value: str) -> str:
    """Check an absolute http or https URL."""
    try:
        parts = urlsplit(value)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except (ValueError, AttributeError, TypeError):
        fits = False
    if not fits or not value.isprintable() or " " in value:
        raise ValueError(f"{name} must be an absolute http(s) URL, not {_show(value)}")
    return value


def _is_positive(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= MAX_SECONDS


def _show(value: object) -> str:
    if isinstance(value, int) and abs(value) > MAX_SECONDS:  # Python refuses to print the very large ones
        return "a number that is far too large"
    shown = repr(value)
    return shown if len(shown) <= MAX_SHOWN_LENGTH else f"{shown[:MAX_SHOWN_LENGTH]}..."
