"""The only aiohttp client that talks to AKOOL. A request returns an envelope or raises an :class:`AkoolError`.

All exceptions of aiohttp are translated here. Redirects are not followed, since they would take the key along, and
bodies are read up to a limit.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import aiohttp
from attrs import define, field
from yarl import URL

from akool_async import _validate
from akool_async._http import codec
from akool_async._http.auth import (
    ApiKey,
    Authenticator,
    ClientCredentials,
    Header,
    KeyAuthenticator,
    TokenAuthenticator,
)
from akool_async._http.deadline import Deadlines
from akool_async._http.failures import describe_route, explain, is_before_sending, is_secretive
from akool_async._http.proxies import is_loopback, proxy_for
from akool_async._http.request_body import RequestBody
from akool_async._http.retry import is_ambiguous
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
    from akool_async._http.auth import Credentials
    from akool_async._http.event_loop import HomeLoop
    from akool_async._http.request_body import SendGate
    from akool_async._limits.rate import RateLimiter
    from akool_async.events import Reporter

MAX_BODY: Final = 4 * 2**20
MAX_CONNECTIONS: Final = 100
CONNECT_TIMEOUT: Final = 10.0
# The outcome of a POST on a connection that the server is closing is unknown. Node servers close connections after 5
# idle seconds, so ours are not used again that late.
KEEP_ALIVE: Final = 4.0
PROXY_WANTS_PASSWORD: Final = 407
TOKEN_ENDED: Final = 1101
_AUTHENTICATION_HEADERS: Final = ("authorization", "x-api-key")
# aiohttp's limits are 8,190 bytes per line and 128 lines. With these, long headers of a reply lose no paid id.
MAX_LINE_SIZE: Final = 2**16
MAX_HEADERS: Final = 1024


@define
class Call:
    """One request."""

    endpoint: str
    """The name of the endpoint on AKOOL's pages."""
    method: str
    url: URL
    body: bytes | None = field(default=None, repr=False)  # that of Get Token contains the secret
    gate: SendGate | None = field(default=None, repr=False)
    """Records whether the request went out; None if it spends no credits."""
    needs_authentication: bool = True


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
        rate_limiter: RateLimiter,
        throttle_delay: float,
        reporter: Reporter,
    ) -> None:
        self._base_url = URL(base_url.rstrip("/"))
        self._http = http
        self._owns_http = http is None
        self._closed = False
        self._home = home
        self._rate_limiter = rate_limiter
        self._throttle_delay = throttle_delay
        self._reporter = reporter
        self._request_timeout = request_timeout
        self._deadlines = Deadlines(request_timeout)
        self._connections = asyncio.Semaphore(MAX_CONNECTIONS)
        self._authenticator = self._choose_authenticator(credentials)
        self._options = _request_options(request_timeout)
        if http is None:
            proxy = proxy_for(base_url)
            self._options["proxy"] = proxy
            self._route = describe_route(self._base_url.host or "", proxy)
        else:  # it has its own proxy
            _check_injected(http)
            self._route = ""
        is_proxied = http is not None or self._options["proxy"] is not None
        self._proxy_can_answer = is_proxied and self._base_url.scheme == "http"

    def url(self, path: str) -> URL:
        """Return the address of an endpoint."""
        return self._base_url.joinpath(path)

    async def request(self, call: Call) -> codec.Envelope:
        """Send a call and return AKOOL's answer.

        If AKOOL has ended the token (1101), it is renewed once and the request is sent again: AKOOL refused the first.

        Raises:
            AkoolError: The answer is not of code 1000, or there is none.
        """
        self._home.require()
        may_renew = call.needs_authentication
        header = None
        while True:
            if call.needs_authentication:
                header = self._authenticator.header or await self._acquire_header(call)
            if self._rate_limiter.must_acquire:
                await self._rate_limiter.acquire(is_press=call.gate is not None)
            async with self._connections:
                if self._rate_limiter.is_paused:  # the pause began while this request waited for a connection
                    continue
                body = None if call.body is None else RequestBody(call.body, call.gate)
                failure: BaseException
                try:
                    with self._deadlines.start():
                        async with self._open_session().request(
                            call.method,
                            call.url,
                            data=body,
                            headers=header,
                            **self._options,
                        ) as response:
                            self._require_no_proxy_page(response.status)
                            content = await _read_bounded(response)
                    return codec.read_envelope(content, http_status=response.status, headers=response.headers)
                except AkoolError as error:
                    self._complete(error, call)
                    if not (may_renew and header is not None and self._renews(error, header)):
                        raise
                    may_renew = False
                    continue
                except asyncio.CancelledError as error:
                    if _is_asked_to_stop():
                        raise
                    failure = error
                except Exception as error:  # noqa: BLE001 - a user's trace hook may raise anything, at any point
                    failure = error
                # For a POST, ask its body: an injected session may send it twice and report only the second failure.
                was_sent = not (is_before_sending(failure) if body is None else body.withdraw())
                explained = explain(failure, was_sent=was_sent, seconds=self._request_timeout, route=self._route)
                raise self._complete(explained, call) from (None if is_secretive(failure) else failure)

    def _renews(self, error: AkoolError, header: Header) -> bool:
        """Return True if AKOOL has ended the token of this header, and another can be fetched."""
        return (
            isinstance(error, AuthenticationError) and error.code == TOKEN_ENDED and self._authenticator.renew(header)
        )

    async def aclose(self) -> None:
        """Close the aiohttp session, unless it was injected."""
        self._closed = True
        self._authenticator.close()
        if self._http is not None and self._owns_http:
            await self._http.close()

    async def _acquire_header(self, call: Call) -> Header:
        try:
            return await self._authenticator.acquire()
        except (SessionClosedError, ConfigurationError):
            raise
        except AkoolError as error:
            if isinstance(error, APIError) and not is_ambiguous(error):
                raise
            # Whatever happened to the request for a token, the call itself was not sent.
            raise TransportError(f"{call.endpoint}: not sent, no token ({error})", delivered=False) from error

    def _choose_authenticator(self, credentials: Credentials) -> Authenticator:
        if isinstance(credentials, ApiKey):
            return KeyAuthenticator(credentials)
        return TokenAuthenticator(credentials, self._fetch_token)

    async def _fetch_token(self, credentials: ClientCredentials) -> str:
        body = codec.token_body(credentials.client_id, credentials.client_secret)
        call = Call("Get Token", "POST", self.url("api/open/v3/getToken"), body, needs_authentication=False)
        return codec.read_token(await self.request(call))

    def _complete(self, error: AkoolError, call: Call) -> AkoolError:
        """Add the endpoint's name to an error, remove secrets from it, and let a 429 pause all requests."""
        if isinstance(error, APIError):
            error.msg = self._authenticator.redact(error.msg)
        error.args = (self._authenticator.redact(f"{call.endpoint}: {error.args[0]}"),)
        if isinstance(error, RateLimitedError) and error.http_status == codec.TOO_MANY_REQUESTS:
            seconds = self._throttle_delay if error.retry_after is None else error.retry_after
            self._rate_limiter.pause(seconds)
            self._reporter.report(Throttled(code=error.code, seconds=seconds))
        return error

    def _require_no_proxy_page(self, status: int) -> None:
        """Raise if the reply is a proxy's request for a password: without TLS it answers in AKOOL's place."""
        if status == PROXY_WANTS_PASSWORD and self._proxy_can_answer:
            raise TransportError("a proxy asks for a user and password (HTTP 407)", delivered=False)

    def _open_session(self) -> aiohttp.ClientSession:
        if self._closed or (self._http is not None and self._http.closed):
            raise SessionClosedError
        if self._http is None:
            self._http = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        elif not self._owns_http:
            _check_injected(self._http)  # again: headers can be set at any time
        return self._http


