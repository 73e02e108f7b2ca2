"""The hosts that serve AKOOL's pictures: other origins, which get no key, no cookie and no header of AKOOL's."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
from attrs import frozen
from yarl import URL

from akool_async._download.urls import as_written, follow
from akool_async._http.proxies import proxy_for, without_password
from akool_async._http.retry import asked_wait, read_date
from akool_async.errors import DownloadError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from datetime import datetime

AT_ONCE: Final = 8
"""Pictures of one session that are fetched at once."""
MOST_REDIRECTS: Final = 3
CONNECT_TIMEOUT: Final = 10.0
LONGEST_TRY: Final = 600.0
"""Seconds for one request, so that a host that sends a byte now and then is not listened to for ever."""
CHUNK: Final = 2**18
OK, PARTIAL, RANGE_NOT_SATISFIABLE, TOO_MANY_REQUESTS, SERVER_ERROR = 200, 206, 416, 429, 500
PROXY_WANTS_PASSWORD: Final = 407
REDIRECTS: Final = (301, 302, 303, 307, 308)
GONE: Final = (403, 404, 410)
"""What hosts answer for a picture that was deleted, or whose signed address has expired."""
_CONTENT_RANGE: Final = re.compile(r"\s*bytes\s+(\d{1,18})-", re.IGNORECASE)


class RefusedError(DownloadError):
    """The host does not serve this address (any more): asking again will not help, another address may."""

    def __init__(self, message: str, *, at: datetime | None = None) -> None:
        super().__init__(message)
        self.at = at
        """The host's own time, if it refused in a way that fits a picture that is gone."""


class BrokenOffError(DownloadError):
    """The picture did not come whole this time: asking again may help."""


