"""The only aiohttp client that AKOOL sees: one request in, one envelope or one typed error out.

Everything that aiohttp can raise is mapped here, reading the body included. A redirect is not followed, since the key
would travel with it, and a body is read up to a bound.
"""

from __future__ import annotations

import asyncio
import ipaddress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import aiohttp
from attrs import define, field

from akool_async import _validate, _wire
from akool_async._auth import ApiKey, Authenticator, ClientCredentials, Header, KeyAuthenticator, TokenAuthenticator
from akool_async._retry import PACE_WITHOUT_RETRY_AFTER, retry_after_seconds, says_nothing
from akool_async.errors import (
    AkoolError,
    APIError,
    AuthenticationError,
    ConfigurationError,
    RateLimitedError,
    ResponseError,
    SessionClosedError,
    TransportError,
)
from akool_async.events import Throttled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from akool_async._auth import Credentials
    from akool_async._event_loop import HomeLoop
    from akool_async._pace import Pace
    from akool_async._reports import Reporter

LARGEST_BODY: Final = 4 * 2**20
MOST_CONNECTIONS: Final = 100
CONNECT_TIMEOUT: Final = 10.0
# A POST sent on a connection that the server is just closing is lost in a way nobody can tell from an accepted one.
# Node servers close after 5 idle seconds, so none of ours is used again that late.
KEEP_ALIVE: Final = 4.0
TOO_MANY_REQUESTS: Final = 429
TOKEN_ENDED: Final = 1101
_AUTHENTICATION_HEADERS: Final = ("authorization", "x-api-key")


@define
class Call:
    """One request: the endpoint's name as AKOOL's pages have it, and what is sent."""

    endpoint: str
    method: str
    path: str
    body: bytes | None = field(default=None, repr=False)  # Get Token's holds the secret
    query: Mapping[str, str] | None = None
    on_send: Callable[[], None] | None = field(default=None, repr=False)
    """Called when the request goes out, for one that spends credits; what it raises keeps the request back."""
    known: bytes | None = field(default=None, repr=False)
    """A good answer to the same call; where the same bytes come again, the envelope is ``_wire.UNCHANGED``."""


