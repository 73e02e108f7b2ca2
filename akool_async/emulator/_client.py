"""A client of the emulator: the only module here that imports the library."""

from __future__ import annotations

from typing import Any

from akool_async import AdaptivePolling, AkoolSession, ExponentialPolling, Timing


def open_session(api_key: str, base_url: str, *, time_scale: float, options: dict[str, Any]) -> AkoolSession:
    """A session whose waits are multiplied by ``time_scale``; ``options`` override what is chosen here."""
    return AkoolSession(
        **{
            "auth": api_key,
            "base_url": base_url,
            "polling": AdaptivePolling(start=ExponentialPolling().scaled(time_scale)),
            "timing": Timing().scaled(time_scale),
            **{name: value for name, value in options.items() if value is not None},
        }
    )
