"""The options of a command that follows operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from attrs import frozen

from akool_async.cli.output.places import prepare_folder

if TYPE_CHECKING:
    from pathlib import Path

    from akool_async.cli.account import KeyFile


@frozen(kw_only=True)
class FollowOptions:
    """How far operations are followed."""

    wait: bool = True
    timeout: float | None = None
    """Seconds to wait for the end of each."""
    download: Path | None = None
    """The folder for their pictures; None to save none."""
    short_names: bool = False
    """True to name pictures after the button and the end of the id, and not after the whole id."""

    def prepare_folder(self) -> None:
        """Try the folder, before anything is spent.

        Raises:
            OSError: pictures could not be saved there.
        """
        if self.download is not None:
            prepare_folder(self.download)


@frozen(kw_only=True)
class ImageOptions(FollowOptions):
    """What a command about single operations is given."""

    key_file: KeyFile | None
    as_json: bool
    quiet: bool

    def require_wait(self, *, for_download: bool) -> None:
        """Refuse options that have no effect without --wait.

        Raises:
            click.UsageError: one was given.
        """
        if not self.wait and self.timeout is not None:
            raise click.UsageError("--timeout goes with --wait")
        if not self.wait and self.download is not None and for_download:
            raise click.UsageError("--download goes with --wait: nothing is made yet")
