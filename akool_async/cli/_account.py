"""Whose account: keys from the environment or a file, never from an argument, which every user of a machine can see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dotenv import dotenv_values

from akool_async import AkoolSession, ApiKey, ClientCredentials, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from akool_async.durable import DurableFanOut

KEY, ID, SECRET, BASE_URL = "AKOOL_API_KEY", "AKOOL_CLIENT_ID", "AKOOL_CLIENT_SECRET", "AKOOL_BASE_URL"


def open_session(key_file: Path | None, **options: Any) -> AkoolSession:  # noqa: ANN401 - AkoolSession's, handed on by name
    """A session of the account in the file, or, without one, in the environment."""
    return AkoolSession(**_account(key_file), **options)


def open_state(key_file: Path | None, state: str, **options: Any) -> DurableFanOut:  # noqa: ANN401 - as above
    """The recorded presses of that account."""
    from akool_async.durable import DurableFanOut  # noqa: PLC0415 - of another extra, and slow to import

    return DurableFanOut(state=state, **_account(key_file), **options)


def _account(key_file: Path | None) -> dict[str, Any]:
    if key_file is None:
        return {}
    settings = _read(key_file)
    return {"auth": _credentials(settings, key_file), "base_url": settings.get(BASE_URL) or None}


def _credentials(settings: Mapping[str, str | None], key_file: Path) -> ApiKey | ClientCredentials:
    key, client_id, secret = (settings.get(name) for name in (KEY, ID, SECRET))
    if key and bool(client_id) == bool(secret):  # the pair beside a key is there to verify webhooks
        return ApiKey(key)
    if client_id and secret:
        return ClientCredentials(client_id, secret)
    raise ConfigurationError(
        f"{key_file} must hold either {KEY}=..., or {ID}=... and {SECRET}=..., each on a line of its own, or nothing "
        "but an API key"
    )


def _read(key_file: Path) -> Mapping[str, str | None]:
    """The lines NAME=VALUE of a file, as `akool emulator` prints them, or the one line of a file that is just a key."""
    try:
        text = key_file.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{key_file} is not a text file") from None
    if text and len(text.split()) == 1 and not text.startswith("AKOOL_"):
        return {KEY: text}
    return dotenv_values(key_file, interpolate=False, encoding="utf-8-sig")
