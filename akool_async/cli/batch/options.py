"""The options of `akool fan-out`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from akool_async.cli.account import store_options

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async.cli.account import KeyFile


@frozen(kw_only=True)
class Options:
    """The options as the command line gives them."""

    content: bytes
    """Of the file, ``name``."""
    name: str
    yes: bool
    output: Path | None
    max_credits: float | None
    reserve: float | None
    max_concurrent_upscales: int
    max_requests_per_second: float | None
    store: str | None
    account: str | None
    timeout: float | None
    download: Path | None
    gallery: Path | None
    key_file: KeyFile | None
    as_json: bool
    quiet: bool

    @property
    def store_options(self) -> str | None:
        """The options by which the next command finds the recorded presses; None without a state."""
        if self.store is None:
            return None
        return store_options(self.store, account=self.account, key_file=self.key_file)

    @property
    def limits(self) -> dict[str, Any]:
        """What AKOOL is asked for at once, and in a second."""
        return {
            "max_concurrent_upscales": self.max_concurrent_upscales,
            "max_requests_per_second": self.max_requests_per_second,
        }
