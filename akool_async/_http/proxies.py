"""Finds the proxy for an address, from the environment or the system's settings. A ``.netrc`` is never read."""

from __future__ import annotations

import ipaddress
import os
from typing import Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from akool_async.errors import ConfigurationError

SCHEMES: Final = ("http", "https")


def proxy_for(url: str) -> str | None:
    """Return the URL of the proxy for a request to ``url``; None if the request goes to its host directly.

    ``HTTPS_PROXY`` or ``HTTP_PROXY`` names the proxy, by the scheme of ``url``, and ``NO_PROXY`` lists the exceptions;
    the names in lower case take precedence. On macOS and Windows the system's settings apply if the environment has
    none of these. Requests to this machine itself never use a proxy.

    The URL may hold a user and password: pass it to aiohttp (``proxy=``), and show :func:`without_password` of it.

    Raises:
        ConfigurationError: A variable names something other than an http or https proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    proxy = getproxies().get(parts.scheme)
    if not proxy or is_loopback(host) or proxy_bypass(host if parts.port is None else f"{host}:{parts.port}"):
        return None
    if not _is_usable(proxy):
        # The message does not show the value, which may contain a password.
        raise ConfigurationError(
            f"{_source_of(parts.scheme)} must be the URL of an http or https proxy, such as "
            "http://proxy.example:3128 (SOCKS proxies are not supported)"
        )
    return proxy


def without_password(proxy: str) -> str:
    """Return the URL of a proxy without user and password, to show it."""
    parts = urlsplit(proxy)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def is_loopback(host: str) -> bool:
    """Return True if the host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_usable(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in SCHEMES and bool(parts.hostname) and parts.port != 0 and " " not in proxy
    except ValueError:
        return False


def _source_of(scheme: str) -> str:
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper())
    return next((name for name in names if os.environ.get(name)), f"the system's proxy for {scheme}")
