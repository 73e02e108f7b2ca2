"""Turns aiohttp's exceptions into errors of this library."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Final

import aiohttp

from akool_async._http.proxies import is_loopback, without_password
from akool_async.errors import ResponseError, TransportError

if TYPE_CHECKING:
    from akool_async.errors import AkoolError

_NO_CONNECTION: Final = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


def is_secretive(failure: BaseException) -> bool:
    """Return True if the exception's repr may show the key or a proxy's password, so that it must not be chained."""
    # The cause of a timeout is the exception that it cancelled.
    return isinstance(failure, aiohttp.ClientError | TimeoutError | asyncio.CancelledError)


def is_before_sending(failure: BaseException) -> bool:
    """Return True if the failure shows that there was no connection."""
    return isinstance(failure, (*_NO_CONNECTION, aiohttp.ClientHttpProxyError))


def explain(failure: BaseException, *, was_sent: bool, seconds: float, route: str) -> AkoolError:
    """Return the error for a failed request.

    Args:
        failure: aiohttp's exception.
        was_sent: False if nothing of the request can have reached AKOOL.
        seconds: The request timeout.
        route: How requests reach AKOOL, from :func:`describe_route`.
    """
    reason = _without_passwords(str(failure) or type(failure).__name__)
    if isinstance(failure, aiohttp.ClientHttpProxyError):
        proxy = without_password(str(failure.request_info.real_url))
        message = f"the proxy {proxy} does not connect to AKOOL (HTTP {failure.status} {failure.message})"
    elif isinstance(failure, aiohttp.ClientProxyConnectionError):
        message = f"the proxy could not be reached ({reason})"
    elif isinstance(failure, asyncio.CancelledError):
        # Closing an injected session cancels the requests that wait for a connection.
        message = "the aiohttp session was closed meanwhile"
    elif not was_sent:
        if type(failure) is TimeoutError:
            reason = f"no connection within {seconds:g} s"
        message = f"AKOOL could not be reached ({reason}){_advice(failure, route)}"
    elif isinstance(failure, aiohttp.ClientResponseError):
        return ResponseError(f"not an HTTP reply ({failure.message})")
    elif isinstance(failure, TimeoutError):
        message = f"no reply within {seconds:g} s"
    else:
        message = f"the connection broke ({reason})"
    return TransportError(message, delivered=None if was_sent else False)


def describe_route(host: str, proxy: str | None) -> str:
    """Return the part of an error message that says how AKOOL is reached."""
    if proxy is not None:
        return f", through the proxy {without_password(proxy)}"
    return "" if is_loopback(host) else "; if this network has a proxy, set HTTPS_PROXY to its address"


def _advice(failure: BaseException, route: str) -> str:
    if isinstance(failure, aiohttp.ClientConnectorCertificateError):
        return f"{route}; if a proxy inspects TLS, set SSL_CERT_FILE to the file with its certificate"
    return route


def _without_passwords(text: str) -> str:
    """Remove passwords from a text, which may contain the address of an injected session's proxy."""
    return re.sub(r"//[^/@\s]+@", "//***@", text)
