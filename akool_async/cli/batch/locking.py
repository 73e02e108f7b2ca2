"""A lock that keeps other runs from writing to an output file."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from akool_async.cli.output.stderr import print_message

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

WITHOUT_LOCKS: Final = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL}
"""Errors of file systems without locks, such as some of NFS, FUSE and 9p."""


class OutputFileError(Exception):
    """The output file cannot be used; nothing was changed in it."""


def lock(file: BinaryIO, path: Path) -> None:
    """Lock the file until it is closed. On a file system without locks, print a warning.

    Raises:
        OutputFileError: Another run has locked the file, or locking failed.
    """
    import portalocker  # noqa: PLC0415 - its import needs a temporary folder, which other commands do not need

    try:
        portalocker.lock(file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
    except portalocker.LockException as error:
        reason = error.args[0]
        number = reason.errno if isinstance(reason, OSError) else None
        if number == errno.EAGAIN or (os.name == "nt" and isinstance(error, portalocker.AlreadyLocked)):
            raise OutputFileError(f"another run writes to {path}: wait until it has ended") from None
        why = reason if number is None else os.strerror(number)
        if number not in WITHOUT_LOCKS:
            raise OutputFileError(f"{path} could not be locked against other runs: {why}") from None
        print_message(f"{path} cannot be locked on its file system ({why}): start no other run with it meanwhile")
