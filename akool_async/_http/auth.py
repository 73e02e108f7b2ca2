"""Authentication: an API key, or a token that is fetched once and renewed when AKOOL ends it."""

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
"""In aiohttp's own type, so that aiohttp does not build it for each request."""

MIN_SECRET_LENGTH: Final = 8
"""Characters. Shorter texts occur in messages by chance, and could not be redacted."""


def _strip(value: str) -> str:
    return value.strip() if isinstance(value, str) else value


def _check_printable(_: object, attribute: Attribute[str], value: str) -> None:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        # The message does not show the value: it may be a real key with one wrong character.
        raise ConfigurationError(f"{attribute.name} must be a non-empty text of printable ASCII without spaces")


def _check_secret(instance: object, attribute: Attribute[str], value: str) -> None:
    _check_printable(instance, attribute, value)
    if len(value) < MIN_SECRET_LENGTH:
        raise ConfigurationError(
            f"{attribute.name} must have at least {MIN_SECRET_LENGTH} characters: this is too short for one of AKOOL's"
        )


def _mask(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        if len(secret) >= MIN_SECRET_LENGTH:  # AKOOL's tokens may be shorter
            text = text.replace(secret, "***")
    return text


def _fingerprint(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


class _Unpicklable:
    """A base class that refuses pickling, since secrets must not leave the process."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret and cannot be pickled: read it from the environment")


@frozen
class ApiKey(_Unpicklable):
    """An API key, which AKOOL recommends. It is sent as ``x-api-key``, hidden in the repr, and cannot be pickled.

    Args:
        key: The key; at least 8 characters.

    Raises:
        ConfigurationError: ``key`` cannot be a key.
    """

    key: str = field(repr=False, converter=_strip, validator=_check_secret)

    @property
    def fingerprint(self) -> str:
        """Identifies the account without revealing the key."""
        return _fingerprint(self.key)


@frozen
class ClientCredentials(_Unpicklable):
    """A client id and secret. They are exchanged for a token (AKOOL's page Get Token), which is sent as
    ``Authorization: Bearer``. The secret is hidden in the repr, and the pair cannot be pickled.

    Args:
        client_id: The client id.
        client_secret: The client secret; at least 8 characters.

    Raises:
        ConfigurationError: An argument cannot be an id or a secret.
    """

    client_id: str = field(converter=_strip, validator=_check_printable)
    client_secret: str = field(repr=False, converter=_strip, validator=_check_secret)

    @property
    def fingerprint(self) -> str:
        """Identifies the account."""
        return _fingerprint(self.client_id)


Credentials = ApiKey | ClientCredentials


class Authenticator(Protocol):
    """Supplies the authentication header of requests."""

    @property
    def header(self) -> Header | None:
        """The header to send; None if :meth:`acquire` has to fetch it."""

    async def acquire(self) -> Header:
        """Return the header to send, and fetch it if necessary."""

    def renew(self, header: Header) -> bool:
        """Drop a header that AKOOL no longer accepts (1101). Return True if another can be acquired."""

    def redact(self, text: str) -> str:
        """Replace the secrets in a text."""

    def close(self) -> None:
        """Cancel a request for a token."""


class KeyAuthenticator(_Unpicklable):
    """Sends an API key."""

    def __init__(self, credentials: ApiKey) -> None:
        self._key = credentials.key
        self.header = CIMultiDict({"x-api-key": credentials.key})

    async def acquire(self) -> Header:  # pragma: no cover - ``header`` is never None
        """Return the header."""
        return self.header

    def renew(self, header: Header) -> bool:  # noqa: ARG002 - a key cannot be renewed
        """Return False: a key cannot be renewed."""
        return False

    def redact(self, text: str) -> str:
        """Replace the key."""
        return _mask(text, [self._key])

    def close(self) -> None:
        """Do nothing: a key is not fetched."""


class TokenAuthenticator(_Unpicklable):
    """Sends a token that all requests share. While it is fetched, all requests wait for the same fetch."""

    def __init__(self, credentials: ClientCredentials, fetch: Callable[[ClientCredentials], Awaitable[str]]) -> None:
        self._credentials = credentials
        self._fetch = fetch
        self.header: Header | None = None
        self._fetching: asyncio.Task[Header] | None = None
        self._tokens: deque[str] = deque(maxlen=8)  # a late reply may still quote an earlier one

    async def acquire(self) -> Header:
        """Return the header with the current token, and fetch one if there is none."""
        if self.header is not None:
            return self.header
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_header())
            self._fetching.add_done_callback(retrieve_exception)
        try:
            return await asyncio.shield(self._fetching)  # cancelling one caller does not cancel the fetch
        except AkoolError as error:
            raise error.fresh() from error.__cause__
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise SessionClosedError from None  # close() ended the fetch

    def renew(self, header: Header) -> bool:
        """Drop ``header``, unless another request has already replaced it."""
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
    """Return the credentials of a session.

    Args:
        auth: The session's argument. A ``str`` is an API key; None reads the environment.
        environment: The environment variables.

    Raises:
        ConfigurationError: There are none, or they cannot be right.
    """
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
        present = "AKOOL_CLIENT_ID" if client_id else "AKOOL_CLIENT_SECRET"
        raise ConfigurationError(f"auth: the environment has {present} without {missing}; set both, or AKOOL_API_KEY")
    raise ConfigurationError(
        "auth: no credentials; pass ApiKey(...) or ClientCredentials(...), or set AKOOL_API_KEY in the environment"
    )


def _read(source: str, make: Callable[[], Credentials]) -> Credentials:
    try:
        return make()
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None
