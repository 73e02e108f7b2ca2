"""The options of `akool fan-out`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async.cli.account import KeyFile, WorkerStoreOptions
from akool_async.cli.batch.sorting import Rules

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from akool_async.items import Branch


@frozen(kw_only=True)
class FanOutOptions:
    """What the command line says."""

    file: BinaryIO
    then: tuple[Branch, ...]
    yes: bool
    output: Path | None
    max_credits: float | None
    reserve: float | None
    retry_unknown: bool
    max_concurrent_upscales: int
    max_requests_per_second: float | None
    store: str | None
    account: str | None
    lost_reply_timeout: float | None
    webhook_url: str | None
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
            raise click.UsageError("--timeout cannot be used with --store: recorded presses are followed to their end")
        if self.store is not None and self.retry_unknown:
            raise click.UsageError(
                "--retry-unknown cannot be used with --store: akool resolve settles what is recorded"
            )
        if self.store is None:
            self._refuse_options_of_a_store()
        if self.key_file is not None and self.key_file.is_open_as(self.file.fileno()):
            raise click.UsageError(
                "FILE and --key-file are the same file or pipe, which can be read for one of them alone"
            )

    def _refuse_options_of_a_store(self) -> None:
        for name, value in (
            ("--account", self.account),
            ("--lost-reply-timeout", self.lost_reply_timeout),
            ("--webhook-url", self.webhook_url),
        ):
            if value is not None:
                raise click.UsageError(f"{name} requires --store: it is for presses that are recorded in a store")

    @property
    def store_options(self) -> WorkerStoreOptions | None:
        """Where presses are recorded, and how this run carries them out; None without --store."""
        if self.store is None:
            return None
        return WorkerStoreOptions(
            store=self.store,
            account=self.account,
            key_file=self.key_file,
            max_concurrent_upscales=self.max_concurrent_upscales,
            max_requests_per_second=self.max_requests_per_second,
            lost_reply_timeout=self.lost_reply_timeout,
            webhook_url=self.webhook_url,
        )

    @property
    def store_for_shell(self) -> str | None:
        """The options by which the next command finds the recorded presses; None without --store."""
        return None if self.store_options is None else self.store_options.for_shell()

    @property
    def is_recorded(self) -> bool:
        """True if the same command, run again, finds the ids of this run."""
        return self.output is not None or self.store is not None

    @property
    def rules(self) -> Rules:
        """What it says about earlier runs."""
        return Rules(with_files=self.download is not None, retry_unknown=self.retry_unknown)

    def budget(self, balance: float) -> float | None:
        """Credits that may be charged; None for as many as the presses cost."""
        limits = [] if self.max_credits is None else [self.max_credits]
        if self.reserve is not None:
            limits.append(max(balance - self.reserve, 0.0))
        return min(limits, default=None)
