"""Whose account: keys from the environment or a file, never from an argument, which every user of a machine can see."""

from __future__ import annotations

import io
import os
import shlex
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import field, frozen
from dotenv import dotenv_values

from akool_async import AkoolSession, ApiKey, ClientCredentials, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from akool_async.durable import DurableFanOut

KEY, ID, SECRET, BASE_URL = "AKOOL_API_KEY", "AKOOL_CLIENT_ID", "AKOOL_CLIENT_SECRET", "AKOOL_BASE_URL"
TIME_SCALE: Final = "AKOOL_TIME_SCALE"
LARGEST_KEY_FILE: Final = 64 * 2**10


@frozen
class KeyFile:
    """The file of --key-file, which is read once, as it may be a pipe."""

    path: Path
    text: str = field(repr=False)
    _stat: os.stat_result = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read it to its end.

        Raises:
            ConfigurationError: it is not a text, or too long to be a file of keys.
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            content = file.read(LARGEST_KEY_FILE + 1)
            stat = os.fstat(file.fileno())
        if len(content) > LARGEST_KEY_FILE:
            raise ConfigurationError(f"{path} is too long for a file of keys")
        try:
            return cls(path, content.decode("utf-8-sig").strip(), stat)
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path} is not a text file") from None

    def is_open_as(self, descriptor: int) -> bool:
        """True if the descriptor is of the same file or pipe, of which nothing is left to read."""
        return os.path.samestat(self._stat, os.fstat(descriptor))


def open_session(key_file: KeyFile | None, **options: Any) -> AkoolSession:  # noqa: ANN401 - AkoolSession's, handed on by name
    """A session of the account in the file, or, without one, in the environment."""
    return AkoolSession(**_account(key_file), **options)


def open_state(key_file: KeyFile | None, state: str, **options: Any) -> DurableFanOut:  # noqa: ANN401 - as above
    """The recorded presses of that account."""
    from akool_async.durable import DurableFanOut  # noqa: PLC0415 - of another extra, and slow to import

    return DurableFanOut(store=state, **_account(key_file), **options)


def state_files(state: str) -> list[Path]:
    """The files that a state is kept in; none for a database."""
    from akool_async.durable._store_url import StoreUrl  # noqa: PLC0415 - as above

    file = StoreUrl.read(state).file
    return (
        [] if file is None else [file.with_name(file.name + end) for end in ("", "-wal", "-shm", "-journal", ".lock")]
    )


def store_options(state: str, *, account: str | None, key_file: KeyFile | None) -> str:
    """The options with which another command finds the same recorded presses, quoted for a shell, without secrets."""
    from akool_async.durable._store_url import StoreUrl  # noqa: PLC0415 - as above

    read = StoreUrl.read(state)
    options = ["--store", str(read) if read.file is None else state]
    if account is not None:
        options += ["--account", account]
    if key_file is not None:
        options += ["--key-file", str(key_file.path)]
    return shlex.join(options)


def _account(key_file: KeyFile | None) -> dict[str, Any]:
    if key_file is None:
        _require_key()
        return {}
    settings = _settings(key_file.text)
    if scale := settings.get(TIME_SCALE):  # `akool emulator` prints it beside the keys
        os.environ.setdefault(TIME_SCALE, scale)
    return {"auth": _credentials(settings, key_file.path), "base_url": settings.get(BASE_URL) or None}


def _require_key() -> None:
    if not any(os.environ.get(name) for name in (KEY, ID, SECRET)):
        raise ConfigurationError(
            f"no key: set {KEY} to a key of your account, or name a file that holds it with --key-file"
        )


def _credentials(settings: Mapping[str, str | None], path: Path) -> ApiKey | ClientCredentials:
    key, client_id, secret = (settings.get(name) for name in (KEY, ID, SECRET))
    if key and bool(client_id) == bool(secret):  # the pair beside a key is there to verify webhooks
        return ApiKey(key)
    if client_id and secret:
        return ClientCredentials(client_id, secret)
    raise ConfigurationError(
        f"{path} must hold either {KEY}=..., or {ID}=... and {SECRET}=..., each on a line of its own, or nothing "
        "but an API key"
    )


def _settings(text: str) -> Mapping[str, str | None]:
    """The lines NAME=VALUE of a text, as `akool emulator` prints them, or the one line of a text that is just a key."""
    if text and len(text.split()) == 1 and not text.startswith("AKOOL_"):
        return {KEY: text}
    return dotenv_values(stream=io.StringIO(text), interpolate=False)
