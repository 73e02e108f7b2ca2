"""Addresses of pictures as they were written: they may be signed letter by letter, escapes included."""

from __future__ import annotations

import re
import string
from typing import Final
from urllib.parse import quote, urljoin

from yarl import URL

from akool_async import _validate

_ADDRESS: Final = re.compile(r"(https?://[^/?#]*)([^#]*)", re.IGNORECASE | re.DOTALL)
"""Scheme and host, and what the host is asked for; a fragment is not sent."""
_ABSOLUTE: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def as_written(address: str) -> URL:
    """The URL to request: only what cannot be sent raw (spaces, control characters, not ASCII) is escaped.

    Raises:
        ValueError: not an absolute http or https address.
    """
    address = str(address).strip(string.whitespace)
    parts = _ADDRESS.match(address)
    host, target = (parts[1], parts[2]) if parts else (address, "")
    # aiohttp hands on bytes of a header that are not UTF-8 as surrogates.
    target = quote(target, safe=string.punctuation, errors="surrogateescape")
    _validate.web_url("it", host)
    # yarl would drop a lone "?" at the end, unless it is part of the path.
    return URL(host).with_path(target if target.startswith("/") else f"/{target}", encoded=True)


def follow(url: URL, location: str) -> str:
    """Where a redirect from ``url`` leads."""
    if _ABSOLUTE.match(location):
        return location
    if location.startswith("//"):
        return f"{url.scheme}:{location}"
    if location.startswith("/"):  # urljoin would drop dots and a lone "?"
        return f"{url.scheme}://{url.raw_authority}{location}"
    return urljoin(str(url), location)
