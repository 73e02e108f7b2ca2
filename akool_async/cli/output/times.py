"""Moments as text."""

from __future__ import annotations

from datetime import UTC
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


def utc(moment: datetime, precision: str = "seconds") -> str:
    """An aware moment in UTC, as in ISO 8601: 2025-01-31T08:15:00Z."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision) + "Z"
