"""What aiohttp's exceptions say about a request, as errors of this library."""

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
    """True if the repr of the exception may show the key or a proxy's password, so that it must not be chained."""
    # A time-out is caused by whatever it ended.
    return isinstance(failure, aiohttp.ClientError | TimeoutError | asyncio.CancelledError)


def is_before_sending(failure: BaseException) -> bool:
    """True if a failure of a single attempt says that it had no connection."""
    return isinstance(failure, (*_NO_CONNECTION, aiohttp.ClientHttpProxyError))


def explain(failure: BaseException, *, was_sent: bool, seconds: float, route: str) -> AkoolError:
    """The error for a request that failed with ``failure``.

    ``was_sent`` is False if nothing of the request can have reached AKOOL. ``seconds`` is the request timeout, and
    ``route`` says how requests go to AKOOL (:func:`describe_route`).
    """
    reason = _without_passwords(str(failure) or type(failure).__name__)
    if isinstance(failure, aiohttp.ClientHttpProxyError):
        proxy = without_password(str(failure.request_info.real_url))
        message = f"the proxy {proxy} does not connect to AKOOL (HTTP {failure.status} {failure.message})"
    elif isinstance(failure, aiohttp.ClientProxyConnectionError):
        message = f"the proxy could not be reached ({reason})"
    elif isinstance(failure, asyncio.CancelledError):
        # An injected session that is closed meanwhile cancels whoever waits for one of its connections.
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
    """What an error adds on how AKOOL was to be reached."""
    if proxy is not None:
        return f", through the proxy {without_password(proxy)}"
    return "" if is_loopback(host) else "; if this network has a proxy, name it in HTTPS_PROXY"


def _advice(failure: BaseException, route: str) -> str:
    if isinstance(failure, aiohttp.ClientConnectorCertificateError):
        return f"{route}; if a proxy inspects TLS, name the file of its certificate in SSL_CERT_FILE"
    return route


def _without_passwords(text: str) -> str:
    """The text, in which the address of an injected session's proxy may stand."""
    return re.sub(r"//[^/@\s]+@", "//***@", text)
