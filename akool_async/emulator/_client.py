"""Opens a session of the client. This is the only module of the emulator that imports the library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from akool_async import AdaptivePolling, AkoolSession, Timing
from akool_async.session import SessionOptions

if TYPE_CHECKING:
    import aiohttp

    from akool_async import ApiKey, ClientCredentials


class EmulatorSessionOptions(SessionOptions, total=False):
    """The arguments of :class:`AkoolSession`."""

    auth: ApiKey | ClientCredentials | str | None
    max_concurrent_upscales: int
    max_requests_per_second: float | None
    http: aiohttp.ClientSession | None


def open_session(api_key: str, base_url: str, time_scale: float, options: EmulatorSessionOptions) -> AkoolSession:
    """Open a session whose waits are multiplied by ``time_scale``. ``options`` override the other arguments."""
    defaults: dict[str, Any] = {
        "auth": api_key,
        "base_url": base_url,
        "polling": AdaptivePolling().scaled(time_scale),
        "timing": Timing().scaled(time_scale),
    }
    return AkoolSession(**defaults | {name: value for name, value in options.items() if value is not None})
