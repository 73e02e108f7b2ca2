"""Keys, sessions and stores. A key is read from the environment or a file, and is never an argument.

Every user of a machine can see the arguments of its commands.
"""

from __future__ import annotations

import io
import logging
import os
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self, TypedDict

import click
from attrs import field, frozen
from dotenv import dotenv_values

from akool_async import AkoolSession, ApiKey, ClientCredentials, ConfigurationError
from akool_async._limits.timing import SCALE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from akool_async.durable import DurableFanOut
    from akool_async.durable._store_url import StoreUrl
    from akool_async.events import Observer

KEY, ID, SECRET, BASE_URL = "AKOOL_API_KEY", "AKOOL_CLIENT_ID", "AKOOL_CLIENT_SECRET", "AKOOL_BASE_URL"
MAX_KEY_FILE: Final = 64 * 2**10
"""The largest key file in bytes."""
PLACEHOLDER: Final = "PASSWORD"
"""The placeholder for a password in printed commands."""
DEFAULT_CAP: Final = 4
"""How many upscales may run at AKOOL concurrently by default."""


@frozen
class KeyFile:
    """The content of --key-file. It is read once, since the file may be a pipe."""

    path: Path
    text: str = field(repr=False)
    _stat: os.stat_result = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a key file.

        Raises:
            ConfigurationError: The file is not text, or is too long.
            OSError: The file cannot be read.
        """
        with path.open("rb") as file:
            content = file.read(MAX_KEY_FILE + 1)
            stat = os.fstat(file.fileno())
        if len(content) > MAX_KEY_FILE:
            raise ConfigurationError(f"--key-file: {path} is too long for a key file: name another file")
        try:
            return cls(path, content.decode("utf-8-sig").strip(), stat)
        except UnicodeDecodeError:
            raise ConfigurationError(f"--key-file: {path} is not a text file: name another file") from None

    def is_open_as(self, descriptor: int) -> bool:
        """Return whether this descriptor is open on the same file or pipe, which has been read to its end."""
        return os.path.samestat(self._stat, os.fstat(descriptor))


@frozen(kw_only=True)
class StoreOptions:
    """The store that a command uses, and the account whose presses it works on."""

    store: str
    """The URL of the store."""
    account: str | None
    """The fixed name of the account; None to derive one from the key."""
    key_file: KeyFile | None

    def open(
        self,
        *,
        create: bool = False,
        max_concurrent_upscales: int = DEFAULT_CAP,
        max_requests_per_second: float | None = None,
        lost_reply_timeout: float | None = None,
        webhook_url: str | None = None,
        observer: Observer | None = None,
    ) -> DurableFanOut:
        """Open the store. The arguments are those of ``DurableFanOut``."""
        from akool_async.durable import DurableFanOut  # noqa: PLC0415 - it needs another extra, and is slow to import

        self._read_url()
        return DurableFanOut(
            store=self.store,
            account=self.account,
            create=create,
            max_concurrent_upscales=max_concurrent_upscales,
            max_requests_per_second=max_requests_per_second,
            lost_reply_timeout=lost_reply_timeout,
            webhook_url=webhook_url,
            observer=observer,
            **credentials(self.key_file),
        )

    def files(self) -> list[Path]:
        """Return the files of the store, its database first; empty for PostgreSQL."""
        file = self._read_url().file
        suffixes = ("", "-wal", "-shm", "-journal", ".lock")
        return [] if file is None else [file.with_name(file.name + suffix) for suffix in suffixes]

    def worker_command(self, *, until_empty: bool = False) -> str:
        """Return the shell command that carries out the recorded presses."""
        return f"akool worker {'--until-empty ' if until_empty else ''}{self.for_shell()}"

    def for_shell(self) -> str:
        """Return the options that make another command use the same presses, quoted for a shell.

        A password in the URL is replaced by a placeholder.
        """
        options = ["--store", self._url_without_password()]
        if self.account is not None:
            options += ["--account", self.account]
        if self.key_file is not None:
            options += ["--key-file", str(self.key_file.path)]
        return shlex.join(options)

    def _url_without_password(self) -> str:
        from akool_async.durable._store_url import SECRET_PARAMETERS  # noqa: PLC0415 - as above

        url = self._read_url().url
        in_query = [name for name in SECRET_PARAMETERS if url.query.get(name)]
        if not url.password and not in_query:
            return self.store
        if url.password:
            url = url.set(password=PLACEHOLDER)
        url = url.update_query_dict(dict.fromkeys(in_query, PLACEHOLDER))
        return url.render_as_string(hide_password=False)

    def _read_url(self) -> StoreUrl:
        from akool_async.durable._store_url import StoreUrl  # noqa: PLC0415 - as above

        try:
            return StoreUrl.read(self.store)
        except ConfigurationError as error:
            raise click.BadParameter(str(error), param_hint="--store") from None


@frozen(kw_only=True)
class WorkerStoreOptions(StoreOptions):
    """A store, and the settings with which this process carries out the recorded presses."""

    max_concurrent_upscales: int
    max_requests_per_second: float | None
    lost_reply_timeout: float | None
    webhook_url: str | None

    def open_for_work(self, *, observer: Observer | None = None) -> DurableFanOut:
        """Open the store, and make it if it does not exist."""
        return self.open(
            create=True,
            max_concurrent_upscales=self.max_concurrent_upscales,
            max_requests_per_second=self.max_requests_per_second,
            lost_reply_timeout=self.lost_reply_timeout,
            webhook_url=self.webhook_url,
            observer=observer,
        )

    def worker_command(self, *, until_empty: bool = False) -> str:
        """Return the command with the same settings, since the cap of the latest worker applies to all workers."""
        return " ".join([super().worker_command(until_empty=until_empty), *map(shlex.quote, self._settings())])

    def _settings(self) -> Iterator[str]:
        """Yield the options that differ from the defaults. A URL that may hold a secret is left out."""
        if self.max_concurrent_upscales != DEFAULT_CAP:
            yield from ("--max-concurrent-upscales", str(self.max_concurrent_upscales))
        if self.max_requests_per_second is not None:
            yield from ("--max-requests-per-second", str(self.max_requests_per_second))
        if self.lost_reply_timeout is not None:
            yield from ("--lost-reply-timeout", str(self.lost_reply_timeout))
        if self.webhook_url is not None and not set("?@") & set(self.webhook_url):
            yield from ("--webhook-url", self.webhook_url)


class Credentials(TypedDict, total=False):
    """The arguments of a session that come from a key file."""

    auth: ApiKey | ClientCredentials
    base_url: str | None


def open_session(
    key_file: KeyFile | None,
    *,
    max_concurrent_upscales: int = DEFAULT_CAP,
    max_requests_per_second: float | None = None,
    observer: Observer | None = None,
) -> AkoolSession:
    """Open a session with the keys of the file, or of the environment without a file."""
    return AkoolSession(
        **credentials(key_file),
        max_concurrent_upscales=max_concurrent_upscales,
        max_requests_per_second=max_requests_per_second,
        observer=observer,
    )


def credentials(key_file: KeyFile | None) -> Credentials:
    """Return the keys of a file, or nothing without a file: the session itself reads the environment.

    Raises:
        ConfigurationError: There is no key.
    """
    if key_file is None:
        _require_key()
        return {}
    settings = _parse_settings(key_file.text)
    if scale := settings.get(SCALE_VARIABLE):  # `akool emulator` prints it with the keys
        os.environ.setdefault(SCALE_VARIABLE, scale)
    return {"auth": _read_credentials(settings, key_file.path), "base_url": settings.get(BASE_URL) or None}


def _require_key() -> None:
    if not any(os.environ.get(name) for name in (KEY, ID, SECRET)):
        raise ConfigurationError(
            f"no key: set {KEY} to a key of your account, or name a file that holds it with --key-file"
        )


def _read_credentials(settings: Mapping[str, str | None], path: Path) -> ApiKey | ClientCredentials:
    key, client_id, secret = (settings.get(name) for name in (KEY, ID, SECRET))
    if key and bool(client_id) == bool(secret):  # a pair beside a key serves to verify webhooks
        return ApiKey(key)
    if client_id and secret:
        return ClientCredentials(client_id, secret)
    raise ConfigurationError(
        f"--key-file: {path} holds no key: write {KEY}=... into it, or {ID}=... and {SECRET}=... on separate lines, or "
        "an API key alone"
    )


def _parse_settings(text: str) -> Mapping[str, str | None]:
    """Read lines NAME=VALUE, as `akool emulator` prints them, or a text that is just a key."""
    if text and len(text.split()) == 1 and not text.startswith("AKOOL_"):
        return {KEY: text}
    with _without_warnings_of_dotenv():
        return dotenv_values(stream=io.StringIO(text), interpolate=False)


@contextmanager
def _without_warnings_of_dotenv() -> Iterator[None]:
    """Suppress warnings about lines that cannot be parsed, since they do not name the file: our error does."""
    logger = logging.getLogger("dotenv")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
