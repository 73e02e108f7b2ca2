"""Growing waits, from backoff's generators and jitters. This module only computes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import backoff

if TYPE_CHECKING:
    from collections.abc import Iterator


def growing_waits(first: float, longest: float) -> Iterator[float]:
    """Yield the seconds to wait before each next try, for ever.

    Args:
        first: The first wait. Each next one is twice as long, and half of each is random.
        longest: The longest wait.
    """
    plain = backoff.expo(base=2, factor=first, max_value=longest)
    next(plain)  # backoff's generators yield None first
    for wait in plain:  # pragma: no branch - it never ends
        yield wait / 2 + backoff.full_jitter(wait / 2)