class PausedError(DownloadError):
    """The host wants no requests for some seconds."""

    def __init__(self, message: str, *, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


@frozen
class Piece:
    """A picture from ``start`` on."""

    start: int
    """Bytes that come before; 0 where the host begins again, whatever was asked for."""
    chunks: AsyncIterator[bytes]
    version: str | None
    """By which the rest of the very same picture can be asked for; None where the host gives no such thing."""


class PictureHosts:
    """One connection pool for the pictures of a session."""

    def __init__(self, *, read_timeout: float, injected: aiohttp.ClientSession | None) -> None:
        # Of an injected aiohttp session only the proxy is used: it may carry headers or cookies that are nobody else's
        # business.
        self._proxy = None if injected is None else _proxy_of(injected)
        self._http: aiohttp.ClientSession | None = None
        self._closed = False
        self._timeout = aiohttp.ClientTimeout(total=LONGEST_TRY, sock_connect=CONNECT_TIMEOUT, sock_read=read_timeout)
        self._paused_until: dict[URL, float] = {}
        self.places = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def open(self, address: str, start: int, version: str | None) -> AsyncIterator[Piece]:
        """The picture from byte ``start`` on, if it is still of that ``version``, or else from its beginning.

        Raises, also while it is read:
            RefusedError: asking again will not help.
            BrokenOffError: asking again may help.
            PausedError: its host asked for a pause; nothing was sent to it meanwhile.
            SessionClosedError: the session is closed.
        """
        # Only identity has byte ranges that mean anything.
        headers = {"Accept-Encoding": "identity"}
        if start and version is not None:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        else:
            start = 0
        async with self._follow(address, headers) as response:
            self._require_served(response)
            yield _read_piece(response, start, version)

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    @asynccontextmanager
    async def _follow(self, address: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """The reply after all redirects, which aiohttp would follow with the addresses escaped anew."""
        for _ in range(MOST_REDIRECTS + 1):
            try:
                url = as_written(address)
            except ValueError as error:
                raise RefusedError(f"the picture's address leads astray ({error})") from None
            async with self._get(url, headers) as response:
                location = response.headers.get("Location") if response.status in REDIRECTS else None
                if not location:
                    yield response
                    return
            try:
                address = follow(url, location)
            except ValueError as error:
                raise RefusedError(f"the picture's address leads astray ({error})") from None
        raise RefusedError(f"the picture's address leads astray (more than {MOST_REDIRECTS} redirects)")

    @asynccontextmanager
    async def _get(self, url: URL, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        http = self._opened()
        self._require_no_pause(url)
        proxy = self._proxy or proxy_for(str(url))
        route = "" if proxy is None else f", through the proxy {without_password(str(proxy))}"
        try:
            async with http.get(url, headers=headers, proxy=proxy, allow_redirects=False) as response:
                if response.status == PROXY_WANTS_PASSWORD:
                    raise DownloadError(f"the picture could not be fetched (HTTP {response.status}){route}")
                yield response
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, UnicodeError) as error:  # such as a host's bad name
            raise RefusedError(f"the picture's address leads astray ({error})") from error
        except aiohttp.ClientResponseError as error:
            # Not chained, since it shows the proxy's password.
            raise BrokenOffError(f"the picture could not be fetched ({_reason_of(error)}){route}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise BrokenOffError(f"the picture could not be fetched ({reason}){route}") from error

    def _require_served(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status in {OK, PARTIAL}:
            return
        told = f"the pictures' host answered HTTP {status} {response.reason}"
        if status < SERVER_ERROR and status not in {TOO_MANY_REQUESTS, RANGE_NOT_SATISFIABLE}:
            raise RefusedError(told, at=read_date(response.headers.get("Date", "")) if status in GONE else None)
        seconds = asked_wait(response.headers)
        if seconds is None:
            raise BrokenOffError(told)
        self._pause(response.url, seconds)
        raise PausedError(f"{told} and asked for a pause of {seconds:.0f} s", seconds=seconds)

    def _pause(self, url: URL, seconds: float) -> None:
        """Send nothing to this host for so long."""
        now = asyncio.get_running_loop().time()
        self._paused_until = {host: until for host, until in self._paused_until.items() if until > now}
        self._paused_until[url.origin()] = max(now + seconds, self._paused_until.get(url.origin(), 0.0))

    def _require_no_pause(self, url: URL) -> None:
        seconds = self._paused_until.get(url.origin(), 0.0) - asyncio.get_running_loop().time()
        if seconds > 0:
            raise PausedError(
                f"the pictures' host asked for a pause, of which {seconds:.0f} s are left", seconds=seconds
            )

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise SessionClosedError
        if self._http is None:
            self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout)
        return self._http


def _read_piece(response: aiohttp.ClientResponse, start: int, asked_for: str | None) -> Piece:
    etag = response.headers.get("ETag", "")
    version = etag if etag.startswith('"') else response.headers.get("Last-Modified")  # W/"..." promises no equal bytes
    if "Content-Encoding" in response.headers:  # bytes of which no range can be asked for
        version = None
    first = _first_byte(response, start)
    if first is None or first not in {0, start}:
        raise BrokenOffError("the pictures' host sent another part of the picture than was asked for")
    if first and version != asked_for:
        raise BrokenOffError("the pictures' host sent the rest of another picture")
    return Piece(first, response.content.iter_chunked(CHUNK), version)


def _first_byte(response: aiohttp.ClientResponse, start: int) -> int | None:
    """Which byte of the picture a reply begins with; None if it does not say so.

    Some hosts answer a plain request with a part (206) that begins at 0. Whether it is whole shows when it is there.
    """
    if response.status == OK:
        return 0
    told = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if told:
        return int(told[1])
    return None if start else 0


def _reason_of(error: aiohttp.ClientResponseError) -> str:
    refused_by_proxy = isinstance(error, aiohttp.ClientHttpProxyError)
    return f"HTTP {error.status} {error.message}" if refused_by_proxy else error.message


def _proxy_of(http: aiohttp.ClientSession) -> URL | None:
    """The proxy of an injected session, with its user and password."""
    # aiohttp has no public names for these two.
    proxy: str | URL | None = getattr(http, "_default_proxy", None)
    login: aiohttp.BasicAuth | None = getattr(http, "_default_proxy_auth", None)
    if proxy is None or login is None:
        return None if proxy is None else URL(proxy)
    return URL(proxy).with_user(login.login).with_password(login.password)