def _request_options(request_timeout: float) -> dict[str, Any]:
    """Return the arguments of every request, for an injected aiohttp session and for our own."""
    # A deadline limits the total. `connect` is unset: it would take a timer per request even on an open connection.
    connect_timeout = min(CONNECT_TIMEOUT, request_timeout / 2)
    options: dict[str, Any] = {
        "timeout": aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout),
        "allow_redirects": False,
        "raise_for_status": False,
        "max_line_size": MAX_LINE_SIZE,
        "max_field_size": MAX_LINE_SIZE,
    }
    # Older versions of aiohttp do not limit the number of headers.
    if "max_headers" in inspect.signature(aiohttp.ClientSession).parameters:  # pragma: no branch - one version runs
        options["max_headers"] = MAX_HEADERS
    return options


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        length = response.content_length
        may_grow = "Content-Encoding" in response.headers
        if length is not None and length <= MAX_BODY and not may_grow:
            return await response.read()
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY:
                raise ResponseError(f"a body of more than {MAX_BODY} bytes", http_status=response.status)
    except aiohttp.ClientPayloadError as error:
        raise ResponseError("the body was cut short", http_status=response.status) from error
    return b"".join(chunks)


def _is_asked_to_stop() -> bool:
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def check_base_url(base_url: str, *, allow_http: bool) -> str:
    """Check an address that gets the key: no user or password, and https unless it is this machine.

    Args:
        base_url: The address.
        allow_http: True allows http for other machines.

    Raises:
        ConfigurationError: The address must not get the key.
        ValueError: It is not an http or https URL.
    """
    _validate.web_url("base_url", base_url)
    parts = urlsplit(base_url)
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("base_url must not have a user or password: they would be a second credential")
    if parts.query or parts.fragment:
        raise ConfigurationError("base_url must not have a query or fragment")
    if parts.scheme == "http" and not allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            "base_url: plain http would show the key to the network; use https, or pass allow_http=True"
        )
    return base_url


def _check_injected(http: aiohttp.ClientSession) -> None:
    if not isinstance(http, aiohttp.ClientSession):
        raise ConfigurationError(f"http must be an aiohttp.ClientSession, not {type(http).__name__}")
    if http.auth is not None or any(name in http.headers for name in _AUTHENTICATION_HEADERS):
        raise ConfigurationError("http must not have credentials: AKOOL gets exactly one authentication header")
    if http.trust_env:
        raise ConfigurationError(
            "http must not have trust_env=True, which may send a password from .netrc; for a proxy pass "
            "aiohttp.ClientSession(proxy=...)"
        )
