"""The hosts that serve AKOOL's pictures: other origins, which get none of AKOOL's keys, cookies and headers."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from http import HTTPStatus
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

MAX_CONCURRENT_PICTURES: Final = 8
"""Pictures that a session fetches concurrently."""
MAX_REDIRECTS: Final = 3
CONNECT_TIMEOUT: Final = 10.0
REQUEST_TIMEOUT: Final = 600.0
"""Seconds for one request, against a host that sends a byte now and then without end."""
CHUNK_SIZE: Final = 2**18
REDIRECTS: Final = (301, 302, 303, 307, 308)
GONE: Final = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
"""Statuses for a picture that was deleted, or whose signed URL has expired."""
RETRYABLE: Final = (HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, HTTPStatus.TOO_MANY_REQUESTS)
"""Client errors after which another try may help."""
_CONTENT_RANGE: Final = re.compile(r"\s*bytes\s+(\d{1,18})-", re.IGNORECASE)


class RefusedError(DownloadError):
    """The host does not serve this URL, or no longer. Another try will not help; another URL may."""

    def __init__(self, message: str, *, at: datetime | None = None) -> None:
        super().__init__(message)
        self.at = at
        """The time by the host's clock, if the refusal may mean that the picture was deleted; otherwise None."""


class TransientError(DownloadError):
    """The picture did not arrive whole this time. Another try may help."""


class PausedError(DownloadError):
    """The host asked for a pause."""

    def __init__(self, message: str, *, seconds: float = 0.0) -> None:
        super().__init__(message)
        self.seconds = seconds


@frozen
class Piece:
    """A picture, or the rest of it."""

    start: int
    """Offset of the first byte in the picture. 0 if the host sends all of it, whatever was asked for."""
    chunks: AsyncIterator[bytes]
    version: str | None
    """ETag or Last-Modified, by which the rest of the same picture can be requested; None if the host sends neither."""


