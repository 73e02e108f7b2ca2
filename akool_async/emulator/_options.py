"""Whether an emulator's options make sense."""

from __future__ import annotations

import ipaddress
import math

MAX_PORT = 65_535


def require(name: str, value: object, fits: bool, remedy: str) -> None:
    """Refuse an option that does not fit."""
    if not fits:
        raise ValueError(f"{name} must be {remedy}, not {value!r}")


def is_number(value: object, *, at_least: float = 0.0) -> bool:
    """A finite number that is not too small."""
    return isinstance(value, int | float) and type(value) is not bool and math.isfinite(value) and value >= at_least


def is_positive(value: object) -> bool:
    """A finite number above 0."""
    return is_number(value) and value != 0


def is_count(value: object, *, at_least: int = 0) -> bool:
    """A whole number that is not too small."""
    return type(value) is int and value >= at_least


def is_share(value: object) -> bool:
    """A number between 0 and 1."""
    return is_number(value) and not is_number(value, at_least=math.nextafter(1, 2))


def is_port(value: object) -> bool:
    """A TCP port, or 0 for any free one."""
    return is_count(value) and not is_count(value, at_least=MAX_PORT + 1)


def is_loopback(host: object) -> bool:
    """An address of this machine that no other can reach."""
    try:
        return host == "localhost" or (isinstance(host, str) and ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
