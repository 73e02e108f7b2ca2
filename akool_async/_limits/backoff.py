"""Waits that grow, on backoff's generators and jitters. Nothing waits here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import backoff

if TYPE_CHECKING:
    from collections.abc import Iterator


def growing_waits(first: float, longest: float) -> Iterator[float]:
    """Seconds to wait before each next try: doubling, capped, half of each at random."""
    plain = backoff.expo(base=2, factor=first, max_value=longest)
    next(plain)  # backoff's generators yield an empty value first
    for wait in plain:  # pragma: no branch - it never ends
        yield wait / 2 + backoff.full_jitter(wait / 2)
