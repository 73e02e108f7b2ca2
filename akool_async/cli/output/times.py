"""Times as text."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def utc(time: datetime, precision: str = "seconds") -> str:
    """Return an aware time in UTC in ISO 8601, such as 2025-01-31T08:15:00Z."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"
