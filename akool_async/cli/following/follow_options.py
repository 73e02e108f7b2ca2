"""The options of a command that follows operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async.cli.output.places import option_named, prepare_folder

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async.cli.account import KeyFile


@frozen(kw_only=True)
class FollowOptions:
    """How operations are followed."""

    wait: bool = True
    timeout: float | None = None
    """Seconds to wait for each operation; None to wait without a limit."""
    download: Path | None = None
    """The folder for their pictures; None to save none."""
    short_names: bool = False
    """True to name pictures after the button and the end of the id, and not after the whole id."""

    def prepare_folder(self, option: str = "--download") -> None:
        """Check that pictures can be saved in the folder, before anything is spent.

        Args:
            option: The option that names the folder.

        Raises:
            click.ClickException: They cannot be saved there.
        """
        if self.download is not None:
            with option_named(option):
                prepare_folder(self.download)


@frozen(kw_only=True)
class ImageOptions(FollowOptions):
    """The options of a command about single operations."""

    key_file: KeyFile | None
    as_json: bool
    quiet: bool

    def require_wait(self, *, for_download: bool) -> None:
        """Refuse options that have no effect without --wait.

        Args:
            for_download: True if --download has no effect without --wait.

        Raises:
            click.UsageError: Such an option was given without --wait.
        """
        if not self.wait and self.timeout is not None:
            raise click.UsageError("--timeout requires --wait")
        if not self.wait and self.download is not None and for_download:
            raise click.UsageError("--download requires --wait, since nothing is made yet")
