"""The options of `akool fan-out`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async.cli.account import KeyFile, StoreOptions

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO


@frozen(kw_only=True)
class FanOutOptions:
    """What the command line says."""

    file: BinaryIO
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

    def check(self) -> None:
        """Refuse options that do not go together.

        Raises:
            click.UsageError: some do not.
        """
        if self.store is not None and self.timeout is not None:
            raise click.UsageError("--timeout does not go with --store: recorded presses are carried out to their end")
        if self.account is not None and self.store is None:
            raise click.UsageError("--account goes with --store: it names whose the recorded presses are")
        if self.key_file is not None and self.key_file.is_open_as(self.file.fileno()):
            raise click.UsageError(
                "FILE and --key-file are the same file or pipe, which can be read for one of them alone"
            )

    @property
    def store_options(self) -> StoreOptions | None:
        """Where presses are recorded; None without --store."""
        if self.store is None:
            return None
        return StoreOptions(store=self.store, account=self.account, key_file=self.key_file)

    @property
    def store_for_shell(self) -> str | None:
        """The options by which the next command finds the recorded presses; None without --store."""
        return None if self.store_options is None else self.store_options.for_shell()

    @property
    def is_recorded(self) -> bool:
        """True if the same command, run again, finds the ids of this run."""
        return self.output is not None or self.store is not None

    def budget(self, balance: float) -> float | None:
        """Credits that may be charged; None for as many as the presses cost."""
        limits = [] if self.max_credits is None else [self.max_credits]
        if self.reserve is not None:
            limits.append(max(balance - self.reserve, 0.0))
        return min(limits, default=None)
