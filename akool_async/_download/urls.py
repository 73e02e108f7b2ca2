"""Keeps the URLs of pictures exactly as they were written: a signature may cover every character and escape."""

from __future__ import annotations

import re
import string
from typing import Final
from urllib.parse import quote, urljoin

from yarl import URL

from akool_async import _validate

_PARTS: Final = re.compile(r"(https?://[^/?#]*)([^#]*)", re.IGNORECASE | re.DOTALL)
"""Scheme and host, then path and query. A fragment is not sent."""
_ABSOLUTE: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def as_written(text: str) -> URL:
    """Return the URL to request. Only spaces, control characters and non-ASCII characters are escaped.

    Raises:
        ValueError: It is not an absolute http or https URL.
    """
    text = str(text).strip(string.whitespace)
    parts = _PARTS.match(text)
    host, target = (parts[1], parts[2]) if parts else (text, "")
    # aiohttp decodes bytes that are not UTF-8 in headers as surrogates.
    target = quote(target, safe=string.punctuation, errors="surrogateescape")
    _validate.web_url("it", host)
    # yarl would drop a lone "?" at the end, unless it is part of the path.
    return URL(host).with_path(target if target.startswith("/") else f"/{target}", encoded=True)


def follow(url: URL, location: str) -> str:
    """Return the URL that a redirect from ``url`` leads to."""
    if _ABSOLUTE.match(location):
        return location
    if location.startswith("//"):
        return f"{url.scheme}:{location}"
    if location.startswith("/"):  # urljoin would drop dots and a lone "?"
        return f"{url.scheme}://{url.raw_authority}{location}"
    return urljoin(str(url), location)
