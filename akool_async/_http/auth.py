"""How requests prove who asks: an API key, or a token that is fetched once and renewed when AKOOL ends it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from attrs import Attribute, field, frozen
from multidict import CIMultiDict

from akool_async._http.event_loop import retrieve_exception
from akool_async.errors import AkoolError, ConfigurationError, SessionClosedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

Header = CIMultiDict[str]
"""As aiohttp takes it, so that it is not built again for each request."""

MIN_SECRET_LENGTH: Final = 8
"""Characters. A shorter text occurs in many messages by chance, so that it could not be redacted."""


def _strip(value: str) -> str:
    return value.strip() if isinstance(value, str) else value


def _check_printable(_: object, attribute: Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        # The value itself stays out of the message: it may be a real key with one stray character.
        raise ConfigurationError(f"{attribute.name} must be a non-empty text of printable ASCII without spaces")


def _check_secret(instance: object, attribute: Attribute[str], value: str) -> None:
    _check_printable(instance, attribute, value)
    if len(value) < MIN_SECRET_LENGTH:
        raise ConfigurationError(
            f"{attribute.name} must have at least {MIN_SECRET_LENGTH} characters: this is too short for one of AKOOL's"
        )


def _mask(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if len(secret) >= MIN_SECRET_LENGTH:  # AKOOL decides how long a token is
            text = text.replace(secret, "***")
    return text


def _fingerprint(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


class _Unpicklable:
    """Secrets do not travel by pickle; the environment of the other process is the place for them."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and does not pickle; read it from the environment there")


@frozen
class ApiKey(_Unpicklable):
    """AKOOL's recommended way: sent as ``x-api-key``. Not shown in its repr, refuses to be pickled."""

    key: str = field(repr=False, converter=_strip, validator=_check_secret)

    @property
    def fingerprint(self) -> str:
        """Tells accounts apart without revealing the key."""
        return _fingerprint(self.key)


@frozen
class ClientCredentials(_Unpicklable):
    """A client id and secret, traded for a token (Get Token) that is sent as ``Authorization: Bearer``."""

    client_id: str = field(converter=_strip, validator=_check_printable)
    client_secret: str = field(repr=False, converter=_strip, validator=_check_secret)

    @property
    def fingerprint(self) -> str:
        """Tells accounts apart."""
        return _fingerprint(self.client_id)


Credentials = ApiKey | ClientCredentials


class Authenticator(Protocol):
    """Supplies the authentication header of requests."""

    @property
    def header(self) -> Header | None:
        """The header to send; None if it has to be acquired first."""

    async def acquire(self) -> Header:
        """Wait for the header to send."""

    def renew(self, header: Header) -> bool:
        """Drop a header that AKOOL no longer accepts (1101); True if another can be acquired."""

    def redact(self, text: str) -> str:
        """Replace the secrets in a text of AKOOL's."""

    def close(self) -> None:
        """Cancel a request for a token."""


class KeyAuthenticator(_Unpicklable):
    """Sends an API key."""

    def __init__(self, credentials: ApiKey) -> None:
        self._key = credentials.key
        self.header = CIMultiDict({"x-api-key": credentials.key})

    async def acquire(self) -> Header:  # pragma: no cover - its header is always there
        """The key."""
        return self.header

    def renew(self, header: Header) -> bool:  # noqa: ARG002 - a key has no successor
        """False: a key that AKOOL refuses stays refused."""
        return False

    def redact(self, text: str) -> str:
        """Replace the key."""
        return _mask(text, [self._key])

    def close(self) -> None:
        """Do nothing: a key is not fetched."""


class TokenAuthenticator(_Unpicklable):
    """Sends a token that all requests share. Requests that need it while it is fetched wait for the same fetch."""

    def __init__(self, credentials: ClientCredentials, fetch: Callable[[ClientCredentials], Awaitable[str]]) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self.header: Header | None = None
        self._fetching: asyncio.Task[Header] | None = None
        self._tokens: deque[str] = deque(maxlen=8)  # a late reply may still quote one that was replaced

    async def acquire(self) -> Header:
        """The current token; fetches one if there is none."""
        if self.header is not None:
            return self.header
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_header())
            self._fetching.add_done_callback(retrieve_exception)
        try:
            return await asyncio.shield(self._fetching)  # cancelling one caller leaves the fetch to the others
        except AkoolError as error:
            raise error.fresh() from error.__cause__
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise SessionClosedError from None  # close() ended the fetch

    def renew(self, header: Header) -> bool:
        """Drop ``header`` unless another request has replaced it already."""
        if self.header is header:
            self.header = None
        return True

    def redact(self, text: str) -> str:
        """Replace the client secret and the newest tokens."""
        return _mask(text, (self._credentials.client_secret, *self._tokens))

    def close(self) -> None:
        """Cancel the fetch under way."""
        if self._fetching is not None:
            self._fetching.cancel()

    async def _fetch_header(self) -> Header:
        try:
            token = await self._fetch(self._credentials)
            self._tokens.append(token)
            self.header = CIMultiDict(Authorization=f"Bearer {token}")
        finally:
            self._fetching = None
        return self.header


def read_credentials(auth: Credentials | str | None, environment: Mapping[str, str]) -> Credentials:
    """What the session was given; a ``str`` is an API key, None means the environment."""
    if isinstance(auth, ApiKey | ClientCredentials):
        return auth
    if isinstance(auth, str):
        return _read("auth", lambda: ApiKey(auth))
    if auth is not None:
        raise ConfigurationError(
            f"auth must be an ApiKey, ClientCredentials, a key as str, or None, not {type(auth).__name__}"
        )
    if key := environment.get("AKOOL_API_KEY"):
        return _read("AKOOL_API_KEY", lambda: ApiKey(key))
    client_id, client_secret = environment.get("AKOOL_CLIENT_ID"), environment.get("AKOOL_CLIENT_SECRET")
    if client_id and client_secret:
        pair = client_id, client_secret
        return _read("AKOOL_CLIENT_ID and AKOOL_CLIENT_SECRET", lambda: ClientCredentials(*pair))
    if client_id or client_secret:
        missing = "AKOOL_CLIENT_SECRET" if client_id else "AKOOL_CLIENT_ID"
        raise ConfigurationError(f"auth: {missing} is missing in the environment beside its other half")
    raise ConfigurationError(
        "auth: no credentials; pass ApiKey(...) or ClientCredentials(...), or set AKOOL_API_KEY in the environment"
    )


def _read(source: str, make: Callable[[], Credentials]) -> Credentials:
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
