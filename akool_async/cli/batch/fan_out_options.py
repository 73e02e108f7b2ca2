"""The options of `akool fan-out`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async.cli.account import KeyFile, WorkerStoreOptions
from akool_async.cli.batch.sorting import Rules
from akool_async.cli.output.stderr import amount

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from akool_async.items import Branch


@frozen(kw_only=True)
class FanOutOptions:
    """The options and the argument of `akool fan-out`."""

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
    open_page: bool
    key_file: KeyFile | None
    as_json: bool
    quiet: bool

    def check(self) -> None:
        """Refuse options that exclude each other.

        Raises:
            click.UsageError: Two options exclude each other.
        """
        if self.store is not None and self.timeout is not None:
            raise click.UsageError("--timeout cannot be used with --store: a run waits for all recorded presses")
        if self.store is not None and self.retry_unknown:
            raise click.UsageError(
                "--retry-unknown cannot be used with --store: settle recorded prompts with akool resolve"
            )
        if self.store is None:
            self._refuse_options_of_a_store()
        if self.key_file is not None and self.key_file.is_open_as(self.file.fileno()):
            raise click.UsageError(
                "FILE and --key-file are the same file or pipe: read the keys from another file or the environment"
            )

    def _refuse_options_of_a_store(self) -> None:
        for name, value in (
            ("--account", self.account),
            ("--lost-reply-timeout", self.lost_reply_timeout),
            ("--webhook-url", self.webhook_url),
        ):
            if value is not None:
                raise click.UsageError(f"{name} requires --store: add --store, or omit {name}")

    @property
    def store_options(self) -> WorkerStoreOptions | None:
        """The store, and the settings with which this run carries out its presses; None without --store."""
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
        """The options that make another command use the same store; None without --store."""
        return None if self.store_options is None else self.store_options.for_shell()

    @property
    def is_recorded(self) -> bool:
        """True if the same command finds the ids of this run when it is run again."""
        return self.output is not None or self.store is not None

    @property
    def rules(self) -> Rules:
        """The options that concern earlier runs."""
        return Rules(with_files=self.download is not None, retry_unknown=self.retry_unknown)

    def budget(self, balance: float) -> float | None:
        """Return the credits that this run may be charged, given the balance before it; None without a limit."""
        return min(self._limits(balance).values(), default=None)

    def limit(self, balance: float) -> str | None:
        """Return the option that sets the budget, with its value; None without a limit."""
        limits = self._limits(balance)
        return min(limits, key=limits.__getitem__, default=None)

    def _limits(self, balance: float) -> dict[str, float]:
        limits = {} if self.max_credits is None else {f"--max-credits {_as_option(self.max_credits)}": self.max_credits}
        if self.reserve is not None:
            limits[f"--reserve {_as_option(self.reserve)}"] = max(balance - self.reserve, 0.0)
        return limits


def _as_option(number: float) -> str:
    return amount(number).replace(",", "")