class PictureHosts:
    """One connection pool for the pictures of a session."""

    def __init__(self, *, read_timeout: float, injected: aiohttp.ClientSession | None) -> None:
        # Only the proxy of an injected aiohttp session is used: its headers and cookies may be confidential.
        self._proxy = None if injected is None else _proxy_of(injected)
        self._http: aiohttp.ClientSession | None = None
        self._closed = False
        self._timeout = aiohttp.ClientTimeout(
            total=REQUEST_TIMEOUT, sock_connect=CONNECT_TIMEOUT, sock_read=read_timeout
        )
        self._paused_until: dict[URL, float] = {}
        self.concurrency = asyncio.Semaphore(MAX_CONCURRENT_PICTURES)

    @asynccontextmanager
    async def open(self, url: str, start: int, version: str | None) -> AsyncIterator[Piece]:
        """Request a picture from byte ``start`` on, or from the beginning if its version has changed.

        The errors are also raised while the chunks are read.

        Args:
            url: The picture's URL.
            start: The first byte that is missing.
            version: :attr:`Piece.version` of the bytes before; None if there are none.

        Raises:
            RefusedError: Another try will not help.
            TransientError: Another try may help.
            PausedError: The host asked for a pause, now or in an earlier reply.
            SessionClosedError: The session is closed.
        """
        # Byte ranges of a compressed body would be useless.
        headers = {"Accept-Encoding": "identity"}
        if start and version is not None:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        else:
            start = 0
        async with self._follow(url, headers) as response:
            self._raise_unless_served(response)
            yield _read_piece(response, start, version)

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    @asynccontextmanager
    async def _follow(self, target: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Return the reply after all redirects. aiohttp would escape the URLs again when it follows them."""
        url = None
        for _ in range(MAX_REDIRECTS + 1):
            try:
                url = as_written(target if url is None else follow(url, target))
            except ValueError as error:
                raise _unusable(error) from None
            async with self._get(url, headers) as response:
                target = response.headers.get("Location", "") if response.status in REDIRECTS else ""
                if not target:
                    yield response
                    return
        raise _unusable(f"more than {MAX_REDIRECTS} redirects")

    @asynccontextmanager
    async def _get(self, url: URL, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        http = self._opened()
        self._raise_if_paused(url)
        proxy = self._proxy or proxy_for(str(url))
        route = "" if proxy is None else f", through the proxy {without_password(str(proxy))}"
        try:
            async with http.get(url, headers=headers, proxy=proxy, allow_redirects=False) as response:
                if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
                    raise DownloadError(f"the picture could not be fetched (HTTP {response.status}){route}")
                yield response
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, UnicodeError) as error:
            raise _unusable(error) from error
        except aiohttp.ClientResponseError as error:
            # Not chained: it shows the proxy's password.
            raise TransientError(f"the picture could not be fetched ({_reason_of(error)}){route}") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise TransientError(f"the picture could not be fetched ({reason}){route}") from error

    def _raise_unless_served(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
            return
        reason = f"the pictures' host answered HTTP {status} {response.reason}"
        if status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in RETRYABLE:
            raise RefusedError(reason, at=read_date(response.headers.get("Date", "")) if status in GONE else None)
        seconds = asked_wait(response.headers)
        if seconds is None:
            raise TransientError(reason)
        self._pause(response.url, seconds)
        raise PausedError(f"{reason} and asked for a pause of {seconds:.0f} s", seconds=seconds)

    def _pause(self, url: URL, seconds: float) -> None:
        """Send nothing to this host for ``seconds``."""
        now = asyncio.get_running_loop().time()
        self._paused_until = {host: until for host, until in self._paused_until.items() if until > now}
        self._paused_until[url.origin()] = max(now + seconds, self._paused_until.get(url.origin(), 0.0))

    def _raise_if_paused(self, url: URL) -> None:
        seconds = self._paused_until.get(url.origin(), 0.0) - asyncio.get_running_loop().time()
        if seconds > 0:
            raise PausedError(
                f"the pictures' host asked for a pause, which lasts {seconds:.0f} s more", seconds=seconds
            )

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise SessionClosedError
        if self._http is None:
            self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout)
        return self._http


def _unusable(reason: ValueError | aiohttp.ClientError | str) -> RefusedError:
    return RefusedError(f"the picture's URL cannot be used ({reason})")


def _read_piece(response: aiohttp.ClientResponse, start: int, asked_for: str | None) -> Piece:
    etag = response.headers.get("ETag", "")
    is_strong = etag.startswith('"')  # a weak ETag does not promise equal bytes
    version = etag if is_strong else response.headers.get("Last-Modified")
    if "Content-Encoding" in response.headers:  # no range of the picture can be requested
        version = None
    first = _first_byte(response, start)
    if first is None or first not in {0, start}:
        raise TransientError("the pictures' host sent another part of the picture than was requested")
    if first and version != asked_for:
        raise TransientError("the pictures' host sent the rest of another picture")
    return Piece(first, response.content.iter_chunked(CHUNK_SIZE), version)


def _first_byte(response: aiohttp.ClientResponse, start: int) -> int | None:
    """Return the offset in the picture at which a reply begins; None if the reply does not show it.

    Some hosts answer a plain request with a part (206) that begins at 0. The format shows whether it is whole.
    """
    if response.status == HTTPStatus.OK:
        return 0
    content_range = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if content_range:
        return int(content_range[1])
    return None if start else 0


def _reason_of(error: aiohttp.ClientResponseError) -> str:
    refused_by_proxy = isinstance(error, aiohttp.ClientHttpProxyError)
    return f"HTTP {error.status} {error.message}" if refused_by_proxy else error.message


def _proxy_of(http: aiohttp.ClientSession) -> URL | None:
    """Return the proxy of an injected session, with its user and password."""
    # aiohttp has no public names for these two.
    proxy: str | URL | None = getattr(http, "_default_proxy", None)
    login: aiohttp.BasicAuth | None = getattr(http, "_default_proxy_auth", None)
    if proxy is None or login is None:
        return None if proxy is None else URL(proxy)
    return URL(proxy).with_user(login.login).with_password(login.password)
