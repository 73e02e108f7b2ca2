"""The hosts that serve AKOOL's pictures: other origins, which get no key, no cookie and no header of AKOOL's."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import aiohttp
from attrs import frozen

from akool_async import _validate
from akool_async.errors import AkoolError, DownloadError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

AT_ONCE: Final = 8
"""Pictures of one session that are fetched at once."""
MOST_REDIRECTS: Final = 3
CONNECT_TIMEOUT: Final = 10.0
LONGEST_TRY: Final = 600.0
"""Seconds for one request, so that a host that sends a byte now and then is not listened to for ever."""
CHUNK: Final = 2**18
OK, PARTIAL, RANGE_NOT_SATISFIABLE, TOO_MANY_REQUESTS, SERVER_ERROR = 200, 206, 416, 429, 500


class RefusedError(DownloadError):
    """The host does not serve this address (any more): asking again will not help, another address may."""


class BrokenOffError(DownloadError):
    """The picture did not come whole this time: asking again may help."""


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

    def __init__(self, *, read_timeout: float) -> None:
        # An injected aiohttp session is not used here: it may carry headers or cookies that are nobody else's business.
        self._http: aiohttp.ClientSession | None = None
        self._closed = False
        self._timeout = aiohttp.ClientTimeout(total=LONGEST_TRY, sock_connect=CONNECT_TIMEOUT, sock_read=read_timeout)
        self.places = asyncio.Semaphore(AT_ONCE)

    @asynccontextmanager
    async def open(self, url: str, start: int, version: str | None) -> AsyncIterator[Piece]:
        """The picture from byte ``start`` on, if it is still of that ``version``, or else from its beginning.

        Raises, also while it is read:
            RefusedError: asking again will not help.
            BrokenOffError: asking again may help.
            SessionClosedError: the session is closed.
        """
        try:
            _validate.web_url("the picture's address", url)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        # Only identity has byte ranges that mean anything.
        headers = {"Accept-Encoding": "identity"}
        if start and version is not None:
            headers |= {"Range": f"bytes={start}-", "If-Range": version}
        try:
            async with self._opened().get(url, headers=headers, max_redirects=MOST_REDIRECTS) as response:
                yield _read_piece(response, start, version)
        except AkoolError:
            raise
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError, aiohttp.TooManyRedirects) as error:
            raise RefusedError(f"the pictures' host leads astray ({str(error) or type(error).__name__})") from error
        except UnicodeError as error:  # a host's name that is none
            raise RefusedError(f"the pictures' host leads astray ({error})") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise BrokenOffError(f"the picture could not be fetched ({reason})") from error

    async def aclose(self) -> None:
        """Close all connections."""
        self._closed = True
        if self._http is not None:
            await self._http.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._closed:
            raise SessionClosedError
        if self._http is None:
            self._http = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), timeout=self._timeout)
        return self._http


def _read_piece(response: aiohttp.ClientResponse, start: int, asked_for: str | None) -> Piece:
    status = response.status
    if status not in {OK, PARTIAL}:
        told = f"the pictures' host answered HTTP {status} {response.reason}"
        passing = status >= SERVER_ERROR or status in {TOO_MANY_REQUESTS, RANGE_NOT_SATISFIABLE}
        raise BrokenOffError(told) if passing else RefusedError(told)
    if status == PARTIAL and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise BrokenOffError("the pictures' host sent another part of the picture than was asked for")
    etag = response.headers.get("ETag", "")
    version = etag if etag.startswith('"') else response.headers.get("Last-Modified")  # W/"..." promises no equal bytes
    if status == PARTIAL and (version != asked_for or "Content-Encoding" in response.headers):
        raise BrokenOffError("the pictures' host sent the rest of another picture")
    return Piece(start if status == PARTIAL else 0, response.content.iter_chunked(CHUNK), version)