class Transport:
    """Sends calls to one AKOOL origin with one pair of credentials."""

    def __init__(
        self,
        credentials: Credentials,
        *,
        base_url: str,
        request_timeout: float,
        http: aiohttp.ClientSession | None,
        home: HomeLoop,
        pace: Pace,
        reporter: Reporter,
    ) -> None:
        if http is not None:
            _check_injected(http)
        self._base_url = base_url.rstrip("/")
        self._http = http
        self._owns_http = http is None
        self._closed = False
        self._home = home
        self._pace = pace
        self._reporter = reporter
        # Not `connect`, which would start one more timer for every request on a connection that is there already.
        connecting = min(CONNECT_TIMEOUT, request_timeout / 2)
        self._timeout = aiohttp.ClientTimeout(total=request_timeout, sock_connect=connecting)
        self._connections = asyncio.Semaphore(MOST_CONNECTIONS)
        self._authenticator = self._choose_authenticator(credentials)

    async def request(self, call: Call) -> _wire.Envelope:
        """Send a call and return AKOOL's answer of code 1000; anything else is an :class:`AkoolError`.

        A token that AKOOL ended (1101) is renewed once per request; that answer is a refusal, so nothing is sent twice.
        """
        self._home.require()
        header = self._authenticator.header or await self._acquire_header(call)
        try:
            return await self._send(call, header)
        except AuthenticationError as error:
            if error.code != TOKEN_ENDED or not self._authenticator.renew(header):
                raise
        return await self._send(call, await self._acquire_header(call))

    async def aclose(self) -> None:
        """Close the aiohttp session, unless it was injected."""
        self._closed = True
        self._authenticator.close()
        if self._http is not None and self._owns_http:
            await self._http.close()

    async def _acquire_header(self, call: Call) -> Header:
        try:
            return await self._authenticator.acquire()
        except AkoolError as error:
            if isinstance(error, APIError) and not says_nothing(error.http_status):
                raise
            # Whatever became of the request for a token, the call itself was not sent.
            raise TransportError(f"{call.endpoint}: not sent, no token ({error})", delivered=False) from error

    def _choose_authenticator(self, credentials: Credentials) -> Authenticator:
        if isinstance(credentials, ApiKey):
            return KeyAuthenticator(credentials)
        return TokenAuthenticator(credentials, self._fetch_token)

    async def _fetch_token(self, credentials: ClientCredentials) -> str:
        body = _wire.token_body(credentials.client_id, credentials.client_secret)
        return _wire.read_token(await self._send(Call("Get Token", "POST", "/api/open/v3/getToken", body), None))

    async def _send(self, call: Call, header: Header | None) -> _wire.Envelope:
        while True:
            if not self._pace.is_open:
                await self._pace.take(is_press=call.on_send is not None)
            async with self._connections:
                if self._pace.is_held:  # AKOOL asked to wait while this one queued
                    continue
                if call.on_send is not None:
                    call.on_send()
                try:
                    status, retry_after, body = await self._exchange(call, header)
                    if body == call.known:
                        return _wire.UNCHANGED
                    envelope = _wire.read_envelope(body, http_status=status, retry_after=retry_after)
                    _wire.raise_for_code(envelope)
                except AkoolError as error:
                    self._complete(error, call)
                    raise
            return envelope

    def _complete(self, error: AkoolError, call: Call) -> None:
        """Name the endpoint, take the secrets out of what AKOOL said, and let a 429 hold up everyone."""
        if isinstance(error, APIError):
            error.msg = self._authenticator.hide(error.msg)
        error.args = (self._authenticator.hide(f"{call.endpoint}: {error.args[0]}"),)
        if isinstance(error, RateLimitedError) and error.http_status == TOO_MANY_REQUESTS:
            seconds = PACE_WITHOUT_RETRY_AFTER if error.retry_after is None else error.retry_after
            self._pace.hold(seconds)
            self._reporter.report(Throttled(code=error.code, seconds=seconds))

    async def _exchange(self, call: Call, header: Header | None) -> tuple[int, float | None, bytes]:
        headers = {} if header is None else {header[0]: header[1]}
        if call.body is not None:
            headers["Content-Type"] = "application/json"
        try:
            async with self._opened().request(
                call.method,
                self._base_url + call.path,
                params=call.query,
                data=call.body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                raise_for_status=False,
            ) as response:
                pace = response.headers.get("Retry-After")
                retry_after = None if pace is None else retry_after_seconds(pace, datetime.now(UTC))
                return response.status, retry_after, await _read_bounded(response)
        except AkoolError:
            raise
        except aiohttp.ClientResponseError as error:
            not_http = ResponseError(f"not an HTTP reply ({error.message})")
        except asyncio.CancelledError as error:
            if _is_asked_to_stop():
                raise
            # An injected session that is closed meanwhile cancels whoever waits for one of its connections.
            raise TransportError("the aiohttp session was closed meanwhile") from error
        except Exception as error:  # a user's trace hook may raise anything, at any point of the exchange
            raise _transport_error(error) from error
        # aiohttp's error shows the request's headers, the key among them, in its repr: raised here, it is not chained.
        raise not_http

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed or (self._http is not None and self._http.closed):
            raise SessionClosedError
        if self._http is not None and not self._owns_http:
            _check_injected(self._http)  # again: headers can be set at any time
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._http


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        length = response.content_length
        if length is not None and length <= LARGEST_BODY and not _is_packed(response):
            return await response.read()
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > LARGEST_BODY:
                raise ResponseError(f"a body of more than {LARGEST_BODY} bytes", http_status=response.status)
    except aiohttp.ClientPayloadError as error:
        raise ResponseError("the body was cut short", http_status=response.status) from error
    return b"".join(chunks)


def _is_packed(response: aiohttp.ClientResponse) -> bool:
    """True where the body may grow beyond its Content-Length as it is read."""
    return "Content-Encoding" in response.headers


def _is_asked_to_stop() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def _transport_error(error: Exception) -> TransportError:
    reason = str(error) or type(error).__name__
    # ConnectionTimeoutError is raised before a byte is sent, ClientConnectorError where no connection came to be.
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return TransportError(f"AKOOL could not be reached ({reason})", delivered=False)
    if isinstance(error, TimeoutError):
        return TransportError(f"no reply in time ({reason})")
    return TransportError(f"the connection broke ({reason})")


def check_base_url(base_url: str, *, allow_http: bool) -> str:
    """Refuse an address that must not get a key: no user or password in it, https unless it is this machine."""
    _validate.web_url("base_url", base_url)
    parts = urlsplit(base_url)
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("base_url must not hold a user or password: they would be sent as a second credential")
    if parts.query or parts.fragment:
        raise ConfigurationError("base_url must not hold a query or fragment")
    if parts.scheme == "http" and not allow_http and not _is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            "base_url: plain http would show the key to the network; use https, or pass allow_http=True"
        )
    return base_url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_injected(http: aiohttp.ClientSession) -> None:
    if not isinstance(http, aiohttp.ClientSession):
        raise ConfigurationError(f"http must be an aiohttp.ClientSession, not {type(http).__name__}")
    if http.auth is not None or any(name in http.headers for name in _AUTHENTICATION_HEADERS):
        raise ConfigurationError("http must not bring its own credentials: exactly one header goes to AKOOL")
    if http.trust_env:
        raise ConfigurationError(
            "http must not be made with trust_env=True, which may send a password of .netrc along; for a proxy pass "
            "aiohttp.ClientSession(proxy=...)"
        )
