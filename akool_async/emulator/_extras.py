"""Loads the parts of the emulator that need packages of the library's extras."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from akool_async.emulator._images import Image


def install_hint(extra: str) -> str:
    """Return the command that installs an extra."""
    # The client has the same hint, but the emulator shares no code with it.
    return f'pip install "akool-async[{extra}]"'


def load_renderer() -> Callable[[Image, int], bytes] | None:
    """Return the function that draws pictures; None without Pillow."""
    try:
        from akool_async.emulator import _pictures  # noqa: PLC0415 - only now is Pillow needed
    except ImportError:
        return None
    return _pictures.render


def load_encryption() -> Callable[..., bytes] | None:
    """Return the function that makes the bodies of webhooks; None without cryptography."""
    try:
        from akool_async.emulator import _encryption  # noqa: PLC0415 - only now is cryptography needed
    except ImportError:
        return None
    return _encryption.encrypt_webhook
